"""Limits: how often they were breached, and that the page which lists them is right."""

from __future__ import annotations

import unittest

import syncws
from syncws._base import counters


class BreachesTests(unittest.TestCase):
    def test_breaches_are_told(self) -> None:
        """`syncws.breaches` tells what was counted in this process; the dict is the caller's own."""
        before = syncws.breaches().get("read_limit", 0)
        counters.breaches.add("read_limit")
        told = syncws.breaches()
        self.assertEqual(told["read_limit"], before + 1)
        told.clear()
        self.assertEqual(syncws.breaches()["read_limit"], before + 1)


if __name__ == "__main__":
    unittest.main()
