"""transport.py: each direction with its own deadline, what is left of a frame, and who wakes whom."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from syncws._net import transport as transport_module
from syncws._net import waits
from syncws._net.transport import Transport
from syncws._net.waits import wait_for
from syncws.errors import WriteTimeout
from syncws.testing import LeakChecks, ScriptedSocket, await_, socketpair
from tests.net.cases import FULL, SMALL, fill, instant, read_all
from tests.tasks import PATIENCE, Task

WAY_OFF = 3600.0
POSIX = os.name == "posix"

EAGAIN = BlockingIOError(errno.EAGAIN, "no room")


def interrupt(*_):
    raise KeyboardInterrupt


class Cases(LeakChecks):
    """Two sockets and a transport over the first."""

    kernel_waits = transport_module.KERNEL_WAITS

    def make_sockets(self, buffer=None):
        sockets = socketpair(buffer)
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def make(self, buffer=None):
        """(transport, raw peer)."""
        ours, theirs = self.make_sockets(buffer)
        theirs.settimeout(10)
        return Transport(ours, kernel_waits=self.kernel_waits), theirs

    def fill(self, transport):
        """Make the sockets between two ends full; how many bytes that took."""
        return fill(transport.socket)

    def read_slowly(self, peer, enough, seconds):
        """Read a little at a time, until enough, but no longer than so many seconds."""
        end = instant(seconds)
        while not enough() and time.monotonic() < end:
            peer.recv(8192)
            threading.Event().wait(0.01)

    def alarm(self, handler, *times):
        """Call handler by a signal, after so many seconds (and then every so many)."""
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, handler))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, *times)

    @contextlib.contextmanager
    def interrupting_waits(self):
        """KeyboardInterrupt comes soon after a wait for the socket has begun, however slow the machine is."""
        wait = transport_module.wait_for

        def begin(*arguments, **keywords):
            self.alarm(interrupt, 0.03)
            return wait(*arguments, **keywords)

        with mock.patch.object(transport_module, "wait_for", begin):
            yield


class ReceivingTests(Cases):
    """Reading, with a wait of the kernel if it has one."""

    def test_gives_what_came(self):
        """receive gives the bytes that are there, at most as many as asked for."""
        transport, peer = self.make()
        peer.sendall(b"hello")
        self.assertEqual(transport.receive(3, None), b"hel")
        self.assertEqual(transport.receive(100, 5.0), b"lo")

    def test_waits_for_bytes(self):
        """With no limit, receive waits in the system until something comes."""
        transport, peer = self.make()
        task = Task(transport.receive, 100, None)
        peer.sendall(b"late")
        self.assertEqual(task.result(), b"late")

    def test_end_of_stream(self):
        """receive gives b"" at the end of the stream, each time it is asked, and receive_into 0."""
        transport, peer = self.make()
        peer.sendall(b"last")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(transport.receive(100, None), b"last")
        self.assertEqual(transport.receive(100, None), b"")
        self.assertEqual(transport.receive(100, 0.01), b"")
        self.assertEqual(transport.receive_into(memoryview(bytearray(9)), None), 0)

    def test_nothing_came(self):
        """receive gives None when the wait is over, not before; and what comes later is not lost."""
        transport, peer = self.make()
        for receive in (
            lambda wait: transport.receive(100, wait),
            lambda wait: transport.receive_into(memoryview(bytearray(9)), wait),
        ):
            before = time.monotonic()
            self.assertIsNone(receive(0.03))
            self.assertGreaterEqual(time.monotonic() - before, 0.02)
        peer.sendall(b"later")
        self.assertEqual(transport.receive(100, 0.03), b"later")
        self.assertFalse(transport.heard_part)

    def test_no_wait(self):
        """A wait of zero, or one that is already over, returns at once, and is not taken for "for ever"."""
        transport, peer = self.make()
        for wait in (0.0, 1e-9, -5.0):
            self.assertIsNone(transport.receive(100, wait))
        peer.sendall(b"there")
        self.assertEqual(transport.receive(2, -5.0), b"th")
        self.assertEqual(transport.receive_into(memoryview(bytearray(9)), 0.0), 3)

    def test_no_wait_after_a_wait(self):
        """The wait of one call is not that of the next: after a short one, no limit means no limit."""
        transport, peer = self.make()
        self.assertIsNone(transport.receive(100, 0.001))
        task = Task(transport.receive, 100, None)
        task.join(0.1)
        self.assertTrue(task.is_alive())
        peer.sendall(b"x")
        self.assertEqual(task.result(), b"x")

    def test_absurd_waits(self):
        """A wait longer than the system can express is waited for as long as it can."""
        transport, peer = self.make()
        for wait in (math.inf, 1e30, 1e10):
            peer.sendall(b"x")
            self.assertEqual(transport.receive(100, wait), b"x")
            task = Task(transport.receive, 100, wait)
            peer.sendall(b"y")
            self.assertEqual(task.result(), b"y")

    def test_receive_into(self):
        """receive_into puts the bytes where they are to be, and says how many."""
        transport, peer = self.make()
        room = bytearray(b"........")
        peer.sendall(b"abc")
        self.assertEqual(transport.receive_into(memoryview(room)[2:6], 5.0), 3)
        self.assertEqual(room, b"..abc...")

    def test_timeout_of_the_application(self):
        """socket.setdefaulttimeout, which reaches accepted sockets, and settimeout are undone."""
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(0.001)
        try:
            ours, peer = self.make_sockets()
        finally:
            socket.setdefaulttimeout(before)
        ours.settimeout(0.001)
        peer.settimeout(10)
        transport = Transport(ours, kernel_waits=self.kernel_waits)
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        self.assertTrue(task.is_alive())
        peer.sendall(b"x")
        self.assertEqual(task.result(), b"x")

    def test_kernel_timeout_of_somebody_else(self):
        """A receive timeout that the socket was given before is not waited with."""
        ours, peer = self.make_sockets()
        Transport(ours).receive(1, 0.001)
        transport = Transport(ours, kernel_waits=self.kernel_waits)
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        self.assertTrue(task.is_alive())
        peer.sendall(b"x")
        self.assertEqual(task.result(), b"x")

    def test_reset(self):
        """A connection that the peer resets is an OSError."""
        transport, peer = self.make()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        self.assertRaises(ConnectionResetError, transport.receive, 100, None)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs signals")
    def test_signals(self):
        """A signal whose handler returns does not end a wait; one whose handler raises does, and nothing is lost."""
        transport, peer = self.make()
        rings = []

        def ring(*_):
            rings.append(1)
            if len(rings) == 3:
                peer.sendall(b"x")

        self.alarm(ring, 0.01, 0.01)
        self.assertEqual(transport.receive(100, 5.0), b"x")
        self.assertGreaterEqual(len(rings), 3)

        self.alarm(interrupt, 0.03)
        with self.assertRaises(KeyboardInterrupt):
            transport.receive(100, None)
        peer.sendall(b"y")
        self.assertEqual(transport.receive(100, None), b"y")

    def test_shutdown_wakes_a_receive(self):
        """shutdown by another thread ends a wait without limit, as the end of the stream."""
        transport, _ = self.make()
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        transport.shutdown()
        self.assertEqual(task.result(), b"")

    def test_shutdown_read(self):
        """shutdown_read wakes a receive with the end of the stream; what is sent still arrives. Also once closed."""
        transport, peer = self.make()
        task = Task(transport.receive, 100, None)
        task.join(0.05)
        transport.shutdown_read()
        self.assertEqual(task.result(), b"")
        transport.send(b"farewell")
        self.assertEqual(read_all(peer, 8), b"farewell")
        transport.close()
        transport.shutdown_read()

    def test_directions_are_independent(self):
        """A writer stuck for ever disturbs no read, and a read's short wait no writer."""
        transport, peer = self.make(SMALL)
        writer = Task(transport.send, b"w" * FULL)
        self.assertIsNone(transport.receive(100, 0.01))
        peer.sendall(b"read me")
        self.assertEqual(transport.receive(100, 5.0), b"read me")
        self.assertTrue(writer.is_alive())
        self.assertEqual(read_all(peer, FULL), b"w" * FULL)
        writer.result()


