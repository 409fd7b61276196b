"""What was counted, added up."""

from __future__ import annotations

import dataclasses
import unittest
from collections import Counter

from syncws._cli.bench.recorder import Recorder
from syncws._cli.bench.tally import Busy, Tally


def full(number: int) -> Tally:
    """A tally in which everything is this number."""
    tally = Tally()
    for field in dataclasses.fields(Tally):
        value = getattr(tally, field.name)
        if isinstance(value, Recorder):
            value.add(number)
        elif isinstance(value, Counter):
            value["x"] = number
        elif isinstance(value, list):
            value.append(Busy(number, number))
        else:
            setattr(tally, field.name, number)
    return tally


class TallyTests(unittest.TestCase):
    def test_merge(self) -> None:
        """Every count is added up; of times that are the same for all, the longest counts."""
        tally = full(2)
        tally.merge(full(3))
        for field in dataclasses.fields(Tally):
            value = getattr(tally, field.name)
            with self.subTest(field.name):
                if isinstance(value, Recorder):
                    self.assertEqual(value.counts, {2: 1, 3: 1})
                elif isinstance(value, Counter):
                    self.assertEqual(value, {"x": 5})
                elif isinstance(value, list):
                    self.assertEqual(value, [Busy(2, 2), Busy(3, 3)])
                else:
                    self.assertEqual(value, 3 if "seconds" in field.name else 5)

    def test_begin(self) -> None:
        """The time that is measured begins without messages; what became of connections stays."""
        tally = full(2)
        tally.begin()
        for name in ("sent", "received", "bytes_sent", "bytes_received", "unlike", "unasked", "unanswered"):
            self.assertEqual(getattr(tally, name), 0, name)
        self.assertEqual((len(tally.latency), len(tally.late), len(tally.opening)), (0, 0, 1))
        self.assertEqual((tally.opened, tally.lost), (2, 4))

    def test_flaws(self) -> None:
        """A connection that failed or broke is one, and an answer that is missing or another; the unasked is none."""
        self.assertFalse(Tally(unasked=1).flaws)
        for flawed in (
            Tally(failures=Counter(x=1)),
            Tally(closes=Counter({1001: 1})),
            Tally(errors=Counter(x=1)),
            Tally(unlike=1),
            Tally(unanswered=1),
        ):
            self.assertTrue(flawed.flaws, flawed)


if __name__ == "__main__":
    unittest.main()
