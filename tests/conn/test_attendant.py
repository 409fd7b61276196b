"""attendant.py: what is done for a connection whose handler is busy elsewhere. In both roles, by a look at a time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import struct
import sys
import threading
import time
import unittest
import weakref
from typing import Any
from unittest import mock

from syncws import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseError,
    CloseSentError,
    ConcurrencyError,
    Conn,
    ConnectionClosed,
    ProtocolError,
    ReadLimitError,
    ReadTimeout,
)
from syncws._base.options import ConnOptions
from syncws._base.unfinished import unfinished
from syncws._conn.attendant import Attendant
from syncws._conn.states import State
from syncws._net.drain import drain
from syncws._net.transport import Transport
from syncws.testing import Peer, await_, socketpair
from tests.conn.cases import ConnCase, deflate, held_by, moved_clock
from tests.tasks import PATIENCE, Task, assert_same_end


def deafen(sock: socket.socket) -> None:
    """Let a TCP socket lose all that comes, as if its machine had gone: nothing is acknowledged."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # of a filter: keep no byte
    so_attach_filter = 26
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    sock.setsockopt(socket.SOL_SOCKET, so_attach_filter, program)


class AttendedCase(ConnCase):
    """Connections that only the test looks after."""

    def peer(self, **options: Any) -> tuple[Conn, Peer]:
        conn, peer = super().peer(**options)
        conn._attendant.stop()
        return conn, peer

    def look(self, conn: Conn, until: Any = None) -> None:
        """Look after it, again and again until a condition holds; once without one, when what was sent has come."""
        if until is None:
            self.assertIs(conn._attendant.attend(), not conn.closed)
            return
        self.assertTrue(await_(lambda: until() or (conn._attendant.attend() and False)), "looking does not help")

    def look_until_read(self, conn: Conn, count: int) -> None:
        """Look until so many bytes lie there unread."""
        self.look(conn, lambda: conn._inbound.protocol.unread >= count)


