"""The members of all processes, asked for."""

from __future__ import annotations

import unittest
from typing import Any

from syncws import Closed, CloseError, Count, Ids, Manager, Members, Sent
from syncws.testing import await_
from tests.tasks import PATIENCE

from .support import ManagerCase
from .test_manager_backplane import BackplaneCase


class EverywhereCase(BackplaneCase):
    def managers(self, count: int, **options: Any) -> list[Manager]:
        """Managers that know each other."""
        managers = [self.manager(**options) for _ in range(count)]
        for each in managers:
            each.everywhere.count(timeout=0.0)  # so each is on the bus
        self.assertTrue(await_(lambda: all(len(each.everywhere.nodes()) == count for each in managers)))
        return managers

    def name(self, manager: Manager) -> str:
        """What others call its process."""
        return manager.everywhere.nodes()[0].name


class AskTests(EverywhereCase):
    def test_count(self) -> None:
        """All members, and those of a room, here and elsewhere."""
        one, other = self.managers(2)
        self.join(one, "ann", ["lobby"])
        self.join(other, "bob", ["lobby"])
        self.join(other, "eve")
        self.assertEqual(one.everywhere.count(timeout=PATIENCE), Count(3, 2, (), True))
        self.assertEqual(other.everywhere.count("lobby", timeout=PATIENCE), Count(2, 2, (), True))
        self.assertEqual(one.everywhere.count(("a", 1), timeout=PATIENCE), Count(0, 2, (), True))

    def test_ids(self) -> None:
        """Each id once, those here first, at most so many."""
        one, other = self.managers(2, duplicate="many")
        self.join(one, "ann", ["lobby"])
        self.join(other, "ann", ["lobby"])
        self.join(other, "bob", ["lobby"])
        self.join(other, 42)
        ask = one.everywhere.ids
        self.assertEqual(ask("lobby", timeout=PATIENCE), Ids(["ann", "bob"], False, 2, (), True))
        self.assertEqual(set(ask(timeout=PATIENCE).ids), {"ann", "bob", 42})
        self.assertEqual(ask("lobby", 1, timeout=PATIENCE), Ids(["ann"], True, 2, (), True))
        self.assertEqual(ask("nobody", timeout=PATIENCE), Ids([], False, 2, (), True))

    def test_a_message_that_is_too_large(self) -> None:
        """It is refused before anybody gets it, here too."""
        one = self.manager(duplicate="many")
        _, ann = self.join(one, "ann")
        with self.assertRaisesRegex(ValueError, "too large"):
            one.everywhere.send("ann", "x" * one._relay.backplane.max_message)  # type: ignore[union-attr]
        one.send("ann", "next")
        self.assertEqual(ann.receive(5), "next")

    def test_members(self) -> None:
        """Each connection: its id, where it is, and since when."""
        one, other = self.managers(2, duplicate="many")
        for manager, id in ((one, "ann"), (other, "ann"), (other, None)):
            self.join(manager, id, ["lobby"])
        found = one.everywhere.members("lobby", timeout=PATIENCE)
        self.assertEqual((found.truncated, found.nodes, found.missing, found.complete), (False, 2, (), True))
        where = [(each.id, each.node) for each in found.members[:2]]
        self.assertEqual(where, [("ann", self.name(one)), ("ann", self.name(other))])
        self.assertEqual(len(found.members), 3)
        for each in found.members:
            self.assertGreaterEqual(each.age, 0.0)
            self.assertGreaterEqual(each.idle, 0.0)
        found = one.everywhere.members("lobby", 2, timeout=PATIENCE)
        self.assertEqual((len(found.members), found.truncated), (2, True))

    def test_send(self) -> None:
        """A message to an id elsewhere is confirmed; that to one who is here, and to a Member, needs nobody else."""
        one, other = self.managers(2)
        ann, here = self.join(one, "ann")
        _, there = self.join(other, "bob")
        self.assertEqual(one.everywhere.send("bob", "hi", timeout=PATIENCE), Sent(1, 2, (), True))
        self.assertEqual(one.everywhere.send("bob", b"yo", text=True, timeout=PATIENCE), Sent(1, 2, (), True))
        self.assertEqual([there.receive(PATIENCE) for _ in range(2)], ["hi", "yo"])
        self.assertEqual(one.everywhere.send("eve", "hi", timeout=PATIENCE), Sent(0, 2, (), True))
        for id in ("ann", ann):
            self.assertEqual(one.everywhere.send(id, "hi", timeout=PATIENCE), Sent(1))
            self.assertEqual(here.receive(PATIENCE), "hi")

    def test_close(self) -> None:
        """A close elsewhere is confirmed, and that of many is one of all."""
        one, other = self.managers(2, duplicate="many")
        _, here = self.join(one, "ann")
        _, there = self.join(other, "ann")
        self.join(other, "bob")
        self.assertEqual(one.everywhere.close("ann", 4000, "away", timeout=PATIENCE), Closed(2, 2, (), True))
        for client in (here, there):
            with self.assertRaises(CloseError) as closed:
                client.receive(PATIENCE)
            self.assertEqual((closed.exception.code, closed.exception.reason), (4000, "away"))
        self.assertEqual((len(one), len(other)), (0, 1))

    def test_nodes(self) -> None:
        """This process first, then the others that are alive."""
        one, other = self.managers(2)
        self.join(other, "bob", ["lobby"])
        here, there = one.everywhere.nodes()
        self.assertEqual((here.here, there.here, there.name), (True, False, self.name(other)))
        self.assertIsNone(here.lag)
        one.everywhere.count(timeout=PATIENCE)
        self.assertIsNotNone(one.everywhere.nodes()[1].lag)
        other.end()
        self.assertTrue(await_(lambda: len(one.everywhere.nodes()) == 1))

    def test_one_that_does_not_answer(self) -> None:
        """A process that is stopped is missing, by name, from each result, and nothing is raised for it."""
        one, other, third, stopped = self.managers(4, duplicate="many")
        for each in (one, other, third, stopped):
            self.join(each, "ann", ["lobby"])
        backplane: Any = stopped._relay and stopped._relay.backplane
        missing = (self.name(stopped),)
        backplane.hold()
        ask = one.everywhere
        self.assertEqual(ask.count("lobby"), Count(3, 3, missing, False))
        self.assertEqual(ask.ids("lobby"), Ids(["ann"], False, 3, missing, False))
        found = ask.members("lobby")
        self.assertEqual((len(found.members), found.nodes, found.missing, found.complete), (3, 3, missing, False))
        self.assertEqual(ask.send("ann", "hi"), Sent(3, 3, missing, False))
        self.assertEqual(ask.close("ann"), Closed(3, 3, missing, False))
        backplane.release()

    def test_what_is_wrong(self) -> None:
        """A mistake in an argument is told before anything is asked or sent."""
        one = self.manager()
        ask = one.everywhere
        for call in (
            lambda: ask.count(timeout=-1),
            lambda: ask.ids(limit=0),
            lambda: ask.members(limit=True),
            lambda: ask.count(1.5),
            lambda: ask.ids(b"lobby"),
            lambda: ask.send(b"ann", "x"),
            lambda: ask.send("ann", 1),  # type: ignore[arg-type]
            lambda: ask.close("ann", 1006),
        ):
            with self.assertRaises((TypeError, ValueError)):
                call()


