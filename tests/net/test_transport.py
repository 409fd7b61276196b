"""transport.py: each direction with its own deadline, what is left of a frame, TLS, and who wakes whom."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import math
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import trustme

from syncws._net import transport as transport_module
from syncws._net.transport import TLSTransport, Transport, is_green, say_peer
from syncws.errors import WriteTimeout
from syncws.testing import LeakChecks, ScriptedSocket, await_, socketpair
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE, Task

SMALL = 1 << 16  # a socket buffer that is soon full; much smaller ones let Linux crawl, a probe of its timer at a time
FULL = 1 << 22  # more than two such buffers and the window between them hold
WAY_OFF = 3600.0
POSIX = os.name == "posix"

EAGAIN = BlockingIOError(errno.EAGAIN, "no room")


def instant(seconds):
    return time.monotonic() + seconds


def read_all(sock, count=None):
    """Bytes of a plain socket: count of them, or all until the end."""
    data = bytearray()
    while count is None or len(data) < count:
        piece = sock.recv(1 << 16 if count is None else min(1 << 16, count - len(data)))
        if not piece:
            break
        data += piece
    return bytes(data)


@functools.cache
def authority():
    """(server's context, client's context) that trust each other."""
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return server, client


def tls_contexts(version=None):
    server, client = authority()
    if version is None:
        return server, client
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    client.minimum_version = client.maximum_version = version
    return server, client


def fill(sock):
    """Send until neither the socket nor its peer has room for a byte, not even after a while; how many it took."""
    sent = 0

    def took():
        nonlocal sent
        try:
            sent += sock.send(b"f" * 65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    while await_(took, 0.1):
        pass
    return sent


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
        wait = transport_module._wait_for

        def begin(*arguments, **keywords):
            self.alarm(interrupt, 0.03)
            return wait(*arguments, **keywords)

        with mock.patch.object(transport_module, "_wait_for", begin):
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
    """Writing, with a wait of the kernel or with poll: the same code."""

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
        before = time.monotonic()
        task = Task(transport.send, b"d" * (FULL * 4), deadline=before + 0.2)
        self.read_slowly(peer, lambda: not task.is_alive(), seconds=5)
        self.assertRaises(WriteTimeout, task.result)
        self.assertLess(time.monotonic() - before, 2)

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
                transport_module._wait_for(transport.socket, 5, write=True)
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
            transport_module._wait_for(transport.socket, 5, write=True)
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
        self.assertTrue(await_(lambda: transport.taken_by_peer() == transport.taken_by_peer()))
        before = transport.taken_by_peer()
        self.assertFalse(await_(lambda: transport.taken_by_peer() != before, 0.05))
        read_all(peer, filler)
        self.assertTrue(await_(lambda: transport.taken_by_peer() > before))


class PollReceivingTests(ReceivingTests):
    """Reads that wait with poll, as where the kernel has no timeout for us."""

    kernel_waits = False


class PollSendingTests(SendingTests):
    """Writes of a transport whose reads wait with poll."""

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
        """What is left of a large payload is a view of it."""
        payload = bytes(100_000)
        transport, _ = self.scripted(room=[1000, EAGAIN, EAGAIN])
        with self.assertRaises(WriteTimeout):
            transport.send(b"header", payload, deadline=instant(-1))
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

    def test_platforms(self):
        """Without sendmsg buffers are joined, without poll select waits, without ioctl the kernel's count serves."""
        with (
            mock.patch.object(transport_module, "_SENDMSG", False),
            mock.patch.object(transport_module, "fcntl", None),
            mock.patch.object(
                transport_module, "select", mock.Mock(spec=["select"], select=__import__("select").select)
            ),
        ):
            transport, sock = self.scripted(EAGAIN, b"x", room=[2, EAGAIN], kernel_waits=False)
            transport.send(b"head", b"payload", stall=5.0)
            self.assertEqual(sock.sent, b"headpayload")
            self.assertEqual(transport.receive(9, 5.0), b"x")
            self.assertEqual(transport.taken_by_peer(), 11)


