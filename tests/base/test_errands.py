"""Work that is handed on to a thread of its own."""

from __future__ import annotations

import sys
import threading
import unittest
from unittest import mock

from syncws._base.errands import Errands
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE


class ErrandTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[object] = []
        self.errands = Errands("test", self.told.append, lambda: self.told.append(sys.exc_info()[0]), 3)

    def wait(self) -> None:
        self.assertTrue(await_(lambda: not self.errands._running))

    def test_order(self) -> None:
        """They are run in their order, by one thread that ends when there is nothing left."""
        done: list[int] = []
        errands = Errands("test", self.told.append, list)
        for number in range(100):
            self.assertTrue(errands.run(lambda number=number: done.append(number)))  # type: ignore[misc]
        self.assertTrue(await_(lambda: not errands._running))
        self.assertEqual(done, list(range(100)))

    def test_one_that_raises(self) -> None:
        """What one raises is told, SystemExit too, and the next one is run."""
        done = threading.Event()
        self.errands.run(lambda: sys.exit(1))
        self.errands.run(done.set)
        self.assertTrue(done.wait(PATIENCE))
        self.wait()
        self.assertEqual(self.told, [SystemExit])

    def test_too_many(self) -> None:
        """While one blocks, so many wait; the next is refused, and who gave it can say so."""
        go_on = threading.Event()
        self.errands.run(lambda: go_on.wait(PATIENCE))
        self.assertTrue(await_(lambda: not self.errands._waiting))
        took = [self.errands.run(int) for _ in range(5)]
        go_on.set()
        self.wait()
        self.assertEqual(took, [True, True, True, False, False])

    def test_no_thread(self) -> None:
        """Where no thread can be started, this is said, and it is run with the next one."""
        done: list[int] = []
        error = RuntimeError("none")
        with mock.patch("threading.Thread.start", side_effect=error):
            self.assertTrue(self.errands.run(lambda: done.append(1)))
        self.assertEqual(self.told, [error])
        self.errands.run(lambda: done.append(2))
        self.wait()
        self.assertEqual(done, [1, 2])

    def test_an_interrupt_as_the_thread_begins(self) -> None:
        """Whether the thread has begun by then or not, what waits is run once, with the next."""
        start = threading.Thread.start
        for begins in (False, True):
            done: list[int] = []

            def interrupted(thread: threading.Thread, begins: bool = begins) -> None:
                if begins:
                    start(thread)
                raise KeyboardInterrupt

            with mock.patch.object(threading.Thread, "start", interrupted), self.assertRaises(KeyboardInterrupt):
                self.errands.run(lambda: done.append(1))  # noqa: B023 - called before the next round
            self.errands.run(lambda: done.append(2))  # noqa: B023
            self.wait()
            self.assertEqual(done, [1, 2])

    def test_no_thread_and_no_room(self) -> None:
        """Where so much waits that nothing more is taken, a thread is tried for all the same."""
        done: list[int] = []
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("none")):
            for number in range(3):
                self.errands.run(lambda number=number: done.append(number))  # type: ignore[misc]
        self.assertFalse(self.errands.run(int))
        self.wait()
        self.assertEqual(done, [0, 1, 2])


if __name__ == "__main__":
    unittest.main()
