"""wire.py: the six rules of writing, one class each; how a wire ends; and everything at once."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import signal
import socket
import sys
import threading
import time
import unittest
from unittest import mock

from syncws._base.options import ConnOptions
from syncws._conn import wire as wire_module
from syncws._conn.queue import _NO_FRAMES, SendQueue
from syncws._conn.states import Life, State
from syncws._conn.tally import Tally
from syncws._conn.wire import Wire, acquire_until, post_to_wires
from syncws._frames.frame import FIN
from syncws._frames.payloads import format_close_message
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws.errors import CloseCode, CloseError, CloseSentError, ConnectionClosed, MessageType, WriteTimeout
from syncws.testing import Frame, LeakChecks, Peer, ScriptedSocket, await_, socketpair
from tests.certificates import contexts
from tests.conn.cases import HookedLock
from tests.tasks import PATIENCE, Task, assert_same_end

BINARY = FIN | MessageType.BINARY
PING = FIN | MessageType.PING
CLOSE = FIN | MessageType.CLOSE
BEGIN, CONTINUE, END = MessageType.BINARY, 0, FIN  # the fragments of a message

SMALL = 4096  # a socket buffer that is soon full
LARGE = bytes(1 << 22)  # more than two such buffers and the window between them hold

BYE = format_close_message(1000, "bye")
EAGAIN = BlockingIOError(errno.EAGAIN, "no room")

#: For how long the stress tests run; more finds more.
STRESS_SECONDS = float(os.environ.get("SYNCWS_STRESS_SECONDS", "2"))


def instant(seconds):
    return time.monotonic() + seconds


def data(payload):
    return Frame(MessageType.BINARY, payload)


def pong(payload):
    return Frame(MessageType.PONG, payload)


def ping(payload):
    return Frame(MessageType.PING, payload)


def closing(payload=BYE):
    return Frame(MessageType.CLOSE, payload)


def frame(payload):
    """A frame as a server posts it."""
    return b"".join(wire_module.encode(BINARY, payload, False))


class FromBytes:
    """Stands for the socket of a `Peer`: recv gives bytes that are there already."""

    def __init__(self, sent):
        self._sent = bytes(sent)

    def settimeout(self, seconds):
        pass

    def recv(self, size):
        piece, self._sent = self._sent[:size], self._sent[size:]
        return piece


def frames_in(sent):
    """The frames of a stream, which must end with a whole frame."""
    found, peer = [], Peer(FromBytes(sent), masked=False)
    while True:
        try:
            found.append(peer.receive_frame())
        except EOFError:
            assert not peer._buffer, "the stream ends inside a frame"
            return found


class GatedSocket(ScriptedSocket):
    """A scripted socket in which a send can be stopped: it says `inside` and goes on when `go_on` is set."""

    def __init__(self, **script):
        super().__init__(**script)
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.stop_next = False

    def _take(self, sent):
        if self.stop_next:
            self.stop_next = False
            self.inside.set()
            assert self.go_on.wait(10)
        return super()._take(sent)


class Cases(LeakChecks):
    """Wires over scripted and over real sockets."""

    def make_wire(self, transport, client=False, stall=None, **options):
        self.stalled, self.overflowed, self.left = [], [], []
        defaults = {"send_queue": 10_000, "send_queue_bytes": 1 << 30, "ping_interval": None}
        if stall is not None:
            defaults |= {"ping_interval": stall / 2, "ping_timeout": stall / 2}
        given = ConnOptions(**{**defaults, **options})
        wire = Wire(transport, Life(), given, Tally(SendQueue(given)), client=client)
        wire.set_callbacks(
            on_stall=self.stalled.append,
            on_overflow=lambda: self.overflowed.append(True),
            on_left=lambda: self.left.append(threading.current_thread()),
        )
        # What a connection does at its end; a descriptor is forgotten before it is closed.
        self.addCleanup(transport.close)
        self.addCleanup(lambda: wire_module.drain.forget(transport.fileno()))
        self.addCleanup(transport.shutdown)
        return wire

    def scripted(self, room=(), **options):
        """(wire, socket): the socket takes what room says."""
        sock = GatedSocket(room=list(room))
        wire = self.make_wire(Transport(sock), **options)
        sock.calls.clear()
        return wire, sock

    def real(self, buffer=SMALL, **options):
        """(wire, peer): over TCP."""
        ours, theirs = socketpair(buffer)
        self.addCleanup(theirs.close)
        return self.make_wire(Transport(ours), **options), Peer(theirs, masked=True)

    def stuck(self, **options):
        """(wire, peer): over TCP, the socket full of a frame, LARGE, of which a rest waits."""
        wire, peer = self.real(**options)
        self.assertTrue(wire.post(frame(LARGE)))
        self.assertTrue(wire._transport.pending)
        return wire, peer

    def expect(self, peer, *frames):
        for expected in frames:
            got = peer.receive_frame()
            if got != expected:  # assertEqual would print megabytes
                self.fail(f"expected {str(expected)[:80]}, got {str(got)[:80]}")

    def no_drain(self):
        """Fail the test if anything goes to the drain thread."""
        return mock.patch.object(wire_module.drain, "watch", side_effect=AssertionError("went to the drain thread"))


class WhatWaitsTests(Cases):
    """Rule 1: what waits is a control record, of the latest frames only, and the send queue."""

    def test_pong_replaces_pong(self):
        """Only the latest ping is answered when answers had to wait (RFC 6455 section 5.5.3)."""
        wire, sock = self.scripted()
        with wire.frame_lock:
            wire.pong(b"1")
            wire.pong(b"2")
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [pong(b"2")])

    def test_every_ping_is_answered_while_nobody_writes(self):
        """While the wire is free each pong leaves at once (Autobahn 2.10)."""
        wire, sock = self.scripted()
        with self.no_drain():
            for number in range(10):
                wire.pong(b"%d" % number)
        self.assertEqual(frames_in(sock.sent), [pong(b"%d" % number) for number in range(10)])

    def test_waiting_ping_is_replaced(self):
        """A ping that still waits is replaced by the next."""
        wire, sock = self.scripted()
        with wire.frame_lock:
            wire.ping(b"1")
            wire.ping(b"2")
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [ping(b"2")])

    def test_first_close_counts(self):
        """A second close changes nothing, before or after the first has left."""
        wire, sock = self.scripted()
        with wire.frame_lock:
            wire.queue_close(BYE)
            wire.queue_close(format_close_message(1001))
        wire.flush_soon()
        wire.queue_close(format_close_message(1002))
        self.assertEqual(frames_in(sock.sent), [closing()])
        self.assertEqual(wire._life.closings, (("sent", 1000, "bye"),))

    def test_queue_is_counted(self):
        """queued tells how many messages and bytes wait."""
        wire, _ = self.scripted()
        with wire.frame_lock:
            wire.post(frame(b"12345"))
            wire.post(frame(b"67"))
            self.assertEqual(wire.queued, (2, 7 + 4))
        wire.flush_soon()
        self.assertEqual(wire.queued, (0, 0))

    def test_round_trip(self):
        """A pong that answers our latest ping tells the round trip, once; any other tells nothing."""
        wire, _ = self.scripted()
        self.assertIsNone(wire.round_trip(b""))
        before = time.monotonic()
        wire.ping(b"p")
        self.assertIsNone(wire.round_trip(b"other"))
        trip = wire.round_trip(b"p")
        self.assertGreaterEqual(trip, 0)
        self.assertLessEqual(trip, time.monotonic() - before)
        self.assertIsNone(wire.round_trip(b"p"))


class RestTests(Cases):
    """Rule 2: nothing passes the rest of a frame."""

    def test_nothing_passes(self):
        """Whatever comes while a frame is half sent leaves after it, in one piece."""
        wire, peer = self.stuck()
        wire.pong(b"pong")
        wire.ping(b"ping")
        self.assertTrue(wire.post(frame(b"post")))
        writer = Task(wire.send, BINARY, b"write", None)
        self.expect(peer, data(LARGE), pong(b"pong"), ping(b"ping"), data(b"post"), data(b"write"))
        writer.result()

    def test_cut_anywhere(self):
        """Frames arrive whole and in order, wherever the socket cuts them and whichever thread goes on with them."""
        script = random.Random(2)
        for _ in range(60):
            room = [script.choice([0, 1, 2, 3, 7, EAGAIN]) or EAGAIN for _ in range(40)]
            wire, sock = self.scripted(room=room)
            expected = []
            for number in range(12):
                payload = b"%d" % number * script.randrange(1, 9)
                if script.random() < 0.5:
                    wire.send(BINARY, payload, instant(60))
                else:
                    self.assertTrue(wire.post(frame(payload)))
                expected.append(data(payload))
            self.assertTrue(await_(lambda wire=wire: not wire._transport.pending and not wire._look_again))
            with wire.frame_lock:
                self.assertEqual(frames_in(sock.sent), expected)
            self.assertTrue(await_(lambda: not wire_module.drain._watched))  # none of the next round's descriptors


class OrderTests(Cases):
    """Rule 3: the order is rest, pong, ping, queue, close, then the writer's own frame."""

    def test_order_of_what_waits(self):
        """pong, ping, posts in their order, close: whatever the order they came in."""
        wire, sock = self.scripted()
        with wire.frame_lock:
            wire.post(frame(b"1"))
            wire.post(frame(b"2"))
            wire.ping(b"ping")
            wire.pong(b"pong")
            wire.queue_close(BYE)
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [pong(b"pong"), ping(b"ping"), data(b"1"), data(b"2"), closing()])

    def test_a_writer_sends_what_waits_first(self):
        """A blocking writer sends all that waits, and then its own."""
        wire, sock = self.scripted()
        wire.frame_lock.acquire()
        writer = Task(wire.send, BINARY, b"own", None)
        wire.post(frame(b"post"))
        wire.pong(b"pong")
        with self.no_drain():
            wire.frame_lock.release()
            writer.result()
        self.assertEqual(frames_in(sock.sent), [pong(b"pong"), data(b"post"), data(b"own")])

    def test_posts_before_a_close_leave(self):
        """What was posted before a close leaves before it, also from a stuck socket."""
        wire, peer = self.stuck()
        for number in range(5):
            wire.post(frame(b"%d" % number))
        wire.queue_close(BYE)
        with self.assertRaises(CloseSentError):
            wire.post(frame(b"late"))
        self.expect(peer, data(LARGE), *[data(b"%d" % number) for number in range(5)], closing())
        self.assertTrue(await_(lambda: bool(wire._life.closings)))

    def test_a_waiting_writer_is_refused_by_a_close(self):
        """A writer that waits for another's frame when this side closes sends the close, not its frame."""
        wire, sock = self.scripted()
        sock.stop_next = True
        first = Task(wire.send, BINARY, b"first", None)
        self.assertTrue(sock.inside.wait(10))
        second = Task(wire.send, BINARY, b"second", None)
        wire.queue_close(BYE)
        sock.go_on.set()
        first.result()
        self.assertRaises(CloseSentError, second.result)
        self.assertEqual(frames_in(sock.sent), [data(b"first"), closing()])

    def test_own_order(self):
        """Posts and writes of one thread leave in the order it made them, with seven others doing the same."""
        wire, peer = self.real()
        threads, rounds = 8, 60

        def work(number):
            script = random.Random(number)
            for count in range(rounds):
                payload = b"%d:%d:" % (number, count) + bytes(script.choice([0, 10, 2000]))
                if script.random() < 0.6:
                    assert wire.post(frame(payload))
                else:
                    wire.send(BINARY, payload, instant(60))

        tasks = [Task(work, number) for number in range(threads)]
        seen = dict.fromkeys(range(threads), 0)
        for _ in range(threads * rounds):
            number, count = map(int, peer.receive_frame().payload.split(b":")[:2])
            self.assertEqual(count, seen[number])
            seen[number] += 1
        for task in tasks:
            task.result()


