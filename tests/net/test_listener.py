"""What listens: addresses, Unix sockets and their files, the table of accept()."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
import tempfile
import unittest
from typing import Any
from unittest import mock

from syncws._net.address import as_address
from syncws._net.listener import ACCEPT_ERRORS, SocketFile, check_listener, listen_tcp, listen_unix
from syncws._server.server import Server
from syncws.errors import MessageType
from syncws.testing import LeakChecks
from tests.server.cases import GET, ServerTestCase, hello
from tests.tasks import Task

TEXT = MessageType.TEXT


def has_ipv6() -> bool:
    """Whether the loopback interface has an address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class ListenTests(LeakChecks):
    def test_the_loopback_name(self) -> None:
        """A name with addresses of both families is listened on as IPv4; the socket listens."""
        with listen_tcp("localhost", 0) as listener:
            self.assertEqual(listener.family, socket.AF_INET)
            check_listener(listener)
            with socket.create_connection(listener.getsockname(), 5):
                listener.accept()[0].close()

    def test_both_families(self) -> None:
        """Without a host one socket listens on IPv6 and IPv4, where the system has both; else on IPv4."""
        both = socket.has_dualstack_ipv6() and has_ipv6()
        with listen_tcp(None, 0) as listener:
            port = listener.getsockname()[1]
            for host in ("127.0.0.1", "::1") if both else ("127.0.0.1",):
                with socket.create_connection((host, port), 5) as client:
                    sock, address = listener.accept()
                    sock.close()
                    self.assertEqual(as_address(address)[:2], client.getsockname()[:2])
        with mock.patch("socket.has_dualstack_ipv6", return_value=False), listen_tcp(None, 0) as listener:
            self.assertEqual(listener.family, socket.AF_INET)

    def test_ipv6_that_is_switched_off(self) -> None:
        """Where IPv6 is switched off it is IPv4 alone; another failure is raised."""
        create = socket.create_server

        def without(address: Any, *, family: Any = socket.AF_INET, **options: Any) -> socket.socket:
            if family != socket.AF_INET:
                raise OSError(error, os.strerror(error))
            return create(address, family=family, backlog=options["backlog"])

        error = errno.EAFNOSUPPORT
        dual = mock.patch("socket.has_dualstack_ipv6", return_value=True)
        with dual, mock.patch("socket.create_server", without):
            with listen_tcp(None, 0) as listener:
                self.assertEqual(listener.family, socket.AF_INET)
            error = errno.EADDRINUSE
            with self.assertRaises(OSError):
                listen_tcp(None, 0)

    def test_no_host(self) -> None:
        """A URL or an impossible name is a gaierror whose note says what a host is."""
        for host in ("http://127.0.0.1", "a..b"):
            with self.subTest(host=host), self.assertRaises(socket.gaierror) as caught:
                listen_tcp(host, 0)
            self.assertIn("without scheme", caught.exception.__notes__[0])

    def test_what_is_no_address(self) -> None:
        """A host that is no str, and a port that is no number of a port, are refused with the mend."""
        for host, port, error, words in (
            (b"localhost", 0, TypeError, "host must be a str"),
            ("localhost", "80", TypeError, "port must be an integer"),
            ("localhost", True, TypeError, "port must be an integer"),
            ("localhost", -1, ValueError, "0 .* to 65535"),
            ("localhost", 65536, ValueError, "0 .* to 65535"),
        ):
            with self.subTest(host=host, port=port), self.assertRaisesRegex(error, words):
                listen_tcp(host, port)  # type: ignore[arg-type]

    def test_an_interrupt_leaves_no_socket(self) -> None:
        """What ends the binding of a Unix socket, an interrupt too, leaves the socket closed."""
        with mock.patch.object(socket.socket, "listen", side_effect=KeyboardInterrupt):
            with tempfile.TemporaryDirectory() as folder:
                self.assertRaises(KeyboardInterrupt, listen_unix, os.path.join(folder, "s"))

    def test_a_socket_that_does_not_listen(self) -> None:
        """What is no listening socket is refused, with the mend."""
        with socket.socket() as deaf:
            self.assertRaisesRegex(ValueError, r"listen\(\)", check_listener, deaf)
        self.assertRaisesRegex(ValueError, "listener is closed", check_listener, deaf)
        self.assertRaisesRegex(TypeError, "listener", check_listener, 5)

    def test_verdicts(self) -> None:
        """One connection's trouble is passed over, a shortage is waited out, a closed listener ends the loop."""
        for name, verdict in {
            "ECONNABORTED": "next",
            "EINTR": "next",
            "EMFILE": "pause",
            "ENFILE": "pause",
            "ENOMEM": "pause",
            "EBADF": "closed",
        }.items():
            self.assertEqual(ACCEPT_ERRORS[getattr(errno, name)], verdict, name)
        self.assertNotIn(errno.EFAULT, ACCEPT_ERRORS)


