"""How the bus is."""

from __future__ import annotations

import unittest
from dataclasses import fields

from syncws._relay.health import BackplaneHealth, Counts
from syncws.backplane import BusHealth


class HealthTests(unittest.TestCase):
    def test_both_records_as_one(self) -> None:
        """What the bus says and what was seen of it are one record, in which nothing is left out."""
        bus = BusHealth(up=True, since=1.0, lag=0.5, queued_messages=2, dropped_out=99, reconnects=3)
        health = BackplaneHealth.of(bus, nodes=4, gaps=5, missed=6, not_queued=7, counts=Counts(8, 9, 10, 11, 12))
        self.assertEqual((health.up, health.lag, health.queued_messages, health.reconnects), (True, 0.5, 2, 3))
        self.assertEqual((health.nodes, health.gaps, health.missed, health.dropped_out), (4, 5, 6, 7))
        self.assertEqual((health.received, health.echoes, health.duplicates), (8, 9, 10))
        self.assertEqual({each.name for each in fields(BusHealth)} - {each.name for each in fields(health)}, set())


if __name__ == "__main__":
    unittest.main()
