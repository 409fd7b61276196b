"""How many connections there are, asked by a program that has none."""

from __future__ import annotations

import threading
import unittest

from syncws import BackplaneError, Publisher
from syncws._relay.headcount import Nobody, headcount
from syncws.testing import MemoryBackplane, MemoryBus, await_
from tests.tasks import PATIENCE, Task

from .support import RelayCase, text


class HeadcountTests(RelayCase):
    def test_count(self) -> None:
        """Those of all processes, in a room or in all; it starts no thread that stays, and is gone for the others."""
        one, other = self.two()
        one.here.connections, other.here.connections = 3, 4
        threads = threading.active_count()
        with Publisher(MemoryBackplane(self.bus)) as publisher:
            for room in (None, "lobby", 42):
                told = publisher.count(room, timeout=PATIENCE)
                self.assertEqual((told.connections, told.nodes, told.missing, told.complete), (7, 2, (), True))
            publisher.broadcast("after", room="lobby")
        self.assertEqual(threading.active_count(), threads)
        self.settle(one, other)
        self.assertEqual((one.texts, one.gaps), (["after"], []))
        self.assertTrue(await_(lambda: len(one.relay.nodes.alive()) == 1))

    def test_others_act_on_it(self) -> None:
        """What others send, close and move while it asks finds nobody, and nothing is said of it."""
        nobody = Nobody()
        self.assertEqual((nobody.send("ann", text("x")), nobody.close("ann", 1000, "")), (0, 0))
        self.assertFalse(nobody.join("ann", "lobby") or nobody.leave("ann", "lobby") or nobody.has("ann"))
        self.assertFalse(nobody.find("ann") or nobody.members(None) or nobody.ids(None) or nobody.remembers("lobby"))
        nobody.replace("ann")

    def test_nobody_else(self) -> None:
        """Without another process it is nobody, and that is all."""
        told = headcount(MemoryBackplane(self.bus), None, PATIENCE)
        self.assertEqual((told.connections, told.nodes, told.complete), (0, 0, True))

    def test_who_does_not_answer(self) -> None:
        """A part is a result: who does not answer in time is missing."""
        one, other = self.two()
        one.here.connections = 3
        begin = Task(headcount, MemoryBackplane(self.bus), None, 2.0)
        self.assertTrue(await_(lambda: len(other.relay.nodes.alive()) == 2))
        self.bus.settle()
        other.backplane.hold()
        self.addCleanup(other.backplane.release)
        told = begin.result()
        self.assertIn((told.connections, told.nodes, len(told.missing)), [(3, 1, 1), (3, 2, 0)])

    def test_no_bus(self) -> None:
        """A bus that is not there is an error, and nothing stays."""
        bus = MemoryBus()
        bus.cut("the server is away")
        with (
            self.assertLogs("syncws.relay", "ERROR"),
            self.assertRaisesRegex(BackplaneError, "not there to ask: the server is away"),
        ):
            Publisher(MemoryBackplane(bus)).count(timeout=0.1)

    def test_bad_values(self) -> None:
        """What is no room is a TypeError, and nothing is started."""
        publisher = Publisher(MemoryBackplane(self.bus))
        with self.assertRaisesRegex(TypeError, "a room is a str"):
            publisher.count(1.5)
        with self.assertRaisesRegex(ValueError, "timeout must be more than 0"):
            publisher.count(timeout=0)

    def test_nobody(self) -> None:
        """It has no members, whatever is asked of it."""
        nobody = Nobody()
        self.assertEqual([nobody.count(None), nobody.close("a", 1000, ""), nobody.send("a", None)], [0, 0, 0])  # type: ignore[arg-type]
        self.assertFalse(nobody.find("a") or nobody.has("a") or nobody.ids(None) or nobody.members(None))


if __name__ == "__main__":
    unittest.main()
