"""pairs.py: connections over a socketpair."""

from __future__ import annotations

import socket
import unittest
from unittest import mock

from syncws.errors import MessageType
from syncws.testing import LeakChecks, pair, peer, socketpair

BINARY = MessageType.BINARY


class PairTests(LeakChecks):
    """pair: two connections that talk to each other."""

    def test_messages_both_ways(self):
        """What one end sends the other receives, in both roles, compressed or not."""
        for compression in (False, True):
            with pair(compression=compression) as (server, client):
                server.send("to the client" * 20)
                client.send(b"to the server" * 20)
                self.assertEqual(client.receive(timeout=10), "to the client" * 20)
                self.assertEqual(server.receive(timeout=10), b"to the server" * 20)
                self.assertEqual((server.compression, client.compression), (compression, compression))

    def test_cut_at_the_end(self):
        """After the block both are over, also after an exception."""
        with self.assertRaises(ZeroDivisionError), pair() as conns:
            raise ZeroDivisionError
        for conn in conns:
            self.assertTrue(conn.closed)
            self.assertTrue(conn.transport.closed)

    def test_options(self):
        """Options are for both sides, except those that are given for one side."""
        with pair(read_limit=5, client={"read_limit": 100}) as (server, client):
            server.send("longer than five")
            self.assertEqual(client.receive(timeout=10), "longer than five")
            client.send("longer than five")
            with self.assertRaises(Exception) as caught:
                server.receive(timeout=10)
            self.assertIn("limit of 5", str(caught.exception))

    def test_wrong_options(self):
        """A wrong option is an error at once, and leaves no socket behind."""
        for options in ({"nonsense": 1}, {"server": {"read_limit": -1}}, {"client": {"nonsense": 1}}):
            with self.assertRaises((TypeError, ValueError)), pair(**options):
                self.fail("made a pair")
        with self.assertRaises(TypeError), peer(nonsense=1):
            self.fail("made a peer")

    def test_small_buffers(self):
        """With a small buffer a peer that does not read is soon stuck."""
        with pair(buffer=4096) as (server, _), self.assertRaises(TimeoutError):
            server.write_message(BINARY, bytes(1 << 22), timeout=0.02)


class SocketpairTests(LeakChecks):
    """socketpair: two ends of one TCP connection."""

    def test_connected(self):
        """The two sockets are connected to each other, over TCP."""
        near, far = socketpair()
        with near, far:
            self.assertEqual(near.family, socket.AF_INET)
            self.assertEqual(near.getsockname(), far.getpeername())
            near.sendall(b"x")
            self.assertEqual(far.recv(9), b"x")

    def test_buffer(self):
        """The buffers of the sockets are about as large as asked for."""
        near, far = socketpair(4096)
        with near, far:
            for sock in (near, far):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    self.assertLess(sock.getsockopt(socket.SOL_SOCKET, option), 4 * 4096)

    def test_nothing_left_of_a_failure(self):
        """If the connection cannot be made, no socket is left behind."""
        with mock.patch.object(socket.socket, "connect", side_effect=OSError), self.assertRaises(OSError):
            socketpair()


if __name__ == "__main__":
    unittest.main()