class SendingTests(Cases):
    """Writing. Its waits are poll's in any case: one way of reading is enough, but each kind of socket counts."""

    def test_all_of_it(self):
        """send sends everything in order, however many buffers, however large, and leaves nothing pending."""
        transport, peer = self.make(SMALL)
        sent = [b"head", bytes(range(256)) * 8192, b"", b"tail"]
        reader = Task(read_all, peer)
        transport.send(sent[0], sent[1])
        transport.send(sent[2])
        transport.send(memoryview(sent[3]))
        self.assertFalse(transport.pending)
        transport.shutdown_write()
        self.assertEqual(reader.result(), b"".join(sent))

    def test_deadline_with_nothing_sent(self):
        """WriteTimeout before a byte has left: nothing is pending, nothing is torn, and a later send succeeds."""
        transport, peer = self.make(SMALL)
        filler = self.fill(transport)
        with self.assertRaises(WriteTimeout):
            transport.send(b"head", b"payload", deadline=instant(0.02))
        self.assertFalse(transport.torn)
        self.assertFalse(transport.pending)
        self.assertEqual(read_all(peer, filler), b"f" * filler)
        transport.send(b"next", deadline=instant(5))
        self.assertEqual(read_all(peer, 4), b"next")

    def test_deadline_with_part_sent(self):
        """WriteTimeout when part has left: torn."""
        transport, _ = self.make(SMALL)
        with self.assertRaises(WriteTimeout):
            transport.send(b"p" * FULL, deadline=instant(0.02))
        self.assertTrue(transport.torn)

    def test_deadline_with_an_older_rest(self):
        """WriteTimeout while an older rest waits: nothing of the new frame has left, the rest is kept, and leaves."""
        transport, peer = self.make(SMALL)
        filler = self.fill(transport)
        old = b"o" * FULL
        transport.take(old)
        with self.assertRaises(WriteTimeout):
            transport.send(b"new", deadline=instant(0.02))
        self.assertFalse(transport.torn)
        self.assertTrue(transport.pending)
        reader = Task(read_all, peer, filler + len(old) + 5)
        transport.send(b"newer", deadline=instant(10))
        self.assertEqual(reader.result()[filler:], old + b"newer")

    def test_deadline_that_has_passed(self):
        """With room in the socket a deadline is not even looked at; without, it ends the send at once."""
        transport, peer = self.make(SMALL)
        transport.send(b"quick", deadline=instant(-1))
        self.assertEqual(read_all(peer, 5), b"quick")
        self.fill(transport)
        with self.assertRaises(WriteTimeout):
            transport.send(b"x", deadline=instant(-1))

    def test_deadline_far_off(self):
        """A deadline in the next century is no error when the socket is full (poll takes only so many ms)."""
        transport, peer = self.make(SMALL)
        for deadline in (instant(1e9), math.inf):
            filler = self.fill(transport)
            task = Task(transport.send, b"x", deadline=deadline)
            task.join(0.05)
            read_all(peer, filler + 1)
            task.result()

    def test_deadline_is_not_renewed(self):
        """The deadline is one for the whole send: a peer that reads a little does not move it."""
        transport, peer = self.make(SMALL)
        task = Task(transport.send, b"d" * (FULL * 4), deadline=instant(0.2))
        self.read_slowly(peer, lambda: not task.is_alive(), seconds=PATIENCE)  # enough to read all of it
        self.assertRaises(WriteTimeout, task.result)

    def test_stall(self):
        """A peer that takes nothing fails the send after the stall limit, with ETIMEDOUT; the stream is torn."""
        transport, _ = self.make(SMALL)
        self.fill(transport)
        before = time.monotonic()
        with self.assertRaises(OSError) as caught:
            transport.send(b"x" * 65536, stall=0.2)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.assertNotIsInstance(caught.exception, WriteTimeout)
        self.assertTrue(transport.torn)
        self.assertGreaterEqual(time.monotonic() - before, 0.2)

    def test_slow_is_not_stalled(self):
        """A peer that reads slowly is not cut: each byte it takes renews the stall limit."""
        transport, peer = self.make(SMALL)
        self.fill(transport)
        task = Task(transport.send, b"s" * FULL, stall=0.4)
        self.read_slowly(peer, lambda: False, seconds=1.2)  # three times the limit
        self.assertTrue(task.is_alive())
        transport.shutdown()
        self.assertRaises(BrokenPipeError, task.result)

    def test_shutdown_wakes_a_send(self):
        """shutdown by another thread ends a send that is stuck, as an OSError; the stream is torn."""
        transport, _ = self.make(SMALL)
        task = Task(transport.send, b"w" * FULL)
        task.join(0.05)
        self.assertTrue(task.is_alive())
        transport.shutdown()
        self.assertRaises(BrokenPipeError, task.result)
        self.assertTrue(transport.torn)

    def test_peer_gone(self):
        """Sending to a peer that has left is an OSError, no signal; also for a rest, which then never leaves."""
        transport, peer = self.make(SMALL)
        transport.take(b"r" * FULL)
        self.assertTrue(transport.pending)
        peer.close()
        with self.assertRaises(OSError) as caught:
            while not transport.flush():
                wait_for(transport.socket, 5, write=True)
        self.assertNotIsInstance(caught.exception, BlockingIOError)
        self.assertTrue(transport.torn)

    def test_try_send(self):
        """try_send never waits: it takes a frame whole, or nothing of it."""
        transport, peer = self.make(SMALL)
        self.assertTrue(transport.try_send(b"first"))
        self.assertEqual(read_all(peer, 5), b"first")
        filler = self.fill(transport)
        self.assertFalse(transport.try_send(b"refused"))
        self.assertFalse(transport.pending)
        read_all(peer, filler)
        self.assertTrue(transport.try_send(b"l" * FULL))  # taken, though nearly all of it is yet to leave
        self.assertTrue(transport.pending)
        self.assertFalse(transport.try_send(b"refused"))
        reader = Task(read_all, peer, FULL + 4)
        transport.flush_until(instant(10), None)
        self.assertFalse(transport.pending)
        self.assertTrue(await_(lambda: transport.try_send(b"next")))  # once there is room again
        self.assertEqual(reader.result(), b"l" * FULL + b"next")

    def test_flush(self):
        """flush sends what the socket takes, and says whether that was all."""
        transport, peer = self.make(SMALL)
        self.assertTrue(transport.flush())
        transport.take(b"t" * FULL)
        self.assertFalse(transport.flush())
        reader = Task(read_all, peer, FULL)
        while not transport.flush():
            wait_for(transport.socket, 5, write=True)
        self.assertEqual(reader.result(), b"t" * FULL)
        self.assertTrue(transport.flush())

    @unittest.skipUnless(hasattr(signal, "setitimer"), "needs signals")
    def test_keyboard_interrupt_in_a_send(self):
        """KeyboardInterrupt inside a send that has begun tears the stream; while an older rest waits it does not."""
        transport, peer = self.make(SMALL)
        filler = self.fill(transport)
        transport.take(b"old")

        with self.interrupting_waits(), self.assertRaises(KeyboardInterrupt):
            transport.send(b"new")
        self.assertFalse(transport.torn)
        self.assertTrue(transport.pending)
        task = Task(read_all, peer, filler + 3)
        transport.flush_until(instant(10), None)
        self.assertEqual(task.result()[-3:], b"old")
        with self.interrupting_waits(), self.assertRaises(KeyboardInterrupt):
            transport.send(b"n" * FULL)
        self.assertTrue(transport.torn)

    def test_half_close(self):
        """shutdown_write ends the peer's reading and not our own; it never raises, not even after close."""
        transport, peer = self.make()
        transport.send(b"bye")
        transport.shutdown_write()
        self.assertEqual(read_all(peer), b"bye")
        peer.sendall(b"still there")
        self.assertEqual(transport.receive(100, 5.0), b"still there")
        transport.shutdown_write()
        transport.close()
        transport.shutdown_write()

    def test_end(self):
        """shutdown and close may be called again and again, in any order, and never raise."""
        transport, peer = self.make()
        self.assertFalse(transport.closed)
        self.assertEqual(transport.fileno(), transport.socket.fileno())
        transport.shutdown()
        transport.shutdown()
        self.assertFalse(transport.closed)
        transport.close()
        transport.close()
        transport.shutdown()
        self.assertTrue(transport.closed)
        self.assertEqual(transport.fileno(), -1)
        self.assertEqual(peer.recv(1), b"")

    def test_taken_by_peer(self):
        """taken_by_peer grows with what the peer takes, and does not while it takes nothing."""
        transport, peer = self.make(SMALL)
        filler = self.fill(transport)
        transport.take(b"more")

        def rests() -> bool:
            before = transport.taken_by_peer()
            return not await_(lambda: transport.taken_by_peer() != before, 0.05)

        self.assertTrue(await_(rests))  # what was on its way to the peer's buffer has come there
        before = transport.taken_by_peer()
        read_all(peer, filler)
        self.assertTrue(await_(lambda: transport.taken_by_peer() > before))