class LocalAskTests(AskTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


class LostTests(EverywhereCase):
    def test_a_bus_that_is_lost(self) -> None:
        """While the bus is lost the result is that of this process, and says that it is not all."""
        one, other = self.managers(2)
        self.join(one, "ann")
        with self.assertLogs("syncws.relay", "ERROR"):
            self.bus.cut()
            self.settle(one, other)
            self.assertEqual(one.everywhere.count(timeout=PATIENCE), Count(1, 1, (self.name(other),), False))
            self.assertEqual(one.everywhere.send("bob", "x", timeout=PATIENCE).complete, False)
            self.bus.mend()
            self.settle(one, other)
        self.assertEqual(one.everywhere.count(timeout=PATIENCE), Count(1, 2, (), True))


class AloneTests(ManagerCase):
    def test_without_a_backplane(self) -> None:
        """The same code works in one process: it is all there is."""
        manager = Manager(duplicate="many")
        ask = manager.everywhere
        _, one = self.join(manager, "ann", ["lobby"])
        self.join(manager, ("any", b"thing"))
        self.assertEqual((ask.count(), ask.count("lobby")), (Count(2), Count(1)))
        self.assertEqual(ask.ids("lobby"), Ids(["ann"]))
        self.assertEqual(ask.ids(limit=1), Ids(["ann"], True))
        found = ask.members()
        self.assertEqual(found, Members(found.members))
        self.assertEqual([(each.id, each.node) for each in found.members], [("ann", ""), (("any", b"thing"), "")])
        self.assertEqual((ask.send("ann", "hi"), ask.send("bob", "hi")), (Sent(1), Sent(0)))
        self.assertEqual(one.receive(PATIENCE), "hi")
        self.assertEqual([ask.close("ann"), ask.close("ann")], [Closed(1), Closed(0)])
        (node,) = ask.nodes()
        self.assertEqual((node.name, node.connections, node.rooms, node.here), ("", 1, 0, True))


class PresenceTests(EverywhereCase):
    """A list of who is online, over three processes, as docs/guide.md has it."""

    def test_one_of_three_is_killed(self) -> None:
        """Each process sends the list anew when a gap is told: without those of the process that is gone."""
        managers: list[Manager] = []
        for place in range(3):  # each has its own callback, which knows its own manager
            managers.append(self.manager(on_gap=lambda gap, place=place: self._tell(managers[place])))
        clients = [self.join(manager, f"user {place}", ["lobby"])[1] for place, manager in enumerate(managers)]
        self.assertTrue(await_(lambda: all(len(each.everywhere.nodes()) == 3 for each in managers)))
        killed: Any = managers[2]._relay
        killed._pulse.end(5.0)
        killed.backplane.vanish()
        if not self.bus.tells_ends:
            for each in managers[:2]:
                self._beats_are_missing(each, killed.boot)
        for client in clients[:2]:
            self.assertEqual(client.receive(PATIENCE), "['user 0', 'user 1']")

    def _tell(self, manager: Manager) -> None:
        online = sorted(manager.everywhere.ids("lobby", timeout=PATIENCE).ids)
        manager.broadcast(str(online), room="lobby", local=True)

    def _beats_are_missing(self, manager: Manager, boot: bytes) -> None:
        relay: Any = manager._relay
        with relay.nodes._lock:
            relay.nodes._deadlines[boot] = 0.0
        relay._pulse.wake()


class LocalPresenceTests(PresenceTests):
    """The same on a bus that tells which process has ended."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


if __name__ == "__main__":
    unittest.main()
