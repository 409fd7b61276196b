"""The thread for what time asks for."""

from __future__ import annotations

import threading
import unittest
from unittest import mock

from syncws._relay import pulse
from syncws._relay.pulse import Pulse
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE


class PulseTests(LeakChecks):
    def test_it_looks_again(self) -> None:
        """It looks at once, soon where something is due, when it is woken; and goes on after a look that raised."""
        looked = threading.Semaphore(0)
        answers = iter([True, True, RuntimeError(), False])

        def look(stopped: float) -> bool:
            looked.release()
            answer = next(answers, False)
            if isinstance(answer, Exception):
                raise answer
            return answer

        beating = Pulse(look, every=600.0)
        with mock.patch.object(pulse, "SOON", 0.001), self.assertLogs("syncws.relay", "ERROR"):
            beating.begin()
            for _ in range(3):
                self.assertTrue(looked.acquire(timeout=PATIENCE))
            beating.wake()
            self.assertTrue(looked.acquire(timeout=PATIENCE))
            beating.end(PATIENCE)

    def test_a_stopped_process(self) -> None:
        """A look that comes late says by how much, so that nobody is taken for dead by the clock alone."""
        late: list[float] = []
        done = threading.Event()

        def look(stopped: float) -> bool:
            late.append(stopped)
            if len(late) == 2:
                done.set()
            return True

        clock = iter([0.0, 0.0, 0.0, 20.0])
        with mock.patch("time.monotonic", lambda: next(clock, 20.0)), mock.patch.object(pulse, "SOON", 0.001):
            beating = Pulse(look)
            beating.begin()
            self.assertTrue(done.wait(PATIENCE))
            beating.end(PATIENCE)
        self.assertEqual(late[0], 0.0)
        self.assertAlmostEqual(late[1], 20.0, places=2)

    def test_its_own_end(self) -> None:
        """It may be ended from its own look, which waits for nobody."""
        ended = threading.Event()

        def look(stopped: float) -> bool:
            beating.end(PATIENCE)
            ended.set()
            return False

        beating = Pulse(look)
        beating.begin()
        self.assertTrue(ended.wait(PATIENCE))


if __name__ == "__main__":
    unittest.main()
