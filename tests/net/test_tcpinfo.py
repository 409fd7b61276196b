"""tcpinfo.py: the kernel's own count of bytes, and what it knows of the peer's kernel."""

from __future__ import annotations

import socket
import struct
import sys
import unittest
from unittest import mock

from syncws._net.tcpinfo import has_peer_ended, tcp_totals, unacknowledged_for
from syncws._net.transport import Transport
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


class TotalsTests(LeakChecks):
    @unittest.skipUnless(sys.platform == "linux", "only Linux tells")
    def test_both_ways(self) -> None:
        """What has come and what has left is counted by the kernel, until the end."""
        left, right = tcp_pair()
        with left, right:
            transport = Transport(left)
            transport.send(b"x" * 1000)
            right.sendall(b"y" * 300)
            self.assertTrue(await_(lambda: transport.totals() == (300, 1000), PATIENCE))
            transport.close()
            self.assertIsNone(transport.totals())

    def test_older_kernels(self) -> None:
        """A kernel that counts less tells less: what was acknowledged in place of what was sent, or nothing."""

        class Old:
            def __init__(self, size: int) -> None:
                self.size = size

            def getsockopt(self, *_arguments: int) -> bytes:
                return struct.pack("=120x2Q", 7, 8).ljust(self.size, b"\0")[: self.size]

        with mock.patch("syncws._net.tcpinfo._TCP_INFO", 11):
            self.assertEqual(tcp_totals(Old(136)), (8, 7))
            self.assertIsNone(tcp_totals(Old(104)))
        with mock.patch("syncws._net.tcpinfo._TCP_INFO", None):  # another system
            self.assertIsNone(tcp_totals(Old(216)))

    def test_where_nobody_counts(self) -> None:
        """A Unix socket, and one that is closed, have no count, and nothing else."""
        left, right = socket.socketpair()
        right.close()
        with left:
            self.assertIsNone(tcp_totals(left))
            self.assertIsNone(has_peer_ended(left))
            self.assertIsNone(unacknowledged_for(left))
        self.assertIsNone(tcp_totals(left))
        left, right = tcp_pair()
        right.close()
        transport = Transport(left)
        transport.close()
        self.assertIsNone(transport.totals())  # nobody has asked for it


class PeerTests(LeakChecks):
    """What is known of the peer without receiving anything."""

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells")
    def test_the_end(self) -> None:
        """The peer's end, and a reset, are known although what came before them is still to be received."""
        for reset in (False, True):
            left, right = tcp_pair()
            with left, right:
                right.sendall(b"x")
                self.assertIs(has_peer_ended(left), False)
                if reset:
                    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                right.close()
                self.assertTrue(await_(lambda left=left: has_peer_ended(left), PATIENCE))
                self.assertEqual(left.recv(10), b"x")

    @unittest.skipUnless(sys.platform == "linux", "only Linux tells")
    def test_acknowledged(self) -> None:
        """What the peer's kernel has acknowledged is not on its way, whether its program reads it or not."""
        left, right = tcp_pair()
        with left, right:
            left.sendall(b"x")
            self.assertTrue(await_(lambda: unacknowledged_for(left) is None, PATIENCE))

    def test_what_is_on_its_way(self) -> None:
        """Seconds since the last acknowledgement, where something is on its way; nothing of older or other systems."""
        info = struct.pack("=B23xI28xI", 1, 2, 3500)
        with mock.patch("syncws._net.tcpinfo._TCP_INFO", 11):
            self.assertEqual(unacknowledged_for(mock.Mock(getsockopt=lambda *_: info)), 3.5)
            self.assertIsNone(unacknowledged_for(mock.Mock(getsockopt=lambda *_: info[:50])))
        with mock.patch("syncws._net.tcpinfo._TCP_INFO", None):
            self.assertIsNone(unacknowledged_for(mock.Mock(getsockopt=lambda *_: info)))


if __name__ == "__main__":
    unittest.main()
