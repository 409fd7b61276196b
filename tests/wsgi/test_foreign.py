"""foreign.py: TLS that a server began, in both directions at once, and what of it is left afterwards.

It is borrowed here; `tests/wsgi/test_detach_tls.py` puts what was detached through the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import ssl
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from syncws import PING, PONG, TEXT
from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws._wsgi.borrow import BorrowedTLSTransport
from syncws._wsgi.foreign import ForeignTLSTransport
from syncws.errors import CloseError, WriteTimeout
from syncws.testing import LeakChecks, await_, socketpair
from tests.certificates import contexts
from tests.tasks import PATIENCE, Task

SMALL = 1 << 16  # a socket buffer that is soon full
FULL = 1 << 22  # more than two such buffers and the window between them hold

SECRET = b"nobody is to see this " * 1000


def instant(seconds: float) -> float:
    return time.monotonic() + seconds


def receive_all(transport: Transport, count: int) -> bytes:
    """So many bytes."""
    data = bytearray()
    while len(data) < count:
        piece = transport.receive(1 << 16, PATIENCE)
        assert piece, f"{piece!r} after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)


def fill(sock: Any) -> None:
    """Send until neither the socket nor its peer has room for a byte, past any TLS."""
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.setblocking(False)

        def took() -> bool:
            try:
                return same.send(bytes(1 << 16)) > 0
            except BlockingIOError:
                return False

        while await_(took, 0.1):
            pass


class Wiretap:
    """Everything that comes in at a socket, read as it is on the wire; until its end, in a thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._task = Task(self._listen, sock)

    def _listen(self, sock: socket.socket) -> bytes:
        heard = bytearray()
        while data := socket.socket.recv(sock, 1 << 16):
            heard += data
        return bytes(heard)

    def heard(self) -> bytes:
        return bytes(self._task.result())


class TLSCase(LeakChecks):
    """A TLS connection: the server's SSLSocket with a transport over it, and a client that speaks our own TLS."""

    def make_sockets(
        self, buffer: int | None = None, version: ssl.TLSVersion | None = None
    ) -> tuple[ssl.SSLSocket, TLSTransport]:
        """(the server's SSLSocket, the client's transport), after the handshake."""
        ours, theirs = socketpair(buffer)
        server_context, client_context = contexts(version)
        client = TLSTransport(theirs, client_context, server_side=False, server_hostname="localhost")
        self.addCleanup(client.close)
        task = Task(client.handshake, instant(PATIENCE))
        server = server_context.wrap_socket(ours, server_side=True)
        self.addCleanup(server.close)
        task.result()
        return server, client

    def over(self, server: ssl.SSLSocket) -> ForeignTLSTransport:
        """The transport under test over a server's socket."""
        transport = BorrowedTLSTransport(server)
        self.addCleanup(transport.close)
        return transport

    def make(
        self, buffer: int | None = None, version: ssl.TLSVersion | None = None
    ) -> tuple[ForeignTLSTransport, TLSTransport]:
        server, client = self.make_sockets(buffer, version)
        return self.over(server), client

    def make_strict(self) -> tuple[ForeignTLSTransport, ssl.SSLSocket]:
        """The client is Python's own, and raises SSLEOFError for an end without close_notify."""
        ours, theirs = socketpair()
        task = Task(contexts()[1].wrap_socket, theirs, server_hostname="localhost", suppress_ragged_eofs=False)
        server = contexts()[0].wrap_socket(ours, server_side=True)
        self.addCleanup(server.close)
        client: ssl.SSLSocket = task.result()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        return self.over(server), client

    def wait_for_bytes(self, transport: ForeignTLSTransport) -> None:
        """Wait until something has come in at the socket."""
        self.assertTrue(await_(lambda: bool(transport._wait_readable(0))))


