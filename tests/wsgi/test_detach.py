"""detach.py: the connection goes on, and the server holds a dead socket under the same number."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from unittest import mock

from syncws._wsgi import detach as detach_module
from syncws._wsgi.detach import DetachedTransport, detach
from syncws._wsgi.taken import Taken
from syncws.testing import LeakChecks, socketpair
from tests.tasks import PATIENCE, Task
from tests.wsgi.test_foreign import receive_all


def fds() -> set[str]:
    """The numbers of the open descriptors."""
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Only so many further descriptors can be had within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, fds())) + 32, hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TCPTests(LeakChecks):
    """A plain connection, over TCP; UnixTests repeats it."""

    def make_sockets(self) -> tuple[socket.socket, socket.socket]:
        """(the server's, the client's)"""
        server, client = socketpair()
        self.addCleanup(server.close)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        return server, client

    def make(self, *, swallow: bool = False) -> tuple[DetachedTransport, socket.socket, socket.socket]:
        """(transport, the server's socket, the client's), detached."""
        server, client = self.make_sockets()
        return self.detach(server, swallow=swallow), server, client

    def detach(self, server: socket.socket, *, swallow: bool = False) -> DetachedTransport:
        transport = detach(Taken(server="a server", sock=server, fd=server.fileno(), swallow=swallow))
        self.addCleanup(setattr, detach_module._kept, "sink", None)
        self.addCleanup(transport.close)
        return transport

    def check_goes_on(self, transport: DetachedTransport, client: socket.socket) -> None:
        """Bytes pass both ways, and those only."""
        transport.send(b"to the client")
        self.assertEqual(client.recv(100), b"to the client")
        client.sendall(b"to the server")
        self.assertEqual(transport.receive(100, PATIENCE), b"to the server")

    def test_the_connection_goes_on(self) -> None:
        """Whatever the server does to its socket, reading, writing, shutting it down or closing it, the client sees
        nothing of it, and the connection goes on."""
        transport, server, client = self.make()
        self.check_goes_on(transport, client)
        self.assertEqual(server.recv(100), b"")
        self.check_goes_on(transport, client)
        with self.assertRaises(BrokenPipeError):
            server.send(b"HTTP/1.1 101 Switching Protocols")
        self.check_goes_on(transport, client)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        self.check_goes_on(transport, client)
        server.close()
        self.check_goes_on(transport, client)
        transport.shutdown_write()
        self.assertEqual(client.recv(100), b"")

    def test_addresses(self) -> None:
        """The connection's addresses are the client's and the server's, and it is no more delayed than others."""
        transport, _, client = self.make()
        self.assertEqual(transport.remote_address, client.getsockname())
        self.assertEqual(transport.local_address, client.getpeername())
        self.assertTrue(transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_much(self) -> None:
        """A large message passes whole in each direction, both at once."""
        transport, _, client = self.make()
        there, back = os.urandom(1 << 20), os.urandom(1 << 20)
        sending = Task(client.sendall, there)
        answering = Task(transport.send, back)
        received = Task(lambda: b"".join(iter_exactly(client, len(back))))
        self.assertEqual(receive_all(transport, len(there)), there)
        self.assertEqual(received.result(), back)
        sending.result()
        answering.result()

    def test_what_came_before(self) -> None:
        """Bytes that had come in at the socket, unread by the server, are the connection's first."""
        server, client = self.make_sockets()
        client.sendall(b"early")
        transport = self.detach(server)
        self.assertEqual(transport.receive(100, PATIENCE), b"early")

    def test_a_client_that_has_gone(self) -> None:
        """A client that left before is the end of the stream."""
        server, client = self.make_sockets()
        client.close()
        transport = self.detach(server)
        self.assertEqual(transport.receive(100, PATIENCE), b"")

    def test_numbers(self) -> None:
        """The server keeps the number of its descriptor; the connection has one of its own."""
        server, _ = self.make_sockets()
        number = server.fileno()
        transport = self.detach(server)
        self.assertEqual(server.fileno(), number)
        self.assertNotEqual(transport.fileno(), number)

    def test_the_blocking_mode_is_kept(self) -> None:
        """The server's end blocks, or does not, as it did; so does its socket object's timeout."""
        for timeout in (None, 0.0, 10.0):
            with self.subTest(timeout=timeout):
                server, _ = self.make_sockets()
                server.settimeout(timeout)
                blocking = os.get_blocking(server.fileno())
                self.detach(server)
                self.assertEqual(os.get_blocking(server.fileno()), blocking)
                self.assertEqual(server.gettimeout(), timeout)
                self.assertEqual(server.recv(100), b"")

    def test_nothing_is_inherited(self) -> None:
        """No program that is started gets any of the descriptors."""
        transport, server, _ = self.make(swallow=True)
        self.assertFalse(os.get_inheritable(server.fileno()))
        self.assertFalse(os.get_inheritable(transport.fileno()))
        self.assertFalse(os.get_inheritable(detach_module._kept.sink._peer.fileno()))  # type: ignore[union-attr]

    def test_close(self) -> None:
        """close gives the connection's descriptor back, tells who wants to know, and leaves the server's alone."""
        before = fds()
        transport, server, client = self.make()
        told: list[str] = []
        transport.on_closed = lambda: told.append("closed")
        transport.close()
        self.assertEqual(told, ["closed"])
        self.assertEqual(client.recv(100), b"")
        self.assertGreaterEqual(server.fileno(), 0)
        self.assertEqual(fds() - before, {str(server.fileno()), str(client.fileno())})

    def test_swallow(self) -> None:
        """A server that would log a failed write writes into nothing instead; it still reads the end."""
        transport, server, client = self.make(swallow=True)
        self.assertEqual(server.send(b"HTTP/1.1 101 Switching Protocols"), 32)
        self.assertEqual(server.recv(100), b"")
        self.check_goes_on(transport, client)

    def test_swallow_beyond_the_end(self) -> None:
        """It does so after the connection is closed too, as the view has yet to return: until its thread takes another
        one."""
        transport, server, _ = self.make(swallow=True)
        transport.close()
        transport.close()
        self.assertEqual(server.send(b"HTTP/1.1 101 Switching Protocols"), 32)
        _, other_server, _ = self.make(swallow=True)
        with self.assertRaises(BrokenPipeError):
            server.send(b"late")
        self.assertEqual(other_server.send(b"in time"), 7)

    def test_the_sink_goes_with_its_thread(self) -> None:
        """A thread that ends leaves nothing of the connections that it has taken."""
        _, server, _ = Task(self.make, swallow=True).result()
        with self.assertRaises(BrokenPipeError):
            server.send(b"late")

    def test_no_descriptor_is_left(self) -> None:
        """OSError where there is none to be had, and nothing has changed: the server goes on with its client."""
        server, client = self.make_sockets()
        server.settimeout(PATIENCE)
        for swallow in (False, True):
            for count in range(3 if swallow else 2):
                with self.subTest(count=count, swallow=swallow):
                    before = fds()
                    with descriptors_left(count), self.assertRaises(OSError) as caught:
                        self.detach(server, swallow=swallow)
                    self.assertEqual(caught.exception.errno, errno.EMFILE)
                    self.assertEqual(fds(), before)
                    server.sendall(b"still mine")
                    self.assertEqual(client.recv(100), b"still mine")
                    client.sendall(b"and back")
                    self.assertEqual(server.recv(100), b"and back")
        with descriptors_left(2):
            transport = self.detach(server)
        self.check_goes_on(transport, client)

    def test_an_interrupt(self) -> None:
        """An interrupt just before the exchange leaves everything as it was."""
        server, client = self.make_sockets()
        before = fds()
        with mock.patch("os.dup2", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            self.detach(server)
        self.assertEqual(fds(), before)
        server.sendall(b"still mine")
        self.assertEqual(client.recv(100), b"still mine")


def iter_exactly(sock: socket.socket, count: int) -> Iterator[bytes]:
    """Pieces of so many bytes."""
    while count > 0:
        piece = sock.recv(min(count, 1 << 16))
        assert piece
        count -= len(piece)
        yield piece


class UnixTests(TCPTests):
    """The same over a Unix socket."""

    def make_sockets(self) -> tuple[socket.socket, socket.socket]:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            self.path = os.path.join(folder, "socket")
            listener.bind(self.path)
            listener.listen()
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(self.path)
            server, _ = listener.accept()
            self.addCleanup(server.close)
        client.settimeout(PATIENCE)
        return server, client

    def test_addresses(self) -> None:
        """Its address is the path, and the client's is empty."""
        transport, _, _ = self.make()
        self.assertEqual((transport.local_address, transport.remote_address), (self.path, ""))


# Greenlets


GREEN = """
import sys
kind = sys.argv[1]
if kind == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import warnings
    warnings.simplefilter("ignore")
    import eventlet
    eventlet.monkey_patch()
import _socket, socket, threading, time
from syncws._wsgi.detach import detach
from syncws._wsgi.taken import Taken

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
transport = detach(Taken(server=kind, sock=server, fd=server.fileno(), swallow=kind == "eventlet"))
assert type(transport.socket) is _socket.socket, type(transport.socket)

others = []
def other():
    while len(others) < 3:
        others.append(len(others))
        time.sleep(0.01)
    client.sendall(b"from another greenlet")

threading.Thread(target=other).start()
print(transport.receive(100, 20), len(others))
transport.send(b"answer")
print(client.recv(100), server.recv(100))
try:
    print(server.send(b"HTTP/1.1 101"))
except BrokenPipeError:
    print("gone")
"""


class GreenTests(unittest.TestCase):
    """In processes of their own, since patching one changes all of it."""

    def run_green(self, kind: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", GREEN, kind], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_gevent(self) -> None:
        """While a detached connection waits, other greenlets run; its socket is none that gevent watches."""
        self.assertEqual(self.run_green("gevent"), ["b'from another greenlet' 3", "b'answer' b''", "gone"])

    def test_eventlet(self) -> None:
        """The same under eventlet."""
        self.assertEqual(self.run_green("eventlet"), ["b'from another greenlet' 3", "b'answer' b''", "12"])


if __name__ == "__main__":
    unittest.main()
