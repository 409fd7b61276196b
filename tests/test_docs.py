"""Every Python block of README and docs runs, in order, in one namespace for each page.

Servers that a page starts are real, but on a port the system chooses, and `serve_forever` returns at once: each of
them must then complete a WebSocket handshake or answer a request, and shut down. What dials on a page reaches
the latest of its servers that still serves.
"""

from __future__ import annotations

import logging
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import syncws
from syncws._net import connector
from syncws.testing import LeakChecks

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

_HANDSHAKE = (
    b"GET /%s HTTP/1.1\r\nHost: docs\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class DocsTests(LeakChecks):
    def test_every_page_has_been_found(self) -> None:
        """The pages are where this test looks for them, and README has code."""
        self.assertIn(ROOT / "docs" / "guide.md", PAGES)
        self.assertTrue(_BLOCK.findall((ROOT / "README.md").read_text()))

    def test_blocks_run(self) -> None:
        """Each page's blocks run in order, and each server they start serves."""
        for page in PAGES:
            with self.subTest(page=page.name):
                self._run_page(page)

    def test_first_server_has_twelve_lines(self) -> None:
        """The first server of README has at most 12 lines of code."""
        first = _BLOCK.findall((ROOT / "README.md").read_text())[0]
        self.assertLessEqual(sum(1 for line in first.splitlines() if line.strip()), 12)

    def test_links_lead_somewhere(self) -> None:
        """A link to a file of the project leads to a file that is there."""
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def _run_page(self, page: Path) -> None:
        self.addCleanup(setattr, logging.root, "handlers", logging.root.handlers[:])  # as does its first log line
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # a page sets a handler
        servers: list[syncws.Server] = []
        bind = syncws.Server.__init__

        def bind_anywhere(server: syncws.Server, *args: Any, **options: Any) -> None:
            if "unix_path" not in options:
                args, options = args[:1], {**options, "host": "127.0.0.1", "port": 0}
            bind(server, *args, **options)
            servers.append(server)

        def serve_elsewhere(server: syncws.Server) -> None:
            server.start()
            _ask(server.address)

        def connect_there(host: str, port: int, attempt: connector.Attempt) -> socket.socket:
            self.assertEqual((host, port), ("127.0.0.1", 8080), "a page's clients talk to its own server")
            serving = [server for server in servers if " serving" in repr(server)]
            return connector.connect_tcp(*serving[-1].address[:2], attempt)

        with (
            mock.patch("syncws._client.dialer.connect_tcp", connect_there),
            mock.patch.object(syncws.Server, "__init__", bind_anywhere),
            mock.patch.object(syncws.Server, "serve_forever", serve_elsewhere),
        ):
            namespace: dict[str, Any] = {"__name__": "docs"}
            text = page.read_text()
            try:
                for block in _BLOCK.finditer(text):
                    line = text.count("\n", 0, block.start()) + 1
                    exec(compile("\n" * line + block.group(1), str(page), "exec"), namespace)
            finally:
                for server in servers:
                    self.assertEqual(server.shutdown(5), 0)
        for thread in threading.enumerate():
            if thread not in self._threads_before and thread.name != "syncws-drain":
                thread.join(5)


def _ask(address: Any) -> None:
    """A server answers a WebSocket handshake with a 101, on one of the paths that pages use."""
    for path in (b"ws", b"echo"):
        with socket.create_connection(address, timeout=5) as client:
            client.sendall(_HANDSHAKE % path)
            head = client.recv(4096)
        if head.startswith(b"HTTP/1.1 101 "):
            return
    raise AssertionError(f"the server answered {head!r}")
