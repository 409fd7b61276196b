"""latelock.py: one lock, made at first use, open in the child of a fork."""

from __future__ import annotations

import ast
import gc
import os
import random
import signal
import sys
import threading
import unittest
import weakref
from unittest import mock

from syncws._base.latelock import LateLock
from tests.source import modules
from tests.tasks import Task


class LateLockTests(unittest.TestCase):
    def test_excludes(self) -> None:
        """A second thread waits until the first is outside, also when both come first."""
        lock = LateLock()
        order: list[str] = []

        def second() -> None:
            with lock.made:
                order.append("second")

        with lock.made:
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
                with lock.made:
                    pass
        made.assert_called_once_with()

    def test_freed(self) -> None:
        """A lock that nobody has any more is freed, although forks are to open it."""
        lock = LateLock()
        with lock.made:
            pass
        left = weakref.ref(lock)
        del lock
        gc.collect()
        self.assertIsNone(left())

    @unittest.skipUnless(hasattr(signal, "setitimer"), "no timers here")
    @unittest.skipIf(sys.version_info >= (3, 14), "there an interrupt may leave any lock taken")
    def test_interrupted(self) -> None:
        """An exception of a signal's handler, wherever it comes, leaves the lock open."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        lock = LateLock()
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        for _ in range(300):
            with self.assertRaises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0005))
                while True:
                    with lock.made:
                        pass
            self.assertFalse(lock.locked())

    def test_nobody_enters_by_python(self) -> None:
        """No lock is taken by the `with` of a condition or a LateLock: an interrupt may leave it taken."""
        made = set()
        parsed = modules.__wrapped__()  # not kept: each collection would look at all of it
        for _, module in parsed:
            for node in ast.walk(module):
                match node:
                    case ast.Assign(
                        targets=[ast.Attribute(attr=name) | ast.Name(id=name)],
                        value=ast.Call(func=ast.Attribute(attr="Condition") | ast.Name(id="LateLock" | "Condition")),
                    ):
                        made.add((name, module))
        names = {name for name, _ in made} - {"_lock", "lock", "_turn"}
        self.assertIn("changed", names)
        for path, module in parsed:
            here = names | {name for name, where in made if where is module}
            for node in ast.walk(module):
                if isinstance(node, ast.With):
                    for item in node.items:
                        entered = item.context_expr
                        name = getattr(entered, "attr", getattr(entered, "id", ""))
                        self.assertNotIn(name, here, f"{path}:{node.lineno}")

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_open_in_a_child(self) -> None:
        """The child of a fork finds the lock open, although the parent's thread is inside."""
        lock = LateLock()
        with lock.made:
            child = os.fork()
            if child == 0:
                os._exit(int(lock.locked()))
            self.assertEqual(os.waitpid(child, 0)[1], 0)
