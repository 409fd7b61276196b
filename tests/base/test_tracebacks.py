"""tracebacks.py: a traceback in the log has lines of its own, and none that a peer wrote."""

from __future__ import annotations

import logging
import unittest
from collections.abc import Callable

from syncws import Request, Response, Server
from syncws._base.tracebacks import tame_tracebacks
from syncws.testing import running
from tests.server.cases import GET, Client, ServerTestCase

FORGED = "no such room: x\nCRITICAL:root:forged\r\n\x1b[31mred\u2028y\u202e"


class TracebackTests(unittest.TestCase):
    def logged(self, fail: Callable[[], None]) -> str:
        """The whole text of a record, of an exception that was logged."""
        log = logging.getLogger("syncws.test_tracebacks")
        tame_tracebacks(log)
        with self.assertLogs(log) as logs:
            try:
                fail()
            except BaseException:
                log.exception("it raised")
        return logging.Formatter("%(levelname)s:%(name)s:%(message)s").format(logs.records[0])

    def check(self, text: str) -> None:
        self.assertIn("no such room: x", text)
        for line in text.split("\n"):
            self.assertTrue(line.isprintable(), repr(line))
            self.assertNotRegex(line, "^CRITICAL|^red|^y")

    def test_what_an_exception_says(self) -> None:
        """Log forging by an application's own exception, which repeats a peer's text: it begins no line."""

        def fail() -> None:
            raise ValueError(FORGED)

        text = self.logged(fail)
        self.check(text)
        self.assertIn("\n    CRITICAL:root:forged\n", text)

    def test_chained_and_grouped(self) -> None:
        """The same of causes, contexts, notes and groups."""

        def cause() -> None:
            raise RuntimeError("x") from ValueError(FORGED)

        def context() -> None:
            try:
                raise ValueError(FORGED)
            except ValueError:
                raise RuntimeError("x")  # noqa: B904

        def note() -> None:
            error = ValueError("x")
            error.add_note(FORGED)
            raise error

        def group() -> None:
            raise ExceptionGroup("x", [ValueError(FORGED), TypeError("y")])

        for fail in (cause, context, note, group):
            with self.subTest(fail.__name__):
                self.check(self.logged(fail))

    def test_an_ordinary_one(self) -> None:
        """A traceback whose exceptions say one line each is as Python writes it; a broken str() does no harm."""

        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError

        def broken() -> None:
            raise Broken

        def plain() -> None:
            raise ValueError(r"C:\new")

        self.assertTrue(self.logged(plain).endswith("ValueError: C:\\new"))
        self.assertIn("Broken", self.logged(broken))


class ServerTests(ServerTestCase):
    """The loggers of the library."""

    def test_a_handler_that_repeats_a_peers_text(self) -> None:
        """What a handler raises about a path is logged with its traceback, and no line of it is the peer's."""

        def handler(request: Request) -> Response:
            raise ValueError(f"no such page: {request.path}")

        with (
            self.assertLogs("syncws.server", logging.ERROR) as logs,
            running(Server(handler, "127.0.0.1", 0)) as server,
        ):
            with Client(server.address) as client:
                path = b"GET /x%0aCRITICAL%20root:%20forged%1b[31m"
                self.assertEqual(client.request(GET.replace(b"GET /", path))[0], 500)
        text = logging.Formatter("%(message)s").format(logs.records[0])
        self.assertIn("CRITICAL root: forged", text)
        for line in text.split("\n"):
            self.assertTrue(line.isprintable(), repr(line))
            self.assertFalse(line.startswith("CRITICAL"))


if __name__ == "__main__":
    unittest.main()
