"""Proves what a bus costs where nothing is wrong: processor time and delay, as `benchmarks.cluster` measures them.

* Two nodes with 250 members each take at most a quarter more processor time for a broadcast than one node with 500.
* A member elsewhere gets it at most two milliseconds after one here on a local bus, three on Redis, by the median.
* A Manager without a backplane has no thread.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import threading
from pathlib import Path

import syncws
from benchmarks import cluster
from benchmarks.cores import choose_cores
from benchmarks.turns import Setting
from tests.partners import heavy, need
from tests.runner.marks import alone

from .support import GuaranteeTestCase, note

#: Rounds of one try, and tries: on a machine under load one may be off, but not each.
ROUNDS, TRIES = 3, 3

MOST = 1.25


@heavy
@alone("it compares processor time, and measures milliseconds")
class CostTests(GuaranteeTestCase):
    bound = 240.0

    def setUp(self) -> None:
        super().setUp()
        need(importlib.util.find_spec("psutil") is not None, "psutil (PyPI) is not installed")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        self.setting = Setting(1, 0.5, None, choose_cores(), Path(folder))

    def measure(self, side: str, *members: int, rate: int) -> dict[str, float]:
        need(not (why := cluster._lacks(self.setting, side)), why)
        return cluster.measure_nodes(self.setting, side, cluster.Shape(members, rate=rate))

    def ratio(self, side: str) -> float:
        """Processor time of two nodes, where that of one with all the members is 1; the median of some rounds."""
        found = []
        for _ in range(ROUNDS):
            one = self.measure("none", 500, rate=100)["all"]
            found.append(self.measure(side, 250, 250, rate=100)["all"] / one)
        return statistics.median(found)

    def check(self, side: str, most_later: float) -> None:
        ratios = []
        for _ in range(TRIES):
            ratios.append(self.ratio(side))
            if ratios[-1] <= MOST:
                break
        late = [self.measure(side, 2, 2, rate=50) for _ in range(ROUNDS)]
        later = statistics.median(each["there"] - each["here"] for each in late)
        note(f"{side}: 2 x 250 members take {ratios[-1]:.2f} of 1 x 500; {later:.2f} ms later elsewhere than here")
        self.assertLessEqual(min(ratios), MOST)
        self.assertLessEqual(later, most_later)

    def test_a_local_bus(self) -> None:
        """At most 1.25 of the processor time, and two milliseconds."""
        self.check("local", 2.0)

    def test_redis(self) -> None:
        """At most 1.25 of the processor time, and three milliseconds."""
        self.check("redis", 3.0)


class WithoutTests(GuaranteeTestCase):
    def test_no_thread(self) -> None:
        """A Manager without a backplane has no thread, used or not."""
        before = threading.active_count()
        manager = syncws.Manager()
        manager.broadcast("hello")
        manager.send("ann", "hello")
        self.assertIsNone(manager.backplane_health())
        self.assertEqual(threading.active_count(), before)
        manager.end()
