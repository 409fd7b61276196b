"""tcpinfo.py: the kernel's own count of bytes."""

from __future__ import annotations

import socket
import struct
import sys
import unittest
from unittest import mock

from syncws._net.tcpinfo import tcp_totals
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
        """What has come and what has left is counted by the kernel; also after the end, if that was asked for."""
        left, right = tcp_pair()
        with left, right:
            transport = Transport(left)
            transport.keeps_totals = True
            transport.send(b"x" * 1000)
            right.sendall(b"y" * 300)
            self.assertTrue(await_(lambda: transport.totals() == (300, 1000), PATIENCE))
            transport.close()
            self.assertEqual(transport.totals(), (300, 1000))
            transport.close()  # a second one changes nothing
            self.assertEqual(transport.totals(), (300, 1000))

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
        """A Unix socket, and one that is closed, have no count."""
        left, right = socket.socketpair()
        right.close()
        with left:
            self.assertIsNone(tcp_totals(left))
        self.assertIsNone(tcp_totals(left))
        left, right = tcp_pair()
        right.close()
        transport = Transport(left)
        transport.close()
        self.assertIsNone(transport.totals())  # nobody has asked for it


if __name__ == "__main__":
    unittest.main()
