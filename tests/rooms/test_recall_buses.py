"""Rooms that remember, over real buses: Redis and Valkey, which keep the history, and sockets of this host."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any

from syncws import History, LocalBackplane, Manager, RedisBackplane
from syncws.testing import await_
from tests.buses import Kind, RedisServer, need_client, need_server
from tests.tasks import PATIENCE

from .test_recall import ConstantStream, RecallCase, StreamTests, numbers

#: How often a page comes back, and how many seconds each of the two senders waits between two messages.
JOINS, PAUSE = (300, 0.005) if os.environ.get("SYNCWS_HEAVY") in ("1", "full") else (60, 0.005)


class BusCase(RecallCase):
    """Managers that stand for processes: each has a backplane of its own."""

    def backplane(self, **options: Any) -> Any:
        raise NotImplementedError

    def manager(self, **options: Any) -> Manager:
        manager = Manager(backplane=self.backplane(**options), join_timeout=PATIENCE)
        self.addCleanup(manager.end)
        return manager

    def two(self, **options: Any) -> list[Manager]:
        managers = [self.manager(**options), self.manager(**options)]
        for each in managers:
            each.position("lobby")
        self.assertTrue(await_(lambda: all(_nodes(each) == 2 for each in managers)))
        for one, other in (managers, managers[::-1]):  # each knows that the other hears everything
            self.assertTrue(await_(lambda one=one, other=other: self.come(one, other.position("lobby")).recovered))  # type: ignore[misc]
        return managers


def _nodes(manager: Manager) -> int:
    health = manager.backplane_health()
    return 0 if health is None or not health.up else health.nodes


class LocalCase(BusCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))

    def backplane(self, **options: Any) -> LocalBackplane:
        return LocalBackplane(os.path.join(self.folder, "bus"), history=History(**options))


class LocalStreamTests(LocalCase, StreamTests):
    joins, pause = JOINS, PAUSE

    def managers(self) -> list[Manager]:
        return self.two(size=5_000)


class RedisCase(BusCase):
    kind: Kind = "redis"
    server: RedisServer

    @classmethod
    def setUpClass(cls) -> None:
        need_client()
        cls.server = cls.enterClassContext(RedisServer(need_server(cls.kind)))

    def setUp(self) -> None:
        super().setUp()
        self.server.call("FLUSHALL")

    def backplane(self, **options: Any) -> RedisBackplane:
        return RedisBackplane(self.server.url, history=History(**options))


class RedisStreamTests(RedisCase, StreamTests):
    joins, pause = JOINS, PAUSE

    def managers(self) -> list[Manager]:
        return self.two(size=5_000)


class ValkeyStreamTests(RedisStreamTests):
    kind = "valkey"


class RedisTests(RedisCase):
    def test_one_order(self) -> None:
        """Members of all processes get a room's messages in one order, which is that of what is remembered."""
        one, other = self.two()
        clients = [self.join(manager, rooms=["lobby"])[1] for manager in (one, other)]
        since = one.position("lobby")
        stream = ConstantStream([one, other], 0.001)
        self.assertTrue(await_(lambda: len(stream.sent) > 60))
        sent = stream.stop()
        orders = [[client.receive_json(PATIENCE)["n"] for _ in range(sent)] for client in clients]
        self.assertEqual(orders[0], orders[1])
        self.assertEqual(sorted(orders[0]), list(range(sent)))
        self.assertEqual(numbers(self.come(other, since).messages), orders[0])

    def test_who_is_excluded(self) -> None:
        """The sender's own Member does not get what comes back from the bus; an id does not get it later either."""
        one, other = self.two()
        member, here = self.join(one, "ann", ["lobby"])
        _, there = self.join(other, "bob", ["lobby"])
        since = one.position("lobby")
        one.broadcast_json({"n": 0}, room="lobby", exclude=[member])
        one.broadcast_json({"n": 1}, room="lobby", exclude=["bob"])
        one.broadcast_json({"n": 2}, room="lobby")
        self.assertEqual([here.receive_json(PATIENCE)["n"] for _ in range(2)], [1, 2])
        self.assertEqual([there.receive_json(PATIENCE)["n"] for _ in range(2)], [0, 2])
        self.assertEqual(numbers(self.come(other, since, "bob").messages), [0, 2])

    def test_the_server_forgot(self) -> None:
        """After a restart of the server nothing is called recovered, and what is sent then is remembered anew."""
        one, other = self.two()
        _, client = self.join(one, rooms=["lobby"])
        one.broadcast_json({"n": 0}, room="lobby")
        since = client.receive_json(PATIENCE)["position"]
        self.assertTrue(self.come(other, since).recovered)
        self.server.call("FLUSHALL")
        self.assertFalse(self.come(other, since).recovered)
        one.broadcast_json({"n": 1}, room="lobby")
        again = client.receive_json(PATIENCE)["position"]
        self.assertFalse(self.come(other, since).recovered)
        one.broadcast_json({"n": 2}, room="lobby")
        self.assertEqual(client.receive_json(PATIENCE)["n"], 2)
        self.assertEqual(numbers(self.come(other, again).messages), [2])

    def test_while_the_server_is_away(self) -> None:
        """A broadcast waits for the server, for members here too; who comes back meanwhile is told that it may miss."""
        manager = Manager(backplane=self.backplane(), join_timeout=0.5)
        self.addCleanup(manager.end)
        _, client = self.join(manager, rooms=["lobby"])
        since = manager.position("lobby")
        self.server.stop()
        try:
            self.assertEqual(manager.broadcast_json({"n": 0}, room="lobby"), 1)
            with self.assertLogs("syncws.manager", "WARNING"):
                self.assertFalse(self.come(manager, since).recovered)
        finally:
            self.server.go_on()
        self.assertEqual(client.receive_json(PATIENCE)["n"], 0)
        self.assertTrue(await_(lambda: self.come(manager, since).recovered))


if __name__ == "__main__":
    unittest.main()
