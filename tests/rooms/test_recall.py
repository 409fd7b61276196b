"""Rooms that remember: who comes back gets what it missed, once and in order, and then what is live."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import unittest
from collections.abc import Hashable
from typing import Any
from unittest import mock

from syncws import BackplaneError, Conn, ConnectionClosed, History, Manager, Recovered
from syncws._bus.history import Past
from syncws._bus.memoryarchive import MemoryArchive
from syncws._frames.prepared import prepare
from syncws._relay.envelope import Envelope, Kind
from syncws._relay.kept import Kept
from syncws._rooms import recall
from syncws.testing import MemoryBackplane, MemoryBus, await_
from tests.tasks import PATIENCE, Task

from .support import ManagerCase

#: The channel of the room that most of these tests are in.
LOBBY = 'r:"lobby"'


class RecallCase(ManagerCase):
    def manager(self, **options: Any) -> Manager:
        return Manager(history=History(**options))

    def come(self, manager: Manager, since: str | None, id: Any = None, room: Hashable = "lobby") -> Recovered:
        """A page comes back, and is gone again."""
        member, _ = self.join(manager, id)
        recovered = manager.join(member, room, since=since)
        manager.unregister(member)
        return recovered

    def positions(self, manager: Manager, count: int) -> list[str]:
        """Broadcasts {"n": 0}, {"n": 1} ...; their positions."""
        found = []
        for n in range(count):
            manager.broadcast_json({"n": n}, room="lobby")
            found.append(manager.position("lobby"))
        return found


def numbers(messages: Any) -> list[int]:
    return [json.loads(message)["n"] for message in messages]


class OneProcessTests(RecallCase):
    def test_a_page_comes_back(self) -> None:
        """It gets what it missed, with positions, then what is live; the last position is that of what it got last."""
        manager = self.manager()
        _, client = self.join(manager, "ann", ["lobby"])
        for n in range(3):
            manager.broadcast_json({"n": n}, room="lobby")
        first = client.receive_json(PATIENCE)
        self.assertEqual([*first], ["position", "n"])
        member, again = self.join(manager, "bob")
        recovered = manager.join(member, "lobby", since=first["position"])
        manager.broadcast_json({"n": 3}, room="lobby")
        got = [again.receive_json(PATIENCE) for _ in range(3)]
        self.assertEqual([each["n"] for each in got], [1, 2, 3])
        self.assertTrue(recovered.recovered)
        self.assertEqual([json.loads(each) for each in recovered.messages], got[:2])
        self.assertEqual(recovered.position.rpartition("-")[2], got[1]["position"].rpartition("-")[2])
        self.assertEqual(numbers(self.come(manager, recovered.position).messages), [3])

    def test_before_the_first_message(self) -> None:
        """A page that came first has a position too, and gets all if it comes back."""
        manager = self.manager()
        origin = self.come(manager, None)
        self.assertEqual((origin.messages, origin.recovered), ((), False))
        self.assertTrue(self.come(manager, origin.position).recovered)
        self.positions(manager, 3)
        self.assertEqual(numbers(self.come(manager, origin.position).messages), [0, 1, 2])

    def test_not_recovered(self) -> None:
        """After a restart, of what was trimmed, and of what is no position nothing is sent, and it says so."""
        manager = self.manager(size=3)
        positions = self.positions(manager, 6)
        restarted = self.manager()
        self.positions(restarted, 6)
        for where, since in (
            (manager, positions[1]),
            (restarted, positions[4]),
            *((manager, each) for each in ("", "x", "0-0-0", "\0" * 10_000)),
        ):
            with self.subTest(since[:50]):
                recovered = self.come(where, since)
                self.assertEqual((recovered.messages, recovered.recovered), ((), False))
                self.assertTrue(self.come(where, recovered.position).recovered)
        self.assertEqual(numbers(self.come(manager, positions[2]).messages), [3, 4, 5])

    def test_every_kind_of_message(self) -> None:
        """TEXT, BINARY and JSON come back as what they were."""
        manager = self.manager(stamp=None)
        origin = manager.position("lobby")
        sent: list[Any] = ["hi", b"\x00\xff", '{"a":1}', "", b""]
        for each in sent:
            manager.broadcast(each, room="lobby")
        manager.broadcast(b"text", room="lobby", text=True)
        self.assertEqual(list(self.come(manager, origin).messages), [*sent, "text"])

    def test_who_was_excluded(self) -> None:
        """An id that was excluded is so when it comes back; a Member was that connection."""
        manager = self.manager()
        member, client = self.join(manager, "ann", ["lobby"])
        origin = manager.position("lobby")
        manager.broadcast_json({"n": 0}, room="lobby", exclude=["ann"])
        manager.broadcast_json({"n": 1}, room="lobby", exclude=[member])
        manager.broadcast_json({"n": 2}, room="lobby")
        self.assertEqual(client.receive_json(PATIENCE)["n"], 2)
        self.assertEqual(numbers(self.come(manager, origin, "ann").messages), [1, 2])
        self.assertEqual(numbers(self.come(manager, origin, "bob").messages), [0, 1, 2])

    def test_which_rooms_remember(self) -> None:
        """Only those that History.rooms names; what is for here only, to all, or to an id is not kept."""
        manager = self.manager(rooms=lambda room: room != "quiet")
        with self.assertRaisesRegex(ValueError, "does not remember"):
            self.come(manager, None, room="quiet")
        self.assertRaises(ValueError, manager.position, "quiet")
        origin = manager.position("lobby")
        _, client = self.join(manager, "ann", ["lobby", "quiet"])
        manager.broadcast_json({"n": 0}, room="quiet")
        manager.broadcast_json({"n": 1})
        manager.broadcast_json({"n": 2}, room="lobby", local=True)
        manager.send_json("ann", {"n": 3})
        manager.broadcast_json({"n": 4}, room="lobby")
        got = [client.receive_json(PATIENCE) for _ in range(5)]
        self.assertEqual([each["n"] for each in got], [0, 1, 2, 3, 4])
        self.assertEqual(["position" in each for each in got], [False] * 4 + [True])
        self.assertEqual(numbers(self.come(manager, origin).messages), [4])

    def test_what_is_wrong_is_said(self) -> None:
        """What cannot be is refused before anybody has joined; nobody is nobody."""
        manager = self.manager()
        member, _ = self.join(manager, "ann", ["lobby"])
        with self.assertRaisesRegex(ValueError, "already"):
            manager.join(member, "lobby", since=None)
        for room in (None, 1.5, b"x", object()):
            with self.subTest(room), self.assertRaises(TypeError):
                manager.join(member, room, since=None)
        self.assertRaises(TypeError, manager.join, member, [], since=None)
        self.assertEqual(manager.rooms("ann"), {"lobby"})
        self.assertEqual(manager.join("nobody", "lobby", since="x"), Recovered("", (), False))
        with self.assertRaisesRegex(ValueError, "does not remember: give the Manager"):
            Manager().position("lobby")
        for history in (100, "x", History):
            with self.subTest(history), self.assertRaisesRegex(TypeError, "^history is"):
                Manager(history=history)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "history goes to the backplane"):
            Manager(history=History(), backplane=MemoryBackplane(MemoryBus()))

    def test_more_than_a_send_queue_holds(self) -> None:
        """What was missed waits for the peer, not in the send queue: it may be more."""
        manager = Manager(history=History(size=1_000), send_queue=4, send_queue_bytes=1 << 16)
        origin = manager.position("lobby")
        for n in range(300):
            manager.broadcast_json({"n": n, "text": "x" * 10_000}, room="lobby")
        member, client = self.join(manager)
        joining = Task(manager.join, member, "lobby", since=origin)
        self.assertEqual([client.receive_json(PATIENCE)["n"] for _ in range(300)], list(range(300)))
        self.assertTrue(joining.result().recovered)
        self.assertEqual(manager.count("lobby"), 1)

    def test_a_peer_that_is_gone(self) -> None:
        """A peer that ends while it is sent what it missed ends as any other: its member is out."""
        manager = self.manager()
        origin = manager.position("lobby")
        self.positions(manager, 3)
        member, client = self.join(manager)
        client.close_now()
        self.assertTrue(await_(lambda: _is_over(member.conn)))
        manager.join(member, "lobby", since=origin)
        manager.broadcast("x", room="lobby")
        self.assertTrue(await_(lambda: not manager.count()))


def _is_over(conn: Conn) -> bool:
    try:
        return not conn.send_nowait("are you there?")
    except ConnectionClosed:
        return True


class OrderTests(RecallCase):
    """What happens between the steps of a join."""

    def test_live_before_it_was_read(self) -> None:
        """What is broadcast after the member is in the room, and before the history is read, comes once."""
        manager = self.manager()
        positions = self.positions(manager, 3)
        member, client = self.join(manager)
        archive = manager._recall._archive  # type: ignore[union-attr]

        def read(*arguments: Any) -> Past:
            manager.broadcast_json({"n": 3}, room="lobby")
            return MemoryArchive.read(archive, *arguments)  # type: ignore[arg-type]

        with mock.patch.object(archive, "read", read):
            recovered = manager.join(member, "lobby", since=positions[0])
        manager.broadcast_json({"n": 4}, room="lobby")
        self.assertEqual([client.receive_json(PATIENCE)["n"] for _ in range(4)], [1, 2, 3, 4])
        self.assertEqual(numbers(recovered.messages), [1, 2, 3])

    def test_live_after_it_was_read(self) -> None:
        """What is broadcast after the history was read, and before that was sent, comes behind it."""
        manager = self.manager()
        positions = self.positions(manager, 3)
        member, client = self.join(manager)
        archive = manager._recall._archive  # type: ignore[union-attr]

        def read(*arguments: Any) -> Past:
            past = MemoryArchive.read(archive, *arguments)  # type: ignore[arg-type]
            manager.broadcast_json({"n": 3}, room="lobby")
            return past

        with mock.patch.object(archive, "read", read):
            recovered = manager.join(member, "lobby", since=positions[0])
        self.assertEqual([client.receive_json(PATIENCE)["n"] for _ in range(3)], [1, 2, 3])
        self.assertEqual(numbers(recovered.messages), [1, 2])

    def test_live_while_what_was_held_is_sent(self) -> None:
        """Who broadcasts while what was held is sent waits for its place behind that."""
        manager = self.manager()
        positions = self.positions(manager, 1)
        member, client = self.join(manager)
        rec = manager._recall
        assert rec is not None
        archive = rec._archive
        tasks: list[Task] = []

        def read(*arguments: Any) -> Past:
            past = MemoryArchive.read(archive, *arguments)  # type: ignore[arg-type]
            manager.broadcast_json({"n": 1}, room="lobby")
            return past

        def is_after(*positions: str) -> bool:
            if not tasks:
                tasks.append(Task(manager.broadcast_json, {"n": 2}, room="lobby"))
                self.assertTrue(await_(lambda: any(turn.locked() for turn in rec._turns)))
            return True

        with mock.patch.object(archive, "read", read), mock.patch.object(archive, "is_after", is_after):
            manager.join(member, "lobby", since=positions[0])
        tasks[0].result()
        manager.broadcast_json({"n": 3}, room="lobby")
        self.assertEqual([client.receive_json(PATIENCE)["n"] for _ in range(3)], [1, 2, 3])

    def test_the_bus_is_slower_than_the_history(self) -> None:
        """What a page has, or was sent, may still be on its way on the bus: it is not sent once more."""
        for missed in (0, 2):
            with self.subTest(missed=missed):
                manager = self.manager()
                positions = self.positions(manager, 3)
                member, client = self.join(manager)
                rec = manager._recall
                assert rec is not None
                with mock.patch.object(rec, "ledger", None):  # as if the bus had kept it
                    recovered = manager.join(member, "lobby", since=positions[2 - missed])
                    late = Kept(prepare('{"n":"late"}'), frozenset(), frozenset())
                    for position in (*positions, recovered.position):
                        rec._deliver("lobby", late, position, own=False)
                    self.assertTrue(rec._holds)
                    manager.broadcast_json({"n": "local"}, room="lobby", local=True)
                    after = manager._recall._archive.read('r:"lobby"', None, 0).position  # type: ignore[union-attr]
                    rec._deliver("lobby", late, after, own=False)
                self.assertFalse(rec._holds)
                got = [client.receive_json(PATIENCE)["n"] for _ in range(missed + 2)]
                self.assertEqual(got, [*range(3 - missed, 3), "local", "late"])

    def test_holds_end_with_their_members(self) -> None:
        """A member that is gone before the bus has brought the next message leaves nothing behind."""
        manager = self.manager()
        position = self.positions(manager, 1)[0]
        member, _ = self.join(manager)
        rec = manager._recall
        assert rec is not None
        with mock.patch.object(rec, "ledger", None):
            manager.join(member, "lobby", since=position)
        self.assertTrue(rec._holds)
        manager.unregister(member)
        self.assertFalse(rec._holds)

    def test_holds_end_with_who_leaves(self) -> None:
        """So does one that leaves the room before that, by itself or as another process says; not what came after."""
        manager = self.manager()
        position = self.positions(manager, 1)[0]
        member, _ = self.join(manager, "ann")
        rec = manager._recall
        assert rec is not None
        for leave in (manager.leave, manager._members_here().leave):
            with mock.patch.object(rec, "ledger", None):
                manager.join(member, "lobby", since=position)
            self.assertTrue(rec._holds)
            self.assertTrue(leave("ann", "lobby"))
            self.assertFalse(rec._holds)
            self.assertFalse(leave("ann", "lobby"))
        registry = manager._registry

        def leave_and_come_back(id: Hashable, room: Hashable) -> bool:
            was_in = type(registry).leave(registry, id, room)
            manager.join(member, "lobby", since=position)
            return was_in

        with mock.patch.object(rec, "ledger", None):
            manager.join(member, "lobby", since=position)
            with mock.patch.object(registry, "leave", leave_and_come_back):
                manager.leave("ann", "lobby")
        self.assertTrue(rec._holds)

    def test_the_history_cannot_be_read(self) -> None:
        """Then the member is in the room all the same, gets what came meanwhile, and is told that it may be missing."""
        manager = self.manager()
        member, client = self.join(manager)

        def read(*arguments: Any) -> Past:
            manager.broadcast_json({"n": 0}, room="lobby")
            raise BackplaneError("it is on fire")

        archive = manager._recall._archive  # type: ignore[union-attr]
        with mock.patch.object(archive, "read", read), self.assertLogs("syncws.manager", "WARNING") as logs:
            self.assertEqual(manager.join(member, "lobby", since="x"), Recovered("", (), False))
        self.assertIn("it is on fire", logs.output[0])
        self.assertEqual(client.receive_json(PATIENCE)["n"], 0)
        self.assertEqual(manager.count("lobby"), 1)

    def test_too_much_meanwhile(self) -> None:
        """A member for which more comes than is held while its history is read is closed with 1013."""
        manager = self.manager()
        member, client = self.join(manager)
        archive = manager._recall._archive  # type: ignore[union-attr]

        def read(*arguments: Any) -> Past:
            for _ in range(12):
                manager.broadcast("x", room="lobby")
            return MemoryArchive.read(archive, *arguments)  # type: ignore[arg-type]

        with mock.patch.object(archive, "read", read), mock.patch.object(recall, "_MOST_HELD", 10):
            manager.join(member, "lobby", since=None)
        self.assertRaisesRegex(Exception, "1013", client.receive, PATIENCE)
        self.assertFalse(manager._recall._holds)  # type: ignore[union-attr]

    def test_a_log_handler_that_broadcasts(self) -> None:
        """What is logged while members are posted to is told under no lock: a handler may broadcast, to any room."""
        for state in ("live", "held", "from the bus"):
            with self.subTest(state):
                manager = Manager(history=History(), send_queue=1, overflow="drop_newest")
                rec = manager._recall
                assert rec is not None
                admins = next(name for name in map(str, range(1_000)) if rec._turn(f'r:"{name}"') is rec._turn(LOBBY))
                member, _ = self.join(manager, "ann", ["lobby"])
                told: list[str] = []

                class ToAdmins(logging.Handler):
                    def emit(self, record: logging.LogRecord) -> None:
                        told.append(record.getMessage())  # noqa: B023
                        manager.broadcast("x", room=admins)  # noqa: B023
                        manager.broadcast("x", room="lobby")  # noqa: B023

                def post(members: Any, message: Any) -> int:
                    if len(told) < 3:  # noqa: B023
                        logging.getLogger("syncws.conn").warning("the send queue is full")
                    return len(members)

                handler = ToAdmins()
                logging.getLogger("syncws.conn").addHandler(handler)
                self.addCleanup(logging.getLogger("syncws.conn").removeHandler, handler)
                with mock.patch.object(rec, "_post", post):
                    if state == "live":
                        Task(manager.broadcast, "x", room="lobby").result()
                    elif state == "held":
                        Task(self.hold_and_release, rec, member).result()
                    else:
                        envelope = Envelope(Kind.ROOM, b"elsewhe1", 1, '"lobby"', None, b"x", begins=True)
                        take = rec.take
                        Task(take, "lobby", envelope, envelope.encode(), None, own=False).result()
                logging.getLogger("syncws.conn").removeHandler(handler)
                self.assertEqual(told, ["the send queue is full"] * 3)

    @staticmethod
    def hold_and_release(rec: recall.Recall, member: Any) -> None:
        hold = recall._Hold()
        rec._holds["lobby"] = {member: hold}
        rec._deliver("lobby", Kept(prepare("x"), frozenset(), frozenset()), None, own=False)
        assert hold.held
        rec._release(member, "lobby", hold, Past("", (), False))

    def test_threads_that_broadcast_at_once(self) -> None:
        """All members get a room's messages in one order, which is that of their positions."""
        manager = self.manager(size=1_000)
        clients = [self.join(manager, rooms=["lobby"])[1] for _ in range(3)]
        origin = manager.position("lobby")

        def broadcast(first: int) -> None:
            for n in range(first, first + 50):
                manager.broadcast_json({"n": n}, room="lobby")

        for task in [Task(broadcast, first) for first in (0, 100, 200, 300)]:
            task.result()
        orders = [[client.receive_json(PATIENCE)["n"] for _ in range(200)] for client in clients]
        self.assertEqual(orders, [orders[0]] * 3)
        self.assertEqual(numbers(self.come(manager, origin).messages), orders[0])


