"""An id that several processes register: what each duplicate policy makes of it."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from syncws import CloseError, Conn, DuplicateIdError, Manager, Member
from syncws.testing import await_
from tests.tasks import PATIENCE, Task

from .test_everywhere import EverywhereCase

LOCAL = {"addressed": False, "echoes": False, "tells_ends": True}


class ReplaceTests(EverywhereCase):
    def test_the_newer_one(self) -> None:
        """The older one is closed with 4001 where it is, and its on_close is called there."""
        one, other = self.managers(2, **self.log.options())
        older, first = self.start(one, "ann", ["lobby"])
        self.wait(self.log.opened)
        _, second = self.join(other, "ann")
        older.result()
        with self.assertRaises(CloseError) as closed:
            first.receive(PATIENCE)
        self.assertEqual((closed.exception.code, closed.exception.reason), (4001, "replaced by a newer connection"))
        self.assertIn(("close", "ann", 4001), self.log.calls)
        self.assertEqual((len(one), len(other)), (0, 1))
        other.send("ann", "still here")
        self.assertEqual(second.receive(PATIENCE), "still here")

    def test_a_registered_one(self) -> None:
        """So is one that is registered; a thread of its own calls its on_close."""
        one, other = self.managers(2, **self.half())
        _, first = self.join(one, "ann")
        self.join(other, "ann")
        with self.assertRaises(CloseError) as closed:
            first.receive(PATIENCE)
        self.assertEqual(closed.exception.code, 4001)
        self.wait(self.log.closed)

    def test_on_open_does_not_wait_for_another_process(self) -> None:
        """An on_close that blocks holds up nobody elsewhere."""
        go_on = threading.Event()
        one = self.manager(on_close=lambda member, error: go_on.wait(PATIENCE))
        other = self.manager()
        self.join(one, "ann")
        self.join(other, "ann")
        self.assertIsNotNone(other.get("ann"))
        self.assertTrue(await_(lambda: one.get("ann") is None))
        go_on.set()
        self.settle(one, other)

    def test_ids_of_connections(self) -> None:
        """Who is known by its connection's id claims nothing: nobody else knows it."""
        one, other = self.managers(2)
        self.join(one)
        relay: Any = one._relay
        self.assertEqual(relay.claims._claims, {})
        self.join(other)
        self.assertEqual((len(one), len(other)), (1, 1))

    def test_a_member_that_left(self) -> None:
        """What is out claims nothing any more."""
        one, _ = self.managers(2)
        member, _ = self.join(one, "ann")
        relay: Any = one._relay
        self.assertEqual(list(relay.claims._claims), ["ann"])
        one.unregister(member)
        self.assertEqual(relay.claims._claims, {})

    def test_a_close_and_one_who_comes_meanwhile(self) -> None:
        """Who registers while a close of another process waits its turn is not closed by it."""
        one, other = self.managers(2)
        relay: Any = one._relay
        gate = threading.Event()
        relay.deeds.run(lambda: gate.wait(PATIENCE))
        self.join(one, "ann")
        other.close("ann", 4000)
        self.bus.settle()
        newer, _ = self.join(one, "ann")
        gate.set()
        self.settle(one, other)
        self.assertEqual(one.get_all("ann"), (newer,))


class LocalReplaceTests(ReplaceTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = LOCAL


class RaceTests(EverywhereCase):
    """Several processes register one id at the same time: at the end one member is left, everywhere."""

    processes = 2
    rounds = 200

    def test_replace(self) -> None:
        """The last one stays."""
        managers = self.managers(self.processes)
        for round in range(self.rounds):
            members = self.race(managers, f"user {round}")
            self.settle(*managers)
            self.assertEqual(sum(each.count() for each in managers), 1)
            self.leave(members)

    def test_reject(self) -> None:
        """One is accepted, and the others are refused."""
        managers = self.managers(self.processes, duplicate="reject", join_timeout=PATIENCE)
        for round in range(self.rounds):
            members = self.race(managers, f"user {round}")
            self.assertEqual([sum(each.count() for each in managers), len(members)], [1, 1])
            self.leave(members)

    def race(self, managers: list[Manager], id: str) -> list[Member]:
        """The members of those that were not refused."""
        gate = threading.Barrier(len(managers))

        def register(manager: Manager, conn: Conn) -> Member | None:
            gate.wait()
            try:
                return manager.register(conn, id)
            except DuplicateIdError:
                return None

        tasks = [Task(register, manager, self.connect()[0]) for manager in managers]
        return [member for task in tasks if (member := task.result()) is not None]

    def leave(self, members: list[Member]) -> None:
        for each in members:
            each._manager.unregister(each)  # type: ignore[attr-defined]


class LocalRaceTests(RaceTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = LOCAL


class FourTests(RaceTests):
    """Four processes."""

    processes = 4
    rounds = 100


class LocalFourTests(FourTests):
    """Four processes on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = LOCAL


class RejectTests(EverywhereCase):
    def test_a_second_one(self) -> None:
        """It is refused while the id is in another process: register raises, run closes with 4002."""
        one, other = self.managers(2, duplicate="reject", join_timeout=PATIENCE)
        member, _ = self.join(one, "ann")
        conn, client = self.connect()
        with self.assertRaises(DuplicateIdError):
            other.register(conn, "ann")
        other.run(conn, "ann")
        with self.assertRaises(CloseError) as closed:
            client.receive(PATIENCE)
        self.assertEqual(closed.exception.code, 4002)
        self.assertIsNotNone(one.get("ann"))
        one.unregister(member)
        self.join(other, "ann")

    def test_here(self) -> None:
        """One that is here is refused without a question."""
        one, other = self.managers(2, duplicate="reject", join_timeout=PATIENCE)
        self.join(one, "ann")
        backplane: Any = other._relay and other._relay.backplane
        backplane.hold()
        with self.assertRaises(DuplicateIdError):
            self.join(one, "ann")
        backplane.release()


class LocalRejectTests(RejectTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = LOCAL


class ManyTests(EverywhereCase):
    def test_many(self) -> None:
        """With "many" nobody claims anything."""
        one, other = self.managers(2, duplicate="many")
        for each in (one, other):
            self.join(each, "ann")
        self.settle(one, other)
        self.assertEqual((len(one), len(other)), (1, 1))


if __name__ == "__main__":
    unittest.main()