class TLSCases(LeakChecks):
    """A server's and a client's transport over a pair of sockets."""

    kernel_waits = transport_module.KERNEL_WAITS

    def make(self, buffer=None, version=None):
        """(server, client) transports, before the handshake."""
        contexts = tls_contexts(version)
        sockets = socketpair(buffer)
        transports = []
        for sock, context, server in zip(sockets, contexts, (True, False), strict=True):
            self.addCleanup(sock.close)
            transports.append(
                TLSTransport(
                    sock,
                    context,
                    server_side=server,
                    server_hostname=None if server else "localhost",
                    kernel_waits=self.kernel_waits,
                )
            )
        return transports

    def agreed(self, buffer=None, version=None):
        """(server, client) transports, after it."""
        server, client = self.make(buffer, version)
        task = Task(server.handshake, instant(10))
        client.handshake(instant(10))
        task.result()
        return server, client

    def receive_all(self, transport, count):
        data = bytearray()
        while len(data) < count:
            piece = transport.receive(65536, 10.0)
            assert piece, piece
            data += piece
        return bytes(data)


class TLSTests(TLSCases):
    """TLS through memory buffers."""

    def test_both_ways(self):
        """Both ends agree, on both versions of TLS, and carry bytes of any size in both directions."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                server, client = self.agreed(SMALL, version)
                self.assertTrue(server.is_tls)
                self.assertEqual(client.ssl_object.version(), server.ssl_object.version())
                large = os.urandom(1 << 20)
                for near, far in ((server, client), (client, server)):
                    for sent in ((b"small",), (b"head", b"payload"), (b"head", large), (large, b"tail"), (b"",)):
                        task = Task(near.send, *sent, deadline=instant(10), stall=5.0)
                        self.assertEqual(self.receive_all(far, sum(map(len, sent))), b"".join(sent))
                        task.result()
                        self.assertFalse(near.pending)

    def test_receive_into(self):
        """receive_into puts plain text in its place, a piece of a record at a time if need be."""
        server, client = self.agreed()
        client.send(b"0123456789")
        room = bytearray(16)
        self.assertEqual(server.receive_into(memoryview(room)[:4], 5.0), 4)
        self.assertEqual(server.receive_into(memoryview(room)[4:], 5.0), 6)
        self.assertEqual(room, b"0123456789" + bytes(6))
        self.assertIsNone(server.receive_into(memoryview(room), 0.01))
        client.shutdown_write()
        self.assertEqual(server.receive_into(memoryview(room), 5.0), 0)

    def test_buffered_plain_text(self):
        """Plain text that is already decrypted comes without a system call, so it never waits for the socket."""
        server, client = self.agreed()
        client.send(b"0123456789")
        self.assertEqual(server.receive(4, 5.0), b"0123")
        with mock.patch.object(Transport, "receive", side_effect=AssertionError("asked the socket")):
            self.assertEqual(server.receive(100, None), b"456789")

    def test_one_call_per_message(self):
        """In the steady state a small message is one recv, and one send."""
        server, client = self.agreed()
        server.receive(100, 0.01)  # session tickets and the like are out of the way
        client.receive(100, 0.01)
        calls = []

        class Counting:
            def __init__(self, sock):
                self._sock = sock

            def __getattr__(self, name):
                found = getattr(self._sock, name)
                if not callable(found):
                    return found
                return lambda *arguments: (calls.append(name), found(*arguments))[1]

        server.socket, client.socket = Counting(server.socket), Counting(client.socket)
        server.receive(100, 0.01)
        calls.clear()
        for _ in range(50):
            client.send(b"message")
            self.assertEqual(server.receive(100, 0.01), b"message")
            self.assertTrue(server.try_send(b"answer"))
            self.assertEqual(client.receive(100, None), b"answer")
        self.assertEqual(calls.count("setsockopt"), 1)
        calls.remove("setsockopt")
        self.assertEqual(calls, ["send", "recv"] * 100)

    def test_end_with_close_notify(self):
        """shutdown_write sends close_notify: the peer's own TLS sees an orderly end."""
        server, client = self.agreed()
        server.send(b"last")
        server.shutdown_write()
        self.assertEqual(client.receive(100, 5.0), b"last")
        client._incoming.write(read_all(client.socket))  # all but the end of TCP
        with self.assertRaises(ssl.SSLZeroReturnError):
            # Our own close_notify is out as well, so read raises instead of returning b"".
            client.shutdown_write()
            client.ssl_object.read(100)

    def test_end_of_stream(self):
        """close_notify is the end of the stream, each time one asks; the other direction goes on."""
        server, client = self.agreed()
        client.shutdown_write()
        self.assertEqual(server.receive(100, 5.0), b"")
        self.assertEqual(server.receive(100, None), b"")
        server.send(b"still there")
        self.assertEqual(client.receive(100, 5.0), b"still there")
        client.shutdown_write()  # twice does no harm
        server.shutdown_write()
        self.assertEqual(client.receive(100, 5.0), b"")

    def test_end_without_close_notify(self):
        """A peer that ends TCP without a close_notify is the end of the stream as well."""
        server, client = self.agreed()
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(server.receive(100, 5.0), b"")
        self.assertEqual(server.receive_into(memoryview(bytearray(9)), None), 0)

    def test_end_in_a_record(self):
        """So is one that is cut in the middle of a record."""
        server, client = self.agreed()
        ciphertext = client._encrypt(b"cut")
        client.socket.sendall(ciphertext[:-3])
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(server.receive(100, 5.0), b"")

    def test_garbage_after_the_handshake(self):
        """Bytes that are no TLS are an OSError, and the alert about them can leave."""
        server, client = self.agreed()
        client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with self.assertRaises(ssl.SSLError):
            server.receive(100, 5.0)
        self.assertTrue(server.pending)
        self.assertTrue(server.flush())
        with self.assertRaises(ssl.SSLError):
            client.receive(100, 5.0)

    def test_full_duplex(self):
        """A writer stuck for ever does not keep its own side from reading, nor from being woken."""
        server, client = self.agreed(SMALL)
        writer = Task(server.send, b"w" * FULL)
        for _ in range(20):
            client.send(b"read me", deadline=instant(5))
            self.assertEqual(server.receive(100, 5.0), b"read me")
        self.assertTrue(writer.is_alive())
        server.shutdown()
        self.assertRaises(BrokenPipeError, writer.result)
        self.assertTrue(server.torn)

    def test_shutdown_wakes_a_receive(self):
        """shutdown ends a read that waits."""
        server, _ = self.agreed()
        task = Task(server.receive, 100, None)
        task.join(0.05)
        server.shutdown()
        self.assertEqual(task.result(), b"")

    def test_nothing_came(self):
        """receive gives None when the wait is over."""
        server, _ = self.agreed()
        self.assertIsNone(server.receive(100, 0.02))
        self.assertFalse(server.heard_part)
        self.assertIsNone(server.receive(100, -1.0))

    def test_wait_is_for_plain_text(self):
        """A peer that drips the bytes of one record gets no more time than one that is silent; it was heard, though."""
        server, client = self.agreed()
        server.receive(100, 0.01)
        ciphertext = client._encrypt(b"d" * 8000)
        stop = threading.Event()

        def drip():
            for byte in ciphertext[:-1]:
                client.socket.sendall(bytes([byte]))
                if stop.wait(0.02):
                    return

        before = time.monotonic()
        dripping = Task(drip)
        self.assertIsNone(server.receive(100, 0.2))
        self.assertLess(time.monotonic() - before, 1.0)
        self.assertTrue(server.heard_part)
        stop.set()
        dripping.result()
        self.assertTrue(await_(lambda: server.receive(100, 0.01) is None and not server.heard_part))

    def test_deadline_with_nothing_sent(self):
        """WriteTimeout before there was room: nothing is encrypted, so nothing is torn, and a later send succeeds."""
        server, client = self.agreed(SMALL)
        filler = b"f" * FULL
        server.take(filler)
        for _ in range(3):
            with self.assertRaises(WriteTimeout):
                server.send(b"refused", deadline=instant(0.02))
        self.assertFalse(server.torn)
        task = Task(self.receive_all, client, FULL)
        server.flush_until(instant(10), None)
        self.assertEqual(task.result(), filler)
        server.send(b"next", deadline=instant(5))
        self.assertEqual(client.receive(100, 5.0), b"next")
        fill(server.socket)  # now the socket is full, and there is no rest
        self.assertFalse(server.pending)
        with self.assertRaises(WriteTimeout):
            server.send(b"refused", deadline=instant(0.02))
        self.assertEqual((server.torn, server.pending), (False, False))

    def test_deadline_with_part_sent(self):
        """WriteTimeout when part has left: torn, as what follows would be missing a piece."""
        server, _ = self.agreed(SMALL)
        with self.assertRaises(WriteTimeout):
            server.send(b"p" * FULL, deadline=instant(0.1))
        self.assertTrue(server.torn)

    def test_stall(self):
        """A peer that takes nothing fails the send after the stall limit."""
        server, _ = self.agreed(SMALL)
        with self.assertRaises(OSError) as caught:
            server.send(b"p" * FULL, stall=0.2)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.assertTrue(server.torn)

    def test_try_send(self):
        """try_send takes what it encrypts, whatever the socket takes of it; while that waits it takes nothing."""
        server, client = self.agreed(SMALL)
        self.assertTrue(server.try_send(b"first"))
        self.assertTrue(server.try_send(b"l" * FULL))
        self.assertTrue(server.pending)
        self.assertFalse(server.try_send(b"refused"))
        task = Task(self.receive_all, client, 5 + FULL + 4)
        while not server.flush():
            transport_module._wait_for(server.socket, 5, write=True)
        self.assertTrue(server.try_send(b"next"))
        server.flush_until(instant(10), None)
        self.assertEqual(task.result(), b"first" + b"l" * FULL + b"next")

    def test_interrupt(self):
        """An exception between encrypting and sending makes a hole in the stream: torn."""
        for call in (lambda t: t.send(b"x"), lambda t: t.try_send(b"x"), lambda t: t.take(b"x")):
            server, _ = self.agreed()
            encrypt = server._encrypt

            def interrupted(data, encrypt=encrypt):
                encrypt(data)
                raise KeyboardInterrupt

            with mock.patch.object(server, "_encrypt", interrupted), self.assertRaises(KeyboardInterrupt):
                call(server)
            self.assertTrue(server.torn)

    def test_readers_ciphertext(self):
        """Ciphertext that reading has made is pending, and leaves before and with the next that is sent."""
        for call in (
            lambda t: t.flush(),
            lambda t: t.send(b"next"),
            lambda t: t.send(b"next", deadline=instant(5)),
            lambda t: t.try_send(b"next"),
            lambda t: t.flush_until(instant(5), None),
        ):
            server, client = self.agreed()
            with server._codec:
                server.ssl_object.write(b"from the reader,")  # stands for OpenSSL's answer to a key update
            self.assertTrue(server.pending)
            call(server)
            self.assertFalse(server.pending)
            server.send(b"end")
            server.shutdown_write()
            received = read_plain(client)
            self.assertTrue(received.startswith(b"from the reader,"), received)
            self.assertTrue(received.endswith(b"end"), received)

    def test_readers_ciphertext_on_a_full_socket(self):
        """Where there is no room for it, it waits as a rest."""
        server, client = self.agreed(SMALL)
        client.receive(100, 0.01)  # session tickets
        filler = fill(server.socket)
        with server._codec:
            server.ssl_object.write(b"answer")
        self.assertFalse(server.flush())
        self.assertTrue(server.pending)
        with server._codec:
            server.ssl_object.write(b"another")
        read_all(client.socket, filler)
        self.assertTrue(await_(server.flush))
        self.assertEqual(self.receive_all(client, 13), b"answeranother")


