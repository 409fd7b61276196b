"""Threads that are kept on a core: where the system says that each may run."""

from __future__ import annotations

import os
import threading
import unittest
from collections.abc import Callable
from functools import partial
from unittest import mock

from syncws._server import kept
from syncws._server.kept import KeptThreads
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


def mine() -> set[int]:
    """Where the calling thread may run."""
    return os.sched_getaffinity(0)


class Worker:
    """A thread in `KeptThreads.run` that does what it is told, until it is told nothing."""

    def __init__(self, threads: KeptThreads) -> None:
        self._order: Callable[[], object] | None = None
        self._told = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._result: object = None
        self._task = Task(lambda: threads.run(self._work))
        assert self._done.acquire(timeout=PATIENCE)

    def _work(self) -> None:
        self._done.release()
        while self._told.acquire() and self._order is not None:
            self._result = self._order()
            self._done.release()

    def do(self, order: Callable[[], object]) -> object:
        """What a call in that thread returns."""
        self._order = order
        self._told.release()
        assert self._done.acquire(timeout=PATIENCE)
        return self._result

    def end(self) -> None:
        self._order = None
        self._told.release()
        self._task.result()


@unittest.skipUnless(hasattr(os, "sched_setaffinity"), "this system keeps no thread on a core")
class KeptTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.all = os.sched_getaffinity(os.getpid())
        if len(self.all) < 2:
            self.skipTest("there is one core only")
        self.core, self.other = sorted(self.all)[:2]
        # An audit hook stays for the life of a process: tests/server/test_pinning.py has it in processes of its own.
        self.enterContext(mock.patch.object(kept, "_begin_listening"))
        self.threads = KeptThreads()

    def worker(self) -> Worker:
        worker = Worker(self.threads)
        self.addCleanup(worker.end)
        return worker

    def hear(self, event: str) -> None:
        kept._hear(event, ())

    def test_keep(self) -> None:
        """All threads that are there, and those that come, run on that core alone; nobody else does."""
        before = self.worker()
        self.assertEqual(before.do(mine), self.all)
        self.threads.keep(self.core)
        after = self.worker()
        self.assertEqual((before.do(mine), after.do(mine), mine()), ({self.core}, {self.core}, self.all))
        self.assertEqual((self.threads.core, len(self.threads)), (self.core, 2))

    def test_another_core(self) -> None:
        """They can be kept on another one, and on none."""
        worker = self.worker()
        for core, where in ((self.core, {self.core}), (self.other, {self.other}), (None, self.all)):
            self.threads.keep(core)
            self.assertEqual((self.threads.core, worker.do(mine)), (core, where))

    def test_the_end_of_the_work(self) -> None:
        """A thread whose work is over is none of them any more, also if it raised."""
        self.threads.keep(self.core)

        def fail() -> None:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.threads.run(fail)
        self.addCleanup(os.sched_setaffinity, 0, self.all)
        self.assertEqual((len(self.threads), kept._kept_by), (0, {}))

    def test_who_starts_something(self) -> None:
        """A thread that is about to start a process or to load a module is let go for some seconds."""
        worker, quiet = self.worker(), self.worker()
        self.threads.keep(self.core)
        now = 1000.0
        with mock.patch("syncws._server.kept.time.monotonic", lambda: now):
            for event in ("subprocess.Popen", "os.fork", "import"):
                worker.do(partial(self.hear, event))
                self.assertEqual((worker.do(mine), quiet.do(mine)), (self.all, {self.core}), event)
                now += kept._REST - 0.1
                self.threads.tend()
                self.assertEqual(worker.do(mine), self.all)
                now += 0.2
                self.threads.tend()
                self.assertEqual(worker.do(mine), {self.core})

    def test_a_rest_goes_on(self) -> None:
        """Another start makes the rest longer, and a change of the core does not end it."""
        worker = self.worker()
        self.threads.keep(self.core)
        now = 1000.0
        with mock.patch("syncws._server.kept.time.monotonic", lambda: now):
            worker.do(lambda: self.hear("import"))
            now += kept._REST - 0.1
            worker.do(lambda: self.hear("import"))
            self.threads.keep(self.other)
            now += kept._REST - 0.1
            self.threads.tend()
            self.assertEqual(worker.do(mine), self.all)

    def test_other_events(self) -> None:
        """What starts nothing changes nothing; nor does what other threads start, or one that is kept nowhere."""
        worker = self.worker()
        worker.do(lambda: self.hear("os.fork"))
        self.threads.keep(self.core)
        worker.do(lambda: self.hear("open"))
        self.hear("os.fork")
        self.assertEqual((worker.do(mine), mine()), ({self.core}, self.all))

    def test_strays(self) -> None:
        """A thread that one of them has started is let go; one that was put on another core by others is left there."""
        worker = self.worker()
        self.threads.keep(self.core)
        stray = self.enterContext(Stray(worker))
        placed = self.enterContext(Stray(worker))
        os.sched_setaffinity(placed.number, {self.other})
        self.assertEqual(os.sched_getaffinity(stray.number), {self.core})
        self.threads.tend()
        self.assertEqual(os.sched_getaffinity(stray.number), self.all)
        self.assertEqual(os.sched_getaffinity(placed.number), {self.other})
        self.assertEqual(worker.do(mine), {self.core})

    def test_strays_are_looked_at_once(self) -> None:
        """Who keeps itself on that core after it was let go is left there."""
        worker = self.worker()
        self.threads.keep(self.core)
        stray = self.enterContext(Stray(worker))
        self.threads.tend()
        os.sched_setaffinity(stray.number, {self.core})
        self.threads.tend()
        self.assertEqual(os.sched_getaffinity(stray.number), {self.core})
        os.sched_setaffinity(stray.number, self.all)

    def test_without_proc(self) -> None:
        """Where /proc is not mounted, strays of Python are found."""
        worker = self.worker()
        self.threads.keep(self.core)
        stray = self.enterContext(Stray(worker))
        with mock.patch("syncws._server.kept.os.listdir", side_effect=FileNotFoundError):
            self.threads.tend()
        self.assertEqual(os.sched_getaffinity(stray.number), self.all)

    def test_a_core_that_is_gone(self) -> None:
        """Where the system refuses that is said once, and all run where they may."""
        workers = [self.worker(), self.worker()]
        self.threads.keep(self.core)
        with self.assertLogs("syncws.server", "WARNING") as logs:
            self.threads.keep(1 << 12)
        self.assertRegex(logs.output[0], r"connections cannot be kept on core 4096: \[Errno 22\]")
        self.assertEqual(len(logs.output), 1)
        self.assertIsNone(self.threads.core)
        self.assertEqual([each.do(mine) for each in workers], [self.all] * 2)
        with self.assertNoLogs("syncws.server"):
            self.assertEqual(self.worker().do(mine), self.all)

    def test_a_fork(self) -> None:
        """The child of a fork knows none of the threads, which are its parent's, and its lock is free."""
        self.worker()
        self.threads._lock.acquire()
        self.threads.begin_anew()
        self.assertEqual(len(self.threads), 0)
        self.assertTrue(self.threads._lock.acquire(blocking=False))
        # For the worker, whose work ends now:
        self.threads._lock.release()


class Stray:
    """A thread that a worker has started, until the end of the block."""

    def __init__(self, worker: Worker) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._over.wait, args=(PATIENCE,))
        worker.do(self._thread.start)
        assert self._thread.native_id is not None
        self.number = self._thread.native_id

    def __enter__(self) -> Stray:
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    unittest.main()
