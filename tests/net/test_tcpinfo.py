"""tcpinfo.py: the kernel's own count of bytes."""

from __future__ import annotations

import socket
import sys
import unittest

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
