"""tally.py: round trips, and the code that an end stands for."""

from __future__ import annotations

import unittest

from syncws import CloseError, ConnectionClosed, ProtocolError
from syncws._conn.stats import RoundTrips
from syncws._conn.tally import Trips, code_of


class TripsTests(unittest.TestCase):
    """Round trips."""

    def test_none(self) -> None:
        """Before the first there are no numbers, and no buckets."""
        trips = Trips()
        self.assertEqual(trips.snapshot(), RoundTrips())
        trips.include(Trips())
        trips.include(None)
        self.assertEqual(trips.snapshot(), RoundTrips())

    def test_buckets(self) -> None:
        """Each bucket has what took at most as long as its bound says; what took longer is in none."""
        trips = Trips()
        for seconds in (0.001, 0.0011, 0.02, 4.0, 30.0):
            trips.add(seconds)
        told = trips.snapshot()
        self.assertEqual(told.buckets, (1, 2, 3, 3, 3, 3, 4))
        self.assertEqual((told.count, told.least, told.most), (5, 0.001, 30.0))
        self.assertAlmostEqual(told.total, 34.0221)

    def test_include(self) -> None:
        """Sums of several connections are as if one had had them all."""
        one, other, both = Trips(), Trips(), Trips()
        for trips, seconds in ((one, 0.5), (one, 0.002), (other, 0.1)):
            trips.add(seconds)
            both.add(seconds)
        other.include(one)
        told, expected = other.snapshot(), both.snapshot()
        self.assertEqual(
            (told.count, told.least, told.most, told.buckets),
            (expected.count, expected.least, expected.most, expected.buckets),
        )
        self.assertAlmostEqual(told.total, expected.total)


class CodeTests(unittest.TestCase):
    """Close codes."""

    def test_code_of(self) -> None:
        """An end that has no code is 1006."""
        self.assertEqual(code_of(CloseError(4001, "")), 4001)
        self.assertEqual(code_of(ProtocolError(1002, "")), 1002)
        self.assertEqual(code_of(ConnectionClosed()), 1006)


if __name__ == "__main__":
    unittest.main()
