"""memory.py: a bus for tests, with a lever for each thing that goes wrong."""

from __future__ import annotations

import os
import threading
import unittest
from unittest import mock

from syncws._bus.memory import MemoryBackplane, MemoryBus
from syncws._bus.recorder import Received, Recorder
from syncws.errors import BackplaneError, BackplaneTimeout
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


class OnABus(LeakChecks):
    """Two backplanes on a bus, both on the channel "a"."""

    def setUp(self):
        super().setUp()
        self.bus = MemoryBus()
        self.here, self.here_sink = self.join()
        self.there, self.there_sink = self.join()

    def join(self, bus=None):
        """(a backplane on the bus, its sink)"""
        backplane, sink = MemoryBackplane(bus or self.bus), Recorder()
        self.addCleanup(backplane.close, 0)
        backplane.start(sink, f"{id(backplane):016x}")
        backplane.subscribe(["a"], 0)
        return backplane, sink

    def publish(self, *texts, channel="a"):
        for text in texts:
            self.assertTrue(self.here.publish(channel, text))


class Delivery(OnABus):
    """What arrives where, and in which order."""

    def test_everybody_who_subscribed(self):
        """What is published on a channel arrives at all who are on it, in order, at the publisher too."""
        self.there.unsubscribe(["b"])  # unknown: no error
        self.publish(b"1", b"2")
        self.publish(b"3", channel="b")
        self.there.publish("a", bytearray(b"4"))
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a"), [b"1", b"2", b"4"])
        self.assertEqual(self.there_sink.received_all, self.here_sink.received_all)
        self.assertEqual(self.there_sink.received_all[0], Received("a", b"1", None))
        self.there.unsubscribe(["a"])
        self.publish(b"5")
        self.bus.settle()
        self.assertEqual((self.here_sink.on("a")[-1], self.there_sink.on("a")[-1]), (b"5", b"4"))

    def test_not_addressed(self):
        """On a bus that is not addressed everything arrives, subscribed or not."""
        bus = MemoryBus(addressed=False)
        here, _ = self.join(bus)
        _, sink = self.join(bus)
        self.assertEqual((here.addressed, here.echoes), (False, True))
        here.publish("b", b"1")
        bus.settle()
        self.assertEqual(sink.on("b"), [b"1"])

    def test_no_echoes(self):
        """On a bus without echoes what is published does not arrive at its publisher."""
        bus = MemoryBus(echoes=False)
        here, here_sink = self.join(bus)
        _, sink = self.join(bus)
        self.assertEqual((here.addressed, here.echoes), (True, False))
        here.publish("a", b"1")
        bus.settle()
        self.assertEqual((here_sink.on("a"), sink.on("a")), ([], [b"1"]))

    def test_an_answer(self):
        """What a sink publishes when it is told something has been delivered as well once the bus has settled."""
        answered = self.there_sink.received
        self.there_sink.received = lambda *what: (answered(*what), what[1] == b"?" and self.there.publish("a", b"!"))
        self.publish(b"?")
        self.bus.settle()
        self.assertEqual(self.here_sink.on("a"), [b"?", b"!"])

    def test_a_sink_that_raises(self):
        """An exception of a sink is seen by the test, and the bus goes on."""
        seen, hook = [], threading.excepthook
        self.addCleanup(setattr, threading, "excepthook", hook)
        threading.excepthook = lambda arguments: seen.append(arguments.exc_type)
        self.there_sink.down = lambda reason: 1 / 0
        self.there.cut()
        self.there.mend()
        self.publish(b"1")
        self.bus.settle()
        self.assertEqual((seen, self.there_sink.on("a")), ([ZeroDivisionError], [b"1"]))

    def test_too_large(self):
        """A message over max_message is a ValueError that says both sizes, and nothing else is changed."""
        bus = MemoryBus(max_message=3)
        here, sink = self.join(bus)
        with self.assertRaisesRegex(ValueError, "4 bytes; max_message is 3"):
            here.publish("a", b"1234")
        here.publish("a", b"123")
        bus.settle()
        self.assertEqual((here.max_message, sink.on("a")), (3, [b"123"]))

    def test_injected(self):
        """What is injected arrives as if somebody else had published it."""
        self.bus.inject("a", b"junk")
        self.bus.settle()
        self.assertEqual((self.here_sink.on("a"), self.there_sink.on("a")), ([b"junk"], [b"junk"]))


