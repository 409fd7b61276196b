"""Whether others use the core that work is kept on, by what the system says that each core has done."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._server import crowd
from syncws._server.crowd import Crowd


class CrowdTests(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self._busy = {0: 100.0, 1: 50.0, 2: 7.0}
        self.enterContext(mock.patch.object(crowd, "busy_seconds", side_effect=lambda: dict(self._busy)))
        self._now = self._own = 0.0
        self.crowd = Crowd()
        self.assertIsNone(self.look({}, 0.0))

    def look(self, shares: dict[int, float], own: float, cores: tuple[int, ...] = (0, 1, 2)) -> int | None:
        """A look half a second later, in which each core was busy for such a share, with our own work on core 0."""
        self._now += 0.5
        self._own += own * 0.5
        for core, share in shares.items():
            self._busy[core] += share * 0.5
        return self.crowd.look(self._now, 0, cores, self._own)

    def looks(self, shares: dict[int, float], own: float, cores: tuple[int, ...] = (0, 1, 2)) -> list[int | None]:
        return [self.look(shares, own, cores) for _ in range(4)]

    def test_alone(self) -> None:
        """Work that has its core for itself stays, whatever it takes of it, and however idle others are."""
        for own in (0.0, 0.5, 1.0):
            self.assertEqual(self.looks({0: own}, own), [None] * 4)

    def test_crowded(self) -> None:
        """Work that shares its core leaves it after three looks, for the one that others use least."""
        self.assertEqual(self.looks({0: 1.0, 1: 0.1, 2: 0.3}, 0.5), [None, None, 1, None])

    def test_all_are_busy(self) -> None:
        """Where no other is clearly better it stays."""
        self.assertEqual(self.looks({0: 1.0, 1: 0.4, 2: 0.9}, 0.5), [None] * 4)

    def test_a_moment(self) -> None:
        """It takes three looks, one after the other."""
        crowded, quiet = ({0: 1.0}, 0.5), ({0: 0.5}, 0.5)
        self.assertEqual([self.look(*each) for each in (crowded, crowded, quiet) * 3], [None] * 9)

    def test_only_ours(self) -> None:
        """It goes to none that the process may not use."""
        self.assertEqual(self.looks({0: 1.0}, 0.2, (0,)), [None] * 4)
        self.crowd.forget()
        self.assertEqual(self.looks({0: 1.0}, 0.2, (0, 2)), [None, None, None, 2])

    def test_forgetting(self) -> None:
        """What was seen before a move tells nothing after it."""
        self.looks({0: 1.0}, 0.5)
        self.look({0: 1.0}, 0.5)
        self.crowd.forget()
        self.assertEqual(self.looks({0: 1.0}, 0.5), [None, None, None, 1])

    def test_work_elsewhere(self) -> None:
        """A process that also computes on other cores is not taken for others on its own."""
        self.assertEqual(self.looks({0: 1.0, 1: 1.0}, 2.0), [None] * 4)

    def test_a_system_that_tells_nothing(self) -> None:
        """Where nobody knows what the cores do it stays."""
        self._busy.clear()
        self.assertEqual(self.looks({}, 1.0), [None] * 4)


if __name__ == "__main__":
    unittest.main()
