"""What a manager counts."""

from __future__ import annotations

import threading
import unittest
from typing import Any
from unittest import mock

from syncws import Manager
from syncws._rooms.stats import Drops, ask
from syncws.testing import await_

from .support import ManagerCase


class StatsTests(ManagerCase):
    """Counts of a manager over real connections."""

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

    def test_joins_broadcasts_and_kicks(self) -> None:
        """A join counts if the member was not in the room; a kick if the manager closed it, or a newer one came."""
        manager = Manager()
        self.join(manager, "ann", ["a", "b"])
        manager.join("ann", "a")
        manager.join("ann", "c")
        manager.leave("ann", "c")
        manager.join("ann", "c")
        manager.broadcast("x", room="a")
        manager.broadcast_json({}, room="nobody")
        with self.assertRaises(TypeError):
            manager.broadcast(5)  # type: ignore[arg-type]
        stats = manager.stats()
        self.assertEqual((stats.joins, stats.broadcasts, stats.kicked), (4, 2, 0))
        self.join(manager, "ann")
        self.assertEqual(manager.stats().kicked, 1)
        self.join(manager, "bob")
        manager.unregister("bob")
        self.assertEqual(manager.close("bob"), 0)
        self.assertEqual((manager.close("ann"), manager.stats().kicked), (1, 2))
        self.join(manager, "cid")
        self.join(manager, "dan")
        self.assertEqual((manager.close_all(), manager.stats().kicked), (2, 4))

    def test_while_it_leaves(self) -> None:
        """What was dropped of a member whose on_close is under way is counted, and afterwards once, and at once."""
        seen = []
        manager = Manager(on_close=lambda member, error: seen.append(manager.stats().dropped))
        conn, _ = self.stuck()
        manager.register(conn, "ann", send_queue=1)
        for overflow in ("drop_newest", "drop_oldest"):
            conn.set_send_queue(overflow=overflow)  # type: ignore[arg-type]
            for _ in range(2):
                manager.send("ann", "x")
        self.assertEqual(manager.stats().dropped, 3)
        manager.unregister("ann")
        self.assertEqual((seen, manager.stats().dropped), ([3], 3))
        conn.close_now()
        self.assertEqual(manager.stats().dropped, 4)

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
            self.assertEqual((manager.stats().dropped, manager._registry.drops._left), (5, {}))

    def test_those_that_left_are_forgotten(self) -> None:
        """A connection that left with a full queue is kept only until that is empty, if nobody asks for counts too."""
        manager = Manager()
        conn, _ = self.stuck()
        manager.register(conn, "ann")
        manager.send("ann", "waits")
        manager.unregister("ann")
        self.assertEqual(list(manager._registry.drops._left), [conn])
        conn.close_now()
        self.join(manager, "bob")
        self.assertEqual(manager._registry.drops._left, {})
        self.assertEqual(manager.stats().dropped, 1)

    def test_drops_of_another_time(self) -> None:
        """A connection that comes again under another id brings no drops with it."""
        manager = Manager(send_queue=1, overflow="drop_newest")
        conn, _ = self.stuck()
        for id in ("guest", "ann", "ann b."):
            manager.register(conn, id)
            self.assertEqual(manager._registry.drops._left, {})  # a member counts for itself
            manager.send(id, "waits, or is dropped")
            manager.unregister(id)
        self.assertEqual(manager.stats().dropped, 2)


class Queue:
    """What counts of a connection: a send queue with five messages, which is dropped once one has looked at it."""

    def __init__(self) -> None:
        self._queued, self._dropped = 5, 0

    @property
    def queued(self) -> tuple[int, int]:
        return self._look(self._queued), 0

    @property
    def dropped(self) -> int:
        return self._look(self._dropped)

    def _look(self, value: int) -> int:
        self.cut()
        return value

    def cut(self) -> None:
        """Drop what waits."""
        self._queued, self._dropped = 0, self._queued + self._dropped


class Leaver:
    """What counts of a member."""

    def __init__(self, conn: Any, dropped_before: int = 0) -> None:
        self.conn = conn
        self._dropped_before = dropped_before


class DropsTests(unittest.TestCase):
    """Messages that are dropped while they are counted: each counts once."""

    def setUp(self) -> None:
        self.lock = threading.Lock()
        self.drops = Drops(self.lock)

    def end(self, member: Any, dropped: int, queued: int) -> None:
        with self.lock:
            self.drops.end(member, dropped, queued)

    def begin(self, member: Any) -> None:
        with self.lock:
            self.drops.begin(member)

    def total(self) -> int:
        with self.lock:
            return self.drops.total

    def test_a_queue_that_is_dropped_as_it_is_asked(self) -> None:
        """A connection that is cut between the two questions has dropped what waited, or still has it: not neither."""
        conn: Any = Queue()
        queued, dropped = ask(conn)
        self.end(Leaver(conn), dropped, queued)
        self.drops.look_again()
        self.assertEqual(self.total(), 5)
        self.drops.look_again()
        self.assertEqual((self.total(), self.drops._left), (5, {}))

    def test_a_queue_that_is_dropped_bit_by_bit(self) -> None:
        """Each look counts what was dropped since the one before."""
        conn: Any = mock.Mock(queued=(3, 0), dropped=0)
        self.end(Leaver(conn), 0, 3)
        for dropped in (1, 2, 3):
            conn.queued, conn.dropped = (3 - dropped, 0), dropped
            self.drops.look_again()
            self.assertEqual(self.total(), dropped)

    def test_one_that_comes_back(self) -> None:
        """What a connection dropped between two memberships is counted once, whatever was counted of it meanwhile."""
        for counted in (0, 3, 5):
            with self.subTest(counted=counted):
                self.drops = Drops(self.lock)
                conn: Any = object()
                self.end(Leaver(conn), counted, 1)
                self.begin(Leaver(conn, 3))
                self.end(Leaver(conn, 3), 7, 0)
                self.assertEqual((self.total(), self.drops._left), (7, {}))

    def test_two_that_look_at_once(self) -> None:
        """Two threads that look at the same connection, or one while it is a member again, count nothing twice."""
        drops = self.drops

        class Asked(Queue):
            """A connection whose first question is overtaken by what somebody else does."""

            def __init__(self, meanwhile: Any) -> None:
                super().__init__()
                self._meanwhile = meanwhile

            def _look(self, value: int) -> int:
                self.cut()
                meanwhile, self._meanwhile = self._meanwhile, None
                if meanwhile is not None:
                    meanwhile(self)
                return value

        def come_and_go(conn: Any) -> None:
            self.begin(Leaver(conn, 5))
            self.end(Leaver(conn, 5), 5, 1)

        for meanwhile in (lambda conn: drops.look_again(), lambda conn: self.begin(Leaver(conn, 5)), come_and_go):
            before = self.total()
            conn: Any = Asked(meanwhile)
            self.end(Leaver(conn), 0, 5)
            drops.look_again()
            self.assertEqual(self.total() - before, 5)
        drops.look_again()
        self.assertEqual((self.total() - before, drops._left), (5, {}))


if __name__ == "__main__":
    unittest.main()
