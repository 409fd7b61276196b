"""Durations, counted: how exact the percentiles are, and that recorders add up."""

from __future__ import annotations

import random
import unittest

from syncws._cli.bench.recorder import Recorder


def recorded(durations: list[int]) -> Recorder:
    recorder = Recorder()
    for each in durations:
        recorder.add(each)
    return recorder


class RecorderTests(unittest.TestCase):
    def setUp(self) -> None:
        chance = random.Random(1)
        self.durations = sorted(int(10 ** chance.uniform(2, 10)) for _ in range(20_000))
        self.recorder = recorded(self.durations)

    def test_percentiles(self) -> None:
        """Each is right within 0.05 %, from a microsecond to ten seconds; the longest is exact."""
        for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
            exact = self.durations[max(round(share * 20_000) - 1, 0)]
            with self.subTest(share):
                self.assertAlmostEqual(self.recorder.percentile(share) * 1e9, exact, delta=exact / 2000 + 0.5)
        self.assertEqual(self.recorder.longest, self.durations[-1] / 1e9)

    def test_mean(self) -> None:
        """The mean is as exact."""
        exact = sum(self.durations) / 20_000
        self.assertAlmostEqual(self.recorder.mean * 1e9, exact, delta=exact / 2000)

    def test_memory(self) -> None:
        """What it holds does not grow with the number of durations: at most 1,024 steps for each doubling."""
        self.assertEqual(len(self.recorder), 20_000)
        for each in self.durations:
            self.recorder.add(each)
        steps = len(self.recorder.counts)
        self.assertEqual(steps, len(recorded(self.durations).counts))
        every = recorded(list(range(1 << 20, 1 << 21, 64)))
        self.assertLessEqual(len(every.counts), 1024)

    def test_merge(self) -> None:
        """Two recorders added up are the recorder of all."""
        one, other = recorded(self.durations[::2]), recorded(self.durations[1::2])
        one.merge(other)
        self.assertEqual((one.counts, one.most), (self.recorder.counts, self.recorder.most))

    def test_none(self) -> None:
        """Without any duration everything is 0."""
        none = Recorder()
        self.assertEqual((len(none), none.percentile(0.5), none.mean, none.longest), (0, 0.0, 0.0, 0.0))


if __name__ == "__main__":
    unittest.main()
