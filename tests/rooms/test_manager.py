"""Manager: a life for each member that ends exactly once, by run() and by register(), however it ends."""

from __future__ import annotations

import socket
import sys
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import syncws
from syncws import CloseCode, CloseError, Conn, Heartbeat, Manager, Member
from syncws._conn.states import State
from syncws._rooms import manager as manager_module
from syncws.testing import Peer, await_, pair, peer
from tests.tasks import PATIENCE, Task

from .support import Log, ManagerCase


class RunTests(ManagerCase):
    """A member's thread: register, read, unregister."""

    def test_life(self) -> None:
        """on_open, each message, on_close with the peer's code, all in the thread of run(), which returns then."""
        manager = Manager(**self.log.options())
        task, client = self.start(manager, "ann")
        client.send("hello")
        client.send(b"bytes")
        self.wait(self.log.heard)
        self.wait(self.log.heard)
        client.close(4000, "enough")
        self.assertIsNone(task.result())
        self.assertEqual(
            self.log.calls,
            [("open", "ann", None), ("message", "ann", "hello"), ("message", "ann", b"bytes"), ("close", "ann", 4000)],
        )
        self.assertEqual(set(self.log.threads), {task.ident})
        self.assertEqual((len(manager), manager.stats().opened, manager.stats().closed), (0, 1, 1))

    def test_in_the_registry_meanwhile(self) -> None:
        """A member is there in on_open and on_message, and no longer in on_close."""
        seen = []
        manager = Manager(
            on_open=lambda member: seen.append((member.id in manager, member.rooms)),
            on_message=lambda member, message: seen.append((member.id in manager, member.rooms)),
            on_close=lambda member, error: seen.append((member.id in manager, member.rooms)),
        )
        task, client = self.start(manager, "ann", ["lobby"])
        client.send("x")
        self.assertTrue(await_(lambda: len(seen) == 2))
        client.close()
        task.result()
        self.assertEqual(seen, [(True, {"lobby"}), (True, {"lobby"}), (False, {"lobby"})])

    def test_ends_of_every_kind(self) -> None:
        """However a connection ends, run() returns, and on_close is told with what."""

        def vanish(raw: Peer) -> None:
            raw.socket.shutdown(socket.SHUT_RDWR)

        for code, end in (
            (1000, lambda raw: raw.close(1000)),
            (1001, lambda raw: raw.close(1001)),
            (1005, lambda raw: raw.close(None)),
            (1006, vanish),
            (1002, lambda raw: raw.send_frame(3, b"")),
            (1007, lambda raw: raw.send_frame(1, b"\xff")),
            (1009, lambda raw: raw.send(raw.frame(2, b"", length=1 << 40))),
        ):
            with self.subTest(code), peer() as (conn, raw):
                log = Log()
                manager = Manager(**log.options())
                task = Task(manager.run, conn, "ann")
                self.wait(log.opened)
                end(raw)
                task.result()
                self.assertEqual(log.calls, [("open", "ann", None), ("close", "ann", code)])
                self.assertEqual(len(manager), 0)
                self.assertTrue(conn.closed)

    def test_a_peer_s_fault_is_one_line(self) -> None:
        """A breach of the protocol is INFO, without a traceback; any other end is DEBUG."""
        for end, level in ((lambda raw: raw.send_frame(3, b""), "INFO"), (lambda raw: raw.close(1000), "DEBUG")):
            with peer() as (conn, raw), self.assertLogs("syncws.manager", "DEBUG") as logs:
                task = Task(Manager().run, conn)
                end(raw)
                task.result()
            self.assertEqual([(each.levelname, each.exc_info) for each in logs.records], [(level, None)])

    def test_callbacks_that_raise(self) -> None:
        """What on_open or on_message raises is logged, closes with 1011, and is what on_close gets."""

        def fail(*_: Any) -> None:
            raise RuntimeError("a bug")

        for name in ("on_open", "on_message"):
            with self.subTest(name), self.assertLogs("syncws.manager", "ERROR") as logs:
                conn, client = self.connect()
                log = Log()
                manager = Manager(**{**log.options(), name: fail})
                task = Task(manager.run, conn, "ann")
                client.send("x")
                with self.assertRaises(CloseError) as caught:
                    client.receive(PATIENCE)
                self.assertEqual(caught.exception.code, 1011)
                task.result()
                self.assertIsInstance(log.calls[-1][2], RuntimeError)
                self.assertEqual([call[0] for call in log.calls].count("close"), 1)
                self.assertEqual(len(manager), 0)
                self.assertEqual(logs.records[0].exc_info[0], RuntimeError)  # type: ignore[index]

    def test_on_close_that_raises(self) -> None:
        """It is logged, and changes nothing else."""

        def fail(*_: Any) -> None:
            raise RuntimeError("a bug")

        manager = Manager(on_close=fail)
        task, client = self.start(manager, "ann")
        with self.assertLogs("syncws.manager", "ERROR"):
            client.close()
            task.result()
        self.assertEqual((len(manager), manager.stats().closed), (0, 1))

    def test_a_callback_that_writes_to_an_ended_connection(self) -> None:
        """An on_message that runs into the end of its own connection is no failure of the callback."""
        reached = threading.Event()

        def on_message(member: Member, message: str | bytes) -> None:
            reached.wait(PATIENCE)
            await_(lambda: member.conn.closed)
            member.conn.send("too late")

        manager = Manager(on_message=on_message, on_close=self.log.on_close)
        conn, client = self.connect()
        task = Task(manager.run, conn, "ann")
        client.send("x")
        with self.assertNoLogs("syncws.manager", "WARNING"):
            conn.close_now()
            reached.set()
            task.result()
        self.assertEqual(self.log.calls, [("close", "ann", 1006)])

    def test_a_callback_that_fails_at_the_end(self) -> None:
        """A bug in a callback is logged also if the connection ended meanwhile."""

        def on_message(member: Member, message: str | bytes) -> None:
            member.conn.close_now()
            raise RuntimeError("a bug")

        manager = Manager(on_message=on_message, on_close=self.log.on_close)
        conn, client = self.connect()
        with self.assertLogs("syncws.manager", "ERROR"):
            task = Task(manager.run, conn, "ann")
            client.send("x")
            task.result()
        self.assertIsInstance(self.log.calls[0][2], RuntimeError)

    def test_a_callback_that_writes_to_a_closing_connection(self) -> None:
        """An on_message that writes when this side has closed is no failure: the end is the peer's answer."""
        manager = Manager(on_message=lambda member, _: (member.close(4000), member.conn.send("x")), **self.half())
        conn, client = self.connect()
        with self.assertNoLogs("syncws.manager", "WARNING"):
            task = Task(manager.run, conn, "ann")
            client.send("x")
            self.assertIsInstance(Task(client.receive).error(), CloseError)
            task.result()
        self.assertEqual(self.log.calls[-1], ("close", "ann", 4000))

    def test_a_callback_that_writes_to_another_s_end(self) -> None:
        """The end of another connection, or that it is closing, is a failure of the callback that runs into it."""
        for end in (lambda conn: conn.close_now(), lambda conn: conn.close(timeout=0)):
            other, _ = self.connect()
            end(other)
            manager = Manager(on_message=lambda *_, other=other: other.send("x"), on_close=self.log.on_close)
            with self.assertLogs("syncws.manager", "ERROR"):
                conn, client = self.connect()
                task = Task(manager.run, conn, "ann")
                client.send("x")
                with self.assertRaises(CloseError) as caught:
                    client.receive(PATIENCE)
                self.assertEqual(caught.exception.code, 1011)
                task.result()

    def test_an_echo_to_one_that_has_gone(self) -> None:
        """A callback that answers a peer which has left is no failure; the peer's own close is what ends it."""
        entered, go_on = threading.Event(), threading.Event()

        def echo(member: Member, message: str | bytes) -> None:
            entered.set()
            go_on.wait(PATIENCE)
            for _ in range(20):
                member.conn.send("x" * 1000)
                time.sleep(0.001)

        manager = Manager(on_message=echo, on_close=self.log.on_close)
        with peer() as (conn, raw), self.assertNoLogs("syncws.manager", "INFO"):
            task = Task(manager.run, conn, "ann")
            raw.send_frame(1, "hello")
            self.assertTrue(entered.wait(PATIENCE))
            raw.close(4000)
            raw.socket.close()
            go_on.set()
            task.result()
        self.assertEqual(self.log.calls, [("close", "ann", 4000)])

    def test_a_callback_that_lets_a_timeout_escape(self) -> None:
        """A peer too slow for a callback is one line, without a traceback, and 1011."""

        def on_message(member: Member, message: str | bytes) -> None:
            member.conn.send(bytes(8 << 20), timeout=0.02)

        manager = Manager(on_message=on_message, on_close=self.log.on_close)
        with self.assertLogs("syncws.manager", "INFO") as logs, peer(buffer=1 << 16, close_timeout=0.2) as (conn, raw):
            task = Task(manager.run, conn, "ann")
            raw.send_frame(1, "x")
            task.result()
        self.assertEqual([(each.levelname, each.exc_info) for each in logs.records], [("INFO", None)])
        self.assertIsInstance(self.log.calls[0][2], syncws.WriteTimeout)

    def test_an_interrupt(self) -> None:
        """A KeyboardInterrupt in a callback leaves run(), with the member out and its on_close called."""

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        manager = Manager(on_message=interrupt, on_close=self.log.on_close)
        conn, client = self.connect()
        task = Task(manager.run, conn, "ann")
        client.send("x")
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1011)
        interruption = task.error()
        self.assertIsInstance(interruption, KeyboardInterrupt)
        self.assertEqual((len(manager), self.log.calls), (0, [("close", "ann", interruption)]))

    def test_unregister(self) -> None:
        """A member in run() that is unregistered is closed, its run() returns, and on_close gets None."""
        manager = Manager(**self.log.options())
        task, client = self.start(manager, "ann")
        self.wait(self.log.opened)
        self.assertTrue(manager.unregister("ann"))
        self.assertNotIn("ann", manager)
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1000)
        task.result()
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", None)])

    def test_unregister_is_quicker_than_the_end(self) -> None:
        """on_close gets None also if the member's thread finds its connection closed before unregister has returned."""
        manager = Manager(**self.log.options())
        task, client = self.start(manager, "ann")
        self.wait(self.log.opened)
        conn = manager.get("ann").conn  # type: ignore[union-attr]
        Task(client.receive)

        def close_and_wait(*arguments: Any) -> None:
            Conn._end_without_peer(conn, *arguments)
            task.result()

        conn._end_without_peer = close_and_wait  # type: ignore[method-assign]
        self.assertTrue(manager.unregister("ann"))
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", None)])

    def test_a_message_that_came_as_it_was_closed(self) -> None:
        """A message that was received, and not delivered yet, when its member is closed is not delivered any more."""
        received, go_on = threading.Event(), threading.Event()
        manager = Manager(**self.log.options())
        conn, client = self.connect()

        def receive(timeout: float | None) -> str | bytes:
            message = Conn.receive(conn, timeout)
            received.set()
            go_on.wait(PATIENCE)
            return message

        conn.receive = receive  # type: ignore[method-assign]
        task = Task(manager.run, conn, "ann")
        client.send("x")
        self.assertTrue(received.wait(PATIENCE))
        manager.close("ann", 4000)
        go_on.set()
        Task(client.receive)
        task.result()
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 4000)])

    def test_on_close_does_not_wait_for_the_peer(self) -> None:
        """A member whose callback raised has its on_close before its peer has answered the close."""
        over = []

        def fail(member: Member, message: str | bytes) -> None:
            raise RuntimeError("a bug")

        manager = Manager(on_message=fail, on_close=lambda member, error: over.append(member.conn.closed))
        with peer() as (conn, raw), self.assertLogs("syncws.manager", "ERROR"):
            task = Task(manager.run, conn, "ann")
            raw.send_frame(1, b"x")
            self.assertTrue(await_(lambda: over))
            self.assertEqual(raw.receive_close()[0], 1011)
            raw.close(1011)
            task.result()
        self.assertEqual(over, [False])

    def test_without_callbacks(self) -> None:
        """A manager without callbacks reads its members' messages, and delivers them to nobody."""
        manager = Manager()
        task, client = self.start(manager, "ann")
        client.send("x")
        client.close()
        task.result()
        self.assertEqual((manager.stats().opened, manager.stats().closed), (1, 1))

    def test_from_inside_a_callback(self) -> None:
        """A callback may do anything to its own member: unregister it, close it, send to it."""
        for do in (
            lambda member: member._manager.unregister(member),
            lambda member: member.close(4000),
            lambda member: member._manager.close_all(),
            lambda member: member.conn.close(),
            lambda member: member.conn.close_now(),
        ):
            log = Log()
            manager = Manager(on_message=lambda member, _, do=do: do(member), on_close=log.on_close)
            task, client = self.start(manager, "ann")
            client.send("x")
            self.assertIsInstance(Task(client.receive).error(), CloseError)
            task.result()
            self.assertEqual(([call[:2] for call in log.calls], len(manager)), ([("close", "ann")], 0))


