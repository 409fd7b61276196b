"""attendance.py: what nobody reads is looked after again and again, by the drain's thread, while it is registered."""

from __future__ import annotations

import gc
import os
import socket
import threading
import unittest
import weakref
from unittest import mock

from syncws._net import attendance as module
from syncws._net.attendance import LONGEST, Attendance, interval
from syncws._net.drain import drain
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE

EVERY = 0.01


class One:
    """Something to attend, which counts how often it was."""

    def __init__(self, answers=True):
        self.turn = threading.Lock()
        self.count = 0
        self.threads = set()
        self.answers = answers

    def fileno(self):
        return -1

    def is_due(self, now):
        return True

    def attend(self):
        self.count += 1
        self.threads.add(threading.current_thread().name)
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


class NoThreadTests(LeakChecks):
    """Where no thread is to be had."""

    def test_a_moment_without_threads(self):
        """Where there was no thread for the first look, the next connection has all of them looked after."""
        attendance, first, second = Attendance(), One(), One()
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
            mock.patch.object(drain, "_told", True),
        ):
            attendance.add(first, EVERY)
        self.addCleanup(attendance.forget, first, EVERY)
        attendance.add(second, EVERY)
        self.addCleanup(attendance.forget, second, EVERY)
        self.assertTrue(await_(lambda: first.count >= 2 and second.count >= 2, PATIENCE))


class Cases(LeakChecks):
    """An attendance of its own for each test."""

    def setUp(self):
        super().setUp()
        self.attendance = Attendance()

    def add(self, one, every=EVERY):
        self.attendance.add(one, every)
        self.addCleanup(self.attendance.forget, one, every)
        return one

    def assert_attended(self, one, times=2):
        """It is attended, again and again."""
        count = one.count
        self.assertTrue(await_(lambda: one.count >= count + times, PATIENCE), "it was not looked after")

    def look(self, every=EVERY):
        """Wait until another look at the others of a round is over."""
        other = One()
        self.attendance.add(other, every)
        self.assert_attended(other)
        self.attendance.forget(other, every)


class LookTests(Cases):
    """Who is attended, and by whom."""

    def test_again_and_again(self):
        """What is registered is attended by the drain's thread until it is forgotten."""
        one = self.add(One())
        self.assert_attended(one, 3)
        self.assertEqual(one.threads, {"syncws-drain"})
        self.attendance.forget(one, EVERY)
        self.look()
        count = one.count
        self.look()
        self.assertEqual(one.count, count)

    def test_who_is_read_is_left_alone(self):
        """One whose turn somebody has is not attended, until it is free again."""
        one = One()
        with one.turn:
            self.add(one)
            self.look()
            self.assertEqual(one.count, 0)
        self.assert_attended(one)

    def test_one_that_is_over(self):
        """One that says so is attended no more."""
        one = self.add(One(answers=False))
        self.assertTrue(await_(lambda: one.count == 1, PATIENCE))
        self.look()
        self.assertEqual(one.count, 1)

    def test_a_defect_costs_nobody_else(self):
        """An exception is logged, and the others are attended as ever."""
        with self.assertLogs("syncws.conn", "ERROR") as logs:
            bad, good = self.add(One(answers=ZeroDivisionError())), self.add(One())
            self.assert_attended(good)
        self.assertEqual((bad.count, len(logs.records)), (1, 1))

    def test_who_has_nothing_to_do(self):
        """One to whom nothing comes, and who is not due, is not attended; one to whom something comes is."""
        one = One()
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        one.fileno, one.is_due = near.fileno, lambda now: False
        self.add(one)
        self.look()
        self.assertEqual(one.count, 0)
        far.send(b"x")
        self.assert_attended(one)

    def test_a_look_that_fails(self):
        """A defect in a look is logged, and the looks go on."""
        one = One()
        with (
            self.assertLogs("syncws.conn", "ERROR"),
            mock.patch.object(module, "readable", side_effect=ZeroDivisionError) as failing,
        ):
            self.add(one)
            self.assertTrue(await_(lambda: failing.call_count > 1, PATIENCE))
        self.assert_attended(one)

    def test_many(self):
        """More than are attended in one go are all attended; the drain does other work in between."""
        many = [self.add(One()) for _ in range(3 * module._PORTION + 1)]
        for one in many:
            self.assert_attended(one)

    def test_looks_that_take_long(self):
        """Looks that take long do not keep timers and slow writers waiting: the drain does other work in between."""
        planned, now = [], [0.0]

        class Slow(One):
            def attend(self):
                now[0] += module._LONG
                return super().attend()

        many = [Slow() for _ in range(5)]
        with (
            mock.patch.object(module.drain, "call_at", lambda instant, call: planned.append(call) or mock.Mock()),
            mock.patch.object(module, "time", mock.Mock(monotonic=lambda: now[0])),
        ):
            for one in many:
                self.attendance.add(one, EVERY)
            for number in range(1, 6):
                planned.pop()()
                self.assertEqual([one.count for one in many], [1] * number + [0] * (5 - number))
            planned.pop()()
            self.assertEqual(many[0].count, 2)

    def test_each_at_its_interval(self):
        """One that wants to be looked at often does not make the others be looked at often."""
        often, seldom = self.add(One()), self.add(One(), 1000.0)
        self.assert_attended(often, 5)
        self.assertEqual(seldom.count, 0)

    def test_interval(self):
        """At most a quarter of each wait, at most a second; a wait that is absurdly short does not keep a core busy."""
        for waits in ((20.0, 20.0), (None, None), (100.0, None), (4.0, 4.0)):
            self.assertEqual(interval(*waits), LONGEST)
        for waits in ((1.0, 20.0), (20.0, 1.0), (None, 0.3), (0.1, None)):
            shortest = min(wait for wait in waits if wait is not None)
            self.assertLessEqual(interval(*waits), shortest / 4)
            self.assertGreater(interval(*waits), shortest / 8.01)
        self.assertGreater(interval(1e-9), 0.001)
        self.assertLessEqual(len({interval(wait / 1000) for wait in range(1, 100_000)}), 10)


