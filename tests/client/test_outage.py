"""outage.py: what the log says while attempts fail."""

from __future__ import annotations

import logging
import unittest
from unittest import mock

from syncws._client.outage import Outage


class OutageTests(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.enterContext(mock.patch("time.monotonic", lambda: self.now))
        self.outage = Outage()

    def said(self, seconds: float = 0.0, error: Exception | None = None) -> logging.LogRecord:
        """What is said of a failure so many seconds after the last."""
        self.now += seconds
        with self.assertLogs("syncws.reconnect", "DEBUG") as logs:
            self.outage.failed("ws://a/", error or OSError("no route"), 2.5)
        [record] = logs.records
        return record

    def test_the_first_and_then_one_a_minute(self) -> None:
        """The first failure is a WARNING; those within a minute are DEBUG; then the next is a WARNING that counts."""
        first = self.said()
        self.assertEqual(first.levelno, logging.WARNING)
        self.assertEqual(first.getMessage(), "ws://a/: no route; the next attempt is in 2.5 s")
        self.assertEqual([self.said(20).levelno for _ in range(2)], [logging.DEBUG] * 2)
        later = self.said(20)
        self.assertEqual(later.levelno, logging.WARNING)
        self.assertEqual(later.getMessage(), "ws://a/: no route; 4 attempts in 60 s; the next is in 2.5 s")
        self.assertEqual(self.said(59).levelno, logging.DEBUG)
        self.assertEqual(self.said(1).getMessage(), "ws://a/: no route; 6 attempts in 120 s; the next is in 2.5 s")

    def test_its_end(self) -> None:
        """A connection after failures is INFO, and one without any is not logged; the next outage begins anew."""
        with self.assertNoLogs("syncws.reconnect", "DEBUG"):
            self.outage.over("ws://a/")
        self.said()
        self.said(5)
        self.now += 5
        with self.assertLogs("syncws.reconnect", "DEBUG") as logs:
            self.outage.over("ws://a/")
        [record] = logs.records
        self.assertEqual(record.levelno, logging.INFO)
        self.assertEqual(record.getMessage(), "ws://a/: connected; the attempts before it had failed: 2 in 10 s")
        with self.assertNoLogs("syncws.reconnect", "DEBUG"):
            self.outage.over("ws://a/")
        self.assertEqual(self.said().levelno, logging.WARNING)

    def test_one_line(self) -> None:
        """An error of a callable of the caller's, which may have lines and escape codes, is one line; none is empty."""
        for error in (OSError("a\nCRITICAL root: b\x1b[31m"), OSError("x" * 10_000), OSError()):
            found = self.said(60, error).getMessage()
            self.assertTrue(found.isprintable(), found)
            self.assertLess(len(found), 700)
            self.assertNotIn(": ;", found)


if __name__ == "__main__":
    unittest.main()