@unittest.skipUnless(shutil.which("openssl"), "needs the openssl program")
class KeyUpdateTests(TLSCases):
    """A real key update, by the openssl program as the peer."""

    def test_answer_to_a_key_update(self):
        """A key update that asks for one in return is answered, and the stream stays whole on both sides."""
        server_context, _ = tls_contexts()
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        listener.settimeout(10)
        program = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        watchdog = threading.Timer(20, program.kill)  # readline knows no timeout
        watchdog.start()
        self.addCleanup(watchdog.join)
        self.addCleanup(watchdog.cancel)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        server = TLSTransport(accepted, server_context, server_side=True)
        server.handshake(instant(10))
        program.stdin.write(b"before\n")
        program.stdin.flush()
        self.assertEqual(server.receive(100, 10.0), b"before\n")
        told = iter(program.stdout.readline, b"")
        for number in range(3):
            program.stdin.write(b"K\n")  # update keys, and ask the peer to, with what is sent next
            program.stdin.flush()
            self.assertTrue(any(b"KEYUPDATE" in line for line in told))
            program.stdin.write(b"after %d\n" % number)
            program.stdin.flush()
            self.assertEqual(server.receive(100, 10.0), b"after %d\n" % number)
            if server.pending:  # where the answer does not wait for the next write
                self.assertTrue(server.flush())
            server.send(b"after the update\n")
            self.assertTrue(any(b"after the update" in line for line in told))
        server.shutdown_write()


