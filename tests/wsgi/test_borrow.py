"""borrow.py: a server's own socket, which it gets back as that of a client that has gone."""

from __future__ import annotations

import socket
import unittest

from syncws._wsgi.borrow import BorrowedTransport
from syncws.testing import LeakChecks, socketpair
from tests.tasks import PATIENCE, Task
from tests.wsgi.test_foreign import SECRET, TLSCase, Wiretap


class BorrowedTLSTests(TLSCase):
    """TLS in the server's own SSLSocket."""

    def test_the_socket_stays_the_servers(self) -> None:
        """close leaves the server's socket open, and ends nothing on the wire by itself."""
        server, client = self.make_sockets()
        transport = self.over(server)
        transport.close()
        transport.shutdown()
        self.assertGreaterEqual(server.fileno(), 0)
        client.send(b"still open")
        server.setblocking(True)
        self.assertEqual(server.recv(100), b"still open")

    def test_what_the_server_writes_later(self) -> None:
        """After the ending the server finds a client that has gone: it reads the end, and its writes fail quietly."""
        server, client = self.make_sockets()
        transport = self.over(server)
        wiretap = Wiretap(client.socket)
        transport.send(b"last")
        transport.shutdown_write()
        transport.shutdown()
        transport.close()
        with self.assertRaises(BrokenPipeError):
            server.send(b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(server.recv(100), b"")
        self.assertNotIn(b"HTTP/1.1", wiretap.heard())

    def test_no_tls_any_more(self) -> None:
        """Once the server's socket has no TLS, whoever has dropped it, nothing leaves, and nothing raw is read."""
        server, client = self.make_sockets()
        transport = self.over(server)
        wiretap = Wiretap(client.socket)
        server._sslobj = None  # type: ignore[attr-defined]
        with self.assertRaises(BrokenPipeError):
            transport.send(SECRET)
        client.socket.sendall(b"forged")
        self.assertIsNone(transport.receive(100, 0.02))
        self.assertIsNone(transport.receive_into(memoryview(bytearray(100)), 0.02))
        transport.shutdown()
        self.assertNotIn(SECRET[:22], wiretap.heard())

    def test_tls_is_dropped_while_nobody_is_inside(self) -> None:
        """shutdown, which drops the TLS, waits for a call into it to return."""
        transport, _ = self.make()
        with transport.socket._codec:  # type: ignore[attr-defined]
            task = Task(transport.shutdown)
            task.join(0.05)
            self.assertFalse(task.done)
        task.result()

    def test_a_timeout_of_the_servers(self) -> None:
        """A timeout that the server has set on its socket (cheroot's 10 s) plays no part."""
        server, client = self.make_sockets()
        server.settimeout(0.01)
        transport = self.over(server)
        task = Task(transport.receive, 100, None)
        task.join(0.1)
        self.assertFalse(task.done)
        client.send(b"late")
        self.assertEqual(task.result(), b"late")


class BorrowedTests(LeakChecks):
    """A plain socket that stays the server's."""

    def make(self) -> tuple[BorrowedTransport, socket.socket, socket.socket]:
        """(transport, the server's socket, the client's)"""
        server, client = socketpair()
        self.addCleanup(server.close)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        return BorrowedTransport(server), server, client

    def test_both_ways(self) -> None:
        """It carries bytes both ways, whatever timeout the server has set."""
        server, client = socketpair()
        with server, client:
            client.settimeout(PATIENCE)
            server.settimeout(0.01)
            transport = BorrowedTransport(server)
            task = Task(transport.receive, 100, None)
            task.join(0.1)
            self.assertFalse(task.done)
            client.sendall(b"late")
            self.assertEqual(task.result(), b"late")
            transport.send(b"answer")
            self.assertEqual(client.recv(100), b"answer")

    def test_close(self) -> None:
        """close leaves the socket open and tells who wants to know; a shutdown after it does nothing."""
        transport, server, client = self.make()
        told: list[str] = []
        transport.on_closed = lambda: told.append("closed")
        transport.close()
        self.assertTrue(transport.closed)
        self.assertEqual(told, ["closed"])
        transport.shutdown()
        server.sendall(b"still open")
        self.assertEqual(client.recv(100), b"still open")

    def test_shutdown(self) -> None:
        """After shutdown the server finds a client that has gone, and its own descriptor as it was."""
        transport, server, client = self.make()
        number = server.fileno()
        transport.shutdown()
        transport.close()
        self.assertEqual(server.fileno(), number)
        with self.assertRaises(BrokenPipeError):
            server.send(b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(server.recv(100), b"")
        self.assertEqual(client.recv(100), b"")


if __name__ == "__main__":
    unittest.main()
