"""unfinished.py: who holds how much of an unfinished message, and who has to go."""

from __future__ import annotations

import gc
import unittest

import syncws
from syncws._base.unfinished import Unfinished, unfinished


class Holding:
    """A connection, as far as it matters here."""

    def give_up(self) -> None:
        raise AssertionError("that is the caller's to do")


class UnfinishedTests(unittest.TestCase):
    """All together have a limit."""

    def test_within_the_limit(self) -> None:
        """Nobody has to go while all together are within it; the last byte counts."""
        held = Unfinished(100)
        one, two = Holding(), Holding()
        self.assertIsNone(held.hold(one, 60))
        self.assertIsNone(held.hold(two, 40))
        self.assertEqual(held.total, 100)

    def test_the_largest_goes(self) -> None:
        """Over the limit the largest is to be given up, whoever was the last to grow, and is counted no more."""
        held = Unfinished(100)
        large, small, last = Holding(), Holding(), Holding()
        held.hold(large, 60)
        held.hold(small, 30)
        self.assertIs(held.hold(last, 20), large)
        self.assertEqual(held.total, 50)
        self.assertIs(held.hold(last, 80), last)
        self.assertEqual(held.total, 30)

    def test_what_is_over_is_counted_no_more(self) -> None:
        """A message that is whole leaves room for others."""
        held = Unfinished(100)
        one, two = Holding(), Holding()
        for size in (10, 90, 40, 0):
            self.assertIsNone(held.hold(one, size))
        self.assertIsNone(held.hold(two, 100))

    def test_no_limit(self) -> None:
        """None is no limit."""
        held = Unfinished(None)
        one = Holding()
        self.assertIsNone(held.hold(one, 1 << 40))

    def test_who_is_gone_is_not_given_up(self) -> None:
        """A connection that was dropped without being closed is in nobody's way for long, and is kept by nothing."""
        held = Unfinished(100)
        gone, one, two = Holding(), Holding(), Holding()
        held.hold(gone, 70)
        del gone
        gc.collect()
        self.assertIsNone(held.hold(one, 20))
        self.assertIsNone(held.hold(two, 30))
        self.assertEqual(held.total, 50)

    def test_who_is_gone_leaves_no_entry(self) -> None:
        """However many connections come and go, the entries are those of the living, and few more."""
        held = Unfinished(None)
        living = [Holding() for _ in range(10)]
        for number in range(2000):
            held.hold(living[number % 10], number)
            held.hold(Holding(), 1)
        self.assertLess(len(held._entries), 200)
        for one in living:
            held.hold(one, 5)
        held._forget_the_gone()
        self.assertEqual(held.total, 50)

    def test_what_nobody_has_read(self) -> None:
        """What nobody has read yet counts, but nobody has to go for it: the largest unfinished message does."""
        held = Unfinished(100)
        unread, small, last = Holding(), Holding(), Holding()
        held.keep(unread, 0, 80)
        self.assertEqual(held.total, 80)
        self.assertIs(held.hold(small, 30), small)
        held.keep(small, 10, 5)
        self.assertIs(held.hold(last, 6), small)
        self.assertEqual(held.total, 86)
        held.keep(unread, 0, 200)
        held.keep(last, 0, 0)
        self.assertIsNone(held.hold(small, 0))
        held.hold(unread, 0)
        self.assertEqual(held.total, 0)

    def test_room(self) -> None:
        """What nobody has asked for has three quarters of the limit; what is gone counts no more."""
        held = Unfinished(100)
        one, gone = Holding(), Holding()
        self.assertEqual(held.room, 75)
        held.keep(one, 10, 20)
        self.assertEqual(held.room, 45)
        held.keep(gone, 0, 45)
        self.assertEqual(held.room, 0)
        del gone
        gc.collect()
        self.assertEqual(held.room, 0)  # looked for a moment ago
        held._searched = -10.0
        self.assertEqual(held.room, 45)
        held.limit = None
        self.assertGreater(held.room, 1 << 40)

    def test_setting_the_limit(self) -> None:
        """set_unfinished_limit takes a number of bytes, or None; 256 MiB is the default."""
        self.assertEqual(unfinished.limit, 256 << 20)
        self.addCleanup(syncws.set_unfinished_limit, unfinished.limit)
        for limit in (1, 1 << 40, None):
            syncws.set_unfinished_limit(limit)
            self.assertEqual(unfinished.limit, limit)
        for bad, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError), (1.5, TypeError)):
            with self.assertRaisesRegex(error, "^limit (is|must be) "):
                syncws.set_unfinished_limit(bad)  # type: ignore[arg-type]


if __name__ == "__main__":
    unittest.main()
