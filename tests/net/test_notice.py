"""notice.py: what a supervisor is told."""

from __future__ import annotations

import os
import socket
import tempfile
import unittest
from unittest import mock

from syncws._net.notice import notify
from syncws.testing import LeakChecks


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "Unix sockets")
class NoticeTests(LeakChecks):
    def supervised(self, address: str) -> socket.socket:
        """The supervisor's socket, which the environment tells of."""
        sock = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.bind(address.replace("@", "\0", 1))
        self.enterContext(mock.patch.dict(os.environ, NOTIFY_SOCKET=address))
        return sock

    def test_told(self) -> None:
        """A notice is one datagram, to a path or to an abstract name."""
        path = f"{self.enterContext(tempfile.TemporaryDirectory())}/notify"
        for address in [path, f"@{path}"] if os.path.exists("/proc/net/unix") else [path]:
            with self.subTest(address):
                sock = self.supervised(address)
                self.assertTrue(notify("READY=1\nSTATUS=ok"))
                self.assertEqual(sock.recv(100), b"READY=1\nSTATUS=ok")

    def test_nobody(self) -> None:
        """Where nobody is to be told, or nobody is there, nothing happens."""
        for address in ("", "relative", "/nowhere/at/all", "vsock:2:9999", "/" + "x" * 200):
            with self.subTest(address), mock.patch.dict(os.environ, NOTIFY_SOCKET=address):
                self.assertFalse(notify("READY=1"))

    def test_one_that_does_not_read(self) -> None:
        """A supervisor whose queue is full does not stop this process."""
        self.supervised(f"{self.enterContext(tempfile.TemporaryDirectory())}/notify")
        while notify("x" * 1000):
            pass


if __name__ == "__main__":
    unittest.main()
