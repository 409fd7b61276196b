"""accepted.py: an accepted socket has from its listener what would be set on it otherwise."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws import Request, Response, Server
from syncws._net import accepted
from syncws._net.accepted import is_prepared, prepare
from syncws._net.transport import KERNEL_WAITS, USUAL_WAIT, Transport, kernel_timeout
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


@unittest.skipUnless(sys.platform == "linux", "other systems give a new connection less of its listener's options")
class AcceptedTests(LeakChecks, unittest.TestCase):
    def pair(self, prepared: bool = True) -> tuple[socket.socket, socket.socket]:
        """A connection over TCP: what was accepted, and its client."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if prepared:
                prepare(listener)
            listener.setblocking(False)
            client = self.enterContext(socket.create_connection(listener.getsockname()))
            listener.setblocking(True)
            ours = self.enterContext(listener.accept()[0])
        return ours, client

    def test_everything_is_there(self) -> None:
        """The socket of a prepared listener sends small messages at once, and reads wait for twenty seconds."""
        ours, _ = self.pair()
        self.assertTrue(is_prepared(ours))
        self.assertTrue(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        timeout = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.calcsize("ll"))
        self.assertEqual(struct.unpack("ll", timeout), (20, 0))

    def test_what_is_missing(self) -> None:
        """A socket that lacks one of these, or that does not wait, is not prepared; nor is one that is closed."""
        self.assertFalse(is_prepared(self.pair(prepared=False)[0]))
        ours, _ = self.pair()
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        self.assertFalse(is_prepared(ours))
        ours, _ = self.pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, kernel_timeout(USUAL_WAIT + 1))
        self.assertFalse(is_prepared(ours))
        ours, _ = self.pair()
        ours.setblocking(False)
        self.assertFalse(is_prepared(ours))
        ours, _ = self.pair()
        ours.close()
        self.assertFalse(is_prepared(ours))
        with mock.patch.object(accepted, "KERNEL_WAITS", False):
            self.assertFalse(is_prepared(self.pair()[0]))

    def test_unix(self) -> None:
        """A Unix socket has nothing from its listener."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(Path(folder, "s")))
            listener.listen()
            prepare(listener)
            client = self.enterContext(socket.socket(socket.AF_UNIX))
            client.connect(str(Path(folder, "s")))
            ours = self.enterContext(listener.accept()[0])
        self.assertFalse(is_prepared(ours))

    @unittest.skipUnless(KERNEL_WAITS, "reads do not wait in the kernel")
    def test_nothing_is_set(self) -> None:
        """A Transport of it sets nothing; a read waits as long as it should, and a wait is set that comes again."""
        ours, client = self.pair()
        set_before: list[int] = []

        class Watched(socket.socket):
            def setsockopt(self, *arguments: object) -> None:  # type: ignore[override]
                set_before.append(1)
                super().setsockopt(*arguments)  # type: ignore[call-overload]

        watched = self.enterContext(Watched(fileno=ours.detach()))
        transport = Transport(watched, prepared=True)
        client.sendall(b"abc")
        self.assertEqual(transport.receive(1, USUAL_WAIT), b"a")
        self.assertEqual(transport.receive(1, 5.0), b"b")
        self.assertEqual(transport.receive(1, 6.0), b"c")
        self.assertIsNone(transport.receive(1, 0.01))
        task = Task(transport.receive, 1, PATIENCE)
        client.sendall(b"def")
        self.assertEqual(task.result(), b"d")
        self.assertEqual(set_before, [])
        self.assertEqual(transport.receive(1, PATIENCE), b"e")  # for the second time
        self.assertEqual(transport.receive(1, PATIENCE), b"f")
        self.assertEqual(set_before, [1])
        client.close()
        self.assertEqual(transport.receive(1, 5.0), b"")

    def test_a_default_timeout(self) -> None:
        """An application's socket.setdefaulttimeout() reaches the sockets of a prepared listener as well: they wait."""
        socket.setdefaulttimeout(5.0)
        self.addCleanup(socket.setdefaulttimeout, None)
        ours, client = self.pair()
        transport = Transport(ours, prepared=True)
        self.assertIsNone(ours.gettimeout())
        client.sendall(b"abc")
        self.assertEqual(transport.receive(3, USUAL_WAIT), b"abc")

    def test_of_a_server(self) -> None:
        """A Server's connections are prepared; those of a listener that it was given are not: others accept there."""
        seen: list[bool] = []

        def handler(request: Request) -> Response:
            assert request.exchange is not None
            seen.append(is_prepared(request.exchange.take_over()[0].socket))
            return Response("")

        for listener in (None, socket.create_server(("127.0.0.1", 0))):
            with Server(handler, port=0, listener=listener) as server:
                server.start()
                with socket.create_connection(server.address, PATIENCE) as client:  # type: ignore[arg-type]
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    with contextlib.suppress(OSError):
                        client.recv(1)
        self.assertEqual(seen, [True, False])