class OpenMessageTests(Cases):
    """Rule 4: posts wait while a fragmented message is open."""

    def test_a_fragment_that_never_left_opens_nothing(self):
        """A first fragment whose deadline passed before any of it left is no open message: others may begin."""
        wire, sock = self.scripted(room=[EAGAIN, EAGAIN])
        self.assertRaises(WriteTimeout, wire.send, BEGIN, b"late", instant(-1))
        self.assertTrue(wire.send(BINARY, b"whole", None))
        self.assertEqual(frames_in(sock.sent), [data(b"whole")])

    def test_posts_wait_for_the_last_fragment(self):
        """A post inside a fragmented message leaves right after its last fragment; control frames pass."""
        wire, sock = self.scripted()
        with self.no_drain():  # it is not the socket that they wait for
            wire.send(BEGIN, b"a", None)
            self.assertTrue(wire.post(frame(b"post")))
            wire.pong(b"pong")
            wire.send(CONTINUE, b"b", None)
            self.assertTrue(wire.post(frame(b"post 2")))
            wire.ping(b"ping")
            wire.send(PING, b"own ping", None)
            self.assertEqual(wire.queued[0], 2)
            wire.send(END, b"c", None)
            self.assertEqual(wire.queued[0], 0)
        self.assertEqual(
            frames_in(sock.sent),
            [
                Frame(2, b"a", fin=False),
                pong(b"pong"),
                Frame(0, b"b", fin=False),
                ping(b"ping"),
                ping(b"own ping"),
                Frame(0, b"c"),
                data(b"post"),
                data(b"post 2"),
            ],
        )

    def test_no_message_inside_another(self):
        """A frame that would begin a message inside a fragmented one is not sent: send returns False."""
        wire, sock = self.scripted()
        self.assertTrue(wire.send(BEGIN, b"a", None))
        for first in (BEGIN, BINARY, FIN | MessageType.TEXT):
            self.assertFalse(wire.send(first, b"x", None))
        for first in (PING, FIN | MessageType.PONG, CONTINUE, END, BINARY):
            self.assertTrue(wire.send(first, b"b", None))
        self.assertEqual([each.opcode for each in frames_in(sock.sent)], [2, 9, 10, 0, 0, 2])

    def test_post_as_the_last_fragment_leaves(self):
        """A post that comes while the last fragment is on its way is not forgotten."""
        wire, sock = self.scripted()
        wire.send(BEGIN, b"a", None)
        sock.stop_next = True
        last = Task(wire.send, END, b"b", None)
        self.assertTrue(sock.inside.wait(10))
        self.assertTrue(wire.post(frame(b"post")))
        sock.go_on.set()
        last.result()
        self.assertEqual(frames_in(sock.sent)[-1], data(b"post"))

    def test_waits_on_a_stuck_socket(self):
        """The same over a socket that is stuck between the fragments."""
        wire, peer = self.real()
        wire.send(BEGIN, b"a", None)
        middle = Task(wire.send, CONTINUE, LARGE, None)
        self.assertTrue(await_(lambda: wire._transport.pending))
        self.assertTrue(wire.post(frame(b"post")))
        wire.pong(b"pong")
        self.expect(peer, Frame(2, b"a", fin=False), Frame(0, LARGE, fin=False), pong(b"pong"))
        middle.result()
        wire.send(END, b"c", None)
        self.expect(peer, Frame(0, b"c"), data(b"post"))

    def test_close_ends_an_open_message(self):
        """A close passes; posts that waited for the end of the message are dropped, as nothing may follow a close."""
        wire, sock = self.scripted()
        wire.send(BEGIN, b"a", None)
        wire.post(frame(b"post"))
        wire.queue_close(BYE)
        self.assertEqual(frames_in(sock.sent), [Frame(2, b"a", fin=False), closing()])
        self.assertEqual(wire.queued, (0, 0))
        with self.assertRaises(CloseSentError):
            wire.send(END, b"b", None)
        self.assertEqual(len(frames_in(sock.sent)), 2)

    def test_first_fragment_that_failed(self):
        """A first fragment of which nothing has left opens no message."""
        wire, peer = self.stuck()
        with self.assertRaises(WriteTimeout):
            wire.send(BEGIN, b"a", instant(0.02))
        self.assertTrue(wire.post(frame(b"post")))
        self.expect(peer, data(LARGE), data(b"post"))


