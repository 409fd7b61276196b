"""detach_tls.py: the TLS goes on, and the server holds a dead socket object."""

from __future__ import annotations

import errno
import gc
import os
import socket
import ssl
import unittest
from typing import Any
from unittest import mock

from syncws._wsgi import detach_tls as detach_tls_module
from syncws._wsgi.detach import keep_sink
from syncws._wsgi.detach_tls import DetachedTLSTransport, can_detach_tls, detach_tls
from syncws._wsgi.foreign import ForeignTLSTransport
from syncws._wsgi.taken import Taken
from syncws.testing import socketpair
from tests.tasks import PATIENCE, Task
from tests.wsgi import test_foreign
from tests.wsgi.test_detach import descriptors_left, fds
from tests.wsgi.test_foreign import TLSCase, contexts, receive_all


def held(server: ssl.SSLSocket, *, swallow: bool = False) -> Taken:
    """What the taker of a server tells of its socket."""
    return Taken(server="a server", sock=server, fd=server.fileno(), swallow=swallow)


class DetachedTLSCase(TLSCase):
    """The server's SSLSocket is dead, and its TLS is ours."""

    def over(self, server: ssl.SSLSocket) -> ForeignTLSTransport:
        self.assertTrue(can_detach_tls(server))
        transport = detach_tls(held(server))
        self.addCleanup(transport.close)
        return transport


class DetachedTLSTests(DetachedTLSCase, test_foreign.TLSTests):
    """TLS that was taken from a server."""

    def check_goes_on(self, transport: ForeignTLSTransport, client: Any) -> None:
        transport.send(b"to the client")
        self.assertEqual(receive_all(client, 13), b"to the client")
        client.send(b"to the server")
        self.assertEqual(receive_all(transport, 13), b"to the server")

    def test_the_connection_goes_on(self) -> None:
        """Whatever the server does to its socket object, the client sees nothing of it, and the connection goes on."""
        server, client = self.make_sockets()
        file = server.makefile("rb")
        transport = self.over(server)
        room = bytearray(10)
        for call in (
            lambda: self.assertEqual(server.recv(100), b""),
            lambda: self.assertEqual(server.read(100), b""),
            lambda: self.assertEqual(server.recv_into(room), 0),
            lambda: self.assertEqual(file.read(10), b""),
            lambda: self.assertRaises(BrokenPipeError, server.send, b"HTTP/1.1 101"),
            lambda: self.assertRaises(BrokenPipeError, server.sendall, b"HTTP/1.1 101"),
            lambda: self.assertRaises(BrokenPipeError, server.write, b"HTTP/1.1 101"),
            lambda: self.assertRaises(BrokenPipeError, server.sendfile, file),
            lambda: server.settimeout(10),
            lambda: server.setblocking(True),
            lambda: server.unwrap(),
            lambda: server.shutdown(socket.SHUT_WR),
            lambda: server.shutdown(socket.SHUT_RDWR),
            lambda: file.close(),
            lambda: server.close(),
        ):
            call()
            self.assertIsNone(transport.receive(100, 0.0))  # nor does it make a read wait
            self.check_goes_on(transport, client)
        self.assertGreaterEqual(server.fileno(), 0)
        transport.shutdown_write()
        self.assertEqual(client.receive(100, PATIENCE), b"")

    def test_numbers(self) -> None:
        """The connection keeps the number, which is what OpenSSL reads and writes; the server has another, open one."""
        server, _ = self.make_sockets()
        number = server.fileno()
        transport = self.over(server)
        self.assertEqual(transport.fileno(), number)
        self.assertNotEqual(server.fileno(), number)
        with socket.socket(fileno=os.dup(server.fileno())) as same:
            self.assertEqual(same.recv(100), b"")
            self.assertRaises(BrokenPipeError, same.send, b"HTTP/1.1 101")
        self.assertFalse(os.get_inheritable(server.fileno()))
        self.assertFalse(os.get_inheritable(number))

    def test_close(self) -> None:
        """close gives the connection's number back; the server's goes with its socket object, and not before."""
        server, client = self.make_sockets()
        transport = self.over(server)
        numbers = {str(transport.fileno()), str(server.fileno())}
        told: list[str] = []
        transport.on_closed = lambda: told.append("closed")
        transport.shutdown()
        transport.close()
        self.assertEqual(told, ["closed"])
        self.assertEqual(numbers & fds(), {str(server.fileno())})
        self.assertEqual(client.receive(100, PATIENCE), b"")

    def test_the_server_lets_go_first(self) -> None:
        """The connection goes on when the server has forgotten its socket object, as it does once the view returns."""
        ours, theirs = socketpair()
        task = Task(contexts()[1].wrap_socket, theirs, server_hostname="localhost")
        server = contexts()[0].wrap_socket(ours, server_side=True)
        with task.result() as client:
            client.settimeout(PATIENCE)
            transport = detach_tls(held(server))
            self.addCleanup(transport.close)
            server.close()
            del server
            gc.collect()
            transport.send(b"to the client")
            self.assertEqual(client.recv(100), b"to the client")
            client.send(b"to the server")
            self.assertEqual(transport.receive(100, PATIENCE), b"to the server")

    def test_when_the_descriptor_is_closed(self) -> None:
        """The descriptor of the dead socket is closed once both have done with it, whoever is the first, and once."""
        for server_first in (True, False):
            server, _ = self.make_sockets()
            transport = self.over(server)
            dead = server.fileno()
            ends = [server.close, transport.close] if server_first else [transport.close, server.close]
            ends[0]()
            self.assertEqual(server.fileno(), dead)
            ends[1]()
            self.assertEqual(server.fileno(), -1)
            with open(os.devnull) as other:  # which may have the number now
                server.close()
                transport.close()
                os.fstat(other.fileno())

    def test_methods_that_the_server_keeps(self) -> None:
        """A server that keeps methods of its socket, and not only the socket, finds the same with them."""
        server, client = self.make_sockets()
        receive, send, shutdown = server.recv, server.sendall, server.shutdown
        transport = self.over(server)
        self.assertEqual(receive(100), b"")
        self.assertRaises(BrokenPipeError, send, b"HTTP/1.1 101")
        shutdown(socket.SHUT_WR)
        self.check_goes_on(transport, client)

    def test_swallow(self) -> None:
        """A server that would log a failed write writes into nothing instead; it still reads the end."""
        server, client = self.make_sockets()
        send = server.sendall
        transport = detach_tls(held(server, swallow=True))
        self.addCleanup(transport.close)
        self.addCleanup(keep_sink, None)
        send(b"HTTP/1.1 101")
        self.assertEqual(server.send(b"HTTP/1.1 101"), 12)
        self.assertEqual(server.write(b"HTTP/1.1 101"), 12)
        self.assertEqual(server.recv(100), b"")
        self.check_goes_on(transport, client)

    def test_what_came_before(self) -> None:
        """What the server has decrypted and not read, and what lies in the system, are the connection's first bytes."""
        server, client = self.make_sockets()
        client.send(b"head,early,")
        self.assertEqual(server.recv(5), b"head,")
        client.send(b"late")
        transport = self.over(server)
        self.assertEqual(server.pending(), 0)
        self.assertEqual(receive_all(transport, 10), b"early,late")

    def test_no_descriptor_is_left(self) -> None:
        """OSError where there is none to be had, and nothing has changed: the server goes on with its client."""
        server, client = self.make_sockets()
        server.settimeout(PATIENCE)
        for count in range(2):
            with self.subTest(count=count):
                before = fds()
                with descriptors_left(count), self.assertRaises(OSError) as caught:
                    self.over(server)
                self.assertEqual(caught.exception.errno, errno.EMFILE)
                self.assertEqual(fds(), before)
                server.sendall(b"still mine")
                self.assertEqual(receive_all(client, 10), b"still mine")
                client.send(b"and back")
                self.assertEqual(server.recv(100), b"and back")
        with descriptors_left(2):
            transport = self.over(server)
        self.check_goes_on(transport, client)

    def test_what_can_be_asked_of_it(self) -> None:
        """The version, the cipher and the certificates can be asked for, as of any TLS."""
        transport, client = self.make()
        self.assertEqual(transport.ssl_object.version(), client.ssl_object.version())
        self.assertEqual(transport.ssl_object.cipher(), client.ssl_object.cipher())
        self.assertIsNone(transport.ssl_object.getpeercert())
        self.assertIsInstance(transport, DetachedTLSTransport)