class Levers(OnABus):
    """What goes wrong when a test wants it."""

    def test_lose(self):
        """As many messages as were asked for do not reach one backplane; the other gets them."""
        self.there.lose(2)
        self.publish(b"1", b"2", b"3")
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a"), [b"3"])
        self.assertEqual(self.here_sink.on("a"), [b"1", b"2", b"3"])
        self.assertEqual(self.there_sink.dropped_all, {})

    def test_drop_out(self):
        """A message that is taken and not sent is told to its publisher, and counted."""
        self.here.drop_out(2)
        self.publish(b"1", b"2", b"3")
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.here_sink.dropped_all), ([b"3"], {"a": 2}))
        self.assertEqual(self.here.health().dropped_out, 2)

    def test_twice(self):
        """The last messages of one sender are sent once more, in order."""
        self.publish(b"1", b"2", b"3")
        self.there.publish("a", b"4")
        self.here.twice(2)
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a"), [b"1", b"2", b"3", b"4", b"2", b"3"])
        self.here.twice()
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a")[6:], [b"1", b"2", b"3"])

    def test_cut_and_mended(self):
        """A backplane that lost the bus misses what others publish; what it publishes itself waits, and goes out."""
        self.there.cut("a shark")
        self.there.cut("another")  # it is cut already
        self.publish(b"missed")
        self.there.publish("a", b"kept")
        self.assertFalse(self.there.flush(0.01))
        self.assertFalse(self.there.subscribe(["a"], PATIENCE))  # known to be lost: it does not wait
        self.bus.settle()
        health = self.there.health()
        self.assertEqual(
            (health.up, health.error, health.queued_messages, health.queued_bytes), (False, "a shark", 1, 4)
        )
        self.assertEqual(self.here_sink.on("a"), [b"missed"])
        self.there.mend()
        self.there.mend()
        self.assertTrue(self.there.flush(0))
        self.bus.settle()
        self.assertEqual((self.there_sink.story, self.there_sink.reasons), (["up", "down", "up"], ["a shark"]))
        self.assertEqual(self.there_sink.proofs, sorted(self.there_sink.proofs))
        self.assertEqual((self.there_sink.on("a"), self.here_sink.on("a")), ([b"kept"], [b"missed", b"kept"]))
        health = self.there.health()
        self.assertEqual((health.up, health.error, health.reconnects, health.published), (True, None, 1, 1))

    def test_mended_without_what_was_kept(self):
        """By choice, what was published meanwhile is told to be lost, before the bus is up."""
        story = []
        self.bus.settle()
        self.there_sink.dropped = lambda counts: story.append(counts)
        self.there_sink.up = lambda proven: story.append("up")
        self.there.cut()
        for channel in ("a", "b", "a"):
            self.there.publish(channel, b"lost")
        self.there.mend(resend=False)
        self.bus.settle()
        self.assertEqual((story, self.here_sink.on("a")), ([{"a": 2, "b": 1}, "up"], []))

    def test_the_bus_is_cut(self):
        """When the whole bus is away nobody misses anything but the time: all are back before the first message."""
        self.bus.cut()
        self.publish(b"1")
        late, late_sink = self.join()
        late.publish("a", b"2")
        self.assertFalse(late.health().up)
        with self.assertRaises(BackplaneTimeout):
            self.here.outlet().send([("a", b"no")], 0.01)
        self.bus.mend()
        self.bus.settle()
        for sink in (self.here_sink, self.there_sink):
            self.assertEqual((sink.story, sorted(sink.on("a"))), (["up", "down", "up"], [b"1", b"2"]))
        self.assertEqual((late_sink.story, late_sink.on("a")), (["down", "up"], [b"1", b"2"]))

    def test_frozen(self):
        """A frozen bus takes nothing and nobody is told; a full queue refuses; all goes on afterwards."""
        self.bus.queue = 2
        self.bus.freeze()
        self.publish(b"1", b"2")
        self.assertFalse(self.here.publish("a", b"3"))
        self.assertFalse(self.here.flush(0))
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.here_sink.dropped_all), ([], {}))
        self.bus.thaw()
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.there_sink.story), ([b"1", b"2"], ["up"]))
        self.assertEqual(self.here.health().dropped_out, 1)

    def test_hold(self):
        """A backplane that is held tells nothing; the others go on; released, it tells all in order."""
        self.there.hold()
        self.publish(b"1", b"2")
        self.there.cut()
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.here_sink.on("a")), ([], [b"1", b"2"]))
        self.there.release()
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.there_sink.story), ([b"1", b"2"], ["up", "down"]))

    def test_hold_waits(self):
        """Holding waits for what is being told just now, except when the sink itself asks for it."""
        self.there_sink.gate.clear()
        self.publish(b"1", b"2")
        self.assertTrue(self.there_sink.wait(lambda: "a" in self.there_sink._under_way, PATIENCE))
        holding = Task(self.there.hold)
        self.assertTrue(holding.is_alive())
        self.there_sink.gate.set()
        holding.result()
        self.assertEqual(self.there_sink.on("a"), [b"1"])
        self.here_sink.down = lambda reason: self.here.hold()
        self.here.cut()
        self.bus.settle()

    def test_who_is_behind(self):
        """A bus that does not settle says who is behind."""
        self.there_sink.gate.clear()
        self.addCleanup(self.there_sink.gate.set)
        self.publish(b"1", b"2")
        with self.assertRaisesRegex(AssertionError, f"{id(self.there):016x}: 1 to deliver, 0 to send"):
            self.bus.settle(0.05)

    def test_deferred(self):
        """A subscription that is not acknowledged is waited for; nothing arrives before it is."""
        self.there.defer()
        self.assertTrue(self.there.subscribe(["a"], 0))
        self.assertFalse(self.there.subscribe(["b", "c"], 0.01))
        self.publish(b"1", channel="b")
        waiting = Task(self.there.subscribe, ["b"], PATIENCE)
        self.there.unsubscribe(["c"])
        self.there.acknowledge()
        self.assertTrue(waiting.result())
        self.publish(b"2", channel="b")
        self.publish(b"3", channel="c")
        self.bus.settle()
        self.assertEqual(self.there_sink.received_all, [Received("b", b"2")])

    def test_vanished(self):
        """A backplane that vanishes says nothing more; the others are told after all it sent, where the bus sees it."""
        for tells in (True, False):
            with self.subTest(tells_ends=tells):
                bus = MemoryBus(tells_ends=tells)
                _, sink = self.join(bus)
                there, there_sink = self.join(bus)
                there.publish("a", b"last")
                bus.freeze()
                there.publish("a", b"never")
                there.vanish()
                there.vanish()
                bus.thaw()
                bus.settle()
                self.assertEqual(sink.vanished_all, [f"{id(there):016x}"] if tells else [])
                self.assertEqual(sink.on("a"), [b"last"])
                self.assertFalse(there.publish("a", b"too late"))
                self.assertEqual(there_sink.story[1:], [])