class UnixTests(ServerTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "s")
        super().setUp()

    def test_echo(self) -> None:
        """A Unix socket serves like any other; its file is gone after shutdown."""
        with self.serving(unix_path=self.path) as server:
            self.assertEqual(server.address, self.path)
            with self.client(server) as client:
                peer = client.upgrade()
                peer.send_frame(TEXT, "hi")
                self.assertEqual(peer.receive_frame().payload, b"hi")
        self.assertFalse(os.path.exists(self.path))

    def test_a_stale_file_is_replaced(self) -> None:
        """A socket file that nobody listens on, left by a server that died, is no obstacle."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        with self.serving(hello, unix_path=self.path) as server, self.client(server) as client:
            self.assertEqual(client.request()[0], 200)

    def test_a_listening_server_is_left_alone(self) -> None:
        """A path on which somebody listens is taken: OSError, and that server goes on."""
        with self.serving(hello, unix_path=self.path) as server:
            with self.assertRaises(OSError) as caught:
                Server(hello, unix_path=self.path)
            self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
            with self.client(server) as client:
                self.assertEqual(client.request()[0], 200)

    def test_another_file_is_left_alone(self) -> None:
        """A file that is no socket is never removed."""
        with open(self.path, "w") as file:
            file.write("precious")
        with self.assertRaisesRegex(OSError, re.escape(self.path)):
            Server(hello, unix_path=self.path)
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_a_path_that_is_too_long(self) -> None:
        """What is no path for a socket is an OSError that says why, and names the path."""
        with self.assertRaisesRegex(OSError, "too long") as caught:
            Server(hello, unix_path=self.path * 20)
        self.assertIn(self.path, caught.exception.__notes__[0])

    @unittest.skipUnless(sys.platform == "linux", "abstract names are Linux's")
    def test_an_abstract_name(self) -> None:
        """A name in Linux's abstract namespace works; it has no file."""
        name = f"\0syncws-{os.getpid()}"
        with self.serving(hello, unix_path=name) as server, socket.socket(socket.AF_UNIX) as client:
            self.assertEqual(server.address, name)
            with self.assertRaisesRegex(AttributeError, "listens on a Unix socket, which has no port"):
                _ = server.port
            client.connect(name)
            client.sendall(GET)
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))

    def test_a_file_of_a_successor_is_left_alone(self) -> None:
        """Shutdown does not remove the file of a server that has taken the path over meanwhile."""
        with Server(hello, unix_path=self.path):
            os.unlink(self.path)
            successor = Server(hello, unix_path=self.path)
        self.assertTrue(os.path.exists(self.path))
        successor.shutdown()
        self.assertFalse(os.path.exists(self.path))

    def test_a_server_with_a_full_backlog_is_left_alone(self) -> None:
        """Whether somebody listens is found out without waiting for a place in the backlog."""
        with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as waiting:
            busy.bind(self.path)
            busy.listen(0)
            for _ in range(3):
                client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(self.path)
            error = Task(listen_unix, self.path).error()
            self.assertIsInstance(error, OSError)
            self.assertEqual(error.errno, errno.EADDRINUSE)  # type: ignore[attr-defined]
            self.assertTrue(os.path.exists(self.path))

    def test_a_file_is_removed_once(self) -> None:
        """What stands there after the removal is another's, even if the system gives it the same number."""
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as another:
            sock.bind(self.path)
            file = SocketFile(self.path)
            with mock.patch.object(file, "_look", return_value=file._identity):
                file.remove()
                self.assertFalse(os.path.exists(self.path))
                another.bind(self.path)
                file.remove()
            self.assertTrue(os.path.exists(self.path))


if __name__ == "__main__":
    unittest.main()
