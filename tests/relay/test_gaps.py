"""Losses, and who is told."""

from __future__ import annotations

import threading
import time
import unittest
from typing import Any
from unittest import mock

from syncws._base.advice import advisor
from syncws._relay import gaps
from syncws._relay.gaps import Gap, Gaps
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE


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
        told_of = Gaps(None, None, "test")
        with self.assertLogs("syncws.relay", "WARNING") as log:
            for missed in (3, None):
                told_of.report(f"why {missed}", missed=missed, since=time.time())
                self.settle(told_of)
            told_of.report("why 3", missed=1, since=time.time())
            self.settle(told_of)
        self.assertEqual(len(log.records), 2)
        self.assertIn("are missing, 3 of them (why 3): give the Manager on_gap", log.output[0])
        self.assertIn("may be missing (why None)", log.output[1])
        self.assertEqual((told_of.count, told_of.missed), (3, 4))

    def test_too_many(self) -> None:
        """While on_gap takes its time, gaps of too many rooms and processes become one of all."""
        told: list[Gap] = []
        go_on, began = threading.Event(), threading.Event()

        def on_gap(gap: Gap) -> None:
            told.append(gap)
            began.set()
            go_on.wait(PATIENCE)

        told_of = Gaps(on_gap, None, "test")
        with mock.patch.object(gaps, "MOST_PENDING", 3):
            told_of.report("why", missed=1, since=0.0)
            began.wait(PATIENCE)
            for number in (1, 2, 3, 4, 5, 2):
                told_of.report("why", missed=1, since=0.0, room="a", node=str(number))
        go_on.set()
        self.settle(told_of)
        rest = [(gap.room, gap.node, gap.missed) for gap in told[1:]]
        self.assertEqual(rest, [("a", "1", 1), ("a", "2", 2), ("a", "3", 1), (None, None, 2)])

    def test_no_thread(self) -> None:
        """Where no thread could be started, the next gap of the same kind has on_gap called for both."""
        told: list[int | None] = []
        told_of = Gaps(lambda gap: told.append(gap.missed), None, "test")
        with self.assertLogs("syncws.relay", "ERROR"), mock.patch("threading.Thread.start", side_effect=RuntimeError):
            told_of.report("why", missed=1, since=0.0)
        told_of.report("why", missed=2, since=0.0)
        self.settle(told_of)
        self.assertEqual(told, [3])

    def test_callbacks_that_raise(self) -> None:
        """What on_gap or on_bus raises is logged; the next one is called."""
        told: list[Any] = []

        def on_gap(gap: Gap) -> None:
            told.append(gap.missed)
            raise RuntimeError

        def on_bus(up: bool, reason: str) -> None:
            told.append(up)
            raise RuntimeError

        told_of = Gaps(on_gap, on_bus, "test")
        with self.assertLogs("syncws.relay", "ERROR") as log:
            told_of.bus(False, "gone")
            told_of.report("why", missed=1, since=0.0)
            told_of.bus(True, "back")
            self.settle(told_of)
        self.assertEqual(told, [False, 1, True])
        self.assertEqual(len(log.records), 4)  # the bus is lost, and three tracebacks


if __name__ == "__main__":
    unittest.main()