class LostWakeUpTests(Cases):
    """Rule 5: a thread that releases the frame lock looks again."""

    HOLDERS = {
        "send": lambda wire: wire.send(BINARY, b"own", None),
        "post": lambda wire: wire.post(frame(b"own")),
        "pong": lambda wire: wire.pong(b"own"),
        "ping": lambda wire: wire.ping(b"own"),
        "flush": lambda wire: wire.flush(instant(10), finish=False),
        "half_close": lambda wire: wire.half_close(),
        "the drain thread": lambda wire: wire._continue(),
    }

    def test_what_comes_before_the_lock_is_let_go(self):
        """A post, a pong, a ping or a close that found the lock taken still leaves, without the drain thread."""
        for name, hold in self.HOLDERS.items():
            for came, call in {
                data(b"post"): lambda wire: self.assertTrue(wire.post(frame(b"post"))),
                pong(b"pong"): lambda wire: wire.pong(b"pong"),
                ping(b"ping"): lambda wire: wire.ping(b"ping"),
                closing(): lambda wire: wire.queue_close(BYE),
            }.items():
                with self.subTest(holder=name, came=came), self.no_drain():
                    wire, sock = self.scripted()
                    wire.frame_lock = HookedLock(functools.partial(call, wire))
                    hold(wire)
                    self.assertEqual(frames_in(sock.sent)[-1], came)
                    self.assertFalse(wire.frame_lock.locked())

    def test_what_the_reader_leaves_as_a_writer_leaves(self):
        """What TLS has to say is announced before the lock is tried: the holder that is just leaving sees it."""

        class Answering(Transport):
            """As under TLS: the reader has left bytes in the codec, of which `rest` does not tell."""

            answer = b"an answer"
            pending = property(lambda self: bool(self.rest or self.answer))

            def flush(self):
                answer, self.answer = self.answer, b""
                if answer:
                    self._offer(answer)
                return super().flush()

        sock = GatedSocket()
        wire = self.make_wire(Answering(sock))
        lock = wire.frame_lock

        class Contended:
            """The holder lets go, and looks, right after another thread has tried the lock."""

            locked, release = lock.locked, lock.release

            @staticmethod
            def acquire(*arguments, **keywords):
                wire.frame_lock = lock
                wire.flush_if_needed()
                return False

        wire.frame_lock = Contended
        wire.nudge()
        self.assertEqual(sock.sent, b"an answer")

    def test_what_comes_while_one_waits_for_its_turn(self):
        """So does what found the lock taken by a thread that only waited for those before it."""
        wire, sock = self.scripted()
        wire.frame_lock = lock = HookedLock(lambda: wire.pong(b"pong"))
        lock.acquire()
        waiting = Task(wire.wait_for_turn, None)
        lock._lock.release()  # by the thread that came before: not the release that the hook is for
        waiting.result()
        self.assertEqual(frames_in(sock.sent), [pong(b"pong")])

    def test_rest_of_others_when_a_writer_gives_up(self):
        """A writer that gives up hands the rest it found, and what waits, back to the drain thread."""
        for waiting in (False, True):
            with self.subTest(waiting=waiting):
                wire, peer = self.stuck()
                wire.frame_lock.acquire()
                writer = Task(wire.send, BINARY, b"own", instant(0.1))
                # The drain thread finds the lock taken and lets the socket be: it is up to the writer now.
                self.assertTrue(wire._continue())
                wire_module.drain.forget(wire._transport.fileno())
                if waiting:
                    self.assertTrue(wire.post(frame(b"post")))
                wire.frame_lock.release()
                self.assertRaises(WriteTimeout, writer.result)
                self.expect(peer, data(LARGE), *[data(b"post")] * waiting)
                self.assertIs(wire._life.state, State.OPEN)

    def test_interrupted_writer(self):
        """A writer that is interrupted while it waits for the rest does the same."""
        wire, peer = self.stuck()
        wire_module.drain.forget(wire._transport.fileno())

        def interrupt(*_):
            raise KeyboardInterrupt

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with self.assertRaises(KeyboardInterrupt):
            wire.send(BINARY, b"own", None)
        self.assertIs(wire._life.state, State.OPEN)
        self.assertTrue(wire.post(frame(b"post")))
        self.expect(peer, data(LARGE), data(b"post"))

    def test_readers_ciphertext(self):
        """Under TLS, ciphertext that the reader leaves while another thread writes is sent by that thread."""
        wire, sock = self.scripted()
        transport = wire._transport
        answer = bytearray()  # stands for the outgoing buffer of TLS

        class Pending(type(transport)):
            pending = property(lambda self: bool(answer))

            def flush(self):
                sock.sent.extend(answer)
                answer.clear()
                return True

        transport.__class__ = Pending

        def reader():
            answer.extend(frame(b"answer"))
            wire.nudge()

        wire.frame_lock = HookedLock(reader)
        with self.no_drain():
            wire.send(BINARY, b"own", None)
        self.assertEqual(frames_in(sock.sent), [data(b"own"), data(b"answer")])

    def test_two_threads_at_the_lock(self):
        """Two threads let frames wait at the same time, again and again: no frame is ever left waiting."""
        wire, sock = self.scripted()
        barrier = threading.Barrier(2)
        rounds = 300

        def work(number):
            for _ in range(rounds):
                barrier.wait(10)
                wire.post(frame(b"%d" % number))
                barrier.wait(10)
                assert not wire._queue, "left behind"

        with self.no_drain():
            tasks = [Task(work, number) for number in range(2)]
            for task in tasks:
                task.result()
        self.assertEqual(len(frames_in(sock.sent)), 2 * rounds)


