"""threads.py: a thread whose start waits for nobody is a thread like any other."""

from __future__ import annotations

import contextlib
import os
import threading
import unittest
from unittest import mock

from syncws._base.threads import PromptThread
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE


class PromptThreadTests(LeakChecks, unittest.TestCase):
    def test_known_to_threading(self) -> None:
        """It is the current thread of its work, listed under its name while it works, a daemon, and can be joined."""
        seen: list[threading.Thread] = []
        begun, go_on = threading.Event(), threading.Event()

        def work() -> None:
            seen.append(threading.current_thread())
            begun.set()
            go_on.wait(PATIENCE)

        thread = PromptThread(work, "syncws-1")
        self.assertFalse(thread.is_alive())
        thread.start()
        self.assertTrue(begun.wait(PATIENCE))
        self.assertEqual(seen, [thread])
        self.assertIn(thread, threading.enumerate())
        self.assertEqual((thread.name, thread.daemon, thread.is_alive()), ("syncws-1", True, True))
        self.assertIsNotNone(thread.native_id)
        go_on.set()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertNotIn(thread, threading.enumerate())

    def test_started_once(self) -> None:
        """A second start is refused."""
        begun = threading.Event()
        thread = PromptThread(begun.set, "syncws-1")
        thread.start()
        self.assertTrue(begun.wait(PATIENCE))
        thread.join(PATIENCE)
        with self.assertRaises(RuntimeError):
            thread.start()

    def test_start_waits_for_nobody(self) -> None:
        """The start returns before the thread has done anything at all."""
        told, begun = threading.Event(), threading.Event()

        class Held(PromptThread):
            def _bootstrap(self) -> None:  # what threading has the new thread call first
                told.wait(PATIENCE)
                super()._bootstrap()  # type: ignore[misc]

        thread = Held(begun.set, "syncws-1")
        thread.start()
        self.assertFalse(told.is_set())
        self.assertIsNone(thread.ident)
        told.set()
        self.assertTrue(begun.wait(PATIENCE))
        thread.join(PATIENCE)
        self.assertIsNotNone(thread.ident)

    def test_exceptions(self) -> None:
        """What its work raises goes to threading.excepthook."""
        raised = threading.Event()
        with mock.patch.object(threading, "excepthook", lambda told: told.exc_type is KeyError and raised.set()):
            thread = PromptThread({}.popitem, "syncws-1")
            thread.start()
            self.assertTrue(raised.wait(PATIENCE))
            thread.join(PATIENCE)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_fork(self) -> None:
        """In the child of a fork, made while one works, it is gone."""
        begun, go_on = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go_on.wait(PATIENCE)

        thread = PromptThread(work, "syncws-1")
        thread.start()
        begun.wait(PATIENCE)
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(0 if threading.enumerate() == [threading.current_thread()] and not thread.is_alive() else 1)
            os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        go_on.set()
        thread.join(PATIENCE)
