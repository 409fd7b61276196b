"""retreat.py: who is told to go, and when."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._conn.conn import Conn
from syncws._server.retreat import Retreat

BEGIN = 1000.0


class Somebody:
    """A connection that nobody tells anything."""

    thread: int | None = None
    conn: Conn | None = None

    def start_close(self, code: int, reason: str) -> None:
        raise AssertionError("it is told by the roster")

    def cut(self) -> None:
        raise AssertionError("it is not cut")


class RetreatTests(unittest.TestCase):
    """The clock is the test's own: it goes on by as much as is to be waited."""

    def retreat(self, count: int, seconds: float) -> tuple[Retreat, list[Somebody]]:
        self.clock = self.enterContext(mock.patch("syncws._server.retreat.time.monotonic", return_value=BEGIN))
        everybody = [Somebody() for _ in range(count)]
        return Retreat(everybody, BEGIN + seconds), everybody

    def told(self, retreat: Retreat, now: float, until: float) -> list[tuple[float, object]]:
        """Who is told, and when, from an instant until another one."""
        found: list[tuple[float, object]] = []
        while now < until and len(retreat):
            due = retreat.next_due(now)
            if isinstance(due, float):
                now += due
            else:
                found.append((now, due))
        return found

    def test_each_at_its_time(self) -> None:
        """Each is told once, in a part of the time that is its own, in no order that could be known before."""
        retreat, everybody = self.retreat(1000, 10.0)
        told = self.told(retreat, BEGIN, BEGIN + 10)
        self.assertEqual(({each for _, each in told}, len(told)), (set(everybody), 1000))
        for number, (instant, _) in enumerate(told):
            self.assertAlmostEqual(instant, BEGIN + (number + 0.5) / 100, delta=0.00501)
        self.assertNotEqual([each for _, each in told], everybody)
        self.assertNotEqual([each for _, each in told], everybody[::-1])

    def test_the_instant_is_drawn(self) -> None:
        """Where in its part each is told is drawn at random, so no two servers keep step."""
        draws = [0.25, 0.0, 0.75, 0.5]
        retreat, _ = self.retreat(4, 8.0)
        with mock.patch("syncws._server.retreat.random.random", side_effect=draws):
            told = self.told(retreat, BEGIN, BEGIN + 8)
        self.assertEqual([instant - BEGIN for instant, _ in told], [0.5, 2.0, 5.5, 7.0])

    def test_no_burst_after_a_delay(self) -> None:
        """After a time in which nobody could be told, the rest is spread over the rest of the time."""
        retreat, _ = self.retreat(100, 10.0)
        self.told(retreat, BEGIN, BEGIN + 1)
        left = len(retreat)
        told = [instant for instant, _ in self.told(retreat, BEGIN + 6, BEGIN + 10)]
        self.assertEqual(len(told), left)
        self.assertLessEqual(sum(instant < BEGIN + 8 for instant in told), left // 2 + 2)

    def test_those_that_have_gone(self) -> None:
        """Who goes by itself is not told, and those that stay have its time."""
        retreat, everybody = self.retreat(1000, 10.0)
        for each in everybody[:900]:
            retreat.discard(each)
        told = self.told(retreat, BEGIN, BEGIN + 10)
        self.assertEqual({each for _, each in told}, set(everybody[900:]))
        for number, (instant, _) in enumerate(told):
            self.assertAlmostEqual(instant, BEGIN + (number + 0.5) / 10, delta=0.0501)

    def test_latecomers(self) -> None:
        """Who comes later is told at any time that is left, and not with all that come late at the end."""
        retreat, _ = self.retreat(100, 10.0)
        self.told(retreat, BEGIN, BEGIN + 5)
        late = [Somebody() for _ in range(100)]
        for each in late:
            retreat.add(each)
            retreat.add(each)
        told = [instant for instant, each in self.told(retreat, BEGIN + 5, BEGIN + 10) if each in late]
        self.assertEqual(len(told), 100)
        self.assertGreater(sum(instant < BEGIN + 8 for instant in told), 20)
        self.assertGreater(sum(instant > BEGIN + 8 for instant in told), 5)

    def test_sooner(self) -> None:
        """A sooner end has the rest told by then; a later one changes nothing."""
        retreat, _ = self.retreat(1000, 100.0)
        self.told(retreat, BEGIN, BEGIN + 10)
        self.clock.return_value = BEGIN + 10
        retreat.hasten(BEGIN + 200)
        self.assertEqual(retreat.end, BEGIN + 100)
        retreat.hasten(BEGIN + 19)
        told = self.told(retreat, BEGIN + 10, BEGIN + 19)
        self.assertAlmostEqual(len(told), 900, delta=1)
        self.assertLessEqual(told[-1][0], BEGIN + 19)

    def test_nobody(self) -> None:
        """Where there is nobody it is waited until the end, for who may come."""
        retreat, _ = self.retreat(0, 7.0)
        self.assertEqual(retreat.next_due(BEGIN + 2), 5.0)
        self.assertEqual(retreat.next_due(BEGIN + 8), 0.0)

    def test_no_time(self) -> None:
        """Without time all are told at once."""
        retreat, everybody = self.retreat(3, 0.0)
        self.assertEqual({retreat.next_due(BEGIN) for _ in range(3)}, set(everybody))


if __name__ == "__main__":
    unittest.main()
