"""The settler: the thread that calls on_close of members which a send found lost."""

from __future__ import annotations

import queue
import sys
import threading
import unittest
from unittest import mock

from syncws import Conn, Manager, Member, WriteTimeout
from syncws._frames.prepared import prepare
from syncws._rooms.settler import Settler
from syncws.testing import await_
from tests.tasks import PATIENCE, Task, assert_same_end

from .support import ManagerCase


class SettlerTests(ManagerCase):
    """Members that a send found lost, and their on_close."""

    def test_on_close_may_take_its_time(self) -> None:
        """One that blocks holds up the on_close of other lost members, and no send."""
        go_on = threading.Event()
        manager = Manager(on_close=lambda member, error: (go_on.wait(PATIENCE), self.log.on_close(member, error)))
        members = [self.join(manager, number)[0] for number in range(3)]
        for member in members:
            member.conn.close_now()
        self.assertEqual([manager.broadcast("x") for _ in range(3)], [0, 0, 0])
        self.assertEqual((len(manager), self.log.calls), (0, []))
        go_on.set()
        for _ in range(3):
            self.wait(self.log.closed)
        self.assertEqual(sorted(id for _, id, _ in self.log.calls), [0, 1, 2])

    def test_an_error_of_its_own(self) -> None:
        """on_close may raise what it gets: that is not the object which the thread that sends has raised."""
        told: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        manager = Manager(on_close=lambda member, error: told.put(error))
        member, _ = self.join(manager, "ann")
        raised = WriteTimeout("slow")
        with mock.patch.object(Conn, "_post", side_effect=raised):
            self.assertFalse(manager._post_to_one(member, prepare("x")))
        assert_same_end(self, told.get(timeout=PATIENCE), raised)

    def test_no_thread_to_be_had(self) -> None:
        """Where no thread can be started the on_close waits for the next occasion."""
        manager = Manager(on_close=self.log.on_close)
        for id in ("ann", "bob"):
            self.join(manager, id)[0].conn.close_now()
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("no thread")):
            with self.assertLogs("syncws.manager", "ERROR"):
                self.assertFalse(manager.send("ann", "x"))
        self.assertEqual(self.log.calls, [])
        self.assertFalse(manager.send("bob", "x"))
        self.wait(self.log.closed)
        self.wait(self.log.closed)
        self.assertEqual(len(self.log.calls), 2)

    def test_an_on_close_that_exits(self) -> None:
        """A SystemExit of an on_close is logged, and those behind it are told."""
        manager = Manager(on_close=lambda member, error: (self.log.on_close(member, error), sys.exit(1)))
        for id in ("ann", "bob"):
            self.join(manager, id)[0].conn.close_now()
        with self.assertLogs("syncws.manager", "ERROR"):
            manager.broadcast("x")
            self.wait(self.log.closed)
            self.wait(self.log.closed)
            self.assertTrue(await_(lambda: not manager._settler._errands._running))
        self.assertEqual((len(self.log.calls), manager._registry._leaving), (2, {}))

    def test_each_lost_member_is_told_once(self) -> None:
        """Many threads that find the same member lost in the same instant cause one on_close."""
        manager = Manager(on_close=self.log.on_close)
        member, _ = self.join(manager, "ann")
        member.conn.close_now()
        gate = threading.Barrier(8)

        def send() -> None:
            gate.wait()
            manager.broadcast("x")

        for task in [Task(send) for _ in range(8)]:
            task.result()
        self.wait(self.log.closed)
        self.assertEqual(len(self.log.calls), 1)

    def test_one_that_comes_as_the_thread_ends(self) -> None:
        """A member that is handed over in the instant in which the thread has found no other one is settled too."""
        settled = threading.Semaphore(0)
        settler = Settler()
        member, _ = self.join(Manager(), "ann")

        def hand_over() -> None:
            settler.hand_over(member, lambda member: settled.release())

        class Gate:
            """The settler's lock; when its thread has let go of it for the second time, another member comes."""

            lock = threading.Lock()
            left = 0

            def __enter__(self) -> None:
                self.lock.acquire()

            def __exit__(self, *exc: object) -> None:
                self.lock.release()
                if threading.current_thread().name == "syncws-on-close":
                    self.left += 1
                    if self.left == 2:  # first it took the one member, then it found no other
                        Task(hand_over).result()

        settler._errands._lock = Gate()  # type: ignore[assignment]
        hand_over()
        self.wait(settled)
        self.wait(settled)

    def test_one_that_comes_back_waits_for_no_other(self) -> None:
        """A newer connection calls the on_close of the lost one of its id, if others are before that; once."""
        go_on = threading.Event()

        def on_close(member: Member, error: BaseException | None) -> None:
            if member.id == "ann":
                go_on.wait(PATIENCE)
            self.log.on_close(member, error)

        manager = Manager(on_open=self.log.on_open, on_close=on_close)
        for id in ("ann", "bob"):
            self.join(manager, id)[0].conn.close_now()
        manager.broadcast("x")
        self.join(manager, "bob")
        self.assertEqual([call[:2] for call in self.log.calls[-2:]], [("close", "bob"), ("open", "bob")])
        self.assertEqual(self.log.threads[-2:], [threading.get_ident()] * 2)
        go_on.set()
        self.assertTrue(await_(lambda: not manager._settler._errands._running))
        self.assertEqual(sorted(id for what, id, _ in self.log.calls if what == "close"), ["ann", "bob"])


if __name__ == "__main__":
    unittest.main()