class DrainThreadTests(Cases):
    """Rules 5 and 6: what a full socket leaves goes to the drain thread, which never waits."""

    def test_delivers_all_when_the_peer_reads(self):
        """Posts to a stuck peer wait, and arrive in order once it reads, although no thread of ours writes any more."""
        wire, peer = self.stuck()
        payloads = [b"%d" % number * 300 for number in range(500)]
        for payload in payloads:
            self.assertTrue(wire.post(frame(payload)))
        self.assertGreater(wire.queued[0], 490)
        self.expect(peer, data(LARGE), *map(data, payloads))
        self.assertEqual(wire.queued, (0, 0))
        self.assertTrue(await_(lambda: wire._queue._frames is _NO_FRAMES), "an empty queue keeps its memory")

    def test_never_waits_for_the_lock(self):
        """The drain thread that finds the frame lock taken goes away at once; the holder takes over."""
        wire, peer = self.stuck()
        wire.post(frame(b"post"))
        wire.frame_lock.acquire()
        self.assertTrue(Task(wire._continue).result())
        peer._buffer += peer.socket.recv(1 << 16)  # room: the drain thread is woken, and goes away
        self.assertTrue(await_(lambda: not wire_module.drain._watched))
        wire.frame_lock.release()
        wire.flush_soon()
        self.expect(peer, data(LARGE), data(b"post"))

    def test_post_never_waits(self):
        """Neither a stuck socket nor a writer stuck in it holds up a post, a ping, a pong, a close."""
        wire, peer = self.real()
        writer = Task(wire.send, BINARY, LARGE, None)
        self.assertTrue(await_(lambda: wire._transport.pending))
        self.assertTrue(Task(wire.post, frame(b"post")).result())
        Task(wire.ping, b"ping").result()
        Task(wire.pong, b"pong").result()
        Task(wire.queue_close, BYE).result()
        Task(wire.half_close).result()
        self.expect(peer, data(LARGE), pong(b"pong"), ping(b"ping"), data(b"post"), closing())
        writer.result()

    def test_no_thread_to_be_had(self):
        """Where the drain thread cannot be started nothing is raised; the next post tries again."""
        wire, peer = self.real()
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError),
            self.assertLogs("syncws.conn", "ERROR"),
        ):
            self.assertTrue(wire.post(frame(LARGE)))
        self.assertTrue(wire.post(frame(b"next")))
        self.expect(peer, data(LARGE), data(b"next"))

    def test_turned_away_by_who_called_it(self):
        """Room in the socket that comes before the thread that asked for the drain releases the lock is not missed."""
        wire, peer = self.real()
        watch = wire_module.drain.watch
        turned_away = []

        def watch_and_come(fd, flush):
            if len(turned_away) < 2:  # of the post itself, and of its second look
                turned_away.append(Task(flush).result())
            else:
                watch(fd, flush)

        with mock.patch.object(wire_module.drain, "watch", watch_and_come):
            self.assertTrue(wire.post(frame(LARGE)))
        self.assertEqual(turned_away, [True, True])
        self.expect(peer, data(LARGE))

    def test_a_holder_that_lets_go_meanwhile(self):
        """The drain thread that finds the frame lock taken looks once more, and writes if it is free by then."""
        wire, peer = self.stuck()
        wire.post(frame(b"post"))
        lock = wire.frame_lock
        wire.frame_lock = mock.Mock(acquire=mock.Mock(side_effect=[False, True]))
        self.assertFalse(wire._continue())  # the socket is full as before
        wire.frame_lock = lock
        self.expect(peer, data(LARGE), data(b"post"))

    def test_closed_before_it_comes(self):
        """The drain thread leaves a transport alone that was closed meanwhile."""
        wire, _ = self.stuck()
        transport = wire._transport
        with wire.frame_lock:
            wire_module.drain.forget(transport.fileno())
            transport.shutdown()
            transport.close()
        self.assertTrue(wire._continue())
        wire.flush_soon()
        wire.half_close()
        wire.flush(instant(1), finish=True)


class OverflowTests(Cases):
    """The send queue is bounded."""

    def fill(self, wire, count, payload=b"12345"):
        """Post so many while the wire is held; returns what each post returned."""
        return [wire.post(frame(payload + b"%d" % number)) for number in range(count)]

    def test_close(self):
        """overflow="close": the post is refused, counted, and the connection is told, with no lock held."""
        wire, _ = self.scripted(send_queue=3)

        def overflowed():
            self.assertFalse(wire._life.lock.locked())
            wire.queue_close(format_close_message(CloseCode.TRY_AGAIN_LATER))

        wire._on_overflow = overflowed
        with wire.frame_lock, self.assertLogs("syncws.conn", "INFO") as logged:
            self.assertEqual(self.fill(wire, 4), [True, True, True, False])
            self.assertRaises(CloseSentError, wire.post, frame(b"x"))
        self.assertEqual(wire.dropped, 1)
        self.assertEqual(len(logged.output), 1)

    def test_drop_newest(self):
        """overflow="drop_newest": the post is refused and counted; what waits leaves."""
        wire, sock = self.scripted(send_queue=3, overflow="drop_newest")
        with wire.frame_lock, self.assertLogs("syncws.conn", "INFO"):
            self.assertEqual(self.fill(wire, 6), [True, True, True, False, False, False])
        self.assertEqual(wire.dropped, 3)
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [data(b"12345%d" % number) for number in range(3)])
        self.assertEqual(self.overflowed, [])

    def test_drop_oldest(self):
        """overflow="drop_oldest": the post is taken, and as many of the oldest as need be are dropped and counted."""
        wire, sock = self.scripted(send_queue=3, overflow="drop_oldest")
        with wire.frame_lock, self.assertLogs("syncws.conn", "INFO"):
            self.assertEqual(self.fill(wire, 6), [True] * 6)
            self.assertEqual(wire.queued, (3, 3 * 8))
        self.assertEqual(wire.dropped, 3)
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [data(b"12345%d" % number) for number in range(3, 6)])
        self.assertEqual(self.overflowed, [])

    def test_drop_oldest_by_bytes(self):
        """A large message makes room for itself by its bytes; it is taken even if it is over the limit by itself."""
        wire, _ = self.scripted(send_queue_bytes=100, overflow="drop_oldest")
        with wire.frame_lock, self.assertLogs("syncws.conn", "INFO"):
            self.fill(wire, 10)
            self.assertEqual(wire.queued, (10, 80))
            self.assertTrue(wire.post(frame(b"x" * 50)))
            self.assertEqual(wire.queued, (7, 6 * 8 + 52))  # exactly the limit
            self.assertTrue(wire.post(frame(b"y" * 1000)))
            self.assertEqual(wire.queued, (1, 1004))
        self.assertEqual(wire.dropped, 4 + 7)

    def test_drop_oldest_spares_what_has_begun_to_leave(self):
        """A frame that is partly sent is never dropped."""
        wire, peer = self.stuck(send_queue=2, overflow="drop_oldest")
        with self.assertLogs("syncws.conn", "INFO"):
            self.assertEqual(self.fill(wire, 5), [True] * 5)
        self.expect(peer, data(LARGE), data(b"123453"), data(b"123454"))

    def test_one_large_message_always_fits(self):
        """A message over the limits is refused only if something already waits."""
        for overflow in ("close", "drop_oldest", "drop_newest"):
            wire, _ = self.scripted(send_queue=1, send_queue_bytes=10, overflow=overflow)
            with wire.frame_lock:
                self.assertTrue(wire.post(frame(b"x" * 1000)))
                if overflow != "drop_oldest":
                    self.assertFalse(wire.post(frame(b"")))

    def test_bytes_limit(self):
        """The queue is full at its bytes as well as at its messages: exactly the limit fits."""
        wire, _ = self.scripted(send_queue_bytes=20, overflow="drop_newest")
        with wire.frame_lock:
            self.assertTrue(wire.post(frame(b"12345678")))
            self.assertTrue(wire.post(frame(b"12345678")))
            self.assertFalse(wire.post(frame(b"")))
            self.assertEqual(wire.queued, (2, 20))

    def test_the_log_is_not_flooded(self):
        """Drops are logged at 1, 2, 4, 8, and so on; a post that drops nothing logs nothing."""
        wire, _ = self.scripted(send_queue=1, overflow="drop_oldest")
        with wire.frame_lock, self.assertLogs("syncws.conn", "INFO") as logged:
            self.fill(wire, 1001)
        self.assertEqual(wire.dropped, 1000)
        self.assertEqual(len(logged.output), 10)
        wire.flush_soon()
        with wire.frame_lock, self.assertNoLogs("syncws.conn", "INFO"):
            self.fill(wire, 1)


