"""Manager: the registry, rooms, messages to one and to many, and a life for each member that ends exactly once."""

from __future__ import annotations

import socket
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal
from unittest import mock

import syncws
from syncws import CloseCode, CloseError, Conn, DuplicateIdError, Heartbeat, Manager, Member, PreparedMessage
from syncws._base.options import ConnOptions
from syncws._frames import prepared
from syncws._rooms import manager as manager_module
from syncws.errors import PING, TEXT
from syncws.testing import LeakChecks, Peer, await_, pair, peer, socketpair
from tests.guarantees.support import transports
from tests.tasks import PATIENCE, Task, linger_briefly


class Log:
    """The callbacks of a manager, which write down what was called, for whom, and by which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []
        self.threads: list[int] = []
        self.opened = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.heard = threading.Semaphore(0)

    def options(self) -> dict[str, Any]:
        return {"on_open": self.on_open, "on_message": self.on_message, "on_close": self.on_close}

    def on_open(self, member: Member) -> None:
        self._note("open", member.id, None)
        self.opened.release()

    def on_message(self, member: Member, message: str | bytes) -> None:
        self._note("message", member.id, message)
        self.heard.release()

    def on_close(self, member: Member, error: Exception | None) -> None:
        self._note("close", member.id, getattr(error, "code", error))
        self.closed.release()

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self.threads.append(threading.get_ident())


class ManagerCase(LeakChecks):
    """Managers over real connections."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Log()
        linger_briefly(self)

    def connect(self, **options: Any) -> tuple[Conn, Conn]:
        """(ours, theirs): two connections that talk to each other, for the length of the test."""
        return self.enterContext(pair(**options))

    def join(self, manager: Manager, id: Any = None, rooms: Any = (), **options: Any) -> tuple[Member, Conn]:
        """A registered member, and its peer."""
        conn, client = self.connect(**options)
        return manager.register(conn, id, rooms), client

    def start(self, manager: Manager, id: Any, rooms: Any = (), **options: Any) -> tuple[Task, Conn]:
        """A member in run(), under way, and its peer."""
        conn, client = self.connect(**options)
        task = Task(manager.run, conn, id, rooms)
        self.assertTrue(await_(lambda: any(member.conn is conn for member in manager.members())))
        return task, client

    def stuck(self, **options: Any) -> tuple[Conn, Peer]:
        """A connection whose peer reads nothing, and whose socket is full."""
        conn, raw = self.enterContext(peer(buffer=1 << 16, **options))
        self.assertTrue(conn.send_nowait(bytes(4 << 20)))
        self.assertTrue(conn._transport.pending)
        return conn, raw

    def half(self) -> dict[str, Any]:
        """on_open and on_close that are written down."""
        return {"on_open": self.log.on_open, "on_close": self.log.on_close}

    def wait(self, semaphore: threading.Semaphore) -> None:
        self.assertTrue(semaphore.acquire(timeout=PATIENCE), "it was never called")


