"""The registry: who is there, as whom, in which rooms."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import Any

from syncws import CloseError, DuplicateIdError, Manager, ManagerStats, Member
from syncws._rooms.registry import Predecessors, Registry
from tests.tasks import PATIENCE, Task

from .support import ManagerCase


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

    def test_an_empty_manager_is_true(self) -> None:
        """`if manager:` asks whether there is one, not whether somebody is in it; it reaches nobody."""
        manager = Manager()
        self.assertTrue(manager)
        self.assertEqual((manager.members(), list(manager), manager.broadcast("x")), ([], [], 0))


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
        self.assertFalse(bob.leave("garden"))
        self.assertEqual((manager.rooms(), manager.members("garden"), bob.rooms), ({"lobby"}, [], {"lobby"}))
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


class Unused:
    """Stands for a connection of which a registry may ask what its send queue has dropped, and nothing else."""

    queued = (0, 0)
    dropped = 0


class AloneTests(unittest.TestCase):
    """The registry without a manager: it calls nobody back, and reads and writes no connection."""

    def admit(self, registry: Registry, id: str, rooms: Sequence[str] = ()) -> tuple[Member, Predecessors]:
        """A new member that is registered, and opened."""
        conn: Any = Unused()
        member = Member(None, registry.lock, id, conn, in_run=False)  # type: ignore[arg-type]
        predecessors = registry.admit(member, rooms, CloseError(4001))
        self.assertTrue(registry.open(member))
        registry.end_register(member)
        return member, predecessors

    def test_a_life(self) -> None:
        """A member comes, joins, leaves, goes, and is forgotten, as far as the registry is concerned."""
        registry = Registry("many")
        ann, predecessors = self.admit(registry, "ann", ["lobby"])
        self.assertEqual(predecessors, ((), ()))
        registry.join("ann", "garden")
        registry.leave("ann", "lobby")
        self.assertEqual((registry.ids(), registry.rooms(), registry.count("garden")), (["ann"], {"garden"}, 1))
        self.assertEqual((registry.members("garden"), registry.members("lobby")), ((ann,), ()))
        self.assertFalse(registry.claim(ann))
        registry.take_out(ann, None)
        self.assertEqual((registry.find("ann"), registry.count()), ((), 0))
        self.assertTrue(registry.claim(ann))
        self.assertFalse(registry.claim(ann))
        registry.settle(ann)
        self.assertEqual(registry.stats(), ManagerStats(0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0))

    def test_taken_out_twice(self) -> None:
        """The first reason stays, and only the send that takes it out has something to hand over."""
        registry = Registry("many")
        ann, _ = self.admit(registry, "ann")
        lost, other = CloseError(1006), CloseError(4000)
        self.assertTrue(registry.take_out_lost(ann, lost))
        self.assertFalse(registry.take_out_lost(ann, other))
        registry.take_out(ann, other)
        self.assertIs(ann._error, lost)

    def test_whom_a_newer_one_waits_for(self) -> None:
        """For one whose on_close another thread has to call, however many wait; for none that has no on_close."""
        for opened in (True, False):
            with self.subTest(opened=opened):
                registry = Registry("replace")
                conn: Any = Unused()
                older = Task(Member, None, registry.lock, "ann", conn, in_run=True).result()  # its own thread's
                registry.admit(older, (), CloseError(4001))
                if opened:
                    registry.open(older)
                newer, predecessors = self.admit(registry, "ann")
                registry.take_out(newer, None)
                _, more = self.admit(registry, "ann")
                expected = registry.expect_settled(predecessors.leaving)
                self.assertEqual([member for member, _ in expected], [older] if opened else [])
                self.assertEqual(registry.expect_settled(more.leaving), expected)

    def test_predecessors(self) -> None:
        """The policy says who is taken out for a new member, and whose on_close comes before its on_open."""
        for duplicate, replaced in (("replace", True), ("reject", False), ("many", False)):
            with self.subTest(duplicate):
                registry = Registry(duplicate)
                older, _ = self.admit(registry, "ann")
                if duplicate == "reject":
                    with self.assertRaises(DuplicateIdError):
                        self.admit(registry, "ann")
                    registry.take_out(older, None)
                newer, predecessors = self.admit(registry, "ann")
                waits = duplicate != "many"
                self.assertEqual(predecessors, ((older,) if replaced else (), (older,) if waits else ()))
                self.assertEqual(registry.find("ann"), (newer,) if waits else (older, newer))
                registry.take_out(newer, None)
                _, predecessors = self.admit(registry, "ann")
                self.assertEqual(newer in predecessors.leaving, waits)


if __name__ == "__main__":
    unittest.main()
