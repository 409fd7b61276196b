"""An id that is there already: replaced, rejected, or one of many."""

from __future__ import annotations

import gc
import threading
import unittest
import weakref
from contextlib import suppress
from typing import Literal
from unittest import mock

from syncws import CloseError, Conn, DuplicateIdError, Manager, Member
from syncws._rooms import manager as manager_module
from syncws.testing import await_, peer
from tests.tasks import PATIENCE, Task

from .support import Log, ManagerCase


class DuplicateTests(ManagerCase):
    """An id that is there already."""

    def test_replace(self) -> None:
        """The older one is closed with 4001, and its on_close is over before on_open of the newer one begins."""
        manager = Manager(**self.log.options())
        older, first = self.start(manager, "ann", ["lobby"])
        self.wait(self.log.opened)
        newer, second = self.start(manager, "ann")
        self.wait(self.log.opened)
        older.result()
        with self.assertRaises(CloseError) as caught:
            first.receive(PATIENCE)
        self.assertEqual((caught.exception.code, caught.exception.reason), (4001, "replaced by a newer connection"))
        self.assertEqual((len(manager), manager.rooms()), (1, frozenset()))
        second.close()
        newer.result()
        self.assertEqual(
            self.log.calls,
            [("open", "ann", None), ("close", "ann", 4001), ("open", "ann", None), ("close", "ann", 1000)],
        )
        self.assertEqual(self.log.threads, [older.ident, older.ident, newer.ident, newer.ident])

    def test_replace_one_whose_peer_is_gone(self) -> None:
        """An older connection that answers nothing, as after a lost network, holds up nobody."""
        manager = Manager(**self.log.options())
        conn, raw = self.enterContext(peer(close_timeout=0.2))
        older = Task(manager.run, conn, "ann")
        self.wait(self.log.opened)
        raw.send_frame(1, "unanswered", fin=False)
        newer, client = self.start(manager, "ann")
        self.wait(self.log.opened)
        self.assertEqual([call[0] for call in self.log.calls], ["open", "close", "open"])
        older.result()
        client.close()
        newer.result()

    def test_replace_a_registered_one(self) -> None:
        """Its on_close is called by the thread that registers the newer one, and its reader finds 4001."""
        manager = Manager(**self.log.options())
        member, client = self.join(manager, "ann")
        reading = Task(member.conn.receive)
        newer, _ = self.join(manager, "ann")
        self.assertIs(manager.get("ann"), newer)
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 4001), ("open", "ann", None)])
        end = reading.error()
        assert isinstance(end, CloseError)
        self.assertEqual(end.code, 4001)
        self.assertFalse(manager.unregister(member))
        self.assertIs(manager.get("ann"), newer)
        with self.assertRaises(CloseError):
            client.receive(PATIENCE)

    def test_no_message_of_the_older_one(self) -> None:
        """Once it is replaced nothing of the older connection is delivered, though it was sent before."""
        entered, go_on = threading.Event(), threading.Event()
        delivered = []

        def on_message(member: Member, message: str | bytes) -> None:
            delivered.append(message)
            if message == "first":
                entered.set()
                go_on.wait(PATIENCE)

        manager = Manager(on_message=on_message, on_close=self.log.on_close, on_open=self.log.on_open)
        older, first = self.start(manager, "ann")
        first.send("first")
        first.send("second")
        self.assertTrue(entered.wait(PATIENCE))
        newer, second = self.start(manager, "ann", opened=False)
        self.assertEqual([call[0] for call in self.log.calls], ["open"])  # it waits for the older one's on_close
        go_on.set()
        older.result()
        second.send("third")
        self.assertTrue(await_(lambda: delivered == ["first", "third"]), delivered)
        second.close()
        newer.result()
        self.assertEqual([call[0] for call in self.log.calls], ["open", "close", "open", "close"])

    def test_a_callback_that_does_not_end(self) -> None:
        """A newer connection waits only so long for a callback of the older one, and says so."""
        entered, go_on = threading.Event(), threading.Event()

        def on_message(member: Member, message: str | bytes) -> None:
            entered.set()
            go_on.wait(PATIENCE)

        manager = Manager(on_message=on_message, on_open=self.log.on_open)
        older, first = self.start(manager, "ann")
        self.wait(self.log.opened)
        first.send("x")
        self.assertTrue(entered.wait(PATIENCE))
        with mock.patch.object(manager_module, "_PATIENCE", 0.05), self.assertLogs("syncws.manager", "WARNING"):
            newer, second = self.start(manager, "ann")
            self.wait(self.log.opened)
        go_on.set()
        older.result()
        second.close()
        newer.result()
        self.assertEqual(len(manager), 0)

    def test_one_that_leaves_by_itself(self) -> None:
        """on_open of a newer connection comes after on_close of an older one, also when that had just ended."""
        closing, go_on = threading.Event(), threading.Event()

        def on_close(member: Member, error: Exception | None) -> None:
            closing.set()
            go_on.wait(PATIENCE)
            self.log.on_close(member, error)

        for duplicate in ("replace", "reject"):
            self.log.calls.clear()
            closing.clear(), go_on.clear()
            manager = Manager(on_open=self.log.on_open, on_close=on_close, duplicate=duplicate)
            older, first = self.start(manager, "ann")
            Task(first.close)
            self.assertTrue(closing.wait(PATIENCE))
            with self.assertNoLogs("syncws.manager", "WARNING"):
                newers = [self.start(manager, "ann", opened=False)] if duplicate == "reject" else self.two(manager)
                self.assertEqual([call[0] for call in self.log.calls], ["open"])
                go_on.set()
                older.result()
                self.assertTrue(await_(lambda: len(self.log.calls) == 3))
            for newer, second in newers:
                Task(second.close)
                newer.result()
            self.assertEqual([call[0] for call in self.log.calls], ["open", "close", "open", "close"])

    def two(self, manager: Manager) -> list[tuple[Task, Conn]]:
        """Two newer connections of an id, of which the second replaces the first before that has had its on_open."""
        return [self.start(manager, "ann", opened=False) for _ in range(2)]

    def test_a_callback_that_replaces_its_own_member(self) -> None:
        """A callback may register another connection under its own id: it does not wait for itself."""
        conn, _ = self.connect()
        manager = Manager(on_message=lambda member, _: manager.register(conn, "ann"), **self.half())
        task, client = self.start(manager, "ann")
        self.wait(self.log.opened)
        with self.assertNoLogs("syncws.manager", "WARNING"):
            client.send("x")
            self.wait(self.log.opened)
            task.result()
        self.assertEqual(manager.get("ann").conn, conn)  # type: ignore[union-attr]

    def test_an_on_close_that_registers_its_own_id(self) -> None:
        """An on_close may register another connection under the id of its member: it does not wait for itself."""
        conns = [self.connect()[0] for _ in range(2)]

        def on_close(member: Member, error: BaseException | None) -> None:
            self.log.on_close(member, error)
            if conns:
                manager.register(conns.pop(), "ann")

        manager = Manager(on_open=self.log.on_open, on_close=on_close)
        manager.register(conns.pop(), "ann")
        with self.assertNoLogs("syncws.manager", "WARNING"):
            manager.unregister("ann")
        self.assertEqual([call[0] for call in self.log.calls], ["open", "close", "open"])

    def test_an_on_close_of_a_lost_one_that_registers_its_own_id(self) -> None:
        """The same in the settler's thread."""
        conn, _ = self.connect()

        def on_close(member: Member, error: BaseException | None) -> None:
            manager.register(conn, "ann")
            self.log.on_close(member, error)

        manager = Manager(on_open=self.log.on_open, on_close=on_close)
        member, _ = self.join(manager, "ann")
        member.conn.close_now()
        with self.assertNoLogs("syncws.manager", "WARNING"):
            manager.broadcast("x")
            self.wait(self.log.closed)
        self.assertEqual([call[0] for call in self.log.calls], ["open", "open", "close"])

    def test_an_on_close_that_registers_another_s_id(self) -> None:
        """While all are closed an on_close may register the id of one whose turn has not come: that is told first."""
        conn, _ = self.connect()

        def on_close(member: Member, error: BaseException | None) -> None:
            self.log.on_close(member, error)
            if member.id == "ann":
                manager.register(conn, "bob")

        manager = Manager(**{**self.log.options(), "on_close": on_close})
        for id in ("ann", "bob"):
            self.join(manager, id)
        self.log.calls.clear()
        with self.assertNoLogs("syncws.manager", "WARNING"):
            manager.close_all()
        self.assertEqual([call[:2] for call in self.log.calls], [("close", "ann"), ("close", "bob"), ("open", "bob")])

    def test_the_older_connection_is_over_in_its_on_close(self) -> None:
        """An older connection is closed before its on_close is called."""
        over = []
        manager = Manager(on_close=lambda member, error: over.append(member.conn.closed))
        for _ in range(2):
            self.join(manager, "ann")
        self.assertEqual(over, [True])

    def test_nothing_keeps_the_older_one(self) -> None:
        """A member in run() keeps nothing of the one whose place it took."""
        manager = Manager(on_open=self.log.on_open)
        older, _ = self.start(manager, "ann")
        self.wait(self.log.opened)
        member = weakref.ref(manager.get("ann"))
        newer, second = self.start(manager, "ann")
        self.wait(self.log.opened)
        older.result()
        del older
        self.assertTrue(await_(lambda: gc.collect() >= 0 and member() is None))
        second.close()
        newer.result()

    def test_reject(self) -> None:
        """register raises and leaves the newer connection as it was; run() closes it with 4002, without callbacks."""
        manager = Manager(duplicate="reject", **self.log.options())
        member, _ = self.join(manager, "ann")
        conn, client = self.connect()
        with self.assertRaisesRegex(DuplicateIdError, "'ann'"):
            manager.register(conn, "ann", send_queue=3)
        self.assertEqual(conn._wire._queue._options.send_queue, 256)
        conn.send("still open")
        self.assertEqual(client.receive(PATIENCE), "still open")
        task = Task(manager.run, conn, "ann")
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 4002)
        task.result()
        self.assertEqual((self.log.calls, manager.get("ann")), ([("open", "ann", None)], member))

    def test_many(self) -> None:
        """One id stands for all its connections: they are addressed, moved and closed together."""
        manager = Manager(duplicate="many", **self.log.options())
        first, near = self.join(manager, "ann")
        second, far = self.join(manager, "ann")
        self.assertEqual((len(manager), manager.ids(), manager.get("ann")), (2, ["ann"], second))
        self.assertEqual(manager.get_all("ann"), (first, second))
        self.assertTrue(manager.send("ann", "both"))
        self.assertTrue(first.send("one"))
        self.assertEqual([near.receive(PATIENCE) for _ in range(2)], ["both", "one"])
        self.assertEqual(far.receive(PATIENCE), "both")
        manager.join("ann", "lobby")
        second.join("garden")
        self.assertEqual((first.rooms, manager.rooms("ann")), ({"lobby"}, {"lobby", "garden"}))
        self.assertEqual(manager.broadcast("none", exclude=["ann"]), 0)
        self.assertEqual(manager.close("ann", 4000), 2)
        self.assertEqual([call[0] for call in self.log.calls], ["open", "open", "close", "close"])

    def test_in_the_same_instant(self) -> None:
        """Of many that come at once, by run() and by register, one stays (or all); at no time are two of them open."""
        for duplicate in ("replace", "reject", "many"):
            with self.subTest(duplicate):
                self.come_together(duplicate)

    def come_together(self, duplicate: Literal["replace", "reject", "many"]) -> None:
        log = Log()
        open_now: set[Member] = set()
        at_once: list[int] = []

        def on_open(member: Member) -> None:
            open_now.add(member)
            at_once.append(len(open_now))
            log.on_open(member)

        def on_close(member: Member, error: Exception | None) -> None:
            open_now.discard(member)
            log.on_close(member, error)

        manager = Manager(duplicate=duplicate, on_open=on_open, on_close=on_close)
        gate = threading.Barrier(12)
        pairs = [self.connect(close_timeout=0.1) for _ in range(12)]

        def come(conn: Conn, number: int) -> None:
            gate.wait()
            if number % 2:
                manager.run(conn, "ann")
                return
            with suppress(DuplicateIdError):
                manager.register(conn, "ann")

        def settled() -> bool:
            """Who is still in run() is a member, and everybody else is gone."""
            still = sum(not task.done for task in tasks)
            return not manager._registry._leaving and len(open_now) == len(manager) == left and still <= left

        left = 12 if duplicate == "many" else 1
        tasks = [Task(come, conn, number) for number, (conn, _) in enumerate(pairs)]
        self.assertTrue(await_(settled), (len(manager), len(open_now)))
        self.assertEqual(max(at_once), left)
        manager.close_all()
        for _, client in pairs:
            client.close()
        for task in tasks:
            task.result()
        calls = [call[0] for call in log.calls]
        self.assertEqual((calls.count("open"), len(manager)), (calls.count("close"), 0))
        self.assertEqual((manager.stats().opened, manager.stats().closed), (calls.count("open"), calls.count("open")))
        self.assertEqual(
            (
                manager._registry._by_id,
                manager._registry._leaving,
                manager._registry._rooms,
                manager._registry._by_conn,
            ),
            ({}, {}, {}, {}),
        )


if __name__ == "__main__":
    unittest.main()
