"""scripted.py: a socket that follows a script."""

from __future__ import annotations

import errno
import time
import unittest

from syncws._net.transport import Transport
from syncws._testing.leaks import open_descriptors
from syncws.testing import LeakChecks, ScriptedSocket


class ScriptedSocketTests(LeakChecks):
    """ScriptedSocket: a socket that does what a script says."""

    def test_incoming(self):
        """recv gives what the script says, in pieces if asked for less, and then the end of the stream."""
        sock = ScriptedSocket(incoming=[b"abcdef", ConnectionResetError(), b"x"])
        self.assertEqual((sock.recv(4), sock.recv(4)), (b"abcd", b"ef"))
        self.assertRaises(ConnectionResetError, sock.recv, 4)
        room = bytearray(3)
        self.assertEqual(sock.recv_into(memoryview(room)), 1)
        self.assertEqual(room, b"x\0\0")
        self.assertEqual(sock.recv(4), b"")
        self.assertEqual(sock.calls, ["recv", "recv", "recv", "recv_into", "recv"])
        self.assertEqual(sock.count("recv", "recv_into"), 5)

    def test_room(self):
        """send takes what the script says, and then everything."""
        sock = ScriptedSocket(room=[2, BlockingIOError(errno.EAGAIN, ""), 0])
        self.assertEqual(sock.send(b"abc"), 2)
        self.assertRaises(BlockingIOError, sock.send, b"c")
        self.assertEqual(sock.sendmsg([b"c", b"d"], (), 0), 0)
        self.assertEqual(sock.sendmsg([b"c", b"d"], (), 0), 2)
        self.assertEqual(sock.send(memoryview(b"ef")), 2)
        self.assertEqual(sock.sent, b"abcdef")
        self.assertEqual(sock.count("send"), 3)
        self.assertEqual(sock.count("sendmsg"), 2)

    def test_ready_at_once(self):
        """select finds the socket ready, for reading and writing; after close it has no descriptor."""
        sock = ScriptedSocket(room=[1, BlockingIOError(errno.EAGAIN, "")], incoming=[BlockingIOError(), b"x"])
        transport = Transport(sock, kernel_waits=False)
        transport.send(b"waits", deadline=time.monotonic() + 10)
        self.assertEqual(sock.sent, b"waits")
        self.assertEqual(transport.receive(10, 10.0), b"x")
        self.assertGreaterEqual(sock.fileno(), 0)
        transport.shutdown()
        transport.close()
        self.assertEqual(sock.fileno(), -1)
        self.assertEqual(sock.calls[-2:], ["shutdown", "close"])

    def test_costs_no_descriptor(self):
        """Until select needs it, the socket has no descriptor."""
        before = open_descriptors()
        sock = ScriptedSocket(incoming=[b"x"])
        transport = Transport(sock)
        transport.receive(1, 1.0)
        transport.send(b"x")
        self.assertEqual(open_descriptors(), before)


if __name__ == "__main__":
    unittest.main()