class PollReceivingTests(ReceivingTests):
    """Reads that wait with poll, as where the kernel has no timeout for us."""

    kernel_waits = False


class UnixCases(Cases):
    """The same over a Unix socket."""

    def make_sockets(self, buffer=None):
        # socketpair() knows no addresses; a server's socket has one.
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            self.path = os.path.join(folder, "socket")
            listener.bind(self.path)
            listener.listen()
            theirs = socket.socket(socket.AF_UNIX)
            self.addCleanup(theirs.close)
            theirs.connect(self.path)
            ours, _ = listener.accept()
            self.addCleanup(ours.close)
        if buffer is not None:
            for sock in (ours, theirs):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return ours, theirs


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "needs Unix sockets")
class UnixReceivingTests(UnixCases, ReceivingTests):
    """Reading from a Unix socket."""

    def test_addresses(self):
        """A Unix socket's address is its path, and the peer's is empty."""
        transport, _ = self.make()
        self.assertEqual(transport.local_address, self.path)
        self.assertEqual(transport.remote_address, "")

    def test_reset(self):
        """A Unix socket's peer that leaves with bytes unread is an OSError (SO_LINGER means nothing here)."""
        transport, peer = self.make()
        transport.send(b"unread")
        peer.close()
        self.assertRaises(ConnectionResetError, transport.receive, 100, None)


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "needs Unix sockets")
class UnixSendingTests(UnixCases, SendingTests):
    """Writing to a Unix socket."""

    def test_many_small_frames_are_no_stall(self):
        """The kernel counts a small frame as hundreds of bytes: the first look at a blocked write is no judgement."""
        transport, peer = self.make()
        sent = 0
        while transport.try_send(b"0123456789"):
            sent += 1
        self.assertLess(transport.taken_by_peer(), -1)
        task = Task(transport.send, b"0123456789", stall=WAY_OFF)
        task.join(0.05)
        self.assertTrue(task.is_alive())
        read_all(peer, 10 * (sent + 1))
        task.result()


