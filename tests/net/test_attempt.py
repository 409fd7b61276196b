"""attempt.py: one limit over a whole dial, and a stop at any time."""

from __future__ import annotations

import sys
import threading
import time
import unittest
from typing import Any

from syncws._net import attempt as attempt_module
from syncws._net.attempt import Attempt, Stopped
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


class AttemptTests(LeakChecks):
    def test_no_limit(self) -> None:
        """Without a timeout there is no deadline, and any time is left."""
        attempt = Attempt(None)
        self.assertIsNone(attempt.deadline)
        self.assertIsNone(attempt.remaining("waiting"))

    def test_a_limit(self) -> None:
        """The deadline is an instant of time.monotonic(); what is left until then is never more than the timeout."""
        before = time.monotonic()
        attempt = Attempt(60)
        self.assertTrue(before + 60 <= attempt.deadline <= time.monotonic() + 60)
        self.assertTrue(0 < attempt.remaining("waiting") <= 60)

    def test_over(self) -> None:
        """When it is over the error says what took so long, and how long it might have."""
        attempt = Attempt(1e-9)
        with self.assertRaisesRegex(TimeoutError, r"^looking around\b.*\b1e-09 s\b"):
            attempt.remaining("looking around")

    def test_stopped(self) -> None:
        """A stop shows at the next look at the clock, and before the deadline does; a second one changes nothing."""
        for timeout in (None, 60, 1e-9):
            attempt = Attempt(timeout)
            self.assertFalse(attempt.stopped)
            for _ in range(2):
                attempt.stop()
                self.assertTrue(attempt.stopped)
                self.assertRaises(Stopped, attempt.remaining, "waiting")

    def test_stop_wakes(self) -> None:
        """stop() calls what it was given, while that lasts and not afterwards."""
        for stop_inside in (True, False):
            attempt, woken = Attempt(None), []
            with attempt.interruptible(lambda woken=woken: woken.append(1)):
                if stop_inside:
                    attempt.stop()
            attempt.stop()
            self.assertEqual(woken, [1] if stop_inside else [])

    def test_nothing_is_woken_after_a_failure(self) -> None:
        """What was to be woken may be closed once the block has failed: a stop() that comes then leaves it alone."""
        attempt, woken = Attempt(None), []
        with self.assertRaises(ConnectionRefusedError), attempt.interruptible(lambda: woken.append(1)):
            raise ConnectionRefusedError
        attempt.stop()
        self.assertEqual(woken, [])

    def test_what_wakes_finds_it_stopped(self) -> None:
        """Whoever is woken looks whether it was stopped, so that is true before the wake-up."""
        attempt, seen = Attempt(None), []
        with attempt.interruptible(lambda: seen.append(attempt.stopped)):
            attempt.stop()
        self.assertEqual(seen, [True])

    def test_stopped_before(self) -> None:
        """What may be interrupted is not begun after a stop."""
        attempt, entered = Attempt(None), []
        attempt.stop()
        with self.assertRaises(Stopped), attempt.interruptible(lambda: entered.append("woken")):
            entered.append("entered")
        self.assertNotIn("entered", entered)

    def test_what_is_woken_is_still_there(self) -> None:
        """The block ends after a wake that is under way: what it wakes can be closed then."""
        attempt = Attempt(None)
        waking, left, leave_seen = threading.Event(), threading.Event(), []

        def wake() -> None:
            waking.set()
            leave_seen.append(left.wait(0.2))

        with attempt.interruptible(wake):
            stopping = Task(attempt.stop)
            self.assertTrue(waking.wait(PATIENCE))
        left.set()
        stopping.result()
        self.assertEqual(leave_seen, [False])

    def test_a_stop_in_the_middle_of_it(self) -> None:
        """Another thread's stop(), at whatever line, wakes the thread or is noticed, and never deadlocks."""
        outcomes = [Task(self._stopped_at, line).result() for line in range(40)]
        self.assertIn("woken", outcomes)  # the lines at its end
        self.assertIn("Stopped", outcomes)  # those at its beginning
        self.assertEqual(set(outcomes[-5:]), {"not stopped"})  # there are no more lines than were tried
        self.assertNotIn("lost", outcomes)

    @staticmethod
    def _stopped_at(line: int) -> str:
        """What becomes of a stop() in the middle of the block's beginning, at the so-manyth line."""
        attempt, woken, lines = Attempt(None), [], []
        stopping = threading.Thread(target=attempt.stop)

        def trace(frame: Any, event: str, argument: Any) -> Any:
            if frame.f_code.co_filename != attempt_module.__file__ or frame.f_code.co_name != "interruptible":
                return trace if event == "call" else None
            if event == "line":
                lines.append(frame.f_lineno)
                if len(lines) == line + 1:
                    stopping.start()
                    stopping.join(0.05)  # or it waits for the lock that this line has
            return trace

        sys.settrace(trace)
        try:
            with attempt.interruptible(lambda: woken.append(1)):
                sys.settrace(None)
                if stopping.ident is None:
                    return "not stopped"
                stopping.join()
                return "woken" if woken else "lost"
        except Stopped:
            return "Stopped"
        finally:
            sys.settrace(None)


if __name__ == "__main__":
    unittest.main()
