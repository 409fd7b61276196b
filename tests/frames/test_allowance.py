"""allowance.py: what may be spent at once, and what the seconds bring, on a clock of the test's own."""

from __future__ import annotations

import unittest

from syncws._frames.allowance import Allowance


class TestAllowance(unittest.TestCase):
    """A bucket that refills."""

    def may(self, allowance: Allowance, count: int, now: float) -> bool:
        if allowance.spend(count):
            return True
        allowance.refill(now)
        return allowance.spend(count)

    def test_the_burst(self) -> None:
        """The burst may be spent at once, and not one more."""
        allowance = Allowance(3, 10, 100.0)
        self.assertEqual([self.may(allowance, 1, 100.0) for _ in range(4)], [True, True, True, False])

    def test_the_rate(self) -> None:
        """Each second brings as many as the rate says, fractions of a second too."""
        allowance = Allowance(3, 10, 100.0)
        self.assertTrue(self.may(allowance, 3, 100.0))
        self.assertTrue(self.may(allowance, 2, 100.2))
        self.assertFalse(self.may(allowance, 1, 100.25))
        self.assertTrue(self.may(allowance, 1, 101.0))

    def test_no_more_than_the_burst(self) -> None:
        """A long silence brings the burst, and no more."""
        allowance = Allowance(3, 10, 100.0)
        self.assertTrue(self.may(allowance, 3, 100.0))
        self.assertTrue(self.may(allowance, 3, 5000.0))
        self.assertFalse(self.may(allowance, 1, 5000.0))

    def test_several_at_once(self) -> None:
        """What is spent at once is judged together, and where that is too much nothing is spent."""
        allowance = Allowance(3, 10, 100.0)
        self.assertEqual([self.may(allowance, count, 100.0) for count in (4, 3, 1)], [False, True, False])

    def test_what_is_given_back(self) -> None:
        """What was spent and not used may be spent again."""
        allowance = Allowance(3, 10, 100.0)
        self.assertTrue(allowance.spend(3))
        allowance.give_back(2)
        self.assertEqual([allowance.spend(1) for _ in range(3)], [True, True, False])

    def test_the_clock_is_asked_for_what_is_missing_only(self) -> None:
        """While there is something left, nothing has to be asked."""
        allowance = Allowance(3, 10, 100.0)
        self.assertEqual([allowance.spend(1) for _ in range(4)], [True, True, True, False])


if __name__ == "__main__":
    unittest.main()
