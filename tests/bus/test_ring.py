"""ring.py: several buses as one."""

from __future__ import annotations

import unittest
from collections import Counter

from syncws import History, Manager, RedisBackplane, RingBackplane
from syncws._bus.backplane import BusHealth
from syncws._bus.memory import MemoryBackplane, MemoryBus
from syncws._bus.recorder import Recorder
from syncws._bus.ring import Round, place
from syncws.testing import BackplaneCases, LeakChecks, await_
from tests.buses import RedisServer, need_client, need_server
from tests.partners import heavy
from tests.tasks import PATIENCE


class MemoryRing(BackplaneCases, LeakChecks):
    """A ring passes what every backplane has to pass."""

    joins_processes = False

    def setUp(self):
        super().setUp()
        self.buses = [MemoryBus(max_message=1 << 16, history=History(size=10)) for _ in range(3)]

    def make(self):
        return RingBackplane(map(MemoryBackplane, self.buses))

    def break_bus(self):
        for bus in self.buses:
            bus.cut()

    def mend_bus(self):
        for bus in self.buses:
            bus.mend()

    def inject(self, channel, data):
        self.buses[place(channel, len(self.buses))].inject(channel, data)


@heavy
class RedisRing(BackplaneCases, LeakChecks):
    """The same on two servers of Redis."""

    def setUp(self):
        need_client()
        need_server()
        super().setUp()
        self.servers = [self.enterContext(RedisServer()) for _ in range(2)]

    def make(self):
        urls = [server.url for server in self.servers]
        return RingBackplane([RedisBackplane(url, beat=0.2, patience=3.0, history=History()) for url in urls])

    def break_bus(self):
        for server in self.servers:
            server.kill()

    def mend_bus(self):
        for server in self.servers:
            server.start()

    def inject(self, channel, data):
        self.servers[place(channel, 2)].call("PUBLISH", f"syncws:0:{channel}", data)


class PlaceTests(unittest.TestCase):
    """Which bus a channel has."""

    def test_for_good(self):
        """It is the same in every process and every version: whoever changes the hash loses messages."""
        self.assertEqual([place(f"r:{number}", 3) for number in range(12)], [0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 2])

    def test_even(self):
        """Each bus has about as many channels."""
        counts = Counter(place(f"r:{number}", 4) for number in range(4000))
        self.assertEqual(sorted(counts), [0, 1, 2, 3])
        self.assertGreater(min(counts.values()), 800)

    def test_one_more(self):
        """With one more bus a channel stays where it is, or moves to the new one."""
        for number in range(1000):
            before, after = place(f"r:{number}", 4), place(f"r:{number}", 5)
            self.assertIn(after, (before, 4))