class RegisterTests(ManagerCase):
    """Callbacks of members that the application reads."""

    def test_on_open_that_raises(self) -> None:
        """It is logged, the connection is closed with 1011, on_close is called, and register returns the Member."""

        def fail(member: Member) -> None:
            raise RuntimeError("a bug")

        manager = Manager(on_open=fail, on_close=self.log.on_close)
        with self.assertLogs("syncws.manager", "ERROR"):
            member, client = self.join(manager, "ann")
        self.assertEqual((member.id, len(manager)), ("ann", 0))
        self.assertIsInstance(self.log.calls[0][2], RuntimeError)
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1011)

    def test_an_interrupted_on_open(self) -> None:
        """What is no Exception leaves register, and leaves no member behind."""

        def interrupt(member: Member) -> None:
            raise KeyboardInterrupt

        manager = Manager(on_open=interrupt, on_close=self.log.on_close)
        with self.assertRaises(KeyboardInterrupt) as caught:
            self.join(manager, "ann")
        self.assertEqual((len(manager), self.log.calls), (0, [("close", "ann", caught.exception)]))

    def test_taken_out_as_it_has_opened(self) -> None:
        """Members that are taken out in the very instant in which register ends have one on_close."""
        manager = Manager(on_close=self.log.on_close)
        over = threading.Event()

        def take_out() -> None:
            while not over.is_set():
                manager.unregister("ann")

        task = Task(take_out)
        conn, _ = self.connect()
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for _ in range(500):
            member = manager.register(conn, "ann")
            manager.unregister(member)
        over.set()
        task.result()
        opened = manager.stats().opened  # the others were taken out before that
        self.assertGreater(opened, 0)
        self.assertEqual(
            (manager.stats().closed, len(self.log.calls), manager._registry._leaving), (opened, opened, {})
        )

    def test_the_same_connection_twice(self) -> None:
        """A connection that is registered already is refused, whatever the id: it would hear everything twice."""
        manager = Manager(on_close=self.log.on_close)
        member, client = self.join(manager, "ann")
        for id in ("ann", "bob"):
            for call in (manager.register, manager.run):
                with self.assertRaisesRegex(ValueError, "registered already, as 'ann'"):
                    call(member.conn, id)
        self.assertEqual((manager.members(), self.log.calls), ([member], []))
        manager.unregister(member)
        manager.register(member.conn, "bob")
        manager.broadcast("once")
        self.assertEqual(client.receive(PATIENCE), "once")

    def test_greeting_one_that_has_gone(self) -> None:
        """An on_open that writes to a peer that has gone is no failure, and no traceback."""
        manager = Manager(on_open=lambda member: member.conn.send("welcome"), on_close=self.log.on_close)
        conn, client = self.connect()
        client.close_now()
        conn.close_now()
        with self.assertNoLogs("syncws.manager", "INFO"):
            manager.register(conn, "ann")
        self.assertEqual((self.log.calls, len(manager)), ([("close", "ann", 1006)], 0))

    def test_taken_out_while_it_opens(self) -> None:
        """A member that is taken out while on_open runs has its on_close afterwards, in the same thread."""
        manager = Manager(**{**self.log.options(), "on_open": lambda member: self.taken_out(manager, member)})
        for what in (
            lambda manager, member: manager.unregister(member),
            lambda manager, member: member.close(),
            lambda manager, member: Task(manager.close_all).result(),
        ):
            self.what = what
            self.log.calls.clear()
            self.join(manager, "ann")
            self.assertEqual([call[:2] for call in self.log.calls], [("open", "ann"), ("close", "ann")])
            self.assertEqual(len(manager), 0)

    what: Callable[[Manager, Member], object]

    def taken_out(self, manager: Manager, member: Member) -> None:
        self.what(manager, member)
        self.log.on_open(member)


