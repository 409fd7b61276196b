"""Rooms that remember, over real buses: Redis and Valkey, which keep the history, and sockets of this host."""

from __future__ import annotations

import os
import tempfile
import threading
import unittest
from typing import Any
from unittest import mock

from syncws import History, LocalBackplane, Manager, RedisBackplane
from syncws._bus import localmesh, localpeer
from syncws._bus.localmesh import Mesh
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


def _reconnects(manager: Manager) -> int:
    """How often it was connected anew, if all is well now."""
    health = manager.backplane_health()
    return health.reconnects if health is not None and health.up else 0


def _dropped(manager: Manager) -> int:
    health = manager.backplane_health()
    return 0 if health is None else health.dropped_out


class LocalCase(BusCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))

    def backplane(self, **options: Any) -> LocalBackplane:
        return LocalBackplane(os.path.join(self.folder, "bus"), history=History(**options))


class StoppedTests(LocalCase):
    def test_a_process_that_is_stopped_before_its_first_beat(self) -> None:
        """What it had published is a gap where it did not come, and then nothing from before is recovered there.

        It is stopped when it has connected to those that are there, and what it said has not left it; then another one
        begins, which does not hear of it. Positions of the first one name that, as it has heard from nobody else.
        """
        self.enterContext(mock.patch.object(localmesh, "_SETTLING", 0.1))
        first = self.manager()
        first.position("lobby")
        gate, stopped, is_late = threading.Event(), list[Mesh](), threading.Event()
        meshes = [first._relay.backplane._mesh]  # type: ignore[union-attr]
        wait, send = Mesh._wait, localpeer._send

        def gated_wait(mesh: Mesh) -> None:
            if not stopped and not is_late.is_set() and mesh not in meshes:
                stopped.append(mesh)
            if mesh in stopped:
                gate.wait(PATIENCE)
            wait(mesh)

        def gated_send(sock: Any, data: bytes) -> int:
            return send(sock, data) if gate.is_set() or b"said" not in data else 0

        with mock.patch.object(Mesh, "_wait", gated_wait), mock.patch.object(localpeer, "_send", gated_send):
            self.addCleanup(gate.set)
            halted = self.manager()
            halted.broadcast("said", room="lobby")
            self.assertTrue(await_(lambda: stopped))
            is_late.set()
            gaps: list[Any] = []
            last = Manager(backplane=self.backplane(), join_timeout=PATIENCE, on_gap=gaps.append)
            self.addCleanup(last.end)
            last.position("lobby")
            self.assertTrue(await_(lambda: self.come(last, first.position("lobby")).recovered))
            since = first.position("lobby")
            gaps.clear()
            gate.set()
            self.assertTrue(await_(lambda: gaps))
            self.assertIn("answered late", gaps[0].reason)
            self.assertFalse(self.come(last, since).recovered)
            self.assertTrue(await_(lambda: self.come(first, since).messages == ("said",)))


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

    def test_a_server_that_lost_the_newest(self) -> None:
        """A member that has come back gets all that is sent after a restart that lost what it had been sent."""
        one, other = self.two()
        _, client = self.join(one, rooms=["lobby"])
        one.broadcast_json({"n": 0}, room="lobby")
        since = client.receive_json(PATIENCE)["position"]
        self.server.call("SAVE")
        for n in (1, 2, 3):
            one.broadcast_json({"n": n}, room="lobby")
        self.assertTrue(await_(lambda: numbers(self.come(other, since).messages) == [1, 2, 3]))
        member, back = self.join(other)
        self.assertTrue(other.join(member, "lobby", since=since).recovered)
        self.assertEqual([back.receive_json(PATIENCE)["n"] for _ in range(3)], [1, 2, 3])
        ups = [_reconnects(each) for each in (one, other)]
        self.server.kill()
        self.server.start()
        for each, before in zip((one, other), ups, strict=True):
            self.assertTrue(await_(lambda each=each, before=before: _reconnects(each) > before))  # type: ignore[misc]
        self.assertFalse(self.come(other, since).recovered)
        for n in (4, 5):
            other.broadcast_json({"n": n}, room="lobby")
            self.assertEqual(back.receive_json(PATIENCE)["n"], n)

    def test_what_was_refused(self) -> None:
        """A broadcast that a full server has refused is a hole: nobody is told to have all, now or later."""
        one, other = self.two()
        _, client = self.join(one, rooms=["lobby"])
        one.broadcast_json({"n": 0}, room="lobby")
        since = client.receive_json(PATIENCE)["position"]
        self.server.call("CONFIG", "SET", "maxmemory", 1)
        try:
            with self.assertLogs("syncws", "WARNING"):
                one.broadcast_json({"n": 1}, room="lobby")
                self.assertTrue(await_(lambda: _dropped(one) == 1))
        finally:
            self.server.call("CONFIG", "SET", "maxmemory", 0)
        self.assertTrue(await_(lambda: not self.come(other, since).recovered))
        one.broadcast_json({"n": 2}, room="lobby")
        again = client.receive_json(PATIENCE)["position"]
        self.assertFalse(self.come(other, since).recovered)
        self.assertTrue(self.come(other, again).recovered)

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
