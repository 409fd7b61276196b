"""Findings, and how bad they are together."""

from __future__ import annotations

import unittest

from syncws._cli.doctor.finding import Severity, fault, note, ok, warning, worst


class FindingTests(unittest.TestCase):
    def test_worst(self) -> None:
        """The worst one counts; of none all is well."""
        self.assertIs(worst([]), Severity.OK)
        self.assertIs(worst([ok("a", ""), warning("b", ""), note("c", "")]), Severity.WARNING)
        self.assertIs(worst([fault("a", ""), ok("b", "")]), Severity.FAULT)

    def test_topics(self) -> None:
        """A topic becomes the lines of its programs."""
        self.assertIn(("haproxy", "timeout tunnel 1h"), fault("idle", "", "", "idle").mending)


if __name__ == "__main__":
    unittest.main()