class TLSHandshakeTests(TLSCases):
    """Agreeing on TLS, or not."""

    def test_deadline(self):
        """A peer that is silent, or drips, does not hold a handshake past its deadline."""
        server, client = self.make()
        before = time.monotonic()
        self.assertRaises(TimeoutError, server.handshake, before + 0.1)
        self.assertLess(time.monotonic() - before, 1)
        stop = threading.Event()

        def drip():
            client._step_handshake()
            for byte in client._outgoing.read():
                client.socket.sendall(bytes([byte]))
                if stop.wait(0.02):
                    return

        task = Task(drip)
        self.assertRaises(TimeoutError, server.handshake, instant(0.2))
        stop.set()
        task.result()

    def test_garbage(self):
        """A client that speaks no TLS is an SSLError, which is an OSError; it gets an alert."""
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff" + bytes(300)):
            server, client = self.make()
            client.socket.sendall(data)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertRaises(OSError, server.handshake, instant(5))

    def test_certificate_refused(self):
        """A client that does not trust the server raises, and says so in an alert: both sides fail, neither hangs."""
        sockets = socketpair()
        for sock in sockets:
            self.addCleanup(sock.close)
        server = TLSTransport(sockets[0], tls_contexts()[0], server_side=True)
        strict = ssl.create_default_context()
        client = TLSTransport(sockets[1], strict, server_side=False, server_hostname="localhost")
        task = Task(client.handshake, instant(10))
        with self.assertRaises(ssl.SSLError):
            server.handshake(instant(10))
            server.receive(100, 10.0)  # with TLS 1.3 the server had finished before it heard of it
        self.assertRaises(ssl.SSLCertVerificationError, task.result)

    def test_peer_leaves(self):
        """A peer that leaves during the handshake is an OSError."""
        server, client = self.make()
        client.socket.shutdown(socket.SHUT_WR)
        self.assertRaises(ConnectionResetError, server.handshake, instant(5))
        server, client = self.make()
        client._step_handshake()
        client.socket.sendall(client._outgoing.read()[:-10])
        client.socket.shutdown(socket.SHUT_WR)
        self.assertRaises(ConnectionResetError, server.handshake, None)

    def test_shutdown_wakes_it(self):
        """shutdown ends a handshake that waits."""
        server, _ = self.make()
        task = Task(server.handshake, None)
        task.join(0.05)
        server.shutdown()
        self.assertRaises(ConnectionResetError, task.result)

    def test_plain_text_right_behind_it(self):
        """What a client sends in the same packet as the end of its handshake is not lost."""
        server, client = self.make()
        task = Task(server.handshake, instant(10))
        client.handshake(instant(10))
        client.send(b"at once")
        task.result()
        self.assertEqual(server.receive(100, 5.0), b"at once")