class ProcessesCase(RecallCase):
    """Two processes that each keep what they hear, on a bus as the local one is."""

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus(addressed=False, echoes=False, tells_ends=True)

    def manager(self, **options: Any) -> Manager:
        manager = Manager(history=History(**options), backplane=MemoryBackplane(self.bus))
        self.addCleanup(manager.end)
        manager.position("lobby")  # it is on the bus
        return manager

    def two(self, **options: Any) -> list[Manager]:
        managers = [self.manager(**options), self.manager(**options)]
        self.assertTrue(await_(lambda: all(each.backplane_health().nodes == 2 for each in managers)))  # type: ignore[union-attr]
        self.bus.settle()
        return managers


class ProcessesTests(ProcessesCase):
    def test_an_end_that_a_broadcast_waits_for(self) -> None:
        """It waits before its turn, which a thread of the bus may need that the end waits for."""
        bus = MemoryBus(addressed=False, echoes=False)
        manager = Manager(backplane=MemoryBackplane(bus), history=History())
        self.addCleanup(manager.end)
        relay, recall_ = manager._relay, manager._recall
        assert relay is not None and recall_ is not None
        with relay._lock.made:  # as `Relay.end` holds it
            task = Task(manager.broadcast, "hi", room="lobby")
            self.assertFalse(await_(lambda: any(turn.locked() for turn in recall_._turns), 0.2))
        self.assertEqual(task.result(), 0)

    def test_a_page_comes_back_to_another_process(self) -> None:
        """It gets what was broadcast in both, although nobody was in the room there."""
        one, other = self.two()
        _, client = self.join(one, rooms=["lobby"])
        one.broadcast_json({"n": 0}, room="lobby")
        since = client.receive_json(PATIENCE)["position"]
        one.broadcast_json({"n": 1}, room="lobby")
        other.broadcast_json({"n": 2}, room="lobby")
        self.bus.settle()
        recovered = self.come(other, since)
        self.assertTrue(recovered.recovered)
        self.assertEqual(sorted(numbers(recovered.messages)), [1, 2])
        self.assertEqual(sorted([client.receive_json(PATIENCE)["n"] for _ in range(2)]), [1, 2])

    def test_a_process_that_began_later(self) -> None:
        """It does not know what was before it, and says so; and neither does one that began anew."""
        one, other = self.two()
        _, client = self.join(one, rooms=["lobby"])
        one.broadcast_json({"n": 0}, room="lobby")
        since = client.receive_json(PATIENCE)["position"]
        other.end()
        one.broadcast_json({"n": 1}, room="lobby")
        for manager in (other, self.manager()):
            self.assertFalse(self.come(manager, since).recovered)
        self.assertEqual(numbers(self.come(one, since).messages), [1])

    def test_the_bus_was_away(self) -> None:
        """What was sent meanwhile is not known: no position from before is good, and those that are made then are."""
        one, other = self.two()
        since = other.position("lobby")
        self.bus.cut()
        self.bus.mend()
        self.bus.settle()
        self.assertFalse(self.come(one, since).recovered)
        one.broadcast_json({"n": 0}, room="lobby")
        since = one.position("lobby")
        one.broadcast_json({"n": 1}, room="lobby")
        self.assertEqual(numbers(self.come(one, since).messages), [1])

    def test_a_loss(self) -> None:
        """What was lost on the way to one process is known by all others, and there it is said."""
        one, other = self.two()
        since = one.position("lobby")
        one.broadcast_json({"n": 0}, room="lobby")
        self.bus.settle()
        other._relay.backplane.lose(1)  # type: ignore[union-attr, attr-defined]
        one.broadcast_json({"n": 1}, room="lobby")
        one.broadcast_json({"n": 2}, room="lobby")
        self.bus.settle()
        self.assertEqual(numbers(self.come(one, since).messages), [0, 1, 2])
        self.assertFalse(self.come(other, since).recovered)

    def test_a_process_ends(self) -> None:
        """After a goodbye nothing is missing; without, something may be."""
        for goodbye in (True, False):
            with self.subTest(goodbye=goodbye):
                one, other = self.two()
                since = one.position("lobby")
                other.broadcast_json({"n": 0}, room="lobby")
                self.bus.settle()
                if goodbye:
                    other.end()
                else:
                    other._relay.backplane.vanish()  # type: ignore[union-attr, attr-defined]
                self.bus.settle()
                self.assertIs(self.come(one, since).recovered, goodbye)
                one.end()
                other.end()

    def test_nobody_is_excluded_elsewhere_by_a_member(self) -> None:
        """A Member that is excluded is a connection of its process; elsewhere and later its id gets the message."""
        one, other = self.two()
        member, _ = self.join(one, "ann", ["lobby"])
        _, there = self.join(other, "bob", ["lobby"])
        since = other.position("lobby")
        one.broadcast_json({"n": 0}, room="lobby", exclude=[member])
        self.assertEqual(there.receive_json(PATIENCE)["n"], 0)
        self.assertEqual(numbers(self.come(other, since, "ann").messages), [0])