class EndTests(Cases):
    """Nothing is left of it: no thread, no reference."""

    def test_no_thread_without_a_member(self):
        """When the last one is forgotten the timer is cancelled, so that the thread ends."""
        for _ in range(3):
            one = One()
            self.attendance.add(one, 1000.0)
            self.assertTrue(await_(lambda: drain._tools is not None, PATIENCE))
            self.attendance.forget(one, 1000.0)
            self.assertTrue(await_(lambda: drain._tools is None, PATIENCE), "the thread stayed")

    def test_one_that_nobody_holds(self):
        """Registration keeps nothing alive: it is freed at once, and then the thread ends."""
        one = self.add(One())
        self.assert_attended(one)
        reference = weakref.ref(one)
        self._cleanups.pop()  # which holds it
        gc.disable()
        self.addCleanup(gc.enable)
        del one
        self.assertTrue(await_(lambda: reference() is None, PATIENCE))
        self.assertTrue(await_(lambda: drain._tools is None, PATIENCE), "the thread stayed")
        self.assertEqual(self.attendance._rounds[EVERY].members, {})

    def test_forgotten_twice_or_never_known(self):
        """Forgetting what is not there is no error."""
        one = One()
        self.attendance.forget(one, EVERY)
        self.add(one)
        self.attendance.forget(one, EVERY)

    def test_the_last_leaves_while_looks_are_being_planned(self):
        """Its timer is cancelled by the one who plans: who left found none to cancel."""
        one, timer = One(), mock.Mock()

        def call_at(instant, call):
            self.attendance.forget(one, EVERY)  # as if by another thread
            return timer

        with mock.patch.object(module.drain, "call_at", call_at):
            self.attendance.add(one, EVERY)
        timer.cancel.assert_called_once_with()

    def test_one_chain_of_looks(self):
        """However often the last one leaves and another comes, there is one look at a time."""
        planned = []
        with mock.patch.object(module.drain, "call_at", lambda instant, call: planned.append(call) or mock.Mock()):
            for _ in range(5):
                one = One()
                self.attendance.add(one, EVERY)
                self.attendance.forget(one, EVERY)
            one = One()
            self.attendance.add(one, EVERY)
            for look in tuple(planned):
                look()
            self.assertEqual((one.count, len(planned)), (1, 7))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_fork(self):
        """The child of a fork attends nothing of its parent's."""
        with mock.patch.object(module.drain, "call_at"):
            self.attendance.add(One(), EVERY)
        self.attendance.begin_anew()
        self.assertEqual(self.attendance._rounds, {})
        one = One()
        module.attendance.add(one, 1000.0)
        self.addCleanup(module.attendance.forget, one, 1000.0)
        child = os.fork()
        if child == 0:
            os._exit(len(module.attendance._rounds))
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(len(module.attendance._rounds[1000.0].members), 1)
