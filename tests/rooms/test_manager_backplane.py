"""Managers of several processes that a bus joins: what works by id or room works over all of them."""

from __future__ import annotations

import unittest
from typing import Any

from syncws import CloseError, Manager
from syncws.testing import MemoryBackplane, MemoryBus, await_

from .support import ManagerCase


class BackplaneCase(ManagerCase):
    bus_options: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus(**self.bus_options)

    def manager(self, **options: Any) -> Manager:
        manager = Manager(backplane=MemoryBackplane(self.bus), **options)
        self.addCleanup(manager.end)
        return manager

    def settle(self, *managers: Manager) -> None:
        self.bus.settle()
        for each in managers:
            relay = each._relay
            assert relay is not None
            self.assertTrue(await_(lambda relay=relay: not relay.deeds._running))


class EverywhereTests(BackplaneCase):
    def test_a_broadcast_reaches_all(self) -> None:
        """A broadcast to all and one to a room reach the members of both processes, and count those here."""
        one, other = self.manager(), self.manager()
        _, ann = self.join(one, "ann", ["lobby"])
        _, bob = self.join(other, "bob", ["lobby"])
        _, eve = self.join(other, "eve")
        self.assertEqual([one.broadcast("all"), one.broadcast("room", room="lobby")], [1, 1])
        self.bus.settle()
        self.assertEqual(other.broadcast("last"), 2)
        self.bus.settle()
        self.assertEqual([ann.receive(5) for _ in range(3)], ["all", "room", "last"])
        self.assertEqual([bob.receive(5) for _ in range(3)], ["all", "room", "last"])
        self.assertEqual([eve.receive(5) for _ in range(2)], ["all", "last"])

    def test_who_is_excluded(self) -> None:
        """An id is excluded everywhere; a Member is a connection, and it is here."""
        one, other = self.manager(duplicate="many"), self.manager(duplicate="many")
        member, here = self.join(one, "ann")
        _, there = self.join(other, "ann")
        one.broadcast("by id", exclude=["ann"])
        one.broadcast("by member", exclude=[member])
        one.broadcast("all")
        self.assertEqual([there.receive(5) for _ in range(2)], ["by member", "all"])
        self.assertEqual(here.receive(5), "all")

    def test_by_id(self) -> None:
        """send, join, leave and close reach an id wherever it is."""
        one, other = self.manager(), self.manager()
        self.join(one, "ann")
        member, bob = self.join(other, "bob")
        self.assertTrue(one.send("bob", b"hi"))
        self.assertEqual(bob.receive(5), b"hi")
        self.assertTrue(one.join("bob", "lobby"))
        self.settle(one, other)
        self.assertEqual(member.rooms, {"lobby"})
        one.broadcast("in", room="lobby")
        self.assertEqual(bob.receive(5), "in")
        self.assertTrue(one.leave("bob", "lobby"))
        self.settle(one, other)
        self.assertEqual(member.rooms, set())
        self.assertEqual(one.close("bob", 4000, "away"), 0)
        with self.assertRaises(CloseError) as closed:
            bob.receive(5)
        self.assertEqual((closed.exception.code, closed.exception.reason), (4000, "away"))

    def test_here_only(self) -> None:
        """local=True leaves the other processes alone."""
        one, other = self.manager(), self.manager()
        _, ann = self.join(one, "ann")
        member, bob = self.join(other, "bob")
        self.assertEqual(one.broadcast("here", local=True), 1)
        self.assertEqual(one.broadcast_json("here", local=True), 1)
        self.assertFalse(one.send("bob", "x", local=True))
        self.assertFalse(one.send_json("bob", "x", local=True))
        self.assertFalse(one.join("bob", "lobby", local=True))
        self.assertFalse(one.leave("bob", "lobby", local=True))
        self.assertEqual(one.close("bob", local=True), 0)
        one.broadcast("all")
        self.assertEqual(bob.receive(5), "all")
        self.assertEqual([ann.receive(5) for _ in range(3)], ["here", '"here"', "all"])
        self.assertEqual(member.rooms, set())

    def test_many(self) -> None:
        """With duplicates="many" an id stands for its connections in all processes."""
        one, other = self.manager(duplicate="many"), self.manager(duplicate="many")
        _, here = self.join(one, "ann")
        member, there = self.join(other, "ann")
        one.send("ann", "both")
        self.assertEqual([here.receive(5), there.receive(5)], ["both", "both"])
        one.join("ann", "lobby")
        self.settle(one, other)
        self.assertEqual(member.rooms, {"lobby"})

    def test_what_is_here_stays_about_here(self) -> None:
        """What only looks tells of this process: a Member is a connection."""
        one, other = self.manager(), self.manager()
        self.join(one, "ann", ["lobby"])
        self.join(other, "bob", ["lobby"])
        self.assertEqual((len(one), one.ids(), one.count("lobby"), "bob" in one), (1, ["ann"], 1, False))

    def test_what_cannot_travel(self) -> None:
        """A room or an id that other processes could not have is a TypeError, and nothing has changed."""
        one = self.manager()
        conn, _ = self.connect()
        with self.assertRaisesRegex(TypeError, "an id is a str"):
            one.register(conn, 1.5)
        with self.assertRaisesRegex(TypeError, "a room is a str"):
            one.register(conn, "ann", [b"lobby"])
        self.assertEqual(len(one), 0)
        one.register(conn, "ann")
        with self.assertRaisesRegex(TypeError, "a room is a str"):
            one.join("ann", b"lobby")
        with self.assertRaisesRegex(TypeError, "a room is a str"):
            one.broadcast("x", room=b"lobby")


class LocalTests(EverywhereTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


class OptionTests(BackplaneCase):
    def test_what_is_no_backplane(self) -> None:
        """A mistake in an option is told where it is made."""
        for options, error in (
            ({"backplane": "redis://localhost"}, TypeError),
            ({"backplane": MemoryBackplane}, TypeError),
            ({"backplane": MemoryBackplane(self.bus), "join_timeout": -1}, ValueError),
            ({"backplane": MemoryBackplane(self.bus), "join_timeout": "1"}, TypeError),
            ({"on_gap": 1}, TypeError),
            ({"on_bus": 1}, TypeError),
        ):
            with self.subTest(options), self.assertRaises(error):
                Manager(**options)

    def test_health(self) -> None:
        """How the bus is; None without one."""
        self.assertIsNone(Manager().backplane_health())
        one, other = self.manager(), self.manager()
        self.join(one, "ann")
        self.join(other, "bob")
        self.bus.settle()
        health = one.backplane_health()
        assert health is not None
        self.assertEqual((health.up, health.nodes, health.gaps), (True, 2, 0))


if __name__ == "__main__":
    unittest.main()
