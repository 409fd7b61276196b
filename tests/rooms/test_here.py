"""The members of this process, as the relay asks for them."""

from __future__ import annotations

import unittest

from syncws import History, Manager
from syncws._rooms.here import MembersHere
from syncws.testing import MemoryBackplane, MemoryBus
from tests.tasks import PATIENCE

from .support import ManagerCase


class HereTests(ManagerCase):
    def test_the_members_here(self) -> None:
        """What the relay asks for: ids that the application gave, each once, and not those of connections."""
        manager = Manager(duplicate="many")
        for id in ("ann", "ann", None):
            self.join(manager, id, ["lobby"])
        here = MembersHere(manager._registry, manager._post, manager._close, manager._join_here)
        self.assertEqual((here.names(), here.count("lobby"), here.count(None)), (["ann"], 3, 3))
        self.assertEqual((len(here.ids("lobby")), here.rooms()), (2, {"lobby"}))

    def test_what_the_bus_has_kept_for_others(self) -> None:
        """A process without a history gives its members what the bus keeps for those that have one."""
        bus = MemoryBus(history=History())
        new = Manager(backplane=MemoryBackplane(bus))
        bus.archive, archive = None, bus.archive
        old = Manager(backplane=MemoryBackplane(bus))
        bus.archive = archive
        self.addCleanup(new.end)
        self.addCleanup(old.end)
        _, here = self.join(new, "ann", ["lobby"])
        _, there = self.join(old, "bob", ["lobby"])
        _, excluded = self.join(old, "eve", ["lobby"])
        new.broadcast("from the new one", room="lobby", exclude=["eve"])
        bus.settle()
        old.broadcast("from the old one", room="lobby")
        for peer, expected in (
            (here, ["from the new one", "from the old one"]),
            (there, ["from the new one", "from the old one"]),
            (excluded, ["from the old one"]),
        ):
            self.assertEqual([peer.receive(PATIENCE) for _ in expected], expected)

    def test_a_close_that_may_not_be_sent(self) -> None:
        """What comes from the bus with a code that RFC 6455 reserves closes nobody: nobody is out without an end."""
        closed: list[object] = []
        manager = Manager(on_close=lambda member, error: closed.append(error))
        member, peer = self.join(manager, "ann")
        for code, reason in ((1006, ""), (2**64, ""), (1000, "x" * 124), (1000, "\ud800")):
            with self.assertRaises(ValueError):
                manager._members_here().close("ann", code, reason)
        self.assertEqual((manager.get("ann"), closed), (member, []))
        manager.send("ann", "hi")
        self.assertEqual(peer.receive(5), "hi")


if __name__ == "__main__":
    unittest.main()