class DeadlineTests(Cases):
    """When a writer gives up, and what is true afterwards."""

    def test_waiting_for_the_lock(self):
        """A deadline that passes while another thread writes costs nothing: nothing was sent, later writes succeed."""
        wire, peer = self.real()
        writer = Task(wire.send, BINARY, LARGE, None)
        self.assertTrue(await_(lambda: wire._transport.pending))
        for deadline in (instant(0.02), instant(-1)):
            with self.assertRaises(WriteTimeout):
                wire.send(BINARY, b"refused", deadline)
            with self.assertRaises(WriteTimeout):
                wire.flush(deadline, finish=True)
        self.expect(peer, data(LARGE))
        writer.result()
        wire.send(BINARY, b"next", instant(10))
        self.expect(peer, data(b"next"))

    def test_nothing_sent(self):
        """A deadline that passes on a full socket, before a byte of the frame has left, costs nothing either."""
        wire, sock = self.scripted(room=[EAGAIN] * 5)
        with self.assertRaises(WriteTimeout):
            wire.send(BINARY, b"refused", instant(-1))
        self.assertIs(wire._life.state, State.OPEN)
        sock.room.clear()
        wire.send(BINARY, b"next", instant(-1))
        self.assertEqual(frames_in(sock.sent), [data(b"next")])

    def test_part_of_a_close_sent(self):
        """A close of which a part has left when its deadline passes is in the story; one that tore nothing is not."""
        for room, told in (([1, EAGAIN], 1), ([EAGAIN] * 5, 0)):
            wire, _ = self.scripted(room=room)
            with self.assertRaises(WriteTimeout):
                wire.send(CLOSE, BYE, instant(-1))
            self.assertEqual(len(wire._life.closings), told)

    def test_part_sent(self):
        """Once part of the frame has left WriteTimeout is final: every later write raises it, and nothing follows."""
        wire, sock = self.scripted(room=[3, EAGAIN])
        with self.assertRaises(WriteTimeout) as caught:
            wire.send(BINARY, b"torn", instant(-1))
        for call in (
            lambda: wire.send(BINARY, b"x", None),
            lambda: wire.send(PING, b"x", None),
            lambda: wire.post(frame(b"x")),
            lambda: wire.ping(b"x"),
            wire._life.check_writable,
        ):
            with self.assertRaises(WriteTimeout) as again:
                call()
            assert_same_end(self, again.exception, caught.exception)
        wire.pong(b"x")
        wire.queue_close(BYE)
        self.assertIsNot(wire._life.state, State.OPEN)
        self.assertEqual(len(sock.sent), 3)
        self.assertEqual(wire._life.closings, ())
        wire.flush(instant(1), finish=True)  # all that is left to do
        self.assertEqual(sock.calls[-1], "shutdown")

    def test_part_sent_with_a_queue(self):
        """Frames that wait after a torn frame are dropped."""
        wire, sock = self.scripted(room=[3, EAGAIN])
        sock.stop_next = True
        writer = Task(wire.send, BINARY, b"torn", instant(0))
        self.assertTrue(sock.inside.wait(10))
        self.assertTrue(wire.post(frame(b"post")))
        wire.queue_close(BYE)
        sock.go_on.set()
        self.assertRaises(WriteTimeout, writer.result)
        self.assertEqual(wire.queued, (0, 0))
        self.assertEqual(len(sock.sent), 3)
        self.assertRaises(WriteTimeout, wire._life.check_writable)  # the close could not be kept

    def test_older_rest(self):
        """A deadline that passes while an older rest waits costs nothing, and the rest leaves."""
        wire, peer = self.stuck()
        with self.assertRaises(WriteTimeout):
            wire.send(BINARY, b"refused", instant(0.05))
        self.assertIs(wire._life.state, State.OPEN)
        self.expect(peer, data(LARGE))

    def test_in_the_middle_of_others_posts(self):
        """A deadline that passes while the writer sends what others posted tears nothing, and all of it leaves."""
        for begun in (0, 1, 2):
            wire, sock = self.scripted(room=[1000] * begun + [3, EAGAIN, EAGAIN])
            with wire.frame_lock:
                wire.ping(b"ping")
                for number in range(3):
                    self.assertTrue(wire.post(frame(b"post %d" % number)))
            with self.assertRaises(WriteTimeout):
                wire.send(BINARY, b"refused", instant(-1))
            self.assertIs(wire._life.state, State.OPEN)
            self.assertTrue(await_(lambda wire=wire: not wire._transport.pending and not wire._look_again))
            self.assertEqual(frames_in(sock.sent), [ping(b"ping"), *[data(b"post %d" % number) for number in range(3)]])

    def test_flush(self):
        """flush gives up at its deadline as well, costs nothing, and can be called again."""
        wire, peer = self.stuck()
        wire.post(frame(b"post"))
        wire.queue_close(BYE)
        with self.assertRaises(WriteTimeout):
            wire.flush(instant(0.05), finish=True)
        flushing = Task(wire.flush, instant(20), finish=True)
        self.expect(peer, data(LARGE), data(b"post"), closing())
        flushing.result()
        self.assertTrue(peer.at_end())

    def test_stall(self):
        """A peer that takes nothing for the stall limit is lost: 1006, for all, and the connection is told once."""
        wire, _ = self.real(stall=0.2)
        with self.assertRaises(CloseError) as caught:
            wire.send(BINARY, LARGE, None)
        self.assertEqual(caught.exception.code, CloseCode.ABNORMAL_CLOSURE)
        self.assertIn("takes no data", str(caught.exception))
        self.assertEqual(caught.exception.__cause__.errno, errno.ETIMEDOUT)
        self.assertEqual(len(self.stalled), 1)
        assert_same_end(self, self.stalled[0], caught.exception)
        with self.assertRaises(CloseError) as again:
            wire.send(BINARY, b"x", None)
        assert_same_end(self, again.exception, caught.exception)
        self.assertEqual(len(self.stalled), 1)


