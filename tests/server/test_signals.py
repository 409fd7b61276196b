"""signals.py: SIGTERM and SIGINT are noted, and wake the loop; what there was before is back afterwards."""

from __future__ import annotations

import os
import signal
import unittest
from unittest import mock

from syncws._base.waker import Waker
from syncws._server.signals import noting_signals
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


class SignalsTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.waker = Waker()
        self.addCleanup(self.waker.close)

    def test_noted(self) -> None:
        """A signal is noted, and the waker is readable; the handler of before is back after the block."""
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        noted: list[signal.Signals] = []
        with noting_signals(self.waker, noted):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            self.waker.wait(PATIENCE)
        self.assertEqual(sorted(noted), [signal.SIGINT, signal.SIGTERM])
        self.assertEqual([signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)], before)

    def test_an_interrupt_at_the_beginning(self) -> None:
        """What is raised before all handlers are there, by a Ctrl-C, leaves nothing changed either."""
        before, install = signal.getsignal(signal.SIGTERM), signal.signal

        def interrupted(number: int, handler: object) -> object:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return install(number, handler)  # type: ignore[arg-type]

        with mock.patch("signal.signal", interrupted), self.assertRaises(KeyboardInterrupt):
            with noting_signals(self.waker, []):
                self.fail("it has begun")
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)

    def test_only_the_main_thread(self) -> None:
        """In another thread nothing is changed."""
        before = signal.getsignal(signal.SIGTERM)

        def in_block() -> object:
            with noting_signals(self.waker, []):
                return signal.getsignal(signal.SIGTERM)

        self.assertIs(Task(in_block).result(), before)


if __name__ == "__main__":
    unittest.main()
