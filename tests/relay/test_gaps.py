"""Losses, and who is told."""

from __future__ import annotations

import time
import unittest
from typing import Any

from syncws._base.advice import advisor
from syncws._relay.gaps import Gap, Gaps
from syncws.testing import LeakChecks, await_


class GapTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        advisor.begin_anew()

    def settle(self, gaps: Gaps) -> None:
        self.assertTrue(await_(lambda: not gaps._errands._running))

    def test_two_as_one(self) -> None:
        """What is known of two gaps is added; since is that of the first, until that of the last."""
        for one, other, both in ((None, None, None), (None, 2, 2), (2, None, 2), (2, 3, 5)):
            merged = Gap("a", one, 1.0, 2.0, "n", "first")._with(Gap("a", other, 1.5, 3.0, "n", "last"))
            self.assertEqual(merged, Gap("a", both, 1.0, 3.0, "n", "last"))

    def test_nobody_to_be_told(self) -> None:
        """Without on_gap the log says it, once a minute for each reason, and what to do."""
        gaps = Gaps(None, None, "test")
        with self.assertLogs("syncws.relay", "WARNING") as log:
            for missed in (3, None):
                gaps.report(f"why {missed}", missed=missed, since=time.time())
                self.settle(gaps)
            gaps.report("why 3", missed=1, since=time.time())
            self.settle(gaps)
        self.assertEqual(len(log.records), 2)
        self.assertIn("are missing, 3 of them (why 3): give the Manager on_gap", log.output[0])
        self.assertIn("may be missing (why None)", log.output[1])
        self.assertEqual((gaps.count, gaps.missed), (3, 4))

    def test_callbacks_that_raise(self) -> None:
        """What on_gap or on_bus raises is logged; the next one is called."""
        told: list[Any] = []

        def on_gap(gap: Gap) -> None:
            told.append(gap.missed)
            raise RuntimeError

        def on_bus(up: bool, reason: str) -> None:
            told.append(up)
            raise RuntimeError

        gaps = Gaps(on_gap, on_bus, "test")
        with self.assertLogs("syncws.relay", "ERROR") as log:
            gaps.bus(False, "gone")
            gaps.report("why", missed=1, since=0.0)
            gaps.bus(True, "back")
            self.settle(gaps)
        self.assertEqual(told, [False, 1, True])
        self.assertEqual(len(log.records), 4)  # the bus is lost, and three tracebacks


if __name__ == "__main__":
    unittest.main()