class ClosingTests(Cases):
    """A close is the last thing that leaves, and there is only one."""

    def test_writes_are_refused(self):
        """After a close, which may still wait, every write raises CloseSentError; a pong is dropped silently."""
        for wait in (False, True):
            wire, sock = self.scripted()
            if wait:
                wire.frame_lock.acquire()
            wire.queue_close(BYE)
            self.assertIsNot(wire._life.state, State.OPEN)
            wire.pong(b"late")
            for call in (
                lambda wire=wire: wire.post(frame(b"late")),
                lambda wire=wire: wire.ping(b"late"),
                wire._life.check_writable,
            ):
                self.assertRaises(CloseSentError, call)
            if wait:
                wire.frame_lock.release()
            self.assertRaises(CloseSentError, wire.send, BINARY, b"late", None)
            self.assertRaises(CloseSentError, wire.send, CLOSE, BYE, None)
            self.assertEqual(frames_in(sock.sent), [closing()])

    def test_close_during_a_written_close(self):
        """A close, a pong and a ping that come while another thread writes a close do not follow it."""
        wire, sock = self.scripted()
        wire.send(BEGIN, b"open", None)
        sock.stop_next = True
        writer = Task(wire.send, CLOSE, BYE, None)
        self.assertTrue(sock.inside.wait(10))
        wire.post(frame(b"post"))
        wire.ping(b"ping")
        wire.pong(b"pong")
        wire.queue_close(format_close_message(1001))
        sock.go_on.set()
        writer.result()
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent)[1:], [closing()])
        self.assertEqual(wire._life.closings, (("sent", 1000, "bye"),))

    def test_a_close_is_on_record_before_it_leaves(self):
        """Our close is on record before the system call that sends it: the answer may come before that returns."""
        for close in (lambda wire: wire.queue_close(BYE), lambda wire: wire.send(CLOSE, BYE, None)):
            wire, sock = self.scripted()
            sock.stop_next = True
            task = Task(close, wire)
            self.assertTrue(sock.inside.wait(10))
            self.assertEqual(wire._life.closings, (("sent", 1000, "bye"),))
            sock.go_on.set()
            task.result()
            self.assertEqual(wire._life.closings, (("sent", 1000, "bye"),))

    def test_a_close_that_did_not_leave(self):
        """A close whose deadline passes before a byte of it has left is on no record, and can be sent later."""
        wire, sock = self.scripted(room=[EAGAIN] * 5)
        with self.assertRaises(WriteTimeout):
            wire.send(CLOSE, BYE, instant(-1))
        sock.room.clear()
        self.assertEqual(wire._life.closings, ())
        self.assertIs(wire._life.state, State.OPEN)
        wire.send(CLOSE, BYE, None)
        self.assertEqual(frames_in(sock.sent), [closing()])
        self.assertEqual(wire._life.closings, (("sent", 1000, "bye"),))

    def test_refused_at_once_though_the_socket_is_full(self):
        """A write after a close, or after the end, is refused at once, also where the peer takes nothing."""
        for is_over in (False, True):
            wire, _ = self.stuck()
            if is_over:
                with wire._life.lock:
                    wire._life.finish(CloseError(1006))
            else:
                wire.queue_close(BYE)
            for _ in range(2):  # the second time while another thread waits for the peer, as a close does
                for call in (functools.partial(wire.send, BINARY, b"late"), wire.wait_for_turn):
                    if call == wire.wait_for_turn and not wire.frame_lock.locked():
                        continue
                    error = Task(call, None).error()
                    self.assertIs(type(error), CloseError if is_over else CloseSentError)
                self.assertTrue(wire._transport.pending)
                flushing = Task(wire.flush, instant(PATIENCE), finish=False)
                self.assertTrue(await_(wire.frame_lock.locked))
            wire._transport.shutdown()
            self.assertTrue(flushing.ended() is None or isinstance(flushing.ended(), ConnectionClosed))

    def test_close_waits_for_a_stuck_writer(self):
        """A close that comes while another thread is stuck in a write leaves when that write is done."""
        wire, peer = self.real()
        writer = Task(wire.send, BINARY, LARGE, None)
        self.assertTrue(await_(lambda: wire._transport.pending))
        wire.queue_close(BYE)
        self.assertEqual(wire._life.closings, ())
        self.expect(peer, data(LARGE), closing())
        writer.result()

    def test_half_close(self):
        """half_close ends the stream once our close has left, and does nothing before, nor while somebody writes."""
        wire, peer = self.stuck()
        wire.queue_close(BYE)
        wire.half_close()  # the close still waits
        self.expect(peer, data(LARGE), closing())
        self.assertTrue(await_(lambda: not wire._transport.pending))
        with wire.frame_lock:
            wire.half_close()
        wire.half_close()
        self.assertTrue(peer.at_end())

    def test_refuse(self):
        """refuse makes every write raise the end, and drops what waits, except our close, which leaves."""
        wire, sock = self.scripted()
        end = CloseError(1001, "going")
        with wire.frame_lock:
            wire.post(frame(b"post"))
            wire.ping(b"ping")
            wire.pong(b"pong")
            wire.queue_close(BYE)
            with wire._life.lock:
                wire._life.finish(end)
                wire.drop_waiting()
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [closing()])
        with self.assertRaises(CloseError) as caught:
            wire.send(BINARY, b"x", None)
        assert_same_end(self, caught.exception, end)
        self.assertIsNone(end.__cause__)

    def test_finish(self):
        """flush with finish sends what waits, the close, and the end of the stream."""
        wire, peer = self.real()
        with wire.frame_lock:
            wire.post(frame(b"post"))
            wire.queue_close(BYE)
        wire.flush(instant(10), finish=True)
        self.expect(peer, data(b"post"), closing())
        self.assertTrue(peer.at_end())

    def test_abandon(self):
        """When the socket is cut, a thread that is stuck in a write comes out, releases the lock, and then says so."""
        wire, _ = self.real()
        wire._on_left = lambda: self.left.append((threading.current_thread(), wire.frame_lock.locked()))
        writer = Task(wire.send, BINARY, LARGE, None)
        self.assertTrue(await_(lambda: wire._transport.pending))
        with wire._life.lock:
            wire._life.finish(CloseError(CloseCode.ABNORMAL_CLOSURE, "cut"))
        wire.mark_cut()
        self.assertEqual(self.left, [])
        wire._transport.shutdown()
        with self.assertRaises(CloseError) as caught:
            writer.result()
        self.assertEqual(caught.exception.reason, "cut")
        self.assertEqual(self.left, [(writer, False)])
        for leave in (wire.half_close, wire.flush_soon, lambda: wire.flush(instant(1), finish=True)):
            self.left.clear()
            leave()
            self.assertEqual(self.left, [(threading.current_thread(), False)])

    def test_rest_of_a_wire_that_is_cut(self):
        """The drain thread gives up the rest of a wire that is cut, and says so as well."""
        wire, _ = self.stuck()
        with wire._life.lock:
            wire._life.finish(CloseError(CloseCode.ABNORMAL_CLOSURE, "cut"))
        wire.mark_cut()
        wire._transport.shutdown()
        self.assertTrue(await_(lambda: self.left))
        self.assertIsNot(wire._life.state, State.OPEN)


