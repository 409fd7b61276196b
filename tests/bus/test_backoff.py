"""Delays between attempts to reach a bus."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._bus.backoff import Backoff


class BackoffTests(unittest.TestCase):
    def test_grows_to_half_a_second(self) -> None:
        """Each delay is twice the one before, from 50 ms to half a second, and the first again after a success."""
        backoff = Backoff()
        with mock.patch("random.uniform", lambda low, high: high):
            self.assertEqual([backoff.next() for _ in range(6)], [0.05, 0.1, 0.2, 0.4, 0.5, 0.5])
            backoff.reset()
            self.assertEqual(backoff.next(), 0.05)

    def test_half_is_random(self) -> None:
        """Processes that lost the same server do not come back at the same moment."""
        with mock.patch("random.uniform") as uniform:
            uniform.return_value = 0.5
            self.assertEqual(Backoff().next(), 0.025)
        uniform.assert_called_once_with(0.5, 1)


if __name__ == "__main__":
    unittest.main()
