"""advice.py: an operator reads each advice once a minute, and how often it was left unsaid."""

from __future__ import annotations

import logging
import unittest
from unittest import mock

from syncws._base import advice

_log = logging.getLogger("syncws.test")


class AdvisorTests(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        clock = mock.patch("time.monotonic", lambda: self.now)
        clock.start()
        self.addCleanup(clock.stop)
        self.advisor = advice.Advisor()

    def said(self, *details: str, cause: str = "origin") -> list[str]:
        """The lines at WARNING for these details, one after the other."""
        with self.assertLogs(_log, logging.DEBUG) as logs:
            for detail in details:
                self.advisor.warn(_log, cause, detail, "refused %s", detail)
        return [record.getMessage() for record in logs.records if record.levelno == logging.WARNING]

    def test_once_a_minute(self) -> None:
        """The same detail is said once; after a minute again, with how many there were meanwhile."""
        self.assertEqual(self.said("a", "a", "a"), ["refused a"])
        self.now += advice.PERIOD
        self.assertEqual(self.said("a"), ["refused a (and 2 more like this before, at DEBUG)"])

    def test_repeated_at_debug(self) -> None:
        """What is not said again stands at DEBUG."""
        with self.assertLogs(_log, logging.DEBUG) as logs:
            self.advisor.warn(_log, "origin", "a", "refused %s", "a")
            self.advisor.warn(_log, "origin", "a", "refused %s", "a")
        self.assertEqual([record.levelname for record in logs.records], ["WARNING", "DEBUG"])

    def test_repeated_at_another_level(self) -> None:
        """What is not said again may stand at INFO, and what is said later tells so."""
        with self.assertLogs(_log, logging.DEBUG) as logs:
            for _ in range(2):
                self.advisor.warn(_log, "origin", "a", "refused %s", "a", repeat=logging.INFO)
            self.now += advice.PERIOD
            self.advisor.warn(_log, "origin", "a", "refused %s", "a", repeat=logging.INFO)
        self.assertEqual([record.levelname for record in logs.records], ["WARNING", "INFO", "WARNING"])
        self.assertTrue(logs.output[2].endswith("refused a (and 1 more like this before, at INFO)"))

    def test_begin_anew(self) -> None:
        """A test hears again what another has heard."""
        self.assertEqual(self.said("a"), ["refused a"])
        self.advisor.begin_anew()
        self.assertEqual(self.said("a"), ["refused a"])

    def test_other_causes(self) -> None:
        """Another detail and another cause are news; details of one cause have a most, so a scanner fills no log."""
        self.assertEqual(self.said("a", "b"), ["refused a", "refused b"])
        self.assertEqual(self.said("a", cause="host"), ["refused a"])
        self.assertEqual(len(self.said(*map(str, range(1000)), cause="scan")), advice.MOST_DETAILS)