class ConstantStream:
    """Broadcasts {"n": 0}, {"n": 1} ... to the lobby from several managers, until it is stopped."""

    def __init__(self, managers: list[Manager], pause: float) -> None:
        self._over = threading.Event()
        self._count = itertools.count()
        self.sent: list[int] = []
        self._tasks = [Task(self._run, manager, pause) for manager in managers]

    def _run(self, manager: Manager, pause: float) -> None:
        while not self._over.wait(pause):
            n = next(self._count)
            manager.broadcast_json({"n": n}, room="lobby")
            self.sent.append(n)

    def stop(self) -> int:
        """Stop; how many were sent."""
        self._over.set()
        for task in self._tasks:
            task.result()
        return len(self.sent)


class StreamTests(RecallCase):
    """Pages that come and go under a constant stream: no hole, and nothing twice."""

    joins = 60
    pause = 0.005

    def managers(self) -> list[Manager]:
        return [self.manager(size=5_000)]

    def test_joins_under_a_constant_stream(self) -> None:
        """A page that comes back again and again, to whichever process, gets all that was sent, each message once."""
        managers = self.managers()
        since = managers[0].position("lobby")
        stream = ConstantStream(managers, self.pause)
        self.addCleanup(stream.stop)
        seen: list[int] = []
        for turn in range(self.joins):
            seen += self.visit(managers[turn % len(managers)], since, turn % 4)
            since = self.last
        sent = stream.stop()
        seen += self.visit(managers[0], since, missing=sent - len(seen))
        self.assertEqual(sorted(seen), list(range(sent)))

    def visit(self, manager: Manager, since: str, live: int = 0, missing: int = 0) -> list[int]:
        """What a page gets that comes back, and stays for some messages more, or until it has what is missing: the last
        ones may still be on their way."""
        member, client = self.join(manager)
        recovered = manager.join(member, "lobby", since=since)
        self.assertTrue(recovered.recovered)
        count = max(len(recovered.messages) + live, missing)
        got = [client.receive_json(PATIENCE) for _ in range(count)]
        self.last = got[-1]["position"] if got else since
        manager.unregister(member)
        client.close_now()
        return [each["n"] for each in got]


class ProcessesStreamTests(ProcessesCase, StreamTests):
    def managers(self) -> list[Manager]:
        return self.two(size=5_000)


if __name__ == "__main__":
    unittest.main()