class TLSPollTests(TLSTests):
    """The same with reads that wait with poll."""

    kernel_waits = False

    def test_one_call_per_message(self):
        """With poll a read that finds nothing at first takes more calls: there is nothing to count."""


def read_plain(client):
    """All plain text until the end."""
    data = b""
    while piece := client.receive(65536, 10.0):
        data += piece
    return data


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"  # what stands in a tunnel before TLS begins


class Codec:
    """TLS by the standard library alone, over anything that receives and sends: a peer that shares no code of ours."""

    def __init__(self, transport, context, *, server_side):
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=name)

    def call(self, call, *arguments):
        """A call on the SSLObject, for which bytes come and go as they must."""
        while True:
            try:
                result = call(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(self._transport.receive(65536, PATIENCE))
            else:
                self.flush()
                return result

    def flush(self):
        if data := self._outgoing.read():
            self._transport.send(data)

    def hello(self):
        """The first bytes of a client."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()


class TunnelCases(TLSCases):
    """TLS through the TLS of a proxy: what `make` gives is the inner one, the outer one has been agreed on."""

    outer_version = None

    def make_outer(self, buffer=None):
        outer = super().make(buffer, self.outer_version)
        task = Task(outer[0].handshake, instant(PATIENCE))
        outer[1].handshake(instant(PATIENCE))
        task.result()
        return outer

    def make(self, buffer=None, version=None):
        contexts = tls_contexts(version)
        return [self.inner(outer, context) for outer, context in zip(self.make_outer(buffer), contexts, strict=True)]

    def inner(self, outer, context, early_data=b""):
        server = not outer.ssl_object.server_hostname
        return TLSTransport(
            outer.socket,
            context,
            server_side=server,
            server_hostname=None if server else "localhost",
            early_data=early_data,
            outer=outer,
            kernel_waits=self.kernel_waits,
        )


class TunnelTests(TunnelCases, TLSTests):
    """All that TLS does, it does in TLS."""

    def test_sizes(self):
        """Bytes of any size pass, over each pair of versions, with small buffers in between."""
        large = os.urandom(1 << 22)
        for outer in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(outer=outer, version=version):
                    self.outer_version = outer
                    server, client = self.agreed(SMALL, version)
                    self.assertEqual(server._outgoing._outer.ssl_object.version(), outer.name.replace("_", "."))
                    self.assertEqual(server.ssl_object.version(), version.name.replace("_", "."))
                    for size in (1, 2, 16383, 16384, 16385, (1 << 18) - 1, (1 << 18) + 1, 1 << 22):
                        for near, far in ((server, client), (client, server)):
                            task = Task(near.send, large[:size], deadline=instant(PATIENCE), stall=PATIENCE)
                            self.assertTrue(self.receive_all(far, size) == large[:size], size)
                            task.result()
                            self.assertFalse(near.pending)

    def test_both_directions_at_once(self):
        """Two threads in each end, one of which reads while the other writes, get in nobody's way."""
        server, client = self.agreed(SMALL)
        sizes = (1, 4 << 20, 100, 70_000, 5, 16_384, 300_000, 3)
        upward, downward = ([os.urandom(size) for size in sizes] for _ in range(2))

        def write(transport, messages):
            for message in messages:
                transport.send(message[:1], message[1:], deadline=instant(PATIENCE), stall=PATIENCE)

        tasks = [Task(write, client, upward), Task(write, server, downward)]
        readers = [Task(self.receive_all, server, sum(sizes)), Task(self.receive_all, client, sum(sizes))]
        for task in tasks:
            task.result()
        self.assertTrue(readers[0].result() == b"".join(upward))
        self.assertTrue(readers[1].result() == b"".join(downward))

    def test_end_of_the_tunnel(self):
        """A proxy that ends its own TLS in order, with close_notify, is the end of the stream, now and later."""
        server, client = self.agreed()
        client.send(b"last")
        Transport.send(client, self.farewell(client))
        self.assertEqual(server.receive(100, 5.0), b"last")
        for _ in range(2):
            self.assertEqual(server.receive(100, 5.0), b"")
            self.assertEqual(server.receive_into(memoryview(bytearray(9)), 5.0), 0)
        Transport.send(client, b"what comes behind it is not looked at")
        self.assertEqual(server.receive(100, 5.0), b"")

    def farewell(self, transport):
        """close_notify of the outer TLS."""
        outer = transport._outgoing._outer
        with transport._codec, self.assertRaises(ssl.SSLWantReadError):
            outer._tls.unwrap()
        return outer._outgoing.read()

    def test_end_of_the_tunnel_in_a_record(self):
        """So is one between two halves of a record of the inner TLS."""
        server, client = self.agreed()
        with client._codec:
            client._tls.write(b"cut")
            client._outgoing._outer._tls.write(client._outgoing._outgoing.read()[:-1])
            half = client._outgoing._outer._outgoing.read()
        Transport.send(client, half + self.farewell(client))
        self.assertEqual(server.receive(100, 5.0), b"")

    def test_garbage_in_the_tunnel(self):
        """Bytes that the proxy passes on and that are no TLS are an OSError, and the alert about them can leave."""
        server, client = self.agreed()
        with client._codec:
            client._outgoing._outer._tls.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            garbage = client._outgoing._outer._outgoing.read()
        Transport.send(client, garbage)
        with self.assertRaises(ssl.SSLError):
            server.receive(100, 5.0)
        self.assertTrue(server.flush())
        with self.assertRaises(ssl.SSLError):
            client.receive(100, 5.0)

    def test_outer_ciphertext(self):
        """Ciphertext that waits in the outer TLS alone is pending too, and leaves (an answer to a key update)."""
        server, client = self.agreed()
        with server._codec:
            server._tls.write(b"from the reader")
            server._outgoing._outer._tls.write(server._outgoing._outgoing.read())
        self.assertTrue(server.pending)
        self.assertTrue(server.flush())
        self.assertFalse(server.pending)
        self.assertEqual(client.receive(100, 5.0), b"from the reader")

    def test_records_cut_anywhere(self):
        """Ciphertext that comes a byte at a time is the same, at both levels."""
        server, client = self.agreed()
        server.receive(100, 0.01)
        ciphertext = client._encrypt(b"0123456789")
        for byte in ciphertext[:-1]:
            client.socket.sendall(bytes([byte]))
            self.assertIsNone(server.receive(100, 0.001))
        client.socket.sendall(ciphertext[-1:])
        self.assertEqual(server.receive(100, 5.0), b"0123456789")

    def test_through_a_proxy(self):
        """Through a proxy and to a server that use the standard library's TLS, bytes pass both ways at once."""
        server_context, client_context = authority()
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)
        sizes = (1, 100, 16_385, 300_000, 4 << 20)

        def echo():
            with listener.accept()[0] as sock:
                sock.settimeout(PATIENCE)
                with server_context.wrap_socket(sock, server_side=True) as secure:
                    left = sum(sizes)
                    while left:
                        data = secure.recv(65536)
                        secure.sendall(data)
                        left -= len(data)

        with ConnectProxy(ssl_context=server_context) as proxy:
            task = Task(echo)
            sock = socket.create_connection(("127.0.0.1", proxy.port))
            self.addCleanup(sock.close)
            outer = TLSTransport(sock, client_context, server_side=False, server_hostname="localhost")
            outer.handshake(instant(PATIENCE))
            outer.send(f"CONNECT server.test:{listener.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
            self.assertTrue(outer.receive(1000, PATIENCE).endswith(b"\r\n\r\n"))
            client = self.inner(outer, client_context)
            client.handshake(instant(PATIENCE))
            for size in sizes:
                data = os.urandom(size)
                writer = Task(client.send, data, deadline=instant(PATIENCE))
                self.assertTrue(self.receive_all(client, size) == data, size)
                writer.result()
            task.result()
            self.assertEqual(client.receive(100, PATIENCE), b"")


class TunnelHandshakeTests(TunnelCases, TLSHandshakeTests):
    """Agreeing on TLS in TLS, or not; and what was said before."""

    def check(self, transport, codec):
        """A transport and a codec agree on TLS, and bytes pass."""
        task = Task(transport.handshake, instant(PATIENCE))
        codec.call(codec.tls.do_handshake)
        task.result()
        codec.call(codec.tls.write, b"ping")
        self.assertEqual(transport.receive(100, PATIENCE), b"ping")
        transport.send(b"pong")
        self.assertEqual(codec.call(codec.tls.read, 100), b"pong")

    def test_either_side(self):
        """TLS in TLS agrees with a peer that has none of our code, as its server and as its client."""
        for side in (0, 1):
            pair = self.make_outer()
            ours, theirs = pair[side], pair[1 - side]
            codec = Codec(theirs, authority()[1 - side], server_side=side == 1)
            self.check(self.inner(ours, authority()[side]), codec)

    def test_early_data(self):
        """What was received before TLS began is read first, however much of it there was."""
        for count in (0, 1, 5, 100, -1, None):
            for tunnelled in (False, True):
                with self.subTest(count, tunnelled=tunnelled):
                    ours, theirs = self.make_outer() if tunnelled else map(Transport, self.sockets())
                    client = Codec(theirs, authority()[1], server_side=False)
                    hello = client.hello()
                    theirs.send(hello)
                    early = self.receive_all(ours, len(hello))[:count]
                    if tunnelled:
                        server = self.inner(ours, authority()[0], early)
                    else:
                        server = TLSTransport(ours.socket, authority()[0], server_side=True, early_data=early)
                    theirs.send(hello[len(early) :])
                    self.check(server, client)

    def sockets(self):
        sockets = socketpair()
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def test_in_the_record_of_the_consent(self):
        """What stands behind a proxy's consent in the same record is not lost: whether it was read, or is yet to be."""
        for read in (len(HEAD), len(HEAD) + 1, 65536):
            with self.subTest(read):
                ours, theirs = self.make_outer()
                client = Codec(theirs, authority()[1], server_side=False)
                theirs.send(HEAD + client.hello())
                said = ours.receive(read, PATIENCE)
                self.assertEqual(said[: len(HEAD)], HEAD)
                self.check(self.inner(ours, authority()[0], said[len(HEAD) :]), client)

    def test_behind_the_record_of_the_consent(self):
        """Nor is what follows in records of its own, of which part has been received."""
        ours, theirs = self.make_outer()
        client = Codec(theirs, authority()[1], server_side=False)
        with theirs._codec:
            theirs._tls.write(HEAD)
            for byte in client.hello():
                theirs._tls.write(bytes([byte]))
            ciphertext = theirs._outgoing.read()
        theirs.socket.sendall(ciphertext)
        self.assertEqual(ours.receive(len(HEAD), PATIENCE), HEAD)
        self.check(self.inner(ours, authority()[0]), client)

    def test_silence_behind_the_consent(self):
        """A proxy whose consent is all that comes does not hold the handshake past its deadline."""
        proxy, outer = self.make_outer()
        proxy.send(HEAD)
        self.assertEqual(outer.receive(65536, PATIENCE), HEAD)
        self.assertRaises(TimeoutError, self.inner(outer, authority()[1]).handshake, instant(0.05))

    def test_end_of_the_tunnel(self):
        """A proxy that ends its own TLS during the handshake is an OSError."""
        server, client = self.make()
        outer = client._outgoing._outer
        with self.assertRaises(ssl.SSLWantReadError):
            outer._tls.unwrap()
        Transport.send(client, outer._outgoing.read())
        self.assertRaises(OSError, server.handshake, instant(PATIENCE))

    def test_garbage_in_the_tunnel(self):
        """A server behind the proxy that speaks no TLS is an SSLError, and is sent an alert if OpenSSL has one."""
        for said, alerted in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", False), (b"\x17\x03\x03\x00\x05hello", True)):
            proxy, outer = self.make_outer()
            task = Task(self.inner(outer, authority()[1]).handshake, instant(PATIENCE))
            self.assertTrue(proxy.receive(65536, PATIENCE).startswith(b"\x16\x03"))
            proxy.send(said)
            self.assertIsInstance(task.error(), ssl.SSLError)
            if alerted:
                self.assertTrue(proxy.receive(65536, PATIENCE).startswith(b"\x15\x03"))


class TunnelPollTests(TunnelTests):
    """The same with reads that wait with poll."""

    kernel_waits = False

    def test_one_call_per_message(self):
        """With poll a read that finds nothing at first takes more calls: there is nothing to count."""


class GreenTests(unittest.TestCase):
    """In a process that gevent or eventlet has patched, whose waits are theirs."""

    def test_not_patched(self) -> None:
        """A process that is not patched is not green, and waits in the kernel where that can be done."""
        self.assertFalse(is_green())

    def test_gevent(self) -> None:
        """Patched by gevent, server and client talk to each other from its greenlets, plain and over TLS."""
        self.check("gevent")

    def test_eventlet(self) -> None:
        """Patched by eventlet, server and client talk to each other from its greenlets, plain and over TLS."""
        self.check("eventlet")

    def check(self, kind: str) -> None:
        if importlib.util.find_spec(kind) is None:
            self.skipTest(f"{kind} is not installed")
        command = [sys.executable, "-W", "ignore", "-m", "tests.green", kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout, "True ws late\nTrue wss late\n", done.stderr)


class SayPeerTests(unittest.TestCase):
    def test_addresses(self) -> None:
        """Each kind of address is readable in a log."""
        self.assertEqual(say_peer(("192.0.2.1", 80)), "192.0.2.1:80")
        self.assertEqual(say_peer(("2001:db8::1", 80, 0, 0)), "[2001:db8::1]:80")
        self.assertEqual(say_peer("/run/x.sock"), "/run/x.sock")
        self.assertEqual(say_peer(""), "a peer on a Unix socket")


if __name__ == "__main__":
    unittest.main()
