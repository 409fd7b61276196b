"""What a manager counts."""

from __future__ import annotations

import unittest

from syncws import Manager
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

    def test_drops_of_another_time(self) -> None:
        """A connection that comes again under another id brings no drops with it."""
        manager = Manager(send_queue=1, overflow="drop_newest")
        conn, _ = self.stuck()
        for id in ("guest", "ann", "ann b."):
            manager.register(conn, id)
            manager.send(id, "waits, or is dropped")
            manager.unregister(id)
        self.assertEqual(manager.stats().dropped, 2)


if __name__ == "__main__":
    unittest.main()
