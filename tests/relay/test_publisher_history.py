"""What a Publisher sends to a room that remembers is there for who comes later, over Redis and over a local bus."""

from __future__ import annotations

import os
import tempfile
import unittest

from syncws import Backplane, History, LocalBackplane, Manager, Publisher, RedisBackplane
from syncws.testing import LeakChecks, pair
from tests.bus.locals import skip_without_unix_sockets
from tests.buses import RedisServer, need_client
from tests.tasks import PATIENCE


class HistoryTests(LeakChecks):
    def check(self, mine: Backplane, publisher: Publisher) -> None:
        manager = Manager(backplane=mine)
        self.addCleanup(manager.end)
        with publisher, pair() as (one, ann), pair() as (other, bob):
            early, late = manager.register(one, "ann"), manager.register(other, "bob")
            begin = manager.join(early, "lobby", since="")
            publisher.broadcast("one", room="lobby", timeout=PATIENCE)
            publisher.broadcast_json({"two": 2}, room="lobby", timeout=PATIENCE)
            publisher.broadcast("elsewhere", room="hall", timeout=PATIENCE)
            self.assertEqual(ann.receive(PATIENCE), "one")
            two = ann.receive_json(PATIENCE)
            self.assertEqual(two["two"], 2)
            recovered = manager.join(late, "lobby", since=begin.position)
            self.assertTrue(recovered.recovered)
            self.assertEqual(len(recovered.messages), 2)
            # Missed, and then what comes live: once each, in order.
            publisher.broadcast("three", room="lobby", timeout=PATIENCE)
            self.assertEqual((bob.receive(PATIENCE), bob.receive_json(PATIENCE)["two"]), ("one", 2))
            self.assertEqual(bob.receive(PATIENCE), "three")

    def test_redis(self) -> None:
        """The Publisher of a RedisBackplane with the same history keeps what it publishes."""
        need_client()
        server = self.enterContext(RedisServer())
        history = History()
        self.check(RedisBackplane(server.url, history=history), Publisher(RedisBackplane(server.url, history=history)))

    def test_local(self) -> None:
        """On a local bus the processes keep what they hear, and the Publisher needs no more than the address."""
        skip_without_unix_sockets()
        folder = os.path.join(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        self.check(LocalBackplane(folder, history=History()), Publisher(f"local:{folder}"))


if __name__ == "__main__":
    unittest.main()
