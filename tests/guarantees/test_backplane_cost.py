"""Proves what a bus costs where nothing is wrong: processor time and delay, as `benchmarks.cluster` measures them.

* Two nodes with 250 members each take at most a quarter more processor time for a broadcast than one node with 500.
* A member elsewhere gets it at most two milliseconds after one here on a local bus, three on Redis, by the median.
* A Manager without a backplane has no thread.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
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

#: Broadcasts of one round, which take a quarter of a second, and that warm up.
BROADCASTS, FIRST = 25, 50

#: Rounds, and where what they find is over the bound, rounds at most. What else a machine does only adds to a time: the
#: least of each side is what it takes, once there was a quiet moment for it.
ROUNDS, MOST_ROUNDS = 6, 60

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

    def running(self, side: str, *members: int, rate: int) -> contextlib.AbstractContextManager[cluster.Cluster]:
        need(not (why := cluster._lacks(self.setting, side)), why)
        return cluster.running_nodes(self.setting, side, cluster.Shape(members, rate=rate))

    def ratio(self, side: str) -> float:
        """Processor time of two nodes, where that of one with all the members is 1; both run, and work in turn."""
        with self.running("none", 500, rate=100) as one, self.running(side, 250, 250, rate=100) as two:
            least = dict.fromkeys(("one", "two"), math.inf)
            for each in (one, two):
                each.measure(FIRST)
            for number in range(MOST_ROUNDS):
                for name, nodes in (("one", one), ("two", two)):
                    least[name] = min(least[name], nodes.measure(BROADCASTS)["all"])
                if number >= ROUNDS - 1 and least["two"] <= MOST * least["one"]:
                    break
        return least["two"] / least["one"]

    def later(self, side: str, most: float) -> float:
        """Milliseconds from a member that has it on the node that sends to one elsewhere, by the medians of rounds."""
        with self.running(side, 2, 2, rate=50) as nodes:
            nodes.measure(FIRST)
            least = dict.fromkeys(("here", "there"), math.inf)
            for number in range(MOST_ROUNDS):
                reading = nodes.measure(BROADCASTS)
                least = {where: min(found, reading[where]) for where, found in least.items()}
                if number >= ROUNDS - 1 and least["there"] - least["here"] <= most:
                    break
        return least["there"] - least["here"]

    def check(self, side: str, most_later: float) -> None:
        ratio, later = self.ratio(side), self.later(side, most_later)
        note(f"{side}: 2 x 250 members take {ratio:.2f} of 1 x 500; {later:.2f} ms later elsewhere than here")
        self.assertLessEqual(ratio, MOST)
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
