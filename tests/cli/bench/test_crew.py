"""Several processes: they begin together, their counts are added up, and nothing is left of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import unittest
from multiprocessing import resource_tracker

from syncws._cli.bench.crew import Interrupt, Line, Progress, generate, run_load
from syncws._cli.bench.tally import Tally
from syncws._cli.command import CommandError

from .cases import LoadCase, plan


class CrewTests(LoadCase):
    def setUp(self) -> None:
        resource_tracker.ensure_running()  # of multiprocessing, once for this process
        super().setUp()
        self.shown: list[Progress] = []

    def tearDown(self) -> None:
        self.assertEqual(multiprocessing.active_children(), [])

    def test_two_processes(self) -> None:
        """They share the connections, and say how far they are."""
        with self.serving() as url:
            tally, interrupted = run_load(plan(url, connections=3, processes=2).shares(), self.shown.append)
        self.assertFalse(interrupted)
        self.assertFalse(tally.flaws, tally)
        self.assertEqual((tally.opened, len(tally.busy)), (3, 2))
        self.assertGreater(tally.received, 0)
        self.assertEqual(max(each.connections for each in self.shown), 3)

    def test_interrupt(self) -> None:
        """Ctrl-C ends the load at once, with what was measured so far."""

        def press(progress: Progress) -> None:
            if progress.phase == "measuring" and progress.received and not self.shown:
                self.shown.append(progress)
                os.kill(os.getpid(), signal.SIGINT)

        with self.serving() as url:
            tally, interrupted = run_load(plan(url, duration=1000.0).shares(), press)
        self.assertTrue(interrupted)
        self.assertGreater(tally.received, 0)

    def test_a_second_interrupt(self) -> None:
        """A second Ctrl-C waits for nothing."""
        with Interrupt().noted() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            self.assertTrue(interrupt.pressed)
            with self.assertRaises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)

    def test_a_process_that_dies(self) -> None:
        """Its death is the command's error, not a wait without an end."""

        def kill(progress: Progress) -> None:
            for process in multiprocessing.active_children():
                process.kill()

        with self.serving() as url, self.assertRaisesRegex(CommandError, "a process of the generator has died"):
            run_load(plan(url, duration=1000.0).shares(), kill)

    def test_a_process_that_fails(self) -> None:
        """What it cannot do is the command's error, in its words."""
        with self.assertRaisesRegex(CommandError, "--key needs --cert"):
            run_load(plan("ws://127.0.0.1:1/", "--key", "x").shares(), self.shown.append)

    def test_a_command_that_is_killed(self) -> None:
        """A process whose command is gone ends, and says nothing."""
        ours, theirs = multiprocessing.Pipe()
        ours.close()
        previous = signal.getsignal(signal.SIGINT)
        try:
            generate(plan("ws://127.0.0.1:1/"), theirs)
        finally:
            signal.signal(signal.SIGINT, previous)
            theirs.close()

    def test_progress(self) -> None:
        """That of several processes is added up."""
        self.assertEqual(Progress("ready", 1, 2, 3) + Progress("opening", 10, 20, 30), Progress("ready", 11, 22, 33))


class LineTests(unittest.TestCase):
    def test_what_the_command_says(self) -> None:
        """A number is the time to begin, None the end; a command that is gone is the end too."""
        ours, theirs = multiprocessing.Pipe()
        self.addCleanup(theirs.close)
        line = Line(theirs)
        line.look()
        self.assertEqual((line.start, line.stopped), (None, False))
        ours.send(5)
        line.look()
        self.assertEqual((line.start, line.stopped), (5, False))
        ours.send(None)
        line.look()
        self.assertTrue(line.stopped)
        gone = Line(theirs)
        ours.close()
        gone.tell("ready", Tally(), 1)
        gone.look()
        self.assertTrue(gone.stopped)


if __name__ == "__main__":
    unittest.main()
