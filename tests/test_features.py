"""docs/features.md and docs/cheatsheet.md: their tables are whole, and what they say of defaults is true."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import unittest
from pathlib import Path
from typing import Any

import syncws

DOCS = Path(__file__).resolve().parent.parent / "docs"
FEATURES = (DOCS / "features.md").read_text()
CHEATSHEET = (DOCS / "cheatsheet.md").read_text()


def cell(row: str, column: str) -> str:
    """What the tables of features say of a library, in the row that begins so."""
    for table in re.findall(r"(?:^\|.*\n)+", FEATURES, re.MULTILINE):
        rows = [[each.strip() for each in line.split("|")[1:-1]] for line in table.splitlines()]
        for each in rows:
            if each[0].startswith(row):
                return each[rows[0].index(column)]
    raise AssertionError(f"no row {row!r}")


def need_version(package: str, version: str) -> None:
    """Skip unless this version of a peer is here: another one may do otherwise, and the page says which it is about."""
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != version:
        raise unittest.SkipTest(f"the page is about {package} {version}, and here is {found}")


class TablesTests(unittest.TestCase):
    def test_rows_are_whole(self) -> None:
        """Each row of a table has as many cells as its head."""
        for page in ("features.md", "cheatsheet.md", "troubleshooting.md"):
            for table in re.findall(r"(?:^\|.*\n)+", (DOCS / page).read_text(), re.MULTILINE):
                lines = [re.sub(r"`[^`]*`|\\\|", "", line) for line in table.splitlines()]
                for line in lines:
                    with self.subTest(page, line=line):
                        self.assertEqual(line.count("|"), lines[0].count("|"))

    def test_page_is_dated(self) -> None:
        """The page of features says of which day and of which versions it speaks."""
        self.assertRegex(FEATURES, r"as of \d+ \w+ 20\d\d")
        self.assertIn("websockets 17.4, flask-sock 0.7.0 with simple-websocket 1.1.0", FEATURES)


class OwnDefaultsTests(unittest.TestCase):
    def test_of_syncws(self) -> None:
        """What the pages say that holds if nothing is set, is what the options say."""
        options = syncws.ConnOptions()
        self.assertEqual((options.read_limit, options.ping_interval, options.ping_timeout), (1 << 20, 20, 20))
        self.assertEqual((options.close_timeout, options.send_queue, options.send_queue_bytes), (10, 256, 1 << 20))
        self.assertEqual((syncws.Upgrader().handshake_timeout, syncws.Dialer().handshake_timeout), (10, 45))
        self.assertFalse(syncws.Upgrader().enable_compression)
        self.assertEqual((cell("largest message", "syncws"), cell("pings of one's own", "syncws")), ("1 MiB", "20 s"))
        self.assertIn("256 messages, 1 MiB, then closed", CHEATSHEET)


class PeersTests(unittest.TestCase):
    """Cells of other libraries that their code can be asked for."""

    def test_websockets(self) -> None:
        """websockets.sync: limits, pings, compression and origins as the page says."""
        need_version("websockets", "17.4")
        from websockets.sync.client import connect
        from websockets.sync.server import serve

        for function in (connect, serve):
            given = inspect.signature(function).parameters
            self.assertEqual((given["max_size"].default, given["ping_interval"].default), (1 << 20, 20))
            self.assertEqual(given["compression"].default, "deflate")
        self.assertIsNone(inspect.signature(serve).parameters["origins"].default)
        self.assertTrue(inspect.signature(connect).parameters["proxy"].default)
        told = [cell(row, "websockets.sync") for row in ("largest message", "pings of", "compression", "pages of")]
        self.assertEqual(told, ["1 MiB", "20 s", "on", "allowed"])

    def test_flask_sock(self) -> None:
        """simple-websocket, under flask-sock: no limit, no pings, no lock around what it sends."""
        need_version("simple-websocket", "1.1.0")
        import simple_websocket

        given: Any = inspect.signature(simple_websocket.Server.accept).parameters
        self.assertEqual((given["max_message_size"].default, given["ping_interval"].default), (None, None))
        self.assertNotIn("lock", inspect.getsource(simple_websocket.Server.send).lower())
        told = [cell(row, "flask-sock") for row in ("largest message", "pings of", "threads that send")]
        self.assertEqual(told, ["no limit", "off", "may mix"])

    def test_websocket_client(self) -> None:
        """websocket-client: pings are off, it follows redirects, and it offers no compression."""
        need_version("websocket-client", "1.9.2")
        import websocket
        from websocket import _core, _handshake

        self.assertEqual(inspect.signature(websocket.WebSocketApp.run_forever).parameters["ping_interval"].default, 0)
        self.assertIn('"redirect_limit", 3', inspect.getsource(_core))
        self.assertNotIn("Sec-WebSocket-Extensions", inspect.getsource(_handshake))
        told = [cell(row, "websocket-client") for row in ("compression", "pings of", "redirects")]
        self.assertEqual(told, ["**no**", "off", "yes"])