class DetachedConnTests(DetachedTLSCase, test_foreign.ConnTests):
    """A connection over it."""


class CanDetachTLSTests(TLSCase):
    """What is no TLS that can be taken is used in the view."""

    def test_pythons_own(self) -> None:
        """Python's own SSLSocket can be, after its handshake."""
        server, _ = self.make_sockets()
        self.assertTrue(can_detach_tls(server))

    def test_what_cannot(self) -> None:
        """A plain socket, TLS that has not begun or is over, another's class, and TLS that looks otherwise inside."""
        ours, theirs = socketpair()
        self.assertFalse(can_detach_tls(ours))
        idle = contexts()[0].wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        with theirs, idle:
            idle._sslobj = None  # type: ignore[attr-defined]
            self.assertFalse(can_detach_tls(idle))

        class Another(ssl.SSLSocket):
            pass

        server, _ = self.make_sockets()
        inside = server._sslobj  # type: ignore[attr-defined]
        server.__class__ = Another
        self.assertFalse(can_detach_tls(server))
        server.__class__ = ssl.SSLSocket
        for other in (None, object(), mock.Mock(spec=["read", "write", "shutdown", "pending", "owner"])):
            server._sslobj = other  # type: ignore[attr-defined]
            self.assertFalse(can_detach_tls(server))
        server._sslobj = inside  # type: ignore[attr-defined]
        self.assertTrue(can_detach_tls(server))

    def test_where_it_cannot(self) -> None:
        """Nowhere in a process of greenlets, nor where descriptors cannot be exchanged."""
        server, _ = self.make_sockets()
        with mock.patch.object(detach_tls_module, "is_green", return_value=True):
            self.assertFalse(can_detach_tls(server))
        with mock.patch.object(detach_tls_module, "CAN_EXCHANGE", False):
            self.assertFalse(can_detach_tls(server))


if __name__ == "__main__":
    unittest.main()