class CloseTests(ManagerCase):
    """Closing one, or all."""

    def test_close(self) -> None:
        """A member in run() is closed with a code and a reason, and is out once its peer has answered."""
        manager = Manager(**self.log.options())
        task, client = self.start(manager, "ann")
        self.assertEqual(manager.close("ann", 4003, "go away"), 1)
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual((caught.exception.code, caught.exception.reason), (4003, "go away"))
        task.result()
        self.assertEqual(self.log.calls[-1], ("close", "ann", 4003))
        self.assertEqual((manager.close("ann"), len(manager)), (0, 0))

    def test_close_of_a_registered_one(self) -> None:
        """It is out at once, and its on_close is called by the thread that closes it."""
        manager = Manager(**self.log.options())
        member, client = self.join(manager, "ann")
        self.assertTrue(member.close(4003, "go away"))
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 4003)])
        self.assertEqual((len(manager), set(self.log.threads)), (0, {threading.get_ident()}))
        self.assertIsInstance(Task(client.receive).error(), CloseError)
        self.assertFalse(member.close())

    def test_close_is_quicker_than_the_reader(self) -> None:
        """on_close gets the code of close also if its reader finds the connection closed first, and unregisters it."""
        manager = Manager(**self.log.options())
        member, _ = self.join(manager, "ann")

        def close_and_unregister(*arguments: Any, **options: Any) -> None:
            Conn.close(member.conn, *arguments, **options)
            Task(manager.unregister, member).result()

        member.conn.close = close_and_unregister  # type: ignore[method-assign]
        manager.close("ann", 4000)
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 4000)])

    def test_close_all(self) -> None:
        """Everybody is told, by default 1001; the slow ones are not waited for."""
        manager = Manager(**self.log.options())
        self.join(manager, "ann")
        task, client = self.start(manager, "bob")
        conn, _ = self.stuck(close_timeout=0.2)
        stuck = Task(manager.run, conn, "cid")
        self.assertTrue(await_(lambda: len(manager) == 3))
        self.assertEqual(manager.close_all(), 3)
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1001)
        task.result()
        stuck.result()
        self.assertEqual(len(manager), 0)
        ends = {id: error for what, id, error in self.log.calls if what == "close"}
        self.assertEqual(ends, {"ann": 1001, "bob": 1001, "cid": 1001})

    def test_an_on_close_that_exits(self) -> None:
        """SystemExit of one on_close is raised once all have had theirs; nobody stays on the way out for ever."""
        for end in (lambda manager: manager.close_all(), lambda manager: manager.unregister("same")):
            closed: list[Member] = []

            def on_close(member: Member, error: Exception | None, closed: list[Member] = closed) -> None:
                closed.append(member)
                if len(closed) == 1:
                    raise SystemExit(3)

            manager = Manager(duplicate="many", on_close=on_close)
            members = [manager.register(self.enterContext(pair())[0], "same") for _ in range(3)]
            with self.subTest(end=end), self.assertRaises(SystemExit):
                end(manager)
            self.assertEqual(set(closed), set(members))
            self.assertEqual((len(manager), manager._registry._leaving), (0, {}))

    def test_codes_that_may_not_be_sent(self) -> None:
        """They are refused, also if nobody is there, and nobody is closed."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        for call in (manager.close_all, lambda *code: manager.close("nobody", *code), member.close):
            for code, reason in ((1006, ""), (99, ""), (1000, "x" * 124)):
                with self.assertRaises(ValueError):
                    call(code, reason)
        self.assertIn("ann", manager)

    def test_messages_while_it_closes(self) -> None:
        """A member whose connection the application is closing takes no messages, and is not lost by that."""
        manager = Manager(**self.log.options())
        conn, raw = self.enterContext(peer())
        task = Task(manager.run, conn, "ann")
        self.wait(self.log.opened)
        conn.close(timeout=0)
        self.assertEqual(manager.broadcast("too late"), 0)
        self.assertIn("ann", manager)
        raw.close()
        task.result()
        self.assertEqual(self.log.calls[-1], ("close", "ann", 1000))

    def test_nothing_is_delivered_after_a_close(self) -> None:
        """A member that is closed is out at once, whatever its peer does; what was sent to it before arrives first."""
        manager = Manager(**self.log.options())
        conn, raw = self.enterContext(peer())
        task = Task(manager.run, conn, "ann")
        self.wait(self.log.opened)
        manager.send("ann", "the last")
        manager.close("ann", 4000, "kicked")
        self.assertNotIn("ann", manager)
        self.wait(self.log.closed)  # without an answer of the peer's
        raw.send_frame(1, "still here")
        self.assertEqual(raw.receive_frame().payload, b"the last")
        self.assertEqual(raw.receive_close(), (4000, "kicked"))
        raw.close(4000)
        self.assertTrue(raw.at_end())
        task.result()
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 4000)])

    def test_all_are_told_before_the_first_callback(self) -> None:
        """close_all closes every connection before it calls the on_close of a registered one."""
        told = []
        manager = Manager(on_close=lambda member, error: told.extend(conn._life.state is State.OPEN for conn in conns))
        conns = [self.connect()[0] for _ in range(3)]
        for conn in conns:
            manager.register(conn)
        manager.close_all()
        self.assertEqual(told, [False] * 9)


class WorkerTests(ManagerCase):
    """A manager in one of several processes."""

    def test_several_workers(self) -> None:
        """In one of several worker processes a manager says once that it knows the connections of its own only."""
        manager = Manager()
        self.join(manager, "before")
        with mock.patch.object(manager_module, "in_worker", return_value=True):
            with self.assertLogs("syncws.manager", "WARNING") as logged:
                self.join(manager, "ann")
                self.join(manager, "bob")
        self.assertEqual(len(logged.records), 1)
        self.assertIn("knows the connections of this process only", logged.output[0])


class HeartbeatTests(ManagerCase):
    """Heartbeats of the application's."""

    def test_answered_and_not_delivered(self) -> None:
        """A ping is answered; the message behind it is delivered."""
        manager = Manager(heartbeat=Heartbeat(), **self.log.options())
        task, client = self.start(manager, "ann")
        client.send("ping")
        client.send("hello")
        self.assertEqual(client.receive(PATIENCE), "pong")
        self.wait(self.log.heard)
        client.close()
        task.result()
        self.assertEqual([call[2] for call in self.log.calls if call[0] == "message"], ["hello"])

    def test_not_answered(self) -> None:
        """A heartbeat without an answer is not delivered either."""
        manager = Manager(heartbeat=Heartbeat(pong=None), **self.log.options())
        task, client = self.start(manager, "ann")
        client.send("ping")
        client.send("hello")
        self.wait(self.log.heard)
        manager.send("ann", "the first")
        self.assertEqual(client.receive(PATIENCE), "the first")
        client.close()
        task.result()
        self.assertEqual([call[2] for call in self.log.calls if call[0] == "message"], ["hello"])

    def test_silence_of_one_that_is_gone(self) -> None:
        """One whose peer does not even answer the close is out with 1008 as well, and at once."""
        manager = Manager(heartbeat=Heartbeat(timeout=0.05), **self.log.options())
        conn, _ = self.enterContext(peer())
        task = Task(manager.run, conn, "ann")
        self.wait(self.log.closed)
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 1008)])
        task.result()

    def test_silence(self) -> None:
        """One that says nothing for the timeout is closed with 1008."""
        manager = Manager(heartbeat=Heartbeat(timeout=0.05), **self.log.options())
        task, client = self.start(manager, "ann")
        with self.assertRaises(CloseError) as caught:
            client.receive(PATIENCE)
        self.assertEqual(caught.exception.code, CloseCode.POLICY_VIOLATION)
        task.result()
        self.assertEqual(self.log.calls, [("open", "ann", None), ("close", "ann", 1008)])

    def test_a_heartbeat_that_raises(self) -> None:
        """A callable of the heartbeat that raises is a callback that raises."""

        def fail(message: str | bytes) -> bool:
            raise RuntimeError("a bug")

        manager = Manager(heartbeat=Heartbeat(is_ping=fail), on_close=self.log.on_close)
        with self.assertLogs("syncws.manager", "ERROR"):
            task, client = self.start(manager, "ann")
            client.send("x")
            self.assertIsInstance(Task(client.receive).error(), CloseError)
            task.result()
        self.assertIsInstance(self.log.calls[0][2], RuntimeError)


if __name__ == "__main__":
    unittest.main()