class RegistryTests(ManagerCase):
    """Who is there."""

    def test_register_and_unregister(self) -> None:
        """A member is found by its id until it is unregistered."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        self.assertIs(manager.get("ann"), member)
        self.assertEqual(manager.get_all("ann"), (member,))
        self.assertIn("ann", manager)
        self.assertEqual((manager.ids(), manager.members(), len(manager), manager.count()), (["ann"], [member], 1, 1))
        self.assertEqual(list(manager), [member])
        self.assertTrue(manager.unregister("ann"))
        self.assertIsNone(manager.get("ann"))
        self.assertNotIn("ann", manager)
        self.assertEqual((manager.ids(), manager.members(), len(manager), manager.get_all("ann")), ([], [], 0, ()))
        self.assertFalse(manager.unregister("ann"))

    def test_an_unregistered_connection_stays_open(self) -> None:
        """It is the application's again."""
        manager = Manager()
        member, client = self.join(manager, "ann")
        manager.unregister(member)
        member.conn.send("still here")
        self.assertEqual(client.receive(PATIENCE), "still here")

    def test_the_default_id_is_the_connection_s(self) -> None:
        """Without an id a member is known by its connection's random one."""
        manager = Manager()
        member, _ = self.join(manager)
        self.assertEqual(member.id, member.conn.id)
        self.assertIs(manager.get(member.conn.id), member)

    def test_ids_of_any_kind(self) -> None:
        """Whatever is hashable is an id, 0 and "" too."""
        manager = Manager()
        for id in (0, "", ("tenant", 7), 3.5, frozenset()):
            member, _ = self.join(manager, id)
            self.assertIs(manager.get(id), member)

    def test_a_member_stands_for_itself(self) -> None:
        """Where an id is asked for a Member means that one connection, and only while it is in this manager."""
        manager, other = Manager(duplicate="many"), Manager()
        first, _ = self.join(manager, "ann")
        second, client = self.join(manager, "ann")
        self.assertTrue(manager.unregister(first))
        self.assertEqual(manager.get_all("ann"), (second,))
        self.assertFalse(manager.unregister(first))
        self.assertFalse(manager.send(first, "gone"))
        self.assertFalse(other.send(second, "not of this one"))
        self.assertTrue(second.send("here"))
        self.assertEqual(client.receive(PATIENCE), "here")

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

    def test_an_empty_manager_is_true(self) -> None:
        """`if manager:` asks whether there is one, not whether somebody is in it."""
        self.assertTrue(Manager())

    def test_what_a_member_knows(self) -> None:
        """When it came, when it was last heard, and whatever the application wants to keep with it."""
        manager = Manager(**self.log.options())
        with mock.patch("time.time", return_value=1000.0):
            task, client = self.start(manager, "ann", ["lobby"])
            self.wait(self.log.opened)
        member = manager.get("ann")
        assert member is not None
        self.assertEqual((member.opened_at, member.last_seen, member.data), (1000.0, 1000.0, {}))
        member.data["color"] = "red"
        with mock.patch("time.time", return_value=1005.0):
            client.send("hello")
            self.wait(self.log.heard)
        self.assertEqual((member.opened_at, member.last_seen), (1000.0, 1005.0))
        self.assertRegex(repr(member), "^<syncws.Member 'ann' <syncws.Conn server .* open>>$")
        client.close()
        task.result()

    def test_stats(self) -> None:
        """What came and went is counted."""
        manager = Manager()
        self.join(manager, "ann", ["a", "b"])
        self.join(manager, "bob")
        manager.broadcast("x")
        manager.send("ann", "y")
        manager.send("nobody", "z")
        stats = manager.stats()
        self.assertEqual((stats.members, stats.rooms, stats.opened, stats.closed, stats.sent), (2, 2, 2, 0, 3))
        self.assertEqual((stats.dropped, stats.queued_messages, stats.queued_bytes), (0, 0, 0))
        manager.unregister("ann")
        self.assertEqual((manager.stats().members, manager.stats().closed, manager.stats().rooms), (1, 1, 0))


class RoomTests(ManagerCase):
    """Rooms: made by the first one in, ended by the last one out."""

    def test_join_and_leave(self) -> None:
        """A member is in any number of rooms; a room has its members in the order they joined."""
        manager = Manager()
        ann, _ = self.join(manager, "ann", ["lobby"])
        bob, _ = self.join(manager, "bob")
        self.assertTrue(manager.join("bob", "lobby"))
        self.assertTrue(bob.join("garden"))
        self.assertEqual(manager.members("lobby"), [ann, bob])
        self.assertEqual((manager.rooms(), manager.rooms("bob")), ({"lobby", "garden"}, {"lobby", "garden"}))
        self.assertEqual((ann.rooms, manager.count("lobby"), manager.count("nowhere")), ({"lobby"}, 2, 0))
        self.assertTrue(bob.leave("garden"))
        self.assertEqual((manager.rooms(), manager.members("garden")), ({"lobby"}, []))
        self.assertTrue(manager.leave("ann", "lobby"))
        self.assertEqual(manager.members("lobby"), [bob])

    def test_nothing_to_do(self) -> None:
        """Joining twice is joining; one who is not there can neither join nor leave."""
        manager = Manager()
        ann, _ = self.join(manager, "ann", ["lobby", "lobby"])
        self.assertTrue(ann.join("lobby"))
        self.assertEqual(manager.members("lobby"), [ann])
        self.assertFalse(ann.leave("garden"))
        self.assertFalse(manager.join("nobody", "garden"))
        self.assertFalse(manager.leave("nobody", "lobby"))
        self.assertEqual((manager.rooms(), manager.rooms("nobody")), ({"lobby"}, frozenset()))

    def test_a_member_that_goes_leaves_its_rooms(self) -> None:
        """A room ends with its last member."""
        manager = Manager()
        ann, _ = self.join(manager, "ann", ["a", "b"])
        manager.unregister("ann")
        self.assertEqual((manager.rooms(), manager.rooms(ann)), (frozenset(), frozenset()))
        self.assertFalse(ann.join("a"))
        self.assertEqual(ann.rooms, {"a", "b"})  # it remembers: its on_close may tell those who are still there

    def test_broadcast_to_a_room(self) -> None:
        """Only its members get the message."""
        manager = Manager()
        _, first = self.join(manager, "ann", ["lobby"])
        _, second = self.join(manager, "bob", ["garden"])
        self.assertEqual(manager.broadcast("lobby", room="lobby"), 1)
        self.assertEqual(manager.broadcast("nobody hears", room="cellar"), 0)
        self.assertEqual(manager.broadcast("all"), 2)
        self.assertEqual([first.receive(PATIENCE) for _ in range(2)], ["lobby", "all"])
        self.assertEqual(second.receive(PATIENCE), "all")