class Ends(OnABus):
    """Start, close, and start again; forks."""

    def test_not_started(self):
        """Before its start a backplane has no thread; it takes nothing and subscribes to nothing."""
        before = threading.active_count()
        backplane = MemoryBackplane()
        self.assertEqual(threading.active_count(), before)
        self.assertFalse(backplane.publish("a", b"1"))
        self.assertFalse(backplane.subscribe(["a"], 0))
        self.assertTrue(backplane.flush(0))
        self.assertEqual((backplane.health().up, backplane.health().since), (False, None))
        self.assertIn("not started", repr(backplane))
        backplane.cut()
        backplane.mend()
        backplane.vanish()
        backplane.close(0)

    def test_started_twice(self):
        """A second start changes nothing."""
        self.there.start(self.here_sink, "0" * 16)
        self.publish(b"1")
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), self.here_sink.on("a")), ([b"1"], [b"1"]))

    def test_closed(self):
        """A closed backplane has no thread and is told nothing; started again, it begins without subscriptions."""
        thread = self.there._thread
        self.there.close(0)
        self.assertFalse(thread.is_alive())
        self.publish(b"1")
        sink = Recorder()
        self.there.start(sink, "1" * 16)
        self.publish(b"2")
        self.there.subscribe(["a"], 0)
        self.publish(b"3")
        self.bus.settle()
        self.assertEqual((self.there_sink.on("a"), sink.on("a"), sink.story), ([], [b"3"], ["up"]))

    def test_closed_by_its_sink(self):
        """Its own thread may close it, and start it again at once."""
        sink, done = Recorder(), threading.Event()

        def begin_again(reason):
            self.there.close(0)
            self.there.start(sink, "1" * 16)
            self.there.subscribe(["a"], 0)
            done.set()

        self.there_sink.down = begin_again
        self.there.cut()
        self.assertTrue(done.wait(PATIENCE))
        self.publish(b"1")
        self.bus.settle()
        self.assertEqual(sink.on("a"), [b"1"])

    def test_no_thread_to_be_had(self):
        """Where no thread can be started, it is not started."""
        backplane = MemoryBackplane(self.bus)
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError),
            self.assertRaises(RuntimeError),
        ):
            backplane.start(Recorder(), "0" * 16)
        self.assertEqual(backplane.health().since, None)
        self.publish(b"1")
        self.bus.settle()

    def test_outlet(self):
        """An outlet sends without a start, and says what the bus refuses."""
        outlet = MemoryBackplane(self.bus).outlet()
        outlet.send([("a", b"1"), ("a", b"2")], PATIENCE)
        with self.assertRaisesRegex(BackplaneError, "max_message is 1,048,576"):
            outlet.send([("a", bytes(1 << 21))], PATIENCE)
        outlet.close()
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a"), [b"1", b"2"])

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_fork(self):
        """The child of a fork has a bus of its own, on which nobody is; a lock that was held does not matter there."""
        self.publish(b"1")
        held, go_on = threading.Event(), threading.Event()

        def hold():
            with self.bus._changed:
                held.set()
                go_on.wait(PATIENCE)

        holder = Task(hold)
        held.wait(PATIENCE)
        child = os.fork()
        if not child:
            sink = Recorder()
            started = self.there.health().since
            self.there.start(sink, "c" * 16)
            self.there.subscribe(["a"], 0)
            self.there.publish("a", b"child")
            self.bus.settle()
            os._exit(0 if started is None and sink.received_all == [Received("a", b"child")] else 1)
        go_on.set()
        holder.result()
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.publish(b"2")
        self.bus.settle()
        self.assertEqual(self.there_sink.on("a"), [b"1", b"2"])
