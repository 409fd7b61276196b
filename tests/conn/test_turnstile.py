"""turnstile.py: one rests at a time, as long as it has worked."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._conn.turnstile import Turnstile
from syncws.testing import LeakChecks, await_
from tests.tasks import Task


class TurnstileTests(LeakChecks):
    """Readers in no hurry go on one after the other."""

    def test_one_rests_at_a_time(self) -> None:
        """While one rests the others wait for it: two hundred floods are in nobody's way at the same time."""
        turnstile = Turnstile()
        resting: list[float] = []
        most = 0

        def sleep(seconds: float) -> None:
            nonlocal most
            resting.append(seconds)
            most = max(most, len(resting))
            await_(lambda: False, 0.001)
            resting.pop()

        with mock.patch("syncws._conn.turnstile.time", mock.Mock(sleep=sleep)):
            for task in [Task(turnstile.rest, 0.001) for _ in range(10)]:
                task.result()
        self.assertEqual((most, resting), (1, []))

    def test_as_long_as_it_has_worked(self) -> None:
        """A rest is as long as the work before, and bounded, since others wait for it."""
        turnstile = Turnstile()
        clock = mock.Mock()
        with mock.patch("syncws._conn.turnstile.time", clock):
            rested_at = 0.0
            for now in (50.0, 50.0005, 50.0005, 60.0, 3.0, 3.001):  # at 3.0 another thread has its first turn
                clock.thread_time.return_value = now
                rested_at = turnstile.pass_through(rested_at, 5000)
        rests = [round(call.args[0], 6) for call in clock.sleep.call_args_list]
        self.assertEqual(rests, [0.0002, 0.0005, 0.0, 0.002, 0.0, 0.001])

    def test_a_drip(self) -> None:
        """After a read that brought little the rest is longer: frames that are sent one by one are read together."""
        turnstile = Turnstile()
        clock = mock.Mock()
        with mock.patch("syncws._conn.turnstile.time", clock):
            clock.thread_time.return_value = 50.0
            rested_at = turnstile.pass_through(0.0, 6)
            clock.thread_time.return_value = 50.0001
            turnstile.pass_through(rested_at, 6)
        self.assertEqual([call.args[0] for call in clock.sleep.call_args_list], [0.0002, 0.001])


if __name__ == "__main__":
    unittest.main()