class MessageTests(ManagerCase):
    """Messages to one, to many, of any kind."""

    def test_send(self) -> None:
        """To one by its id: str as TEXT, bytes as BINARY, a prepared message as it is; nobody else gets it."""
        manager = Manager()
        _, first = self.join(manager, "ann")
        _, second = self.join(manager, "bob")
        for message in ("text", b"bytes", bytearray(b"more"), PreparedMessage(TEXT, "prepared")):
            self.assertTrue(manager.send("ann", message))
        self.assertEqual([first.receive(PATIENCE) for _ in range(4)], ["text", b"bytes", b"more", "prepared"])
        self.assertFalse(manager.send("nobody", "x"))
        self.assertTrue(manager.send("bob", "only this"))
        self.assertEqual(second.receive(PATIENCE), "only this")

    def test_broadcast(self) -> None:
        """To all, but for those who are excluded, by id or as Members."""
        manager = Manager()
        clients = {}
        for id in ("ann", "bob", "cid", 4):
            _, clients[id] = self.join(manager, id)
        cid = manager.get("cid")
        self.assertEqual(manager.broadcast(b"\x00\x01"), 4)
        self.assertEqual(manager.broadcast("some", exclude=["ann", cid, "nobody"]), 2)
        self.assertEqual(manager.broadcast("end"), 4)
        received = {id: [client.receive(PATIENCE)] for id, client in clients.items()}
        for id, client in clients.items():
            while received[id][-1] != "end":
                received[id].append(client.receive(PATIENCE))
        most, few = [b"\x00\x01", "some", "end"], [b"\x00\x01", "end"]
        self.assertEqual(received, {"ann": few, "bob": most, "cid": few, 4: most})

    def test_json(self) -> None:
        """A value goes as JSON text, to one or to all."""
        manager = Manager()
        _, client = self.join(manager, "ann", ["lobby"])
        self.assertTrue(manager.send_json("ann", {"a": [1, None, "ä"]}))
        self.assertEqual(manager.broadcast_json([1], room="lobby", exclude=["bob"]), 1)
        self.assertTrue(manager.get("ann").send_json("x"))  # type: ignore[union-attr]
        self.assertEqual([client.receive(PATIENCE) for _ in range(3)], ['{"a":[1,null,"ä"]}', "[1]", '"x"'])

    def test_what_cannot_be_sent(self) -> None:
        """It is refused before anybody gets it, also if nobody is there."""
        manager = Manager()
        _, client = self.join(manager, "ann")
        for call in (manager.broadcast, lambda message: manager.send("nobody", message)):
            for message in (5, None, ["x"]):
                with self.assertRaises(TypeError):
                    call(message)
            with self.assertRaises(ValueError):
                call(PreparedMessage(PING, b""))
        for value in (object(), {1, 2}):
            with self.assertRaises(TypeError):
                manager.broadcast_json(value)
        with self.assertRaises(ValueError):
            manager.send_json("ann", float("nan"))
        manager.send("ann", "first")
        self.assertEqual(client.receive(PATIENCE), "first")

    def test_an_error_advises_what_is_there(self) -> None:
        """A dict is refused with the name of the method that sends it as JSON, in the same place."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        for where, call, advised in (
            (manager, lambda: manager.send("ann", {}), "send_json"),  # type: ignore[arg-type]
            (manager, lambda: manager.broadcast({}), "broadcast_json"),  # type: ignore[arg-type]
            (member, lambda: member.send({}), "send_json"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(TypeError, f"not dict: {advised} sends any value that JSON can hold"):
                call()
            self.assertTrue(callable(getattr(where, advised)))

    def test_encoded_once(self) -> None:
        """A broadcast encodes and compresses once for each window size in use, not once for each member."""
        manager = Manager()
        clients = [self.join(manager, number, compression=number % 2 == 0)[1] for number in range(8)]
        text = "compress me " * 100
        with mock.patch("syncws._frames.prepared.compress", wraps=prepared.compress) as compress:
            self.assertEqual(manager.broadcast(text), 8)
        self.assertEqual(compress.call_count, 1)
        self.assertEqual({client.receive(PATIENCE) for client in clients}, {text})

    def test_the_frame_is_shared(self) -> None:
        """What waits for slow members is one frame, whatever their number."""
        manager = Manager()
        conns = [self.stuck()[0] for _ in range(3)]
        for conn in conns:
            manager.register(conn)
        self.assertEqual(manager.broadcast("x" * 1000), 3)
        frames = [conn._wire._queue[-1] for conn in conns]
        self.assertTrue(all(frame is frames[0] for frame in frames))

    def test_members_that_are_clients(self) -> None:
        """A manager may hold client connections too; each of their frames has a mask of its own."""
        manager = Manager()
        near, far = self.connect()
        manager.register(far, "client")
        manager.register(near, "server")
        self.assertEqual(manager.broadcast("both"), 2)
        self.assertEqual((near.receive(PATIENCE), far.receive(PATIENCE)), ("both", "both"))

    def test_order(self) -> None:
        """Messages of many threads to one member, posted and written, arrive whole and in each thread's order."""
        manager = Manager(send_queue=100_000, send_queue_bytes=1 << 30)
        member, client = self.join(manager, "ann", buffer=1 << 16)

        def talk(name: int) -> None:
            for number in range(200):
                text = f"{name} {number} " + "x" * (number * 37 % 3000)
                if number % 3:
                    manager.broadcast(text)
                else:
                    member.conn.send(text)

        tasks = [Task(talk, name) for name in range(6)]
        seen: dict[str, list[int]] = {}
        for _ in range(6 * 200):
            message = client.receive(PATIENCE)
            assert isinstance(message, str)
            name, number, filler = message.split(" ", 2)
            self.assertEqual(filler, "x" * (int(number) * 37 % 3000))
            seen.setdefault(name, []).append(int(number))
        for task in tasks:
            task.result()
        self.assertEqual(seen, {str(name): list(range(200)) for name in range(6)})

    def test_while_a_fragmented_message_is_open(self) -> None:
        """A broadcast waits for the end of a member's open next_writer, and for nobody else."""
        manager = Manager()
        member, client = self.join(manager, "ann")
        _, other = self.join(manager, "bob")
        with member.conn.next_writer(TEXT) as writer:
            writer.write("a" * 5000)
            self.assertEqual(manager.broadcast("later"), 2)
            self.assertEqual(other.receive(PATIENCE), "later")
        self.assertEqual([client.receive(PATIENCE) for _ in range(2)], ["a" * 5000, "later"])


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
        Task(client.close).result()
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
        manager = Manager(on_close=lambda member, error: told.extend(conn._wire.open for conn in conns))
        conns = [self.connect()[0] for _ in range(3)]
        for conn in conns:
            manager.register(conn)
        manager.close_all()
        self.assertEqual(told, [False] * 9)


