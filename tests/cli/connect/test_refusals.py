"""Why there is no connection: each error is one line that names what to change, and the exit status is 1."""

from __future__ import annotations

import socket
import unittest

import syncws
from syncws.testing import running
from tests import certificates

from .support import ConnectCase


class RefusalTests(ConnectCase):
    def assert_refused(self, url: str, *says: str, arguments: tuple[str, ...] = (), status: int = 1) -> None:
        got, out, err = self.connect_to(url, *arguments)
        self.assertEqual((got, out, err.count("\n")), (status, b"", 1), err)
        self.assertTrue(err.startswith("syncws: "), err)
        self.assertTrue(err[:-1].isprintable(), err)
        for each in says:
            self.assertIn(each, err)

    def test_nobody_there(self) -> None:
        """A port that nobody listens on, a host that there is not, and a socket that there is not."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        self.assert_refused(f"ws://127.0.0.1:{port}", "nothing listens there")
        proxy = ("--proxy", f"http://127.0.0.1:{port}")
        self.assert_refused("ws://a.example", "is this the address of the proxy?", arguments=proxy)
        self.assert_refused("ws://no.such.host.invalid", "no.such.host.invalid")
        self.assert_refused("ws://localhost", "none.sock", arguments=("--unix", str(self.folder / "none.sock")))

    def test_statuses(self) -> None:
        """The status, the first line of the body, and what may be wrong."""
        self.assert_refused(self.url("404"), "404 Not Found: the first line; is the path of the URL right?")
        self.assert_refused(self.url("200"), "200 OK", "is the path of the URL right?")
        self.assert_refused(self.url("503"), "503 Service Unavailable: the first line")
        self.assert_refused(self.url("401"), "--user NAME", "--header 'Cookie: session=...'")
        self.assert_refused(self.url("401"), "does not accept the credentials", arguments=("-H", "Cookie: session=1"))
        self.assert_refused(self.url("401"), "does not accept the credentials", arguments=("--user", "a:b"))
        self.assert_refused(self.url("moved"), "302", "/echo", "--max-redirects NUMBER")

    def test_a_body_in_json(self) -> None:
        """The first line of JSON is shown too, escaped."""
        self.assert_refused(self.url("refused"), '403 Forbidden: {"error": "no\\\\u001b[2Jentry"}')

    def test_an_origin(self) -> None:
        """A refusal that speaks of the origin names the option."""

        def upgrade(request: syncws.Request) -> None:
            syncws.Upgrader().upgrade(request)

        with running(syncws.Server(upgrade, "127.0.0.1", 0)) as server, self.assertLogs("syncws", "INFO"):
            url = f"ws://127.0.0.1:{server.port}"
            self.assert_refused(url, "--origin", arguments=("-H", "Origin: http://evil.example"))

    def test_certificates(self) -> None:
        """A certificate that is not trusted names --ca and --insecure; TLS where there is none names the scheme."""
        server = syncws.Server(self.peer, "127.0.0.1", 0, ssl_context=certificates.serving())
        with running(server), self.assertLogs("syncws", "INFO"):
            self.assert_refused(f"wss://127.0.0.1:{server.port}", "certificate", "--ca FILE", "--insecure")
            self.assert_refused(f"ws://127.0.0.1:{server.port}", "write wss:")

    def test_a_proxy(self) -> None:
        """A proxy that refuses, and one that is not there."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        self.assert_refused(self.url(), "proxy", "--no-proxy", arguments=("--proxy", f"http://127.0.0.1:{port}"))

    def test_a_slow_server(self) -> None:
        """--timeout ends what does not answer."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
            self.assert_refused(url, "not done within 0.05 s (--timeout)", arguments=("--timeout", "0.05"))


if __name__ == "__main__":
    unittest.main()