class FailureTests(Cases):
    """The socket breaks, or an exception strikes in the middle."""

    BROKEN = OSError(errno.EPIPE, "Broken pipe")

    def test_broken_socket(self):
        """A write error is 1006 with its cause, stored: every later write raises the same one."""
        for call in (
            lambda wire: wire.send(BINARY, b"x", None),
            lambda wire: wire.post(frame(b"x")),
            lambda wire: wire.send(PING, b"x", instant(5)),
        ):
            wire, _ = self.scripted(room=[self.BROKEN])
            with self.assertRaises(CloseError) as caught:
                call(wire)
            self.assertEqual(caught.exception.code, CloseCode.ABNORMAL_CLOSURE)
            self.assertEqual(repr(caught.exception.__cause__), repr(self.BROKEN))
            for again in (
                lambda wire=wire: wire.post(frame(b"y")),
                lambda wire=wire: wire.ping(b"y"),
                wire._life.check_writable,
            ):
                with self.assertRaises(CloseError) as later:
                    again()
                assert_same_end(self, later.exception, caught.exception)
            self.assertEqual(self.stalled, [])  # reads go on: the peer's close may have arrived before

    def test_broken_for_one_who_does_not_wait(self):
        """A pong, a ping or a close that finds the socket broken raises nothing; the next write does."""
        for call in (lambda wire: wire.pong(b"x"), lambda wire: wire.ping(b"x"), lambda wire: wire.queue_close(BYE)):
            wire, _ = self.scripted(room=[self.BROKEN])
            call(wire)
            with self.assertRaises(CloseError) as caught:
                wire.send(BINARY, b"x", None)
            self.assertEqual(repr(caught.exception.__cause__), repr(self.BROKEN))

    def test_stored_end_keeps_its_cause(self):
        """A connection that was over already stays over for the same reason: a broken socket adds nothing to it."""
        wire, _ = self.scripted(room=[self.BROKEN])
        cause = OSError("the first thing that went wrong")
        end = CloseError(CloseCode.ABNORMAL_CLOSURE, "first")
        end.__cause__ = cause
        with wire.frame_lock:
            wire.queue_close(BYE)
            with wire._life.lock:
                wire._life.finish(end)
                wire.drop_waiting()
        with self.assertRaises(CloseError) as caught:
            wire.flush(instant(5), finish=True)
        assert_same_end(self, caught.exception, end)
        self.assertIs(end.__cause__, cause)

    def test_rest_that_never_leaves(self):
        """A socket that breaks with a rest in hand ends all work on it: nobody spins, and what waits is dropped."""
        for ending in ("drain", "pong", "post", "send"):
            with self.subTest(ending):
                wire, peer = self.stuck()
                wire.post(frame(b"post"))
                if ending != "drain":
                    wire_module.drain.forget(wire._transport.fileno())
                peer.socket.close()
                wire._transport.shutdown()
                match ending:
                    case "drain":
                        self.assertTrue(await_(lambda wire=wire: wire._life.state is not State.OPEN))
                    case "pong":
                        wire.pong(b"")
                    case "post":
                        wire.post(frame(b"2"))
                    case "send":
                        self.assertRaises(CloseError, wire.send, BINARY, b"2", None)
                self.assertRaises(CloseError, wire._life.check_writable)
                self.assertEqual(wire.queued, (0, 0))
                wire.flush_soon()
                self.assertTrue(await_(lambda: not wire_module.drain._watched))

    def test_interrupt(self):
        """KeyboardInterrupt in the middle of a frame is raised as it is, and is final for all later writes."""
        for call in (
            lambda wire: wire.send(BINARY, b"x", None),
            lambda wire: wire.post(frame(b"x")),
            lambda wire: wire.pong(b"x"),
            lambda wire: wire.ping(b"x"),
            lambda wire: wire.queue_close(BYE),
        ):
            interrupt = KeyboardInterrupt()
            wire, sock = self.scripted(room=[interrupt])
            with self.assertRaises(KeyboardInterrupt):
                call(wire)
            self.assertFalse(wire.frame_lock.locked())
            with self.assertRaises(CloseError) as caught:
                wire.send(BINARY, b"y", None)
            self.assertEqual(repr(caught.exception.__cause__), repr(interrupt))
            wire.flush_soon()
            self.assertEqual(sock.sent, b"")

    def test_interrupt_of_the_drain_threads_call(self):
        """So is one that comes while the rest of a frame is sent later; the lock is let go."""
        interrupt = KeyboardInterrupt()
        wire, sock = self.scripted(room=[3, EAGAIN, interrupt])
        with mock.patch.object(wire_module.drain, "watch"):
            self.assertTrue(wire.post(frame(b"post")))
        self.assertRaises(KeyboardInterrupt, wire._continue)
        self.assertFalse(wire.frame_lock.locked())
        with self.assertRaises(CloseError) as caught:
            wire.send(BINARY, b"y", None)
        self.assertEqual(repr(caught.exception.__cause__), repr(interrupt))
        self.assertEqual(len(sock.sent), 3)

    def test_interrupt_of_a_half_close(self):
        """One that comes while TCP is ended leaves no lock taken."""
        wire, _ = self.scripted()
        with mock.patch.object(wire._transport, "shutdown_write", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, wire.half_close)
        self.assertFalse(wire.frame_lock.locked())

    def test_interrupt_of_a_frame_that_was_taken_out(self):
        """One that comes when what waits was taken out, and not yet given to the transport, is final for all writes."""
        for place, owner in (("_next_frame", Wire), ("take", Transport)):
            with self.subTest(place=place):
                wire, _ = self.scripted()
                real = getattr(owner, place)

                def interrupted(self, *arguments, real=real):
                    if real(self, *arguments) is not None or arguments:
                        raise KeyboardInterrupt

                with mock.patch.object(owner, place, interrupted), self.assertRaises(KeyboardInterrupt):
                    wire.ping(b"x")
                self.assertTrue(wire._transport.torn)
                self.assertRaises(CloseError, wire.send, 0x82, b"x", None)
                self.assertFalse(wire.frame_lock.locked())

    def test_interrupt_after_a_frame(self):
        """An interrupt right after the frame has left is final too: it may be a close or fragment not on record."""
        for first, payload in ((CLOSE, BYE), (BEGIN, b"x")):
            wire, sock = self.scripted()
            send = wire._transport.send

            def interrupted(*arguments, send=send, **limits):
                send(*arguments, **limits)
                raise KeyboardInterrupt

            with mock.patch.object(wire._transport, "send", interrupted), self.assertRaises(KeyboardInterrupt):
                wire.send(first, payload, None)
            self.assertRaises(CloseError, wire.send, BINARY, b"y", None)
            wire.pong(b"z")
            self.assertEqual(len(frames_in(sock.sent)), 1)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs signals")
    def test_interrupt_of_a_stuck_writer(self):
        """An interrupt of a writer that is stuck in the middle of its frame is final too."""
        wire, _ = self.real()

        def interrupt(*_):
            raise KeyboardInterrupt

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with self.assertRaises(KeyboardInterrupt):
            wire.send(BINARY, LARGE, None)
        with self.assertRaises(CloseError):
            wire.post(frame(b"x"))


class ToManyTests(Cases):
    """post_to_wires, where a socket fails."""

    def test_a_socket_that_breaks(self):
        """It is named, and says why when it is written to; the others get the frame."""
        reset = ConnectionResetError(errno.ECONNRESET, "reset")
        wires, socks = zip(*(self.scripted(room=room) for room in ([], [reset], [])), strict=True)
        self.assertEqual(post_to_wires(wires, frame(b"x")), [1])
        self.assertEqual([bytes(sock.sent) for sock in socks], [frame(b"x"), b"", frame(b"x")])
        with self.assertRaises(CloseError) as caught:
            wires[1].post(frame(b"y"))
        self.assertEqual(repr(caught.exception.__cause__), repr(reset))
        self.assertEqual(post_to_wires(wires, frame(b"z")), [1])

    def test_an_interrupt(self):
        """It is raised as it is, leaves no lock taken, and is final for the wire whose frame it may have cut."""
        interrupt = KeyboardInterrupt()
        wire, _ = self.scripted(room=[interrupt])
        with self.assertRaises(KeyboardInterrupt):
            post_to_wires([wire], frame(b"x"))
        self.assertFalse(wire.frame_lock.locked())
        with self.assertRaises(CloseError) as caught:
            wire.post(frame(b"y"))
        self.assertEqual(repr(caught.exception.__cause__), repr(interrupt))