class TLSTests(TLSCase):
    """What holds for every TLS that is taken over. `test_detach_tls` puts its own through the same."""

    def test_both_ways(self) -> None:
        """Bytes of any size pass in both directions, in both versions of TLS."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                transport, client = self.make(SMALL, version)
                self.assertTrue(transport.is_tls)
                self.assertEqual(transport.ssl_object.version(), client.ssl_object.version())
                large = os.urandom(1 << 20)
                for near, far in ((transport, client), (client, transport)):
                    for sent in ((b"small",), (b"head", b"payload"), (b"head", large), (large, b"tail")):
                        task = Task(near.send, *sent, deadline=instant(PATIENCE), stall=PATIENCE)
                        self.assertEqual(receive_all(far, sum(map(len, sent))), b"".join(sent))
                        task.result()
                        self.assertFalse(near.pending)

    def test_both_ways_at_once(self) -> None:
        """Two threads inside it, one that reads and one that writes, each have a stream of their own."""
        transport, client = self.make(SMALL)
        there, back = os.urandom(FULL), os.urandom(FULL)
        tasks = [
            Task(transport.send, back, deadline=instant(PATIENCE)),
            Task(client.send, there, deadline=instant(PATIENCE)),
            Task(receive_all, client, len(back)),
        ]
        self.assertEqual(receive_all(transport, len(there)), there)
        self.assertEqual(tasks[2].result(), back)
        for task in tasks:
            task.result()

    def test_nothing_to_send(self) -> None:
        """A send without bytes is no send: what follows arrives as it is."""
        transport, client = self.make()
        transport.send(b"")
        transport.send(b"", b"next")
        self.assertEqual(receive_all(client, 4), b"next")

    # Reading

    def test_receive_into(self) -> None:
        """receive_into puts plain text in its place, a piece of a record at a time if need be."""
        transport, client = self.make()
        client.send(b"0123456789")
        room = bytearray(16)
        self.assertEqual(transport.receive_into(memoryview(room)[:4], PATIENCE), 4)
        self.assertEqual(transport.receive_into(memoryview(room)[4:], PATIENCE), 6)
        self.assertEqual(room, b"0123456789" + bytes(6))
        self.assertIsNone(transport.receive_into(memoryview(room), 0.01))
        client.shutdown_write()
        self.assertEqual(transport.receive_into(memoryview(room), PATIENCE), 0)

    def test_decrypted_bytes_are_not_waited_for(self) -> None:
        """What TLS has decrypted already is given although nothing more comes in at the socket."""
        transport, client = self.make()
        client.send(b"0123456789")
        self.assertEqual(transport.receive(4, PATIENCE), b"0123")
        with mock.patch.object(transport, "_wait_readable", side_effect=AssertionError("waited")):
            self.assertEqual(transport.receive(100, None), b"456789")

    def test_nothing_came(self) -> None:
        """receive gives None when the wait is over, at once for a wait of none; what comes later is not lost."""
        transport, client = self.make()
        before = time.monotonic()
        self.assertIsNone(transport.receive(100, 0.03))
        self.assertGreaterEqual(time.monotonic() - before, 0.02)
        for wait in (0.0, -5.0):
            self.assertIsNone(transport.receive(100, wait))
        self.assertFalse(transport.heard_part)
        task = Task(transport.receive, 100, None)
        client.send(b"later")
        self.assertEqual(task.result(), b"later")

    def test_dripping_record(self) -> None:
        """A peer that drips the bytes of one record gets no more time than one that is silent; it was heard, though."""
        transport, client = self.make()
        transport.receive(100, 0.01)
        ciphertext = client._encrypt(b"d" * 8000)
        stop = threading.Event()

        def drip() -> None:
            for byte in ciphertext[:-1]:
                client.socket.sendall(bytes([byte]))
                if stop.wait(0.02):
                    return

        dripping = Task(drip)
        self.addCleanup(stop.set)
        self.assertIsNone(Task(transport.receive, 100, 0.2).result())  # the whole record takes minutes
        self.assertTrue(transport.heard_part)
        stop.set()
        dripping.result()
        self.assertTrue(await_(lambda: transport.receive(100, 0.01) is None and not transport.heard_part))

    def test_records_without_text(self) -> None:
        """Nor does one that keeps TLS busy with records in which there is nothing to read."""
        transport, _ = self.make()
        empty = mock.patch.object(transport.socket, "recv", side_effect=BlockingIOError)
        with empty, mock.patch.object(transport, "_wait_readable", return_value=True):
            task = Task(transport.receive, 100, 0.05)
            self.assertIsNone(task.result())

    def test_end_of_stream(self) -> None:
        """close_notify is the end of the stream, each time one asks; the other direction goes on."""
        transport, client = self.make()
        client.shutdown_write()
        self.assertEqual(transport.receive(100, PATIENCE), b"")
        self.assertEqual(transport.receive(100, None), b"")
        transport.send(b"still there")
        self.assertEqual(receive_all(client, 11), b"still there")

    def test_end_after_our_own(self) -> None:
        """The end is found too after this side has sent its own."""
        transport, client = self.make()
        transport.shutdown_write()
        client.shutdown_write()
        self.assertEqual(transport.receive(100, PATIENCE), b"")

    def test_end_without_close_notify(self) -> None:
        """A peer that ends TCP without a close_notify, between two records or inside one, is the end as well."""
        for rest in (b"", b"\x17\x03\x03\x00\x20half"):
            with self.subTest(rest):
                transport, client = self.make()
                client.socket.sendall(rest)
                client.socket.shutdown(socket.SHUT_WR)
                self.assertEqual(transport.receive(100, PATIENCE), b"")
                self.assertEqual(transport.receive_into(memoryview(bytearray(9)), None), 0)

    def test_garbage(self) -> None:
        """Bytes that are no TLS are an OSError."""
        transport, client = self.make()
        client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with self.assertRaises(ssl.SSLError):
            transport.receive(100, PATIENCE)

    def test_reset(self) -> None:
        """A connection that the peer resets is the end of the stream or an OSError; Python's ssl decides which."""
        transport, client = self.make()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        task = Task(transport.receive, 100, None)
        client.close()
        with contextlib.suppress(OSError):
            self.assertEqual(task.result(), b"")

    # Writing

    def test_a_stuck_writer_disturbs_no_reader(self) -> None:
        """Reading goes on while a send is stuck, and shutdown wakes that."""
        transport, client = self.make(SMALL)
        writer = Task(transport.send, b"w" * FULL)
        for _ in range(20):
            client.send(b"read me", deadline=instant(PATIENCE))
            self.assertEqual(receive_all(transport, 7), b"read me")
        self.assertFalse(writer.done)
        transport.shutdown()
        self.assertRaises(OSError, writer.result)
        self.assertTrue(transport.torn)

    def test_deadline_with_nothing_sent(self) -> None:
        """WriteTimeout before there was room: nothing was offered to TLS, nothing is torn, a later send succeeds."""
        transport, _ = self.make(SMALL)
        fill(transport.socket)  # which its TLS knows nothing of
        for _ in range(3):
            with self.assertRaises(WriteTimeout):
                transport.send(b"refused", deadline=instant(0.02))
        self.assertEqual((transport.torn, transport.pending), (False, False))

    def test_deadline_in_the_first_record(self) -> None:
        """WriteTimeout when TLS was offered the frame, although the socket took nothing: torn."""
        transport, _ = self.make(SMALL)
        fill(transport.socket)
        with mock.patch.object(transport, "_has_room", return_value=True), self.assertRaises(WriteTimeout):
            transport.send(b"offered", deadline=instant(0.02))
        self.assertTrue(transport.torn)

    def test_deadline_with_an_older_rest(self) -> None:
        """WriteTimeout while an older rest waits: nothing of the new frame has left, the rest is kept, and leaves."""
        transport, client = self.make(SMALL)
        old = os.urandom(FULL)
        transport.take(old)
        with self.assertRaises(WriteTimeout):
            transport.send(b"new", deadline=instant(0.02))
        self.assertEqual((transport.torn, transport.pending), (False, True))
        reader = Task(receive_all, client, len(old) + 5)
        transport.send(b"newer", deadline=instant(PATIENCE))
        self.assertEqual(reader.result(), old + b"newer")

    def test_deadline_with_part_sent(self) -> None:
        """WriteTimeout when part has left: torn."""
        transport, _ = self.make(SMALL)
        with self.assertRaises(WriteTimeout):
            transport.send(b"p" * FULL, deadline=instant(0.1))
        self.assertTrue(transport.torn)

    def test_stall(self) -> None:
        """A peer that takes nothing fails the send after the stall limit, with ETIMEDOUT; the stream is torn."""
        transport, _ = self.make(SMALL)
        with self.assertRaises(OSError) as caught:
            transport.send(b"p" * FULL, stall=0.2)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.assertTrue(transport.torn)

    def test_slow_is_not_stalled(self) -> None:
        """A peer that reads slowly is not cut: each record it takes renews the stall limit."""
        transport, client = self.make(SMALL)
        task = Task(transport.send, b"s" * (2 * FULL), stall=0.4)
        end = instant(1.2)  # three times the limit
        while time.monotonic() < end:
            client.socket.recv(8192)
            threading.Event().wait(0.01)
        self.assertFalse(task.done)
        transport.shutdown()
        self.assertRaises(OSError, task.result)

    def test_try_send(self) -> None:
        """try_send takes a frame whatever the socket takes of it; while that waits it takes no other."""
        transport, client = self.make(SMALL)
        frame = os.urandom(FULL)
        self.assertTrue(transport.try_send(b"first"))
        self.assertTrue(transport.try_send(frame))
        self.assertTrue(transport.pending)
        self.assertFalse(transport.try_send(b"refused"))
        self.assertFalse(transport.flush())
        reader = Task(receive_all, client, 5 + FULL + 4)
        transport.flush_until(instant(PATIENCE), None)
        self.assertFalse(transport.pending)
        self.assertTrue(transport.try_send(b"next"))
        self.assertTrue(await_(transport.flush))
        self.assertEqual(reader.result(), b"first" + frame + b"next")

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs signals")
    def test_interrupt(self) -> None:
        """KeyboardInterrupt in a send that has begun tears the stream."""
        transport, client = self.make(SMALL)
        with interrupted(lambda: has_much(client)), self.assertRaises(KeyboardInterrupt):
            transport.send(b"n" * FULL)
        self.assertTrue(transport.torn)

    def test_taken_by_peer(self) -> None:
        """taken_by_peer grows with what the peer takes, and does not while it takes nothing."""
        transport, client = self.make(SMALL)
        transport.take(bytes(FULL))
        self.assertFalse(transport.flush())

        def settled() -> bool:
            before = transport.taken_by_peer()
            return not await_(lambda: transport.taken_by_peer() > before, 0.05)

        self.assertTrue(await_(settled))
        before = transport.taken_by_peer()
        receive_all(client, 1 << 17)
        self.assertTrue(await_(lambda: transport.taken_by_peer() > before))

    # The end

    def test_shutdown_wakes_a_receive(self) -> None:
        """shutdown by another thread ends a wait without limit, as the end of the stream."""
        transport, _ = self.make()
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        self.assertFalse(task.done)
        transport.shutdown()
        self.assertEqual(task.result(), b"")

    def test_shutdown_read_wakes_a_receive(self) -> None:
        """shutdown_read wakes a receive, as the end of the stream, and may be called again, also once closed."""
        transport, _ = self.make()
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        self.assertFalse(task.done)
        transport.shutdown_read()
        self.assertEqual(task.result(), b"")
        self.assertEqual(transport.receive_into(memoryview(bytearray(9)), None), 0)
        transport.shutdown_read()
        transport.close()
        transport.shutdown_read()

    def test_what_waits_at_shutdown_read_leaves_encrypted(self) -> None:
        """shutdown_read ends reading only: what waits to leave, and what is sent after it, goes through TLS."""
        transport, client = self.make(SMALL)
        frame = SECRET * (FULL // len(SECRET))
        transport.take(frame)
        transport.shutdown_read()
        self.assertEqual(transport.receive(100, None), b"")
        reader = Task(receive_all, client, len(frame) + 8)
        transport.flush_until(instant(PATIENCE), None)
        transport.send(b"farewell")
        self.assertEqual(reader.result(), frame + b"farewell")

    def test_a_read_right_after_shutdown_read(self) -> None:
        """A read that is woken as the socket is shut down finds the end without asking TLS, which goes on."""
        transport, client = self.make()
        shut_down, found = transport._tls_socket.shutdown_read, []

        def shut_down_and_read() -> None:
            shut_down()
            found.append(transport.receive(100, PATIENCE))

        with mock.patch.object(transport._tls_socket, "shutdown_read", shut_down_and_read):
            transport.shutdown_read()
        self.assertEqual(found, [b""])
        transport.send(b"farewell")
        self.assertEqual(receive_all(client, 8), b"farewell")

    def test_what_came_before_shutdown_read(self) -> None:
        """What had come by then is still given, and no wait comes before the end."""
        transport, client = self.make()
        client.send(b"0123456789")
        self.assertEqual(transport.receive(4, PATIENCE), b"0123")  # the rest is decrypted already
        transport.shutdown_read()
        self.assertEqual(transport.receive(100, None), b"456789")
        client.send(b"abc")
        self.wait_for_bytes(transport)
        self.assertEqual(transport.receive(100, None), b"abc")
        self.assertEqual(transport.receive(100, None), b"")

    def test_nothing_leaves_unencrypted(self) -> None:
        """What waits when the connection is cut is dropped, and later sends fail; none of it is on the wire."""
        for end in (Transport.shutdown, ForeignTLSTransport.shutdown_write):
            with self.subTest(end.__name__):
                transport, client = self.make(SMALL)
                transport.take(SECRET * (FULL // len(SECRET)))
                self.assertTrue(transport.pending)
                end(transport)
                wiretap = Wiretap(client.socket)
                with self.assertRaises(OSError):
                    transport.flush_until(instant(PATIENCE), None)
                transport.rest = None
                for call in (lambda t: t.send(SECRET), lambda t: t.try_send(SECRET), lambda t: t.take(SECRET)):
                    with self.assertRaises(OSError):
                        call(transport)
                transport.shutdown()
                self.assertNotIn(SECRET[:22], wiretap.heard())

    def test_close_notify(self) -> None:
        """shutdown_write sends close_notify, so that the peer's TLS can tell the end from a cut."""
        transport, client = self.make_strict()
        transport.send(b"last")
        transport.shutdown_write()
        transport.shutdown_write()  # twice does no harm
        self.assertEqual(client.recv(100), b"last")
        self.assertEqual(client.recv(100), b"")  # and no SSLEOFError

    def test_cut_without_close_notify(self) -> None:
        """shutdown alone sends none: a peer sees that it was cut off."""
        transport, client = self.make_strict()
        transport.shutdown()
        with self.assertRaises(ssl.SSLEOFError):
            client.recv(100)

    def test_nothing_raw_is_given(self) -> None:
        """Once it is cut, or closed for writing, one can wait for the end; what comes till then is never given raw."""
        for end in (Transport.shutdown, ForeignTLSTransport.shutdown_write):
            with self.subTest(end.__name__):
                transport, client = self.make()
                client.send(b"encrypted")
                client.socket.sendall(b"forged")
                client.socket.shutdown(socket.SHUT_WR)
                self.wait_for_bytes(transport)
                end(transport)
                given = []
                with contextlib.suppress(OSError):  # TLS may find the forgery
                    while data := transport.receive(100, PATIENCE):
                        given.append(data)
                self.assertIn(b"".join(given), (b"", b"encrypted"))

    def test_on_closed(self) -> None:
        """close tells, once for each time, whoever wants to know; nothing is shut down after it."""
        transport, _ = self.make()
        told: list[str] = []
        transport.on_closed = lambda: told.append("closed")
        self.assertFalse(transport.closed)
        transport.close()
        self.assertTrue(transport.closed)
        self.assertEqual(told, ["closed"])


def has_much(transport: TLSTransport) -> bool:
    """Whether more has come in at its socket than what a server says by itself after the handshake."""
    try:
        return len(transport.socket.recv(20_000, socket.MSG_PEEK | socket.MSG_DONTWAIT)) > 10_000
    except BlockingIOError:
        return False


@contextmanager
def interrupted(when: Callable[[], bool]) -> Iterator[None]:
    """KeyboardInterrupt in the block, soon after a condition holds: it is looked at every 50 ms."""

    def interrupt(*_: Any) -> None:
        if when():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class ConnTests(TLSCase):
    """A connection over TLS that was taken from a server. `test_detach_tls` puts its own through the same."""

    def make_conns(self, buffer: int | None = None, **options: Any) -> tuple[Conn, Conn]:
        """(server's, client's)"""
        transport, client_transport = self.make(buffer)
        given = ConnOptions(**options)
        server = Conn(transport, client=False, options=given)
        client = Conn(client_transport, client=True, options=given)
        self.addCleanup(client.close_now)
        self.addCleanup(server.close_now)
        return server, client

    def read_to_the_end(self, conn: Conn) -> CloseError:
        """The end that a connection's reader sees; it closes then, as a handler does."""
        with self.assertRaises(CloseError) as caught, conn:
            while True:
                conn.receive(PATIENCE)
        return caught.exception

    def test_messages_of_every_size(self) -> None:
        """What is sent comes back, whether it is empty or a megabyte long, while pings pass in both directions."""
        server, client = self.make_conns(SMALL, read_limit=None)

        def echo() -> None:
            for message in server:
                server.send(message)

        handler = Task(echo)
        pongs = threading.Event()
        client.set_pong_handler(lambda _: pongs.set())
        for message in ("", "short", b"\0" * 125, b"\0" * 126, "x" * 70_000, os.urandom(1 << 20)):
            client.ping(b"passes by")
            sending = Task(client.send, message)
            self.assertEqual(client.receive(PATIENCE), message)
            sending.result()
        self.assertTrue(pongs.is_set())
        client.close()
        handler.result()
        self.assertEqual(server.end.code, 1000)  # type: ignore[union-attr]

    def test_control_frames_pass_a_long_message(self) -> None:
        """A ping is answered between the fragments of a message that is being written."""
        server, client = self.make_conns(write_buffer_size=4)
        answered = threading.Event()
        client.set_pong_handler(lambda _: answered.set())
        reading = Task(client.receive, PATIENCE)
        serving = Task(server.receive, PATIENCE)
        with server.next_writer(TEXT) as writer:
            writer.write("first ")
            client.write_control(PING, b"now")
            self.assertTrue(answered.wait(PATIENCE))
            server.write_control(PONG, b"unasked")
            writer.write("last")
        self.assertEqual(reading.result(), "first last")
        client.send("done")
        self.assertEqual(serving.result(), "done")

    def test_closing_handshake(self) -> None:
        """Either side closes, and both know how it ended."""
        for closer in (0, 1):
            with self.subTest(closer=closer):
                conns = self.make_conns()
                reading = Task(self.read_to_the_end, conns[1 - closer])
                conns[closer].close(4000, "enough")
                end = reading.result()
                self.assertEqual((end.code, end.reason), (4000, "enough"))

    def test_close_now_wakes_a_read(self) -> None:
        """close_now by another thread ends a read that waits, and the peer sees 1006."""
        server, client = self.make_conns()
        reading = Task(server.receive)
        self.assertTrue(await_(server._inbound.turn.locked))
        server.close_now()
        self.assertEqual(reading.error().code, 1006)  # type: ignore[attr-defined]
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1006)

    def test_a_read_timeout_costs_nothing(self) -> None:
        """After a ReadTimeout the connection goes on, and so it does after a WriteTimeout with nothing sent."""
        server, client = self.make_conns(SMALL)
        with self.assertRaises(TimeoutError):
            server.receive(timeout=0.01)
        # The peer does not read; its system may take more a moment later, so it is filled until it stays full.
        while await_(lambda: server.queued == (0, 0), 0.2):
            server.send_nowait(bytes(4096))
        with self.assertRaises(WriteTimeout):
            server.send("refused", timeout=0.02)
        client.send("still there")
        self.assertEqual(server.receive(PATIENCE), "still there")
        reader = Task(self.read_to_the_end, client)
        server.send("sent after all", timeout=PATIENCE)
        server.close()
        self.assertEqual(reader.result().code, 1000)

    def test_an_overflow_leaves_nothing_unencrypted(self) -> None:
        """A peer that does not read is dismissed (1013): what is still sent to it is encrypted, like all before."""
        server, client = self.make_conns(SMALL, send_queue=2, close_timeout=PATIENCE)
        with self.assertRaises(CloseError):
            while True:
                server.send_nowait(SECRET)
        wiretap = Wiretap(client.socket)
        self.assertTrue(await_(lambda: not server.transport.pending), "nothing left")
        server.close_now()
        self.assertNotIn(SECRET[:22], wiretap.heard())

    def test_the_peer_sees_a_dismissal(self) -> None:
        """A peer that does read what was left gets it whole, and then the close."""
        server, client = self.make_conns(SMALL, send_queue=2, close_timeout=PATIENCE)
        sent = 0
        with self.assertRaises(CloseError):
            while server.send_nowait(SECRET):
                sent += 1
            server.send_nowait(SECRET)
        received = 0
        with self.assertRaises(CloseError) as caught:
            while True:
                self.assertEqual(client.receive(PATIENCE), SECRET)
                received += 1
        self.assertEqual(caught.exception.code, 1013)
        self.assertGreater(received, 0)
        self.assertLessEqual(received, sent)


if __name__ == "__main__":
    unittest.main()