class GoodbyeTests(ManagerCase):
    """What the peer of a member finds that was taken out without being asked."""

    def pairs(self) -> Iterator[tuple[Conn, Conn]]:
        """Connections over TCP and over TLS, whose sockets hold little."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                ours, theirs = transports(socketpair(1 << 16), tls)
                near = Conn(ours, client=False, options=ConnOptions(send_queue=5))
                far = Conn(theirs, client=True, options=ConnOptions(read_limit=None))
                yield near, far
                near.close_now()
                far.close_now()

    def rest(self, conn: Conn) -> tuple[int, int]:
        """How many messages a connection still gets, and the code that ends it."""
        count = 0
        try:
            while True:
                conn.receive(PATIENCE)
                count += 1
        except CloseError as end:
            return count, end.code

    def test_overflow(self) -> None:
        """A peer that wakes up in time gets what was on its way, and 1013; also one that talks all the while."""
        for conn, client in self.pairs():
            log = Log()
            manager = Manager(**log.options())
            task = Task(manager.run, conn, "ann")
            self.wait(log.opened)
            manager.send("ann", bytes(4 << 20))
            while "ann" in manager:
                manager.send("ann", "x")
            self.wait(log.closed)
            client.send("still talking")
            receiving = Task(self.rest, client)
            self.assertEqual(receiving.result(), (1, 1013))
            task.result()
            self.assertEqual(log.calls[-1], ("close", "ann", 1013))

    def test_replaced(self) -> None:
        """The peer of a connection that was replaced gets 4001, though it was just sending."""
        for conn, client in self.pairs():
            manager = Manager()
            task = Task(manager.run, conn, "ann")
            self.assertTrue(await_(lambda manager=manager: "ann" in manager))
            other, _ = self.connect()
            manager.register(other, "ann")
            with suppress(syncws.ConnectionClosed):
                client.send("hello?")
            self.assertEqual(self.rest(client), (0, 4001))
            task.result()

    def test_what_waits_leaves_before_a_close(self) -> None:
        """Messages that wait for a slow member when it is closed still reach it, and the close behind them."""
        for conn, client in self.pairs():
            manager = Manager()
            task = Task(manager.run, conn, "ann")
            self.assertTrue(await_(lambda manager=manager: "ann" in manager))
            manager.send("ann", bytes(4 << 20))
            manager.send("ann", "waits")
            self.assertEqual(manager.stats().queued_messages, 1)
            manager.close("ann", 4000)
            self.assertEqual(self.rest(client), (2, 4000))
            task.result()
            self.assertEqual((manager.stats().dropped, manager._trailing), (0, []))

    def test_what_never_leaves_is_counted(self) -> None:
        """Messages that waited when a stuck member was closed count as dropped once its connection is cut; once."""
        for leave in (lambda manager: manager.close("ann"), lambda manager: manager.unregister("ann")):
            manager = Manager()
            conn, _ = self.stuck(close_timeout=0.05)
            manager.register(conn, "ann")
            for _ in range(5):
                manager.send("ann", "x")
            leave(manager)
            conn.close()
            self.assertTrue(await_(lambda manager=manager: manager.stats().dropped == 5), manager.stats())
            self.assertEqual((manager.stats().dropped, manager._trailing), (5, []))

    def test_drops_of_another_time(self) -> None:
        """A connection that comes again under another id brings no drops with it."""
        manager = Manager(send_queue=1, overflow="drop_newest")
        conn, _ = self.stuck()
        for id in ("guest", "ann", "ann b."):
            manager.register(conn, id)
            manager.send(id, "waits, or is dropped")
            manager.unregister(id)
        self.assertEqual(manager.stats().dropped, 2)

    def test_last_words(self) -> None:
        """What a peer said before it left is delivered, and its code is told, also if a broadcast found it gone."""
        entered, go_on = threading.Event(), threading.Event()

        def on_message(member: Member, message: str | bytes) -> None:
            self.log.on_message(member, message)
            entered.set()
            go_on.wait(PATIENCE)

        manager = Manager(on_message=on_message, on_close=self.log.on_close)
        with peer() as (conn, raw):
            task = Task(manager.run, conn, "ann")
            raw.send_frame(1, "first")
            self.assertTrue(entered.wait(PATIENCE))
            raw.send_frame(1, "last words")
            raw.close(1000)
            raw.socket.close()
            for _ in range(20):
                manager.broadcast("x" * 1000)
            go_on.set()
            task.result()
        self.assertEqual([call[2] for call in self.log.calls], ["first", "last words", 1000])


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
        newer, second = self.start(manager, "ann")
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
            newer, second = self.start(manager, "ann")
            self.assertEqual([call[0] for call in self.log.calls], ["open"])
            go_on.set()
            older.result()
            second.close()
            newer.result()
            self.assertEqual([call[0] for call in self.log.calls], ["open", "close", "open", "close"])

    def test_a_callback_that_replaces_its_own_member(self) -> None:
        """A callback may register another connection under its own id: it does not wait for itself."""
        conn, _ = self.connect()
        manager = Manager(on_message=lambda member, _: manager.register(conn, "ann"), **self.half())
        task, client = self.start(manager, "ann")
        self.wait(self.log.opened)
        client.send("x")
        self.wait(self.log.opened)
        task.result()
        self.assertEqual(manager.get("ann").conn, conn)  # type: ignore[union-attr]

    def test_reject(self) -> None:
        """register raises and leaves the newer connection as it was; run() closes it with 4002, without callbacks."""
        manager = Manager(duplicate="reject", **self.log.options())
        member, _ = self.join(manager, "ann")
        conn, client = self.connect()
        with self.assertRaisesRegex(DuplicateIdError, "'ann'"):
            manager.register(conn, "ann", send_queue=3)
        self.assertEqual(conn._wire._queue_limit, 256)
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
            return not manager._leaving and len(open_now) == len(manager) == left and still <= left

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
        self.assertEqual((manager._by_id, manager._leaving, manager._rooms, manager._conns), ({}, {}, {}, {}))


class LostTests(ManagerCase):
    """Members that a send finds lost, and full send queues."""

    def test_overflow_closes(self) -> None:
        """A stuck member whose queue is full is out at once, with 1013; the others do not notice."""
        manager = Manager(send_queue=5, **self.log.options())
        _, client = self.join(manager, "ann")
        conn, _ = self.stuck(close_timeout=0.2)
        manager.register(conn, "bob")
        with self.assertLogs("syncws", "INFO") as logs:
            taken = [manager.broadcast(f"{number}") for number in range(8)]
            self.assertEqual(taken, [2] * 5 + [1] * 3)
            self.wait(self.log.closed)
            self.assertTrue(await_(lambda: "6 messages were dropped" in logs.output[-1]), logs.output)
        self.assertEqual(self.log.calls[-1], ("close", "bob", 1013))
        self.assertNotIn(threading.get_ident(), self.log.threads[-1:])  # never by the thread that sends
        self.assertEqual(manager.ids(), ["ann"])
        self.assertEqual([client.receive(PATIENCE) for _ in range(8)], [f"{number}" for number in range(8)])
        self.assertEqual(manager.stats().dropped, 6)  # the one that was refused, and the five that waited
        self.assertTrue(await_(lambda: conn.socket.fileno() == -1), "the socket was not cut")

    def test_overflow_of_a_member_in_run(self) -> None:
        """Its own thread is woken, and calls on_close."""
        manager = Manager(send_queue=5, **self.log.options())
        conn, _ = self.stuck(close_timeout=0.2)
        task = Task(manager.run, conn, "bob")
        self.wait(self.log.opened)
        while manager.broadcast("x"):
            pass
        self.assertNotIn("bob", manager)
        task.result()
        self.assertEqual(self.log.calls, [("open", "bob", None), ("close", "bob", 1013)])
        self.assertEqual(set(self.log.threads), {task.ident})

    def test_dropping(self) -> None:
        """The other policies lose messages, and count them."""
        for overflow, last in (("drop_oldest", "7"), ("drop_newest", "4")):
            manager = Manager(send_queue=5, overflow=overflow)
            conn, _ = self.stuck()
            manager.register(conn, "bob")
            taken = [manager.broadcast(f"{number}") for number in range(8)]
            self.assertEqual(taken, [1] * 8 if overflow == "drop_oldest" else [1] * 5 + [0] * 3)
            self.assertEqual(manager.stats().dropped, 3)
            self.assertEqual((manager.stats().queued_messages, conn._wire._queue[-1][-1:].decode()), (5, last))
            self.assertIn("bob", manager)

    def test_limits(self) -> None:
        """The manager's limits hold for its members, one of register's for that member; else the connection's own."""
        manager = Manager(send_queue=7, send_queue_bytes=5000, overflow="drop_newest")
        conns = [self.connect(send_queue=3)[0] for _ in range(3)]
        manager.register(conns[0])
        manager.register(conns[1], send_queue=9)
        Manager().register(conns[2])
        limits = [(conn._wire._queue_limit, conn._wire._queue_bytes_limit, conn._wire._overflow) for conn in conns]
        self.assertEqual(limits, [(7, 5000, "drop_newest"), (9, 5000, "drop_newest"), (3, 1 << 20, "close")])
        with self.assertRaisesRegex(ValueError, "send_queue"):
            manager.register(self.connect()[0], send_queue=0)

    def test_a_connection_that_had_ended(self) -> None:
        """A registered member whose peer is gone is out with the first message that finds it so."""
        manager = Manager(**self.log.options())
        member, client = self.join(manager, "ann")
        client.close_now()
        self.assertIsInstance(Task(member.conn.receive).error(), CloseError)
        self.assertIn("ann", manager)
        self.assertFalse(manager.send("ann", "x"))
        self.assertNotIn("ann", manager)
        self.wait(self.log.closed)
        self.assertEqual(self.log.calls[-1], ("close", "ann", 1006))

    def test_a_write_that_was_cut_short(self) -> None:
        """A member that a write deadline has torn is out, and its connection is cut."""
        manager = Manager(**self.log.options())
        conn, _ = self.enterContext(peer(buffer=1 << 16, close_timeout=0.2))
        manager.register(conn, "ann")
        with self.assertRaises(syncws.WriteTimeout):
            conn.send(bytes(8 << 20), timeout=0.05)
        self.assertEqual(manager.broadcast("x"), 0)
        self.wait(self.log.closed)
        self.assertIsInstance(self.log.calls[-1][2], syncws.WriteTimeout)
        self.assertTrue(await_(lambda: conn.socket.fileno() == -1), "the socket was not cut")

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
            self.assertTrue(await_(lambda: not manager._settling))
        self.assertEqual((len(self.log.calls), manager._leaving), (2, {}))

    def test_one_that_comes_back_waits_for_no_other(self) -> None:
        """A newer connection does not wait for the on_close of other lost members, only for that of its own id."""
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
        go_on.set()
        self.wait(self.log.closed)
        self.wait(self.log.closed)

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
        self.assertEqual((manager.stats().closed, len(self.log.calls), manager._leaving), (opened, opened, {}))

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