class RingTests(LeakChecks):
    """A ring of two in memory."""

    def setUp(self):
        super().setUp()
        self.buses = [MemoryBus(), MemoryBus()]
        self.on = [next(f"c{n}" for n in range(99) if place(f"c{n}", 2) == bus) for bus in (0, 1)]

    def join(self):
        """(a ring on both buses, its sink)"""
        ring, sink = RingBackplane(map(MemoryBackplane, self.buses)), Recorder()
        self.addCleanup(ring.close, 0)
        ring.start(sink, "0" * 16)
        self.assertTrue(ring.subscribe(self.on, PATIENCE))
        return ring, sink

    def test_one_bus_is_lost(self):
        """The ring is lost with it, once, and the other bus goes on; it is there when all are there again."""
        (here, _), (there, sink) = self.join(), self.join()
        self.assertTrue(sink.wait(lambda: sink.story == ["up"], PATIENCE))
        began = sink.proofs[0]
        self.buses[0].cut("away")
        self.assertTrue(sink.wait(lambda: sink.story == ["up", "down"], PATIENCE))
        self.buses[1].cut("away")
        self.buses[1].mend()
        here.publish(self.on[1], b"meanwhile")
        self.assertTrue(sink.wait(lambda: sink.on(self.on[1]) == [b"meanwhile"], PATIENCE))
        self.assertEqual((sink.story, sink.reasons), (["up", "down"], ["away"]))
        health = there.health()
        self.assertEqual((health.up, health.error, health.reconnects), (False, "away", 1))
        self.assertFalse(there.subscribe(["new", *self.on], 0.0))
        self.buses[0].mend()
        self.assertTrue(sink.wait(lambda: sink.story == ["up", "down", "up"], PATIENCE))
        self.assertGreater(sink.proofs[1], began)
        self.assertEqual(there.health().up, True)

    def test_a_loss_before_all_were_there(self):
        """A bus that breaks while another one is not there yet has a gap once both are: it was there before."""
        late, broken = MemoryBus(), MemoryBus()
        late.cut()
        gaps = []
        manager = Manager(backplane=RingBackplane([MemoryBackplane(late), MemoryBackplane(broken)]), on_gap=gaps.append)
        self.addCleanup(manager.end)
        with self.assertLogs("syncws.relay"):
            manager.broadcast("x")
            broken.settle()
            broken.cut("it broke")
            broken.settle()
            broken.mend()
            broken.settle()
            self.assertFalse(manager.backplane_health().up)
            late.mend()
            self.assertTrue(await_(lambda: gaps))
        self.assertEqual([(gap.missed, "it broke" in gap.reason) for gap in gaps], [(None, True)])

    def test_all_were_late(self):
        """Where the buses come one after the other, and none breaks, nothing was lost."""
        for breaks in (False, True):
            told = Recorder()
            begun = Round(told, 2)
            begun.down(0, "not there")
            begun.down(1, "not there")
            begun.up(1, 5.0)
            if breaks:
                begun.down(1, "broken")
                begun.down(1, "still broken")
                begun.up(1, 6.0)
            begun.up(0, 7.0)
            self.assertEqual(told.story, ["down", "up", "down", "up"] if breaks else ["down", "up"])
            self.assertEqual(told.proofs, [5.0] * (1 + breaks))
            self.assertEqual(told.reasons, ["not there", "broken"][: 1 + breaks])
            begun.down(0, "again")
            begun.up(0, 8.0)
            self.assertEqual(told.story[-2:], ["down", "up"])
            self.assertEqual(told.proofs[-1], 8.0)

    def test_managers(self):
        """Managers on a ring are joined, whatever bus a room is on."""
        here, there = (Manager(backplane=RingBackplane(map(MemoryBackplane, self.buses))) for _ in range(2))
        for manager in (here, there):
            self.addCleanup(manager.end)
            manager.broadcast("hello")
        for bus in self.buses:
            bus.settle()
        self.assertEqual(here.backplane_health().nodes, 2)
        self.assertEqual(there.backplane_health().nodes, 2)

    def test_health_before_the_start(self):
        """It is not up, and the reason says so."""
        ring = RingBackplane([MemoryBackplane(), MemoryBackplane()])
        self.assertEqual(ring.health(), BusHealth(up=False, error="it was not started"))
        self.assertIn("RingBackplane of <MemoryBackplane", repr(ring))

    def test_an_outlet(self):
        """What it sends goes to the channel's bus."""
        _, sink = self.join()
        outlet = RingBackplane(map(MemoryBackplane, self.buses)).outlet()
        outlet.send([(channel, channel.encode()) for channel in self.on], PATIENCE)
        outlet.close()
        self.assertTrue(sink.wait(lambda: len(sink.received_all) == 2, PATIENCE))
        for channel in self.on:
            self.assertEqual(sink.on(channel), [channel.encode()])

    def test_a_start_that_fails(self):
        """If one cannot be started, those before it are closed again, and nothing is told."""

        class NoThread(MemoryBackplane):
            def start(self, sink, node):
                raise RuntimeError("no thread")

        first, sink = MemoryBackplane(), Recorder()
        with self.assertRaisesRegex(RuntimeError, "no thread"):
            RingBackplane([first, NoThread()]).start(sink, "0" * 16)
        self.assertFalse(first.health().up)

    def test_wrong_backplanes(self):
        """What makes no ring is refused, and the message says why."""
        one, history = MemoryBackplane(), MemoryBackplane(MemoryBus(history=History()))
        for backplanes, error, words in (
            ([], ValueError, "at least one"),
            ([one, one], ValueError, "there twice"),
            ([one, "redis://"], TypeError, "not 'redis://'"),
            ([one, MemoryBackplane], TypeError, "not <class"),
            ([one, MemoryBackplane(MemoryBus(echoes=False))], ValueError, "of one kind"),
            ([one, history], ValueError, "the same history"),
            ([history, MemoryBackplane(MemoryBus(history=History(size=1)))], ValueError, "the same history"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                RingBackplane(backplanes)