class ServerControls(AttendedCase):
    """Control frames, while nobody reads."""

    def test_pings_are_answered(self) -> None:
        """The connection of a busy handler dies, since nobody answers pings: each is answered."""
        conn, peer = self.peer()
        for data in (b"", b"hello", b"x" * 125):
            peer.send_frame(PING, data)
            self.look(conn, lambda: conn._wire._transport._sent)
            frame = peer.receive_frame()
            self.assertEqual((frame.opcode, frame.payload), (PONG, data))
            conn._wire._transport._sent = 0

    def test_a_ping_after_messages(self) -> None:
        """A ping that stands after messages which nobody has read yet is answered; they come whole and in order."""
        conn, peer = self.peer()
        sent = ["a", b"b" * 1000, "c" * 40_000]
        for message in sent:
            peer.send_frame(TEXT if isinstance(message, str) else BINARY, message)
        peer.send_frame(PING, b"1")
        self.look(conn, lambda: conn._wire._transport._sent)
        self.assertEqual(peer.receive_frame().payload, b"1")
        peer.send_frame(TEXT, "d")
        self.assertEqual([conn.receive(5) for _ in range(4)], [*sent, "d"])

    def test_a_pong_tells_the_latency(self) -> None:
        """The answer to a ping of ours is noted."""
        conn, peer = self.peer()
        conn.ping(b"x")
        peer.send_frame(PONG, peer.receive_frame().payload)
        self.look(conn, lambda: conn.latency is not None)

    def test_handlers_of_the_application(self) -> None:
        """A frame with a handler of the application's waits for the next read; its thread is the reader's."""
        conn, peer = self.peer()
        seen: list[tuple[str, Any, int]] = []

        def note(name: str) -> Any:
            return lambda *arguments: seen.append((name, arguments, threading.get_ident()))

        conn.set_ping_handler(note("ping"))
        conn.set_pong_handler(note("pong"))
        conn.set_close_handler(note("close"))
        frames = ((PING, b"1"), (TEXT, "a"), (PONG, b"2"), (CLOSE, b"\x03\xe8bye"))
        data = b"".join(peer.frame(*each) for each in frames)
        peer.send(data)
        self.look_until_read(conn, len(data))
        self.look(conn)
        self.assertEqual((seen, conn.closed), ([], False))
        self.assertEqual(conn.receive(5), "a")
        self.assert_ends(conn.receive, 1000, CloseError)
        me = threading.get_ident()
        self.assertEqual(seen, [("ping", (b"1",), me), ("pong", (b"2",), me), ("close", (1000, "bye"), me)])
        self.assertEqual(peer.receive_close(), (1000, ""))

    def test_a_flood(self) -> None:
        """Control frames count whoever handles them: over control_limit the peer gets 1008, and no more is done."""
        for kind in (PING, PONG):
            conn, peer = self.peer(control_limit=10, control_rate=1)
            peer.send_frame(TEXT, "a")
            peer.send(b"".join(peer.frame(kind) for _ in range(11)))
            self.look(conn, lambda conn=conn: conn.closed)
            while (frame := peer.receive_frame()).opcode == PONG:
                pass
            self.assertEqual((frame.opcode, frame.payload[:2]), (CLOSE, b"\x03\xf0"))
            self.assertEqual(conn.receive(), "a")
            self.assert_ends(conn.receive, 1008, ProtocolError)

    def test_many_pings_at_once(self) -> None:
        """Of many pings the last 16 are answered, as in a read: one thread looks after every connection."""
        conn, peer = self.peer()
        peer.send(b"".join(peer.frame(PING, bytes([number])) for number in range(100)))
        self.look(conn, lambda: conn._wire._transport._sent)
        self.assertEqual([peer.receive_frame().payload[0] for _ in range(16)], list(range(84, 100)))
        self.assertRaises(ReadTimeout, conn.receive, 0)

    def test_a_flood_is_judged_before_it_is_answered(self) -> None:
        """No ping of those that are too many is answered."""
        conn, peer = self.peer(control_limit=10, control_rate=1)
        peer.send(peer.frame(PING) * 20)
        self.look(conn, lambda: conn.closed)
        self.assertEqual(peer.receive_close()[0], 1008)

    def test_what_a_read_has_counted(self) -> None:
        """Pings that a read has counted and left there, as its time was over, count once, and later ones are
        answered."""
        for kind in (PING, PONG):
            conn, peer = self.peer(control_limit=110, control_rate=1)
            conn._inbound.intake._read_size = conn._inbound.intake._most  # so that one read takes them all
            peer.send(peer.frame(TEXT, "a") + peer.frame(kind) * 100)
            self.assertEqual(conn.receive(), "a")
            with mock.patch("syncws._conn.inbound._LOOKS", 1):  # else it would take them all
                self.assertRaises(ReadTimeout, conn.receive, 0)
            self.assertGreater(conn._inbound.controls.ahead, 0)
            self.look(conn)
            self.assertFalse(conn.closed)
            peer.send_frame(PING, b"later")
            self.assertRaises(ReadTimeout, conn.receive, 0.1)
            while peer.receive_frame().payload != b"later":
                pass

    def test_a_breach_waits_for_the_reader(self) -> None:
        """What breaks the rules ends the connection when it is read, with the code that it has."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a")
        peer.send_frame(3)
        peer.send_frame(PING)
        self.look_until_read(conn, 7)
        self.look(conn)
        self.assertEqual(conn.receive(5), "a")
        self.assert_ends(conn.receive, 1002, ProtocolError)
        self.assertEqual(peer.receive_close()[0], 1002)


class ClientControls(ServerControls):
    """The same for a client."""

    client = True


class ServerMessages(AttendedCase):
    """What the peer sends meanwhile arrives, whole and in order."""

    def test_no_more_than_fits(self) -> None:
        """As much is received as read_buffer_size says; the rest waits in the socket, and nothing is lost."""
        conn, peer = self.peer(read_buffer_size=1000)
        sent = [f"{number:0100}" for number in range(50)]
        for message in sent:
            peer.send_frame(TEXT, message)
        self.look_until_read(conn, 1000)
        self.look(conn)
        self.assertEqual(conn._inbound.protocol.unread, 1000)
        self.assertEqual([conn.receive(5) for _ in sent], sent)

    def test_larger_pieces(self) -> None:
        """What is received in many small pieces takes half as much again as is counted: they are larger soon."""
        conn, peer = self.peer()
        peer.send_frame(BINARY, bytes(40_000))
        asked: list[int] = []
        receive = conn._transport.receive_now
        with mock.patch.object(conn._transport, "receive_now", lambda size: asked.append(size) or receive(size)):
            self.assertTrue(await_(lambda: len(conn.socket.recv(40_008, socket.MSG_PEEK)) >= 40_004))
            self.look(conn)
        self.assertEqual(conn.receive(5), bytes(40_000))
        self.assertEqual(asked[0], 4096)
        self.assertLess(len(asked), 5)
        self.assertGreater(min(asked[1:]), 4096)

    def test_the_memory_of_the_process(self) -> None:
        """Messages that are whole and allowed, and that nobody has read yet, end no connection with 1009: once three
        quarters of the memory for unfinished messages are taken, no more is received, and TCP makes the peers wait."""
        pairs = [self.peer() for _ in range(3)]
        with unfinished._lock.made:
            unfinished._forget_the_gone()  # of earlier tests
        before = unfinished.total
        with (
            mock.patch.object(unfinished, "limit", before + 10_000),
            mock.patch("syncws._conn.attendant._FIRST", 10),
        ):
            most = unfinished.limit // 4 * 3 - before
            for conn, peer in pairs:
                peer.send(peer.frame(BINARY, bytes(5000)) + peer.frame(CLOSE, b"\x03\xe8"))
                self.assertTrue(await_(lambda conn=conn: len(conn.socket.recv(6000, socket.MSG_PEEK)) > 5000))
                self.look(conn)
            self.assertLessEqual(unfinished.total - before, most + 10)
            self.assertLess(sum(conn._inbound.protocol.unread for conn, _ in pairs), most + 11)
            for conn, _ in pairs:
                self.assertEqual(list(conn), [bytes(5000)])
        self.assertEqual(unfinished.total, before)

    def test_pings_where_memory_is_short(self) -> None:
        """Others' messages, which take all the memory for what nobody reads, keep no ping from being answered."""
        one, its_peer = self.peer()
        with mock.patch.object(unfinished, "limit", 4):
            its_peer.send_frame(BINARY, bytes(9000))
            self.look_until_read(one, 4096)
            self.look(one)
            self.assertEqual(one._inbound.protocol.unread, 4096)
            other, other_peer = self.peer()
            other_peer.send_frame(PING, b"1")
            self.look(other, lambda: other._wire._transport._sent)
            self.assertEqual(other_peer.receive_frame().payload, b"1")
        self.assertEqual(one.receive(5), bytes(9000))

    def test_who_reads_too_much_goes(self) -> None:
        """Where a message that is being read is too much for the process it goes, and none that lies there unread."""
        (busy, its_peer), (reading, other_peer) = self.peer(), self.peer(read_limit=None)
        with unfinished._lock.made:
            unfinished._forget_the_gone()
        before = unfinished.total
        with mock.patch.object(unfinished, "limit", 4 * before + 40_000):
            its_peer.send_frame(BINARY, bytes(20_000))
            self.look_until_read(busy, 20_000)
            other_peer.send(other_peer.frame(BINARY, bytes(15_000), length=1 << 20))
            task = self.start(reading.receive)
            while not reading.closed and unfinished.total - before <= 40_000:
                other_peer.send(bytes(1000))
                if await_(lambda: reading.closed, 0.05):
                    break
            self.assertIsInstance(task.error(), ReadLimitError)
            self.assertEqual(busy.receive(5), bytes(20_000))

    def test_every_kind_of_message(self) -> None:
        """Fragments, large frames and compressed ones, looked at and read in turn, in pieces of any size."""
        conn, peer = self.peer(compression=True, read_limit=None)
        expected = []
        for number in range(20):
            text = f"message {number} " * 40
            peer.send_frame(TEXT, text[:50], fin=False)
            self.look(conn)
            peer.send_frame(PING, b"between")
            peer.send_frame(0, text[50:], fin=True)
            peer.send_frame(TEXT, deflate(text.encode()), rsv1=True)
            self.look(conn)
            peer.send_frame(BINARY, text.encode() * 200, cut=5000)
            expected += [text, text, text.encode() * 200]
            got = []
            while len(got) < 3:
                try:
                    got.append(conn.receive(timeout=0))
                except ReadTimeout:
                    self.look(conn)
            self.assertEqual(got, expected[-3:])

    def test_streams(self) -> None:
        """A message that is read as a stream goes on where it was, whatever was looked at between two reads."""
        conn, peer = self.peer()
        peer.send_frame(BINARY, b"one", fin=False)
        reader = conn.next_reader(5)
        self.assertEqual(reader.read(3), b"one")
        peer.send_frame(0, b"two", fin=False)
        peer.send_frame(PING)
        self.look(conn, lambda: conn._wire._transport._sent)
        peer.send_frame(0, b"three")
        peer.send_frame(TEXT, "next")
        self.look(conn)
        self.assertEqual(reader.read(), b"twothree")
        self.assertEqual(conn.receive(5), "next")

    def test_a_stream_that_is_left(self) -> None:
        """The rest of a message that was left is skipped, also what was looked at."""
        conn, peer = self.peer()
        peer.send_frame(BINARY, b"one", fin=False)
        conn.next_reader(5)
        peer.send_frame(0, b"two")
        peer.send_frame(TEXT, "next")
        self.look_until_read(conn, 10)
        self.assertEqual(conn.receive(5), "next")

    def test_the_limit_of_a_message(self) -> None:
        """The read limit is as it was."""
        conn, peer = self.peer(read_limit=100)
        peer.send_frame(TEXT, "a")
        peer.send_frame(TEXT, "b" * 101)
        self.look_until_read(conn, 100)
        self.assertEqual(conn.receive(5), "a")
        self.assert_ends(conn.receive, 1009, ReadLimitError)
        self.assertEqual(peer.receive_close()[0], 1009)

    def test_deadlines(self) -> None:
        """A read deadline is as it was: a part of a message that was looked at does not satisfy it, nor get lost."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a", fin=False)
        self.look_until_read(conn, 3)
        self.assertRaises(ReadTimeout, conn.receive, 0.01)
        peer.send_frame(0, "b")
        self.look(conn)
        self.assertEqual(conn.receive(5), "ab")

    def test_close_read(self) -> None:
        """A message that came before close_read is one that nobody expects."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a")
        self.look_until_read(conn, 3)
        conn.close_read()
        self.assertEqual(peer.receive_close()[0], 1008)
        peer.close(1008)
        self.assertTrue(conn.wait_closed(PATIENCE))


