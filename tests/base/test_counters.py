"""counters.py: every count counts, from any thread, and a child counts for itself."""

from __future__ import annotations

import os
import unittest

from syncws._base.counters import Counters
from tests.tasks import Task


class CountersTests(unittest.TestCase):
    def test_threads(self) -> None:
        """No count of several threads is lost."""
        counters = Counters()

        def count() -> None:
            for _ in range(2000):
                counters.add("read_limit")

        for task in [Task(count) for _ in range(4)]:
            task.result()
        self.assertEqual(counters.snapshot(), {"read_limit": 8000})

    def test_snapshot(self) -> None:
        """A snapshot is the caller's own."""
        counters = Counters()
        counters.snapshot()["made up"] = 1
        self.assertEqual(counters.snapshot(), {})

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_child(self) -> None:
        """The child of a fork begins at nothing; the parent keeps its counts."""
        counters = Counters()
        counters.add("read_limit")
        child = os.fork()
        if child == 0:
            os._exit(len(counters.snapshot()))
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(counters.snapshot(), {"read_limit": 1})
