"""exchange.py: a connection that its server holds, from finding it to taking it away."""

from __future__ import annotations

import gc
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._wsgi import exchange
from syncws._wsgi.borrow import BorrowedTransport
from syncws._wsgi.detach import DetachedTransport
from syncws._wsgi.exchange import HeldConnection, why_borrowed
from syncws._wsgi.guests import guests
from syncws._wsgi.taken import Environ, Untakeable
from syncws.testing import Peer
from tests.tasks import Task
from tests.wsgi.by_hand import ByHandCase


class MoveTests(ByHandCase):
    """What is taken, and how."""

    def test_detached_or_borrowed(self) -> None:
        """A connection is detached where it can be, and else borrowed; the exchange knows that it was taken."""
        for detachable, kind in ((True, DetachedTransport), (False, BorrowedTransport)):
            environ, _, _ = self.make()
            held = HeldConnection(environ)
            with self.taking(detachable=detachable):
                self.assertEqual(bool(why_borrowed(held.find())), not detachable)
                self.assertFalse(held.taken_over)
                transport, early_data = held.move()
            self.addCleanup(transport.close)
            self.assertIs(type(transport), kind)
            self.assertEqual((held.taken_over, early_data), (True, b""))

    def test_it_is_found_once(self) -> None:
        """The taker is asked once for a connection that is looked at more than once."""
        environ, _, _ = self.make()
        held = HeldConnection(environ)
        self.assertIs(held.find(), held.find())

    def test_a_failure(self) -> None:
        """A connection that could not be taken is the server's as before, which is told nothing."""
        told: list[str] = []
        environ, server, peer = self.make()
        with self.taking(on_taken=lambda: told.append("taken")):
            held = HeldConnection(environ)
            with mock.patch("_socket.socketpair", side_effect=OSError(24, "Too many")), self.assertRaises(OSError):
                held.move()
        self.assertEqual((held.taken_over, told), (False, []))
        server.sendall(b"still mine")
        self.assertEqual(peer.socket.recv(100), b"still mine")

    def test_why_borrowed(self) -> None:
        """What is in the way is said: the system, the TLS, the taker."""
        environ, _, _ = self.make()
        taken = HeldConnection(environ).find()
        self.assertEqual(why_borrowed(taken), "")
        with mock.patch.object(exchange, "CAN_EXCHANGE", False):
            self.assertIn("system", why_borrowed(taken))
        with self.taking(detachable=False):
            self.assertIn("taker", why_borrowed(HeldConnection(environ).find()))
        tls, _, _ = self.make_tls()
        with mock.patch.object(exchange, "can_detach_tls", return_value=False):
            self.assertIn("TLS", why_borrowed(HeldConnection(tls).find()))

    def test_no_socket(self) -> None:
        """Where no taker finds a socket, finding it fails, and so do all that need it."""
        held = HeldConnection({})
        for call in (held.find, held.move, held.take_over, lambda: held.take_seat(in_view=False, limit=None)):
            self.assertRaises(Untakeable, call)
        self.assertEqual(len(guests()), 0)


class UpgradeTests(ByHandCase):
    """A connection that the view uses itself."""

    def upgrade(self, environ: Environ, peer: Peer) -> syncws.Conn:
        conn = self.upgrader.upgrade(environ)
        self.opened(peer)
        return conn

    def test_its_seat(self) -> None:
        """It has a seat until it is closed."""
        environ, _, peer = self.make()
        conn = self.upgrade(environ, peer)
        self.assertEqual(len(guests()), 1)
        self.assertFalse(conn.detached)
        conn.close_now()
        self.assertEqual(len(guests()), 0)

    def test_a_connection_that_is_forgotten(self) -> None:
        """Or until it is collected, if nobody closes it."""
        environ, _, peer = self.make()
        conn = self.upgrade(environ, peer)
        conn.socket.close()
        del conn, environ
        gc.collect()
        self.assertEqual(len(guests()), 0)

    def test_no_descriptor(self) -> None:
        """Without a descriptor it is refused, and its seat is given back."""
        environ, server, peer = self.make()
        none = mock.patch("_socket.socketpair", side_effect=OSError(24, "Too many open files"))
        with none, self.assertLogs("syncws.server"), self.assertRaises(syncws.HandshakeError) as caught:
            self.upgrader.upgrade(environ)
        self.assertEqual(caught.exception.status, 503)
        self.assertEqual(len(guests()), 0)
        server.sendall(b"HTTP/1.1 503")
        self.assertEqual(peer.socket.recv(100), b"HTTP/1.1 503")

    def test_its_response(self) -> None:
        """What the view returns for it closes it."""
        environ, _, peer = self.make()
        conn = self.upgrade(environ, peer)
        started: list[Any] = []
        task = Task(conn.wsgi_response, environ, lambda *arguments: started.append(arguments))
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        peer.socket.close()
        self.assertEqual(task.result(), [])
        self.assertEqual(started[0][0], "101 Switching Protocols")


if __name__ == "__main__":
    unittest.main()