class ClientMessages(ServerMessages):
    """The same for a client."""

    client = True


class ServerEnd(AttendedCase):
    """The end, found while nobody reads."""

    def test_the_peer_closes(self) -> None:
        """Its close is answered; sends raise it, and `closed` says so."""
        conn, peer = self.peer()
        peer.close(1001, "bye")
        self.look(conn, lambda: conn.closed)
        self.assertEqual(peer.receive_close()[0], 1001)
        end = self.assert_ends(lambda: conn.send("x"), 1001, CloseError)
        assert_same_end(self, self.assert_ends(conn.receive, 1001, CloseError), end)
        self.assertEqual(str(conn.end), "received 1001 (going away): bye; then sent 1001 (going away)")

    def test_messages_before_the_close(self) -> None:
        """What came before the end is read first, whole and in order, and then the end is raised."""
        for read in (Conn.receive, lambda conn: conn.receive(5), lambda conn: conn.next_reader().read().decode()):
            conn, peer = self.peer()
            for message in ("a", "b", "c" * 1000):
                peer.send_frame(TEXT, message)
            peer.close(1000, "bye")
            self.look(conn, lambda conn=conn: conn.closed)
            self.assertEqual(peer.receive_close(), (1000, ""))
            self.assertRaises(CloseError, conn.send, "x")
            self.assertEqual([read(conn) for _ in range(3)], ["a", "b", "c" * 1000])
            for _ in range(2):
                self.assert_ends(lambda conn=conn, read=read: read(conn), 1000, CloseError)

    def test_a_breach_before_the_close(self) -> None:
        """A breach that stands before the peer's close is raised, again and again: a loop must not end as if all was
        well, since what came after the breach is lost."""
        breaches = (
            (lambda peer: peer.frame(TEXT, "b" * 1001), 1009, ReadLimitError),
            (lambda peer: peer.frame(TEXT, b"\xff"), 1007, ProtocolError),
            (lambda peer: peer.frame(0, b"b"), 1002, ProtocolError),
        )
        for breach, code, kind in breaches:
            for end in (lambda peer: peer.send_frame(CLOSE, b"\x03\xe8"), lambda peer: peer.socket.close()):
                conn, peer = self.peer(read_limit=1000)
                peer.send(peer.frame(TEXT, "a") + breach(peer) + peer.frame(TEXT, "c"))
                end(peer)
                self.look(conn, lambda conn=conn: conn.closed)
                messages = iter(conn)
                self.assertEqual(next(messages), "a")
                error = self.assert_ends(lambda messages=messages: next(messages), code, kind)
                self.assertTrue(conn._is_own_end(error))
                self.assert_ends(conn.receive, code, kind)

    def test_half_a_message_before_the_end(self) -> None:
        """A part of a message that will never be whole is kept, and counted, no longer than until the end is read."""
        conn, peer = self.peer()
        peer.send(peer.frame(BINARY, bytes(1000), length=10_000))
        self.assertRaises(ReadTimeout, conn.receive, 0.1)
        self.assertGreater(held_by(conn), 0)
        peer.socket.close()
        self.look(conn, lambda: conn.closed)
        for _ in range(2):
            self.assert_ends(conn.receive, 1006, CloseError)
        self.assertEqual((conn._inbound.protocol.held, held_by(conn)), (0, 0))

    def test_iteration(self) -> None:
        """A loop over the messages gets them all, and ends."""
        conn, peer = self.peer()
        for message in ("a", "b"):
            peer.send_frame(TEXT, message)
        peer.close()
        self.look(conn, lambda: conn.closed)
        self.assertEqual(list(conn), ["a", "b"])

    def test_the_peer_vanishes(self) -> None:
        """The end of the stream is 1006; the descriptor is given back, and what came before is read all the same."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a")
        peer.send_frame(TEXT, "b", fin=False)
        peer.socket.close()
        self.look(conn, lambda: conn.closed)
        self.assert_released(conn)
        self.assert_ends(lambda: conn.send("x"), 1006, CloseError)
        self.assertEqual(conn.receive(), "a")
        self.assert_ends(conn.receive, 1006, CloseError)

    def test_the_peer_resets(self) -> None:
        """A reset is 1006 with its cause."""
        conn, peer = self.peer()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.socket.close()
        self.look(conn, lambda: conn.closed)
        end = self.assert_ends(conn.receive, 1006, CloseError)
        self.assertEqual(end.__cause__.errno, errno.ECONNRESET)
        self.assert_released(conn)

    def fill(self, **options: Any) -> tuple[Conn, Peer, list[bytes]]:
        """A connection whose peer has sent more than is received while nobody reads; and what it has sent."""
        conn, peer = self.peer(read_buffer_size=1000, **options)
        sent = [bytes([number]) * 700 for number in range(5)]
        for message in sent:
            peer.send_frame(BINARY, message)
        self.assertTrue(await_(lambda: len(conn.socket.recv(4000, socket.MSG_PEEK)) > 3500))
        self.look_until_read(conn, 1000)
        self.look(conn)
        self.assertEqual(conn._inbound.protocol.unread, 1000)
        return conn, peer, sent

    def test_a_reset_after_more_than_fits(self) -> None:
        """A peer that resets is found although more is unread than is received while nobody reads; all that came before
        is read first."""
        conn, peer, sent = self.fill()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.socket.close()
        self.look(conn, lambda: conn.closed)
        self.assert_ends(lambda: conn.send("x"), 1006, CloseError)
        self.assertEqual([conn.receive() for _ in sent], sent)
        self.assert_ends(conn.receive, 1006, CloseError)
        self.assert_released(conn)

    def test_a_close_after_more_than_fits(self) -> None:
        """So is a peer that closes and ends its stream; its close is the end."""
        conn, peer, sent = self.fill()
        peer.close(1001, "bye")
        peer.socket.shutdown(1)
        self.look(conn, lambda: conn.closed)
        self.assertEqual([conn.receive() for _ in sent], sent)
        self.assert_ends(conn.receive, 1001, CloseError)

    @unittest.skipUnless(sys.platform == "linux", "other systems do not tell what is acknowledged")
    def test_a_machine_that_is_gone(self) -> None:
        """A peer whose machine has gone is found although more is unread than is received: nobody acknowledges a
        ping."""
        conn, peer, sent = self.fill(ping_interval=0.05, ping_timeout=0.05)
        deafen(peer.socket)
        self.look(conn, lambda: conn.closed)
        self.assertIn("no answer to a ping", str(conn.end))
        self.assertEqual(conn.receive(), sent[0])
        self.assert_ends(conn.receive, 1006, CloseError)

    def test_a_live_peer_after_more_than_fits(self) -> None:
        """A peer that has to wait with what it sends, and cannot answer, is pinged and is not given up: its kernel
        acknowledges."""
        conn, _, sent = self.fill(ping_interval=0.02, ping_timeout=0.02)
        with mock.patch("syncws._conn.intake._ACKNOWLEDGED", 0.5):
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                self.look(conn)
                self.assertFalse(conn.closed)
                time.sleep(0.005)
        self.assertGreater(conn._transport._sent, 10)
        self.assertEqual([conn.receive(5) for _ in sent], sent)

    def test_nobody_has_room(self) -> None:
        """Two sides that both have no room for what the other sends are not dead: nothing is on its way."""
        conn, _, sent = self.fill(ping_interval=20, ping_timeout=10)
        conn.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                conn.socket.send(bytes(1 << 16))
        self.assertTrue(await_(lambda: conn._transport.unacknowledged_for() is None))
        with moved_clock(stands=True) as clock:
            for _ in range(5):
                self.look(conn)
                clock.advance(25)
        self.assertFalse(conn.closed)
        self.assertEqual([conn.receive(5) for _ in sent], sent)

    def test_a_peer_that_is_silent(self) -> None:
        """It is pinged after ping_interval, and given up ping_timeout later; messages it sent before are read."""
        conn, peer = self.peer(ping_interval=20, ping_timeout=10)
        peer.send_frame(TEXT, "a")
        with moved_clock(stands=True) as clock:
            self.look_until_read(conn, 3)
            self.look(conn)
            clock.advance(19.9)
            self.look(conn)
            self.assertEqual(conn._wire._transport._sent, 0)
            clock.advance(0.2)
            self.look(conn)
            self.assertEqual(peer.receive_frame().opcode, PING)
            clock.advance(9.9)
            self.look(conn)
            self.assertFalse(conn.closed)
            clock.advance(0.2)
            self.look(conn)
        end = self.assert_ends(lambda: conn.send("x"), 1006, CloseError)
        self.assertIn("no answer to a ping for 10 s", str(end))
        self.assertEqual(conn.receive(), "a")
        assert_same_end(self, self.assert_ends(conn.receive, 1006, CloseError), end)

    def test_a_sign_of_life(self) -> None:
        """Any byte is life: also what does not fit, and a message that nobody reads."""
        conn, peer = self.peer(ping_interval=20, ping_timeout=10, read_buffer_size=100)
        with moved_clock(stands=True) as clock:
            self.look(conn)
            for frame in ((PONG, b""), (TEXT, "x" * 50), (TEXT, "x" * 500)):
                clock.advance(25)
                self.look(conn)
                self.assertEqual(peer.receive_frame().opcode, PING)
                before = conn._inbound.protocol.unread
                peer.send_frame(*frame)
                if frame[0] is PONG:
                    self.look(conn, lambda: conn._inbound.intake.keepalive.silent_since is None)
                else:
                    self.look(conn, lambda before=before: conn._inbound.protocol.unread > before)
                self.look(conn)
            for _ in range(5):
                clock.advance(25)
                self.look(conn)  # the socket is full of what does not fit here: nothing can be said of its peer
        self.assertFalse(conn.closed)

    def test_what_the_peer_takes_is_life(self) -> None:
        """A handler that only sends, to a peer that takes it and says nothing, pings nobody."""
        conn, peer = self.peer(ping_interval=20, ping_timeout=10)
        with moved_clock(stands=True) as clock:
            for _ in range(5):
                conn.send("x" * 1000)
                self.assertEqual(peer.receive_frame().opcode, TEXT)
                self.assertTrue(await_(lambda: conn._transport.taken_by_peer() == conn._transport._sent))
                self.look(conn)
                clock.advance(15)
        self.assertFalse(conn._wire._ping_left)

    def test_without_keepalive(self) -> None:
        """With ping_interval=None nobody is pinged or given up; the peer's pings are answered, its end is found."""
        conn, peer = self.peer(ping_interval=None)
        with moved_clock(stands=True) as clock:
            self.look(conn)
            clock.advance(1000)
            self.look(conn)
            peer.send_frame(PING)
            self.look(conn, lambda: conn._wire._transport._sent)
            self.assertEqual(peer.receive_frame().opcode, PONG)
            peer.close()
            self.look(conn, lambda: conn.closed)

    def test_a_close_whose_handler_waits(self) -> None:
        """With a close handler of the application's, and TCP at its end: the close counts, its handler is called by the
        next read."""
        conn, peer = self.peer()
        seen = []
        conn.set_close_handler(lambda *arguments: seen.append(arguments))
        peer.send_frame(TEXT, "a")
        peer.close(1001, "bye")
        peer.socket.shutdown(1)
        self.look(conn, lambda: conn.closed)
        self.assert_ends(lambda: conn.send("x"), 1001, CloseError)
        self.assertEqual((conn.receive(), seen), ("a", []))
        self.assert_ends(conn.receive, 1001, CloseError)
        self.assertEqual(seen, [(1001, "bye")])
        self.assert_ends(conn.receive, 1001, CloseError)
        self.assertEqual(len(seen), 1)

    def test_a_stuck_writer_is_woken(self) -> None:
        """A thread that is stuck in a send finds the end when the peer resets."""
        conn, peer = self.peer(buffer=1 << 14)
        writing = self.start_stuck_write(conn)
        peer.socket.shutdown(1)
        self.look(conn, lambda: conn.closed)
        self.assertIsInstance(writing.error(), ConnectionClosed)
        self.assert_released(conn)

    def test_a_close_of_this_side(self) -> None:
        """After close(timeout=0) the peer's answer is found; until then sends say that this side has closed."""
        conn, peer = self.peer()
        conn.close(1000, timeout=0)
        self.assertRaises(CloseSentError, conn.send, "x")
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close(1000)
        self.look(conn, lambda: conn.closed)
        self.assert_ends(lambda: conn.send("x"), 1000, CloseError)
        self.assertEqual(conn._life.state, State.OVER)

    def test_close_after_the_end_was_found(self) -> None:
        """A handler that notices, and closes: nothing waits, and the descriptor is given back."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "unread")
        peer.close(1000)
        self.look(conn, lambda: conn.closed)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.socket.shutdown(1)
        self.start(conn.close).result()
        self.assert_released(conn)

    def test_a_dismissal(self) -> None:
        """Once this side is done with the peer, the end of its own stream is not taken for the peer's doing."""
        conn, peer = self.peer(close_timeout=60)
        conn._end_without_peer(1013, "enough")
        self.look(conn)
        self.assertEqual(conn._life.state, State.DISMISSED)
        self.assertEqual(peer.receive_close(), (1013, "enough"))
        self.assert_ends(conn.receive, 1013, CloseError)

    def test_a_dismissal_during_a_look(self) -> None:
        """The same where it comes while a look is about to receive."""
        conn, peer = self.peer(close_timeout=60)
        receive = conn._transport.receive_now

        def dismissed_before(size: int) -> bytes | None:
            conn._end_without_peer(1013, "enough")
            return receive(size)

        with mock.patch.object(conn._transport, "receive_now", dismissed_before):
            conn._attendant.attend()
        self.assertEqual(conn._life.state, State.DISMISSED)
        self.assertEqual(peer.receive_close(), (1013, "enough"))

    def test_an_answer_to_a_dismissal(self) -> None:
        """The peer's close is found also after messages that were looked at before this side was done with it."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a")
        self.look_until_read(conn, 3)
        conn._end_without_peer(1013, "enough")
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1013)
        peer.close(1013)
        peer.socket.shutdown(1)
        closing.result()


class ClientEnd(ServerEnd):
    """The same for a client."""

    client = True


class ServerTurns(AttendedCase):
    """The attendant and those who want the turn."""

    def held(self, conn: Conn) -> tuple[Task, threading.Event]:
        """An attendant that has the turn, in a thread of its own, until the event is set."""
        inside, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        look = conn._attendant._receive

        def stop(room: int) -> Any:
            inside.set()
            assert go_on.wait(PATIENCE)
            return look(room)

        self.enterContext(mock.patch.object(type(conn._attendant), "_receive", lambda attendant, room: stop(room)))
        task = Task(conn._attendant.attend)
        self.assertTrue(inside.wait(PATIENCE))
        return task, go_on

    def test_a_reader_waits_for_it(self) -> None:
        """A reader that comes while the attendant has the turn waits, and is no second reader."""
        for read in (
            Conn.receive,
            lambda conn: conn.receive(timeout=PATIENCE),
            lambda conn: conn.next_reader().read().decode(),
        ):
            conn, peer = self.peer()
            task, go_on = self.held(conn)
            reading = self.start(read, conn)
            peer.send_frame(TEXT, "a")
            time.sleep(0.01)
            self.assertTrue(reading.is_alive())
            go_on.set()
            self.assertEqual(reading.result(), "a")
            task.result()

    def test_close_read_waits_for_it(self) -> None:
        """So does close_read."""
        conn, _ = self.peer()
        task, go_on = self.held(conn)
        starting = self.start(conn.close_read)
        go_on.set()
        starting.result()
        task.result()

    def test_a_close_waits_for_it(self) -> None:
        """So does a close."""
        conn, peer = self.peer()
        task, go_on = self.held(conn)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        go_on.set()
        task.result()
        peer.close()
        peer.socket.shutdown(1)
        closing.result()
        self.assert_released(conn)

    def test_what_tls_leaves(self) -> None:
        """Where a look has left bytes of TLS itself in the transport, they leave."""
        conn, _ = self.peer()
        for pending in (False, True):
            with (
                mock.patch.object(type(conn._transport), "is_tls", True),
                mock.patch.object(type(conn._transport), "pending", pending),
                mock.patch.object(type(conn._wire), "nudge") as nudge,
            ):
                self.look(conn)
            self.assertIs(nudge.called, pending)

    def test_two_readers(self) -> None:
        """Two readers of the application's are one too many, also while the attendant tries the turn in vain."""
        conn, peer = self.peer()
        reading = self.start_reading(conn)
        for _ in range(100):
            conn._attendant.attend()
        for visits in (0, 1):
            conn._inbound.visits += visits  # as in the middle of a try
            second = self.start(conn.receive)
            conn._inbound.visits += 1 if conn._inbound.visits % 2 else 0
            self.assertIsInstance(second.error(), ConcurrencyError)
        peer.send_frame(TEXT, "a")
        self.assertEqual(reading.result(), (TEXT, "a"))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_fork_during_a_look(self) -> None:
        """The child of a fork that came during a look has a copy of the turn that nobody gives back: it waited for that
        without end, and is told whose the connection is."""
        conn, _ = self.peer()
        task, go_on = self.held(conn)
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(10)
                conn.receive(0)
            except ConcurrencyError as error:
                os._exit(0 if "parent process" in str(error) else 2)
            finally:
                os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        go_on.set()
        task.result()

    def test_a_visit_is_counted_before_the_turn_is_tried(self) -> None:
        """And again after it was let go: a reader that fails in between must see that the attendant may be inside."""
        conn, _ = self.peer()
        inbound = conn._inbound
        seen = []

        class Turn:
            locked = inbound.turn.locked

            def acquire(self, blocking: bool = True) -> bool:
                seen.append(("try", inbound.visits))
                return True

            def release(self) -> None:
                seen.append(("release", inbound.visits))

        conn._attendant.turn = inbound.turn = Turn()  # type: ignore[assignment]
        conn._attendant.attend()
        self.assertEqual((seen, inbound.visits), ([("try", 1), ("release", 1)], 2))

    def test_an_attendant_between_two_looks_of_a_reader(self) -> None:
        """A visit that begins or ends while a reader tries is no other reader: it tries again."""
        conn, _ = self.peer()
        inbound = conn._inbound
        tries = []

        class Turn:
            def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
                tries.append(blocking)
                inbound.visits += 2  # another visit has come and gone
                return len(tries) > 6

        inbound.turn = Turn()  # type: ignore[assignment]
        inbound.take_turn(None)
        self.assertEqual(len(tries), 7)

    def test_a_cut_during_a_look(self) -> None:
        """close_now during a look: the attendant gives the descriptor back as it leaves, and not before."""
        conn, _ = self.peer()
        task, go_on = self.held(conn)
        conn.close_now()
        self.assertNotEqual(conn.socket.fileno(), -1)
        go_on.set()
        task.result()
        self.assertEqual(conn.socket.fileno(), -1)

    def test_what_came_before_the_end_is_known_before_the_end(self) -> None:
        """Whoever finds the end without having the turn must find that there is something to read first."""
        for end in ("close", "flood", "vanish"):
            conn, peer = self.peer(control_limit=1)
            peer.send_frame(TEXT, "a")
            if end == "close":
                peer.close()
            elif end == "flood":
                peer.send(peer.frame(PING) * 5)
            else:
                peer.socket.shutdown(1)
            seen = []
            finish = conn._life.finish
            with mock.patch.object(
                type(conn._life),
                "finish",
                lambda life, error, conn=conn, finish=finish, seen=seen: (
                    seen.append(conn._inbound.ended_unread) or finish(error)
                ),
            ):
                self.look(conn, lambda conn=conn: conn.closed)
            self.assertTrue(seen[0])

    def test_a_reader_while_a_cut_connection_is_tidied_up(self) -> None:
        """Whoever has the turn only tidies up: a reader waits for it, if there is something to read."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a")
        peer.socket.close()
        self.look(conn, lambda: conn.closed)
        conn._inbound.turn.acquire()
        reading = self.start(conn.receive)
        time.sleep(0.01)
        self.assertTrue(reading.is_alive())
        self.assertRaises(ReadTimeout, conn.receive, 0.01)
        conn._inbound.turn.release()
        self.assertEqual(reading.result(), "a")

    def test_everybody_at_once(self) -> None:
        """Echoes while it is looked after all the time: every message comes back once, in order."""
        one, other = self.pair(ping_interval=0.05)
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                one._attendant.attend()

        one._attendant.stop()
        looking = self.start(look)

        def echo() -> None:
            for message in one:
                one.send(message)

        echoing = self.start(echo)
        for number in range(500):
            other.send(str(number))
            if number % 3 == 0:
                other.ping(b"x")
            self.assertEqual(other.receive(PATIENCE), str(number))
        closing = self.start(other.close)
        echoing.result()
        stop.set()
        looking.result()
        one.close()
        closing.result()


class ClientTurns(ServerTurns):
    """The same for a client."""

    client = True


class ServerDue(AttendedCase):
    """When there is something to do although nothing has come."""

    def test_verdicts_on_silence(self) -> None:
        """At first, and when the next verdict is due; without keepalive at first only."""
        for interval in (20.0, None):
            conn, _ = self.peer(ping_interval=interval)
            with moved_clock(stands=True) as clock:
                self.assertTrue(conn._attendant.is_due(clock.monotonic()))
                self.look(conn)
                self.assertFalse(conn._attendant.is_due(clock.monotonic() + 19.9))
                self.assertIs(conn._attendant.is_due(clock.monotonic() + 20.1), interval is not None)

    def test_after_a_read(self) -> None:
        """A reader that has heard the peer has ended the silence, and may have left something."""
        for data in (b"", b"\x89"):
            conn, peer = self.peer(ping_interval=None if data else 20.0)
            self.look(conn)
            peer.send(peer.frame(TEXT, "a") + data)
            self.assertEqual(conn.receive(5), "a")
            now = time.monotonic()
            self.assertTrue(conn._attendant.is_due(now))
            self.look(conn)
            self.assertFalse(conn._attendant.is_due(now))

    def test_under_tls(self) -> None:
        """Always: what has come may be in the codec already."""
        conn, _ = self.peer()
        self.look(conn)
        now = time.monotonic()
        self.assertFalse(conn._attendant.is_due(now))
        with mock.patch.object(type(conn._transport), "is_tls", True):
            self.assertTrue(conn._attendant.is_due(now))


class ClientDue(ServerDue):
    """The same for a client."""

    client = True


class ServerByItself(ConnCase):
    """All of it together: nobody calls the attendant but the thread that does."""

    def test_a_busy_handler(self) -> None:
        """A handler that works for several times ping_interval and ping_timeout: nobody is given up, by either side."""
        near, far = self.pair(ping_interval=0.2, ping_timeout=0.2)
        far.send("a")
        far.send("b")
        self.assertEqual(near.receive(5), "a")
        time.sleep(1.5)
        self.assertEqual((near.closed, far.closed), (False, False))
        self.assertIsNotNone(far.latency)
        self.assertEqual(near.receive(5), "b")
        near.send("c")
        self.assertEqual(far.receive(5), "c")

    def test_a_ping_that_a_reader_has_left(self) -> None:
        """A ping that came together with a message is answered, though nothing more comes."""
        for options in ({"ping_interval": None}, {}):
            conn, peer = self.peer(**options)
            time.sleep(0.01)
            peer.send(peer.frame(TEXT, "a") + peer.frame(PING, b"1"))
            self.assertEqual(conn.receive(5), "a")
            self.assertEqual(peer.receive_frame().payload, b"1")

    def test_nothing_to_do(self) -> None:
        """One to whom nothing comes is asked for, with many others at a time, and not looked after one by one."""
        quiet = [self.peer(ping_interval=None)[0], self.peer(ping_interval=20, ping_timeout=0.1)[0]]
        with mock.patch.object(Attendant, "attend", autospec=True, side_effect=Attendant.attend) as attend:
            other = self.peer(ping_interval=0.02, ping_timeout=None)[0]  # is pinged for ever
            for conn in quiet:
                conn._attendant.stop()
                conn._attendant._every = other._attendant._every
                conn._attendant.begin()
            self.assertTrue(await_(lambda: attend.call_count > 50))
            counts = [sum(call.args[0] is conn._attendant for call in attend.call_args_list) for conn in quiet]
        self.assertLessEqual(max(counts), 1)

    def test_a_peer_that_dies(self) -> None:
        """It is found while the handler works; every thread that waits for the end is woken."""
        conn, _ = self.peer(ping_interval=0.1, ping_timeout=0.1)
        waiting = [self.start(conn.wait_closed), self.start(conn.wait_closed, PATIENCE)]
        self.assertEqual([task.result() for task in waiting], [True, True])
        self.assert_ends(lambda: conn.send("x"), 1006, CloseError)

    def test_no_thread_without_a_connection(self) -> None:
        """The thread ends with the last connection."""
        for _ in range(3):
            conn, _ = self.peer()
            self.assertTrue(await_(lambda: drain._tools is not None))
            conn.close_now()
            self.assertTrue(await_(lambda: drain._tools is None))

    def test_a_connection_that_is_dropped(self) -> None:
        """Being looked after keeps nothing alive: closed and dropped, it is freed without the collector."""
        ours, theirs = socketpair()
        self.addCleanup(theirs.close)
        conn = Conn(Transport(ours), client=self.client, options=ConnOptions(ping_interval=0.02))
        reference = weakref.ref(conn)
        self.assertEqual(Peer(theirs, masked=not self.client).receive_frame().opcode, PING)
        gc.disable()
        self.addCleanup(gc.enable)
        conn.close_now()
        del conn
        self.assertTrue(await_(lambda: reference() is None))  # not while it is being looked after


class ClientByItself(ServerByItself):
    """The same for a client."""

    client = True
