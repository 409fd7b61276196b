"""Proves what a Manager on a bus promises while nothing is wrong with the bus: order, once, joins, junk, ends.

* Eight threads that are switched all the time: each thread's messages arrive elsewhere in their order, once.
* What is published elsewhere after a join has returned arrives.
* Junk on every channel is dropped and counted; members get nothing of it, and nothing ends.
* A Manager that used no backplane has no thread, and one that has ended has neither threads nor descriptors.
"""

from __future__ import annotations

import logging
import random
import socket
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

import syncws
from syncws._conn.conn import Conn
from syncws._net.transport import Transport
from syncws._relay.envelope import Envelope, Kind
from syncws.testing import await_
from tests.buses import RedisServer, need_client, need_server
from tests.partners import heavy
from tests.tasks import PATIENCE

from .bus import LOAD, BusCase
from .support import GuaranteeTestCase, note, size


class OrderTests(BusCase):
    bound = 180.0

    def check(self, bus: tuple[str, str]) -> None:
        each = size(300, 1500)
        sender, receiver = self.node(bus), self.node(bus)
        self.joined(sender, receiver)
        sender.ask("send_in_threads", count=8, each=each)
        report = receiver.await_(lambda report: bool(report["received"] >= 8 * each + 2))
        by_sender = report["by_sender"]
        got = [(by_sender[str(number)]["count"], by_sender[str(number)]["wrong"]) for number in range(8)]
        self.assertEqual(got, [(each, 0)] * 8)
        self.assertEqual((report["gaps"], report["health"]["duplicates"]), ([], 0))
        note(f"{bus[0]}: {8 * each} messages of eight threads arrived once, each thread's in their order")

    def test_on_a_local_bus(self) -> None:
        """8 threads x 1,500 messages to one room: all arrive, once, those of each thread in their order."""
        self.check(self.local())

    @heavy
    def test_on_redis(self) -> None:
        """The same on Redis."""
        need_server()
        need_client()
        with RedisServer() as server:
            self.check(("redis", server.url))


class Here:
    """A Manager in this process, and what became known to it."""

    def __init__(self, test: unittest.TestCase, backplane: Any) -> None:
        self.gaps: list[syncws.Gap] = []
        self.manager = syncws.Manager(backplane=backplane, on_gap=self.gaps.append, send_queue=4096)
        self._test = test
        test.addCleanup(self.manager.end, 2.0)

    def member(self, *rooms: str, id: str | None = None) -> tuple[syncws.Member, Conn]:
        """(a member, the other end of its connection)"""
        ours, theirs = socket.socketpair()
        options = syncws.ConnOptions(ping_interval=None)
        conn = Conn(Transport(ours), client=False, options=options)
        other = Conn(Transport(theirs), client=True, options=options)
        self._test.addCleanup(conn.close_now)
        self._test.addCleanup(other.close_now)
        return self.manager.register(conn, id, rooms), other

    def knows(self, count: int) -> bool:
        return await_(lambda: self.manager.backplane_health().nodes == count, PATIENCE)  # type: ignore[union-attr]