class ArgumentTests(ManagerCase):
    """Mistakes of the caller."""

    def test_options(self) -> None:
        """An option that cannot work is refused by an error that names it."""
        for name, value, error in (
            ("on_open", 5, TypeError),
            ("on_message", "x", TypeError),
            ("on_close", [], TypeError),
            ("duplicate", "keep", ValueError),
            ("duplicate", None, ValueError),
            ("overflow", "drop", ValueError),
            ("send_queue", 0, ValueError),
            ("send_queue", "5", TypeError),
            ("send_queue_bytes", -1, ValueError),
            ("heartbeat", 60, TypeError),
        ):
            with self.subTest(name, value=value), self.assertRaisesRegex(error, f"^{name} "):
                Manager(**{name: value})

    def test_arguments(self) -> None:
        """So is an argument, before anything has changed."""
        manager = Manager(**self.log.options())
        conn, _ = self.connect()
        member = manager.register(self.connect()[0], "there")
        for call, error, said in (
            (lambda: manager.register(5), TypeError, "conn"),  # type: ignore[arg-type]
            (lambda: manager.run("conn"), TypeError, "conn"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, member), TypeError, "Member"),
            (lambda: manager.register(conn, []), TypeError, "unhashable"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, "x", "lobby"), TypeError, "rooms"),
            (lambda: manager.register(conn, "x", 5), TypeError, "rooms"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, "x", [None]), TypeError, "room"),
            (lambda: manager.register(conn, "x", [{}]), TypeError, "unhashable"),
            (lambda: manager.join("there", None), TypeError, "room"),
            (lambda: manager.broadcast("x", exclude="there"), TypeError, "exclude"),
            (lambda: manager.broadcast("x", exclude=member), TypeError, "exclude"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(error, said):
                call()
        self.assertEqual((manager.ids(), manager.rooms()), (["there"], frozenset()))
        self.assertEqual(self.log.calls, [("open", "there", None)])


if __name__ == "__main__":
    unittest.main()