class PlainTests(Cases):
    """What does not depend on the way of waiting."""

    def test_addresses(self):
        """Both addresses are taken when the transport is made, and are there after the peer has left."""
        transport, peer = self.make()
        self.assertEqual(transport.remote_address, peer.getsockname())
        self.assertEqual(transport.local_address, peer.getpeername())
        peer.close()
        transport.close()
        self.assertIsInstance(transport.remote_address, tuple)

    def test_peer_left_before_the_transport(self):
        """A peer that has left already costs no error when the transport is made: its address is empty."""
        ours, theirs = self.make_sockets()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        self.assertTrue(await_(lambda: ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0))
        self.assertEqual(Transport(ours).remote_address, "")

    def test_taken_by_peer_of_a_closed_socket(self):
        """Where the system cannot say what waits in the socket, what the kernel took counts."""
        transport, _ = self.make()
        transport.send(b"taken")
        transport.close()
        self.assertEqual(transport.taken_by_peer(), 5)

    def test_no_delay(self):
        """TCP sends small messages at once (TCP_NODELAY)."""
        transport, _ = self.make()
        self.assertTrue(transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_plain_handshake(self):
        """There is nothing to agree on without TLS."""
        transport, _ = self.make()
        transport.handshake(instant(-1))
        self.assertFalse(transport.is_tls)

    def test_shutdown_races_close(self):
        """shutdown in one thread and close in another never hit the socket that gets the fd next."""
        for _ in range(300):
            ours, theirs = socket.socketpair()
            transport = Transport(ours)
            tasks = [Task(transport.shutdown), Task(transport.close)]
            with theirs, socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                for task in tasks:
                    task.result()
                self.assertEqual(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)

    @unittest.skipUnless(POSIX, "needs SIGPIPE")
    def test_no_sigpipe(self):
        """A host that does not ignore SIGPIPE is not killed by a peer that has left."""
        script = (
            "import signal, socket; from syncws._net.transport import Transport\n"
            "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
            "a, b = socket.socketpair(); t = Transport(a); b.close()\n"
            "for send in (lambda: t.send(b'x'), lambda: t.send(b'x', b'y'), lambda: t.try_send(b'x')):\n"
            "    try: send()\n"
            "    except BrokenPipeError: print('survived')\n"
            "t.close()\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout.split(), ["survived"] * 3, done.stderr)


class DirectTests(Cases):
    """receive_by and send_by: as receive and send, by a call that is given the descriptor."""

    def setUp(self):
        super().setUp()
        if not self.kernel_waits:
            self.skipTest("reads do not wait in the kernel here")

    def test_who_is_direct(self):
        """A plain socket of Python's own is; not one that waits with poll, nor another class of either."""
        ours, _ = self.make_sockets()
        self.assertTrue(Transport(ours).is_direct)
        self.assertTrue(type("Detached", (Transport,), {})(ours).is_direct)
        self.assertFalse(Transport(ours, kernel_waits=False).is_direct)
        for name in ("receive", "send"):
            kind = type("Other", (Transport,), {name: lambda *arguments: None})
            self.assertFalse(kind(ours).is_direct, name)
        ours.setblocking(True)
        with type("Green", (socket.socket,), {})(fileno=os.dup(ours.fileno())) as green:
            self.assertFalse(Transport(green).is_direct)
        scripted = ScriptedSocket()
        self.assertFalse(Transport(scripted).is_direct)
        scripted.close()

    def test_receive_by(self):
        """The call gets the descriptor, the size and the last two arguments, once the kernel knows how long to wait."""
        transport, peer = self.make()
        fd = transport.fileno()
        seen = []

        def call(*arguments):
            seen.append(arguments)
            return transport.socket.recv(100)

        peer.sendall(b"hello")
        self.assertEqual(transport.receive_by(call, 100, None, 128, 5), b"hello")
        with self.assertRaises(BlockingIOError):
            transport.receive_by(call, 7, 0.01, 0, None)
        self.assertEqual(seen, [(fd, 100, 128, 5), (fd, 7, 0, None)])
        transport.close()
        with self.assertRaises(OSError):
            transport.receive_by(call, 100, 0.01, 0, None)  # setsockopt says so
        with self.assertRaises(OSError):
            transport.receive_by(call, 100, 0.01, 0, None)

    def test_never_a_stale_descriptor(self):
        """After a close the call gets -1, though the descriptor's number may be another socket's by then."""
        transport, _ = self.make()
        with contextlib.suppress(BlockingIOError):
            transport.receive(1, 0.01)
        transport.close()
        calls = []
        transport.receive_by(lambda fd, *_: calls.append(fd), 1, 0.01, 0, None)
        transport.send_by(lambda fd, *_: calls.append(fd) or 0, 0x82, b"", False, None, None)
        self.assertEqual(calls, [-1, -1])

    def sending(self, transport, frame=b"\x82\x05hello", most=None):
        """A call that sends frame, at most so many bytes at once; and what it was given."""
        given = []

        def call(fd, flags, *arguments):
            given.append((fd, flags, *arguments))
            try:
                taken = transport.socket.send(frame[:most], flags)
            except BlockingIOError:
                taken = 0
            return taken if taken == len(frame) else (taken, frame[:2], frame[2:])

        return call, given

    def test_send_by(self):
        """The call gets descriptor, flags and frame; what the kernel took is counted, what it left is waited for."""
        transport, peer = self.make()
        for most in (None, 0, 1, 2, 4):
            before = transport.bytes_sent
            call, given = self.sending(transport, most=most)
            transport.send_by(call, 0x82, b"hello", False, instant(5), 5)
            self.assertEqual(given, [(transport.fileno(), transport._send_flags, 0x82, b"hello", False)])
            self.assertEqual(peer.recv(7, socket.MSG_WAITALL), b"\x82\x05hello")
            self.assertEqual(transport.bytes_sent, before + 7)
            self.assertIsNone(transport.rest)

    def test_send_by_after_a_rest(self):
        """The rest of an earlier frame leaves first."""
        transport, peer = self.make()
        transport.rest = memoryview(b"rest")
        call, _ = self.sending(transport)
        transport.send_by(call, 0x82, b"hello", False, None, None)
        self.assertEqual(peer.recv(100), b"rest\x82\x05hello")

    def test_send_by_without_room(self):
        """A deadline with nothing sent costs nothing but that frame; with part of it on the wire, the stream."""
        transport, _ = self.make(SMALL)
        self.fill(transport)
        call, _ = self.sending(transport)
        with self.assertRaises(WriteTimeout):
            transport.send_by(call, 0x82, b"hello", False, instant(0.02), None)
        self.assertEqual((transport.rest, transport.torn), (None, False))
        transport, _ = self.make(SMALL)
        call, _ = self.sending(transport, b"\x82\x7f" + bytes(FULL))
        with self.assertRaises(WriteTimeout):
            transport.send_by(call, 0x82, bytes(FULL), False, instant(0.02), None)
        self.assertTrue(transport.torn)

    def test_send_by_that_fails(self):
        """After an error of the system, and after an interrupt, nobody knows what has left: the stream is torn."""
        for error in (KeyboardInterrupt, OSError):
            transport, _ = self.make()
            with self.assertRaises(error):
                transport.send_by(mock.Mock(side_effect=error), 0x82, b"", False, None, None)
            self.assertTrue(transport.torn)


class SystemCallTests(LeakChecks):
    """How many system calls there are, and what exceptions between them leave behind."""

    def scripted(self, *incoming, room=(), kernel_waits=True):
        sock = ScriptedSocket(incoming=list(incoming), room=list(room))
        self.addCleanup(sock.close)
        transport = Transport(sock, kernel_waits=kernel_waits)
        sock.calls.clear()
        return transport, sock

    def test_one_receive_per_message(self):
        """In the steady state a read is one recv and nothing else, whatever the wait, as long as it is the same."""
        for wait in (None, 20.0):
            transport, sock = self.scripted(*[b"message"] * 100)
            for _ in range(100):
                self.assertEqual(transport.receive(65536, wait), b"message")
            self.assertEqual(sock.calls, ["setsockopt"] + ["recv"] * 100)
        transport, sock = self.scripted(*[b"message"] * 100, kernel_waits=False)
        for _ in range(100):
            transport.receive(65536, 20.0)
        self.assertEqual(sock.calls, ["recv"] * 100)

    def test_one_half_close(self):
        """However often the peer is told that no more bytes come, the system is told once."""
        transport, sock = self.scripted()
        with mock.patch.object(sock, "shutdown", side_effect=OSError) as shutdown:
            transport.shutdown_write()
            transport.shutdown_write()
        shutdown.assert_called_once_with(socket.SHUT_WR)

    def test_one_send_per_message(self):
        """A frame, also one of header and payload, is one system call when the socket has room."""
        transport, sock = self.scripted()
        for _ in range(100):
            transport.send(b"frame", deadline=1.0, stall=40.0)
            transport.try_send(b"frame")
        self.assertEqual(sock.calls, ["send"] * 200)
        sock.calls.clear()
        transport.send(b"header", b"payload")
        self.assertEqual(sock.calls, ["sendmsg"])

    def test_partial_sends(self):
        """Cut anywhere, by any number of system calls, what arrives is what was sent."""
        whole = b"0123456789abcdef"
        for split in range(len(whole) + 1):
            for cut in range(len(whole) + 1):
                room = [EAGAIN, cut, EAGAIN] if cut else [EAGAIN, EAGAIN]
                transport, sock = self.scripted(room=[*room, 1, 2, EAGAIN])
                transport.send(whole[:split], whole[split:], deadline=instant(WAY_OFF), stall=40.0)
                self.assertEqual(sock.sent, whole)
                self.assertFalse(transport.pending)

    def test_large_payload_is_not_copied(self):
        """What is left of a large payload is a view of it, with a header before it or without."""
        payload = bytes(100_000)
        for buffers in ((payload,), (b"header", payload)):
            transport, _ = self.scripted(room=[1000, EAGAIN, EAGAIN])
            with self.assertRaises(WriteTimeout):
                transport.send(*buffers, deadline=instant(-1))
            self.assertIs(transport.rest.obj, payload)

    def test_rest_goes_first(self):
        """Nothing passes the rest of a frame cut short: not send, not try_send."""
        transport, sock = self.scripted(room=[3, EAGAIN, 2, EAGAIN, EAGAIN])
        self.assertTrue(transport.try_send(b"first."))
        self.assertEqual((sock.sent, transport.pending), (b"fir", True))
        self.assertFalse(transport.try_send(b"second."))
        transport.send(b"third.", deadline=instant(WAY_OFF))
        self.assertEqual(sock.sent, b"first.third.")
        self.assertTrue(transport.try_send(b"fourth."))
        self.assertEqual(sock.sent, b"first.third.fourth.")

    def test_take(self):
        """take keeps a frame of which the socket takes nothing."""
        transport, sock = self.scripted(room=[EAGAIN, EAGAIN])
        transport.take(b"taken")
        self.assertEqual((sock.sent, transport.pending), (b"", True))
        self.assertFalse(transport.flush())
        self.assertTrue(transport.flush())
        self.assertEqual(sock.sent, b"taken")

    def test_keep(self):
        """What is kept is pending, in order, and leaves with the next frame: one system call for all."""
        transport, sock = self.scripted()
        for frame in (b"one.", b"two."):
            self.assertTrue(transport.keep(frame))
        self.assertEqual((sock.calls, transport.pending, transport.kept), ([], True, 8))
        transport.send(b"three.")
        self.assertEqual((sock.calls, sock.sent), (["send"], b"one.two.three."))
        self.assertEqual((transport.pending, transport.kept), (False, 0))
        self.assertTrue(transport.keep(b"four."))
        transport.send(b"header", b"payload")
        self.assertEqual((sock.calls, sock.sent[14:]), (["send", "sendmsg"], b"four.headerpayload"))

    def test_nothing_passes_what_is_kept(self):
        """try_send and flush send what is kept first; what a full socket leaves of it is a rest like any other."""
        transport, sock = self.scripted(room=[EAGAIN, 2, EAGAIN])
        transport.keep(b"kept.")
        self.assertFalse(transport.try_send(b"frame."))
        self.assertEqual((transport.pending, transport.kept), (True, 0))
        self.assertFalse(transport.keep(b"no."))
        self.assertFalse(transport.flush())
        self.assertTrue(transport.try_send(b"frame."))
        self.assertEqual(sock.sent, b"kept.frame.")

    def test_how_much_is_kept(self):
        """So much memory, and no more, waits for the next frame."""
        transport, sock = self.scripted()
        most = transport_module.MOST_KEPT
        self.assertFalse(transport.keep(bytes(most + 1)))
        self.assertFalse(transport.pending)
        self.assertTrue(transport.keep(bytes(most - 1)))
        self.assertFalse(transport.keep(b"ab"))
        self.assertTrue(transport.keep(b"c"))
        self.assertTrue(transport.flush())
        self.assertEqual(len(sock.sent), most)

    def test_deadline_with_something_kept(self):
        """WriteTimeout before a byte of the frame has left: what was kept stays, in part or whole, and leaves later."""
        for taken in (0, 3, 5):
            transport, sock = self.scripted(room=[taken or EAGAIN, *[EAGAIN] * 2])
            transport.keep(b"kept.")
            with self.assertRaises(WriteTimeout):
                transport.send(b"frame", deadline=instant(-1))
            self.assertFalse(transport.torn)
            self.assertEqual(transport.pending, taken < 5)
            sock.room.clear()
            transport.send(b"next")
            self.assertEqual(sock.sent, b"kept.next")

    def test_deadline_with_part_of_the_frame_sent(self):
        """WriteTimeout once a byte of the frame has left: torn, as without anything kept."""
        transport, _ = self.scripted(room=[7, *[EAGAIN] * 2])
        transport.keep(b"kept.")
        with self.assertRaises(WriteTimeout):
            transport.send(b"frame", deadline=instant(-1))
        self.assertTrue(transport.torn)

    def test_an_error_with_something_kept(self):
        """A broken socket tears the stream; the error is the system's."""
        transport, _ = self.scripted(room=[OSError(errno.EPIPE, "broken")])
        transport.keep(b"kept.")
        with self.assertRaises(BrokenPipeError):
            transport.send(b"frame")
        self.assertTrue(transport.torn)

    def test_all_that_left_is_counted(self):
        """What the kernel took counts, whichever call gave it: send, try_send, and each part of a rest."""
        with mock.patch.object(transport_module, "fcntl", None):  # the kernel's count is all that there is
            transport, _ = self.scripted(room=[5, 3, 2, EAGAIN])
            transport.send(b"whole")
            self.assertEqual(transport.taken_by_peer(), 5)
            self.assertTrue(transport.try_send(b"cut short"))
            self.assertFalse(transport.flush())
            self.assertEqual(transport.taken_by_peer(), 10)
            self.assertTrue(transport.flush())
            self.assertEqual(transport.taken_by_peer(), 14)

    def stuck_send(self, *instants, **limits):
        """Send while there is no room, by a clock that shows these instants; the error, and how often it waited."""
        transport, _ = self.scripted(room=[EAGAIN] * 9)
        clock = mock.Mock(monotonic=mock.Mock(side_effect=instants))
        with (
            mock.patch.object(transport_module, "fcntl", None),
            mock.patch.object(transport_module, "time", clock),
            mock.patch.object(transport_module, "wait_for") as wait,
            self.assertRaises(OSError) as caught,
        ):
            transport.send(b"stuck", **limits)
        return caught.exception, wait.call_count

    def test_both_limits_are_over(self):
        """Where a look finds both limits over it is the caller's that counts, after which the connection lives on."""
        error, _ = self.stuck_send(0.0, 100.0, deadline=50.0, stall=10.0)
        self.assertIsInstance(error, WriteTimeout)

    def test_a_stall_is_not_waited_for_again(self):
        """The look that finds that nothing has moved for too long ends the send: the next wait might take as long."""
        error, waits = self.stuck_send(0.0, 100.0, stall=10.0)
        self.assertEqual((error.errno, waits), (errno.ETIMEDOUT, 1))

    def test_interrupted_close(self):
        """After a close that an interrupt ends in the middle nothing is shut down: the fd may be another socket's."""
        transport, sock = self.scripted()
        with mock.patch.object(sock, "close", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            transport.close()
        self.assertTrue(transport.closed)
        transport.shutdown()
        self.assertEqual(sock.calls, [])

    def test_empty_frame(self):
        """Sending nothing succeeds, also where there is no room."""
        transport, _ = self.scripted(room=[EAGAIN, EAGAIN])
        transport.send(b"")
        self.assertTrue(transport.try_send(b""))
        self.assertFalse(transport.pending)

    def test_interrupt_between_the_call_and_the_count(self):
        """An exception that may hide how much was taken tears the stream, wherever it strikes."""
        for error in (KeyboardInterrupt(), MemoryError(), OSError(errno.ECONNRESET, "reset")):
            for before, call in (
                ([], lambda t: t.send(b"x")),
                ([], lambda t: t.send(b"x", b"y")),
                ([], lambda t: t.try_send(b"x")),
                ([], lambda t: t.take(b"x")),
                ([1], lambda t: t.send(b"xyz")),
            ):
                transport, _ = self.scripted(room=[*before, error])
                with self.assertRaises(type(error)):
                    call(transport)
                self.assertTrue(transport.torn)
            for call in (lambda t: t.flush(), lambda t: t.send(b"new"), lambda t: t.try_send(b"new")):
                transport, _ = self.scripted(room=[1, error])
                transport.take(b"rest")
                with self.assertRaises(type(error)):
                    call(transport)
                self.assertTrue(transport.torn)

    def test_interrupted_tick(self):
        """An interrupt while the kernel's timeout is set leaves no false belief of what it is."""
        transport, sock = self.scripted(b"x", b"y")
        transport.receive(1, 5.0)
        with mock.patch.object(sock, "setsockopt", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            transport.receive(1, None)
        sock.calls.clear()
        transport.receive(1, 5.0)
        self.assertEqual(sock.calls, ["setsockopt", "recv"])

    def test_spurious_readiness(self):
        """With poll, a socket that seemed readable and is not counts as nothing came."""
        transport, _ = self.scripted(EAGAIN, EAGAIN, EAGAIN, EAGAIN, kernel_waits=False)
        self.assertIsNone(transport.receive(10, 5.0))
        self.assertIsNone(transport.receive_into(memoryview(bytearray(9)), 5.0))

    def test_what_came_during_a_wait(self):
        """With poll, what comes while a receive waits is what it gives."""
        for receive, came in (
            (lambda transport: transport.receive(9, 5.0), b"x"),
            (lambda transport: transport.receive_into(memoryview(bytearray(9)), 5.0), 1),
        ):
            transport, sock = self.scripted(EAGAIN, kernel_waits=False)

            def wait(*arguments, sock=sock, **keywords):
                sock.incoming.append(b"x")
                return True

            with mock.patch.object(transport_module, "wait_for", wait):
                self.assertEqual(receive(transport), came)

    def test_platforms(self):
        """Without sendmsg buffers are joined, without poll select waits, without ioctl the kernel's count serves."""
        with (
            mock.patch.object(transport_module, "_SENDMSG", False),
            mock.patch.object(transport_module, "fcntl", None),
            mock.patch.object(waits, "select", mock.Mock(spec=["select"], select=__import__("select").select)),
        ):
            transport, sock = self.scripted(EAGAIN, b"x", room=[2, EAGAIN], kernel_waits=False)
            transport.send(b"head", b"payload", stall=5.0)
            self.assertEqual(sock.sent, b"headpayload")
            self.assertEqual(transport.receive(9, 5.0), b"x")
            self.assertEqual(transport.taken_by_peer(), 11)


class PlaceTests(LeakChecks):
    """receive_into, as far as it is not what receive does."""

    def test_its_wait_is_its_own(self):
        """It waits as long as it is told, also after a receive that was to wait for ever."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            transport = Transport(ours)
            theirs.send(b"x")
            self.assertEqual(transport.receive(1, None), b"x")
            self.assertIsNone(Task(transport.receive_into, memoryview(bytearray(1)), 0.01).result())


if __name__ == "__main__":
    unittest.main()