class RedisJoinTests(GuaranteeTestCase):
    bound = 180.0

    def setUp(self) -> None:
        need_server()
        need_client()
        super().setUp()
        self.server = self.enterContext(RedisServer())
        quiet = logging.NullHandler()  # what is lost is told to on_gap
        logging.getLogger("syncws").addHandler(quiet)
        self.addCleanup(logging.getLogger("syncws").removeHandler, quiet)

    def two(self) -> tuple[Here, Here]:
        here, there = (Here(self, syncws.RedisBackplane(self.server.url)) for _ in range(2))
        here.member()
        there.member()
        self.assertTrue(here.knows(2) and there.knows(2))
        return here, there

    def test_a_join_returns_once_it_hears(self) -> None:
        """What is published elsewhere after a join has returned arrives: 1,000 times of 1,000, also where it meets a
        reconnect, one time in ten. If that takes longer than the join waits, it is in a Gap."""
        here, there = self.two()
        member, client = here.member()
        lost, count = 0, size(100, 1000)
        for number in range(count):
            races, gaps = number % 10 == 9, len(here.gaps)
            if races:
                self.server.kill_clients("pubsub")
            room = f"room {number}"
            self.assertTrue(here.manager.join(member, room))
            there.manager.broadcast(str(number), room=room)
            if races:
                self.assertTrue(await_(lambda: self.is_up(here) and self.is_up(there), PATIENCE))
                there.manager.broadcast("later", room=room)
                got = [client.receive(timeout=PATIENCE)]
                if got != ["later"]:
                    got.append(client.receive(timeout=PATIENCE))
                if got != [str(number), "later"]:
                    self.assertEqual(got, ["later"])
                    self.assertTrue(await_(lambda gaps=gaps: len(here.gaps) > gaps, PATIENCE), "nobody said so")
                    lost += 1
            else:
                self.assertEqual(client.receive(timeout=PATIENCE), str(number))
            here.manager.leave(member, room)
        self.assertTrue(await_(lambda: self.is_up(here) and self.is_up(there), PATIENCE))
        self.assertLess(lost, count // 20, "joins do not wait for a connection that is back at once")
        note(f"{count} joins, {count // 10} of them into a reconnect: {lost} messages lost, each with a Gap")

    def is_up(self, here: Here) -> bool:
        health = here.manager.backplane_health()
        assert health is not None
        return health.up

    def test_many_rooms_are_back_at_once(self) -> None:
        """10,000 rooms are listened to again within a second of a connection's end."""
        here, there = self.two()
        rooms = [f"room {number}" for number in range(size(1000, 10_000))]
        _, client = here.member(*rooms)
        here.gaps.clear()
        self.assertGreaterEqual(self.server.kill_clients("pubsub"), 2)
        began = time.monotonic()
        self.assertTrue(await_(lambda: any(gap.node is None for gap in here.gaps), PATIENCE))
        seconds = time.monotonic() - began
        there.manager.broadcast("hello", room=rooms[-1])
        self.assertEqual(client.receive(timeout=PATIENCE), "hello")
        note(f"{len(rooms)} rooms were back {seconds:.3f} s after the connection was cut")
        self.assertLess(seconds, 1.0 * LOAD)


class JunkTests(GuaranteeTestCase):
    """Whatever is on the bus."""

    bound = 180.0

    def junk(self, node: str, count: int) -> list[tuple[str, bytes]]:
        """Random bytes, and envelopes that were changed somewhere, on every channel of a process."""
        script = random.Random(13)
        channels = ['r:"lobby"', 'i:"ann"', "*", f"n:{node}"]
        kinds = {
            'r:"lobby"': (Kind.ROOM, '"lobby"', {"exclude": ['"x"']}),
            'i:"ann"': (Kind.DO, '"ann"', {"do": "join", "room": '"y"'}),
            "*": (Kind.BEAT, "", {"host": "h", "pid": 1, "connections": 1, "rooms": 1}),
            f"n:{node}": (Kind.ANSWER, "", {"answer": 1}),
        }
        made = []
        for _ in range(count):
            channel = script.choice(channels)
            if script.random() < 0.5:
                made.append((channel, script.randbytes(script.randrange(60))))
                continue
            kind, target, extra = kinds[channel]
            data = bytearray(Envelope(kind, b"stranger", 1, target, extra, b"hi").encode())
            for _ in range(script.randrange(1, 4)):
                # Not in its name: each name would be another process.
                place = script.choice([*range(4), *range(20, len(data))])
                data[place] = script.randrange(256)
            made.append((channel, bytes(data)))
        return made

    def check(self, one: Any, other: Any) -> None:
        count = size(4_000, 100_000)
        here, there = Here(self, one), Here(self, other)
        _, client = here.member("lobby", id="ann")
        there.member()
        self.assertTrue(here.knows(2) and there.knows(2))
        relay = here.manager._relay
        assert relay is not None
        before = here.manager.backplane_health()
        assert before is not None
        outlet = other.outlet()
        self.addCleanup(outlet.close)
        with self.assertNoLogs("syncws", logging.ERROR):
            junk = self.junk(relay.node, count)
            for begin in range(0, count, 500):
                outlet.send(junk[begin : begin + 500], PATIENCE)
            there.manager.broadcast("the end", room="lobby")
            got = 0
            while client.receive(timeout=PATIENCE) != "the end":
                got += 1

        def is_counted() -> bool:  # on a local bus it came by another connection than the end
            health = here.manager.backplane_health()
            return health is not None and health.bad + health.foreign > count // 3

        self.assertTrue(await_(is_counted, PATIENCE))
        health = here.manager.backplane_health()
        assert health is not None
        self.assertTrue(health.up)
        self.assertEqual(health.reconnects, before.reconnects)
        note(f"{count} pieces of junk: {health.bad} bad, {health.foreign} foreign, {got} passed for a message")

    def test_on_redis(self) -> None:
        """100,000 random byte strings and changed envelopes on every channel: no exception, no lost connection."""
        need_server()
        need_client()
        server = self.enterContext(RedisServer())
        self.check(syncws.RedisBackplane(server.url), syncws.RedisBackplane(server.url))

    def test_on_a_local_bus(self) -> None:
        """The same on a local bus."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        self.check(syncws.LocalBackplane(path), syncws.LocalBackplane(path))


class EndTests(GuaranteeTestCase):
    """What a Manager leaves behind: `LeakChecks` looks for threads and descriptors."""

    def of_a_bus(self) -> list[str]:
        """The threads of this library, without the one that sends what waits for members."""
        names = [each.name for each in threading.enumerate()]
        return [name for name in names if name.startswith("syncws") and name != "syncws-drain"]

    def check(self, *backplanes: Any) -> None:
        unused = [syncws.Manager(backplane=each) for each in backplanes]
        self.assertEqual(self.of_a_bus(), [])
        for manager in unused:
            manager.end()  # of what was never used: nothing
        del unused
        nodes = [Here(self, each) for each in backplanes]
        for node in nodes:
            node.member("lobby")
        for node in nodes:
            self.assertTrue(node.knows(len(nodes)))
            node.manager.broadcast("hello", room="lobby")
        self.assertNotEqual(self.of_a_bus(), [])
        for node in nodes:
            node.manager.end(5.0)
        self.assertTrue(await_(lambda: not self.of_a_bus(), 1.0 * LOAD), self.of_a_bus())

    def test_on_redis(self) -> None:
        """No thread before the first use, and none a second after the end."""
        need_server()
        need_client()
        with RedisServer() as server:
            self.check(*(syncws.RedisBackplane(server.url) for _ in range(2)))

    def test_on_a_local_bus(self) -> None:
        """The same on a local bus."""
        with tempfile.TemporaryDirectory(prefix="bus") as folder:
            self.check(*(syncws.LocalBackplane(Path(folder, "bus")) for _ in range(2)))
