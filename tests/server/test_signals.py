"""signals.py: SIGTERM and SIGINT are noted, and wake the loop; what there was before is back afterwards."""

from __future__ import annotations

import os
import signal
import unittest
from unittest import mock

from syncws._base.waker import Waker
from syncws._server.signals import _Noting, noting_signals
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

    def _status_of_a_child(self, number: signal.Signals, *, hooks: bool = True) -> int:
        """How a process ends that is forked meanwhile, and gets a signal."""
        begin_anew = _Noting.begin_anew if hooks else lambda self: None  # as in uWSGI, which calls nothing
        noted: list[signal.Signals] = []
        with mock.patch.object(_Noting, "begin_anew", begin_anew), noting_signals(self.waker, noted):
            child = os.fork()
            if child == 0:
                try:
                    signal.raise_signal(number)
                finally:
                    os._exit(123)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if hooks:
                self.waker.wait(0)
                self.assertRaises(BlockingIOError, self.waker._reader.recv, 1)  # nor was the parent woken
        self.assertEqual(noted, [])
        return status

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_process_that_is_forked_meanwhile(self) -> None:
        """There a signal does what it did before, be it the default; the parent notes nothing, and is not woken."""
        for hooks in (True, False):
            with self.subTest(hooks=hooks):
                self.assertEqual(self._status_of_a_child(signal.SIGTERM, hooks=hooks), -signal.SIGTERM)
                before = signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
                try:
                    self.assertEqual(self._status_of_a_child(signal.SIGTERM, hooks=hooks), 7)
                finally:
                    signal.signal(signal.SIGTERM, before)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_child_that_leaves_the_block(self) -> None:
        """What a child has set by itself stays so, when it comes back out of the block of its parent."""
        child = None
        try:
            with noting_signals(self.waker, []):
                child = os.fork()
                if child == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
        finally:
            if child == 0:
                os._exit(int(signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN))
        assert child is not None
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_only_the_main_thread(self) -> None:
        """In another thread nothing is changed."""
        before = signal.getsignal(signal.SIGTERM)

        def in_block() -> object:
            with noting_signals(self.waker, []):
                return signal.getsignal(signal.SIGTERM)

        self.assertIs(Task(in_block).result(), before)


if __name__ == "__main__":
    unittest.main()