class CallCountTests(Cases):
    """The steady state costs one system call a message."""

    def test_one_send_per_message(self):
        """A message written or posted, a ping, a pong: one system call each, no drain thread."""
        for client in (False, True):
            wire, sock = self.scripted(client=client)
            with self.no_drain():
                for _ in range(50):
                    wire.send(BINARY, b"message", None)
                    wire.post_encoded(BINARY, b"message")
                    wire.pong(b"")
                    wire.ping(b"")
                self.assertEqual(sock.calls, ["send"] * 200)
                wire.send(BINARY, bytes(100_000), None)
                self.assertEqual(sock.calls[200:], ["sendmsg"])

    def test_client_masks_each_frame(self):
        """A client's frames are masked, each with a key of its own."""
        wire, sock = self.scripted(client=True)
        for _ in range(2):
            wire.post_encoded(BINARY, b"same")
            wire.send(BINARY, b"same", None)
        wire.pong(b"same")
        with wire.frame_lock:
            wire.queue_close(BYE)
        wire.flush_soon()
        self.assertEqual(frames_in(sock.sent), [data(b"same")] * 4 + [pong(b"same"), closing()])
        keys = {bytes(sock.sent[at + 2 : at + 6]) for at in range(0, 50, 10)}
        self.assertEqual(len(keys), 5)


class AcquireTests(unittest.TestCase):
    """acquire_until."""

    def test_free_and_taken(self):
        """A free lock is taken whatever the deadline is; a taken one is waited for until the deadline."""
        lock = threading.Lock()
        for deadline in (None, instant(-1), instant(1e12)):
            self.assertTrue(acquire_until(lock, deadline))
            self.assertFalse(acquire_until(lock, instant(-1)))
            self.assertFalse(acquire_until(lock, instant(0.01)))
            lock.release()
        lock.acquire()
        for deadline in (None, instant(20), instant(1e12)):
            task = Task(acquire_until, lock, deadline)
            task.join(0.02)
            lock.release()
            self.assertTrue(task.result())


class Stress:
    """One wire, eight threads that do anything, one peer that reads at any speed: a check of what must always hold."""

    THREADS = 8

    def __init__(self, case, seed, transports):
        self.case = case
        self.seed = seed
        self.transport, self.reading = transports
        self.wire = case.make_wire(self.transport, stall=20.0)
        self.message_lock = threading.Lock()  # the connection's: one message at a time
        self.accepted = [0] * self.THREADS  # data messages that each thread was not refused
        self.over = threading.Event()

    def run(self):
        reader = Task(self.read)
        writers = [Task(self.write, number) for number in range(self.THREADS)]
        for writer in writers:
            writer.result(60)
        self.wire.queue_close(BYE)
        self.wire.flush(instant(30), finish=True)
        seen, closes = reader.result(60)
        self.case.assertEqual(closes, 1)
        self.case.assertEqual(self.wire._life.closings, (("sent", 1000, "bye"),))
        self.case.assertEqual(seen, self.accepted)
        self.case.assertEqual(self.wire.queued, (0, 0))

    def write(self, number):
        script = random.Random(f"{self.seed}:{number}")
        pause = threading.Event()
        # One of them closes, now and then, while the others are at it.
        closes_at = script.randrange(150, 300) if number == 0 and self.seed % 2 else None
        for count in range(script.randrange(100, 200) if closes_at is None else closes_at):
            try:
                if not self.step(number, count, script):
                    self.accepted[number] = count
                    return
            except ConnectionClosed as error:
                assert isinstance(error, CloseSentError), error
                self.accepted[number] = count
                return
            if script.random() < 0.02:
                pause.wait(script.random() * 0.003)
            self.accepted[number] = count + 1
        if closes_at is not None:
            with self.message_lock:  # so that no message is open, and all that was posted leaves
                self.wire.queue_close(BYE)

    def step(self, number, count, script):
        payload = b"%d:%d:" % (number, count) + b"." * script.choice([0, 0, 10, 200, 5000, 20_000])
        kind = script.random()
        if script.random() < 0.2:
            self.wire.ping(b"%d" % number)
        if script.random() < 0.2:
            self.wire.pong(b"%d" % number)
        if kind < 0.5:
            return self.wire.post(frame(payload))
        if script.random() < 0.2:
            with contextlib.suppress(WriteTimeout):  # gives up in the middle of others' frames, which costs nothing
                self.wire.flush(instant(script.choice([-1, 0.0005])), finish=False)
        with self.message_lock:
            if kind < 0.85:
                self.wire.send(BINARY, payload, instant(60))
            else:
                self.fragments(payload, script)
        return True

    def fragments(self, payload, script):
        first = BEGIN
        while len(payload) > 5 and script.random() < 0.8:
            cut = script.randrange(1, len(payload))
            self.wire.send(first, payload[:cut], instant(60))
            first, payload = CONTINUE, payload[cut:]
            if script.random() < 0.3:
                self.wire.send(PING, b"between", instant(60))
        self.wire.send(first | FIN, payload, instant(60))

    def read(self):
        """(messages of each thread, closes); every frame whole, every thread's in order, nothing after a close."""
        script = random.Random(f"{self.seed}:reader")
        pause = threading.Event()
        reading = self.reading

        class Slow:
            def settimeout(self, seconds):
                pass

            def recv(self, size):
                if script.random() < 0.05:
                    pause.wait(script.random() * 0.005)
                piece = reading.receive(script.choice([1, 100, 4096, 1 << 16]), 30.0)
                assert piece is not None, "nothing came for half a minute"
                return piece

        peer = Peer(Slow(), masked=True)
        seen = [0] * self.THREADS
        closes = 0
        message = None
        while True:
            try:
                got = peer.receive_frame()
            except EOFError:
                assert not peer._buffer, "the stream ends inside a frame"
                assert message is None, "the stream ends inside a message"
                return seen, closes
            assert not closes, f"{got} after a close"
            if got.opcode == MessageType.CLOSE:
                closes += 1
            elif got.opcode < 8:
                assert (message is None) == (got.opcode == MessageType.BINARY), "a message inside another"
                message = got.payload if message is None else message + got.payload
                if got.fin:
                    number, count, filler = message.split(b":")
                    assert int(count) == seen[int(number)], f"{number}: {count} after {seen[int(number)]}"
                    assert not filler.strip(b"."), "bytes of another frame"
                    seen[int(number)] += 1
                    message = None
            else:
                assert got.fin and len(got.payload) <= 7, got


class StressTests(Cases):
    """Everything at once, at random, from known seeds."""

    def plain(self):
        ours, theirs = map(Transport, socketpair(SMALL))
        self.addCleanup(theirs.close)
        return ours, theirs

    def unix(self):
        sockets = socket.socketpair()
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        ours, theirs = map(Transport, sockets)
        self.addCleanup(theirs.close)
        return ours, theirs

    def tls(self):
        ours, theirs = socketpair(SMALL)
        server = TLSTransport(ours, contexts()[0], server_side=True)
        client = TLSTransport(theirs, contexts()[1], server_side=False, server_hostname="localhost")
        self.addCleanup(client.close)
        task = Task(server.handshake, instant(10))
        client.handshake(instant(10))
        task.result()
        return server, client

    def stress(self, make, share):
        until = instant(STRESS_SECONDS * share)
        seed = 0
        while seed < 2 or time.monotonic() < until:
            with self.subTest(seed=seed):
                Stress(self, seed, make()).run()
            seed += 1

    def test_plain(self):
        """Over TCP."""
        self.stress(self.plain, 0.4)

    def test_unix(self):
        """Over a Unix socket."""
        self.stress(self.unix, 0.1)

    def test_tls(self):
        """Over TLS."""
        self.stress(self.tls, 0.2)

    def test_switching_all_the_time(self):
        """With threads that are switched as often as can be."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        self.stress(self.plain, 0.3)


if __name__ == "__main__":
    unittest.main()
