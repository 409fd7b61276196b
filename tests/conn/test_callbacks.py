"""callbacks.py: an application is told of ends by a thread of its own, whoever found them."""

from __future__ import annotations

import logging
import os
import threading
import unittest
from unittest import mock

from syncws import CloseError
from syncws._conn import callbacks as module
from syncws._conn.callbacks import Callbacks
from syncws._conn.states import End
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE

END = End(CloseError(1000, "bye"), object())


class CallbacksTests(LeakChecks):
    """hand_over."""

    def setUp(self):
        super().setUp()
        self.callbacks = Callbacks()
        self.told = []
        self.done = threading.Event()

    def tell(self, end):
        self.told.append((threading.current_thread().name, end.code))

    def finish(self, end):
        self.done.set()

    def test_in_order_in_one_thread(self):
        """Each is called once, in order, with an exception of its own."""
        ends = []
        self.callbacks.hand_over([self.tell, ends.append, ends.append], END)
        self.callbacks.hand_over([self.tell, self.finish], END)
        self.assertTrue(self.done.wait(PATIENCE))
        self.assertEqual(self.told, [("syncws-on-end", 1000)] * 2)
        self.assertIsNot(*ends)

    def test_one_that_raises(self):
        """It is logged, and the others are called, whatever it raises."""
        for error in (ZeroDivisionError, SystemExit):
            self.done.clear()
            with self.assertLogs("syncws.conn", "ERROR"):
                self.callbacks.hand_over([mock.Mock(side_effect=error), self.finish], END)
                self.assertTrue(self.done.wait(PATIENCE))

    def test_no_thread_to_be_had(self):
        """Nobody is forgotten: it is tried again."""
        start = threading.Thread.start
        refused = [RuntimeError("can't start new thread")]

        def refuse_once(thread):
            if thread.name == "syncws-on-end" and refused:
                raise refused.pop()
            start(thread)

        with (
            mock.patch.object(threading.Thread, "start", refuse_once),
            mock.patch.object(module, "_RETRY", 0.01),
            self.assertLogs("syncws.conn", "ERROR"),
        ):
            self.callbacks.hand_over([self.finish], END)
            self.assertTrue(self.done.wait(PATIENCE))

    def test_an_interrupt_as_the_thread_begins(self):
        """It is raised, and whoever waits is told with the next."""
        with mock.patch.object(threading.Thread, "start", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.callbacks.hand_over, [self.finish], END)
        self.assertFalse(self.done.is_set())
        self.callbacks.hand_over([], END)
        self.assertTrue(self.done.wait(PATIENCE))

    def test_nothing_is_logged_by_who_hands_over(self):
        """He may hold a lock that a handler of the log waits for: it is said by the thread that tries again."""
        start, threads = threading.Thread.start, []
        refused = [RuntimeError("can't start new thread")]

        def refuse_once(thread):
            if thread.name == "syncws-on-end" and refused:
                raise refused.pop()
            start(thread)

        class Handler(logging.Handler):
            def emit(self, record):
                threads.append(threading.current_thread().name)

        handler = Handler()
        module._logger.addHandler(handler)
        self.addCleanup(module._logger.removeHandler, handler)
        with mock.patch.object(threading.Thread, "start", refuse_once), mock.patch.object(module, "_RETRY", 0.01):
            self.callbacks.hand_over([self.finish], END)
            self.assertTrue(self.done.wait(PATIENCE))
        self.assertEqual(threads, ["syncws-drain"])

    def test_at_the_end_of_the_interpreter(self):
        """No thread can be started any more: nothing is logged."""
        error = RuntimeError("can't create new thread at interpreter shutdown")
        with mock.patch.object(threading.Thread, "start", side_effect=error), self.assertNoLogs("syncws.conn"):
            self.callbacks.hand_over([self.finish], END)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_fork(self):
        """The child of a fork has a thread of its own, and tells nothing of its parent's ends."""
        inside, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        module.callbacks.hand_over([lambda end: (inside.set(), go_on.wait(PATIENCE)), self.tell], END)
        self.assertTrue(inside.wait(PATIENCE))
        child = os.fork()
        if child == 0:
            module.callbacks.hand_over([self.finish], END)
            os._exit(0 if self.done.wait(PATIENCE) and not self.told else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
