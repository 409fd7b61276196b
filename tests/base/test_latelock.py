"""latelock.py: one lock, made at first use, open in the child of a fork."""

from __future__ import annotations

import gc
import os
import threading
import unittest
import weakref
from unittest import mock

from syncws._base.latelock import LateLock
from tests.tasks import Task


class LateLockTests(unittest.TestCase):
    def test_excludes(self) -> None:
        """A second thread waits until the first is outside, also when both come first."""
        lock = LateLock()
        order: list[str] = []

        def second() -> None:
            with lock:
                order.append("second")

        with lock:
            self.assertTrue(lock.locked())
            waiting = Task(second)
            order.append("first")
        waiting.result()
        self.assertEqual(order, ["first", "second"])
        self.assertFalse(lock.locked())

    def test_made_at_first_use(self) -> None:
        """What patches threading before the first use is honoured."""
        lock = LateLock()
        with mock.patch("threading.Lock", side_effect=threading.Lock) as made:
            for _ in range(2):
                with lock:
                    pass
        made.assert_called_once_with()

    def test_freed(self) -> None:
        """A lock that nobody has any more is freed, although forks are to open it."""
        lock = LateLock()
        with lock:
            pass
        left = weakref.ref(lock)
        del lock
        gc.collect()
        self.assertIsNone(left())

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_open_in_a_child(self) -> None:
        """The child of a fork finds the lock open, although the parent's thread is inside."""
        lock = LateLock()
        with lock:
            child = os.fork()
            if child == 0:
                os._exit(int(lock.locked()))
            self.assertEqual(os.waitpid(child, 0)[1], 0)
