"""What is told when the bus is lost, and that nobody waits meanwhile: no loss is silent."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from .fixture import Fixture, Node, numbered

#: Seconds that publish() may hold its caller, by the median: far more than an append under a lock takes on any machine,
#: and far less than a bus that is waited for.
_HELD = 0.02

#: Messages after which a queue that takes still more is taken to have no bound.
_ENDLESS = 300_000


class BreakCases(Fixture):
    """Down and up, what is lost between them, and what never waits. They need `break_bus` and `mend_bus`."""

    def test_down_and_up(self) -> None:
        """A loss of the bus is told by down(), its return by up(), in turns, and health() says the same."""
        here, there = self.join(self.channel), self.join(self.channel)
        self._break((here, there))
        for node in (here, there):
            health = node.backplane.health()
            self.assertFalse(health.up, "health().up is False from down() to up()")
            for reason in (health.error, node.sink.reasons[0]):
                advice = (
                    "The reason and health().error are one line that may stand in a log: use repr() of foreign text"
                )
                self.assertTrue(reason and reason.isprintable(), f"{reason!r}. {advice}")
        self._mend((here, there))
        for node in (here, there):
            health = node.backplane.health()
            self.assertEqual((health.up, health.error), (True, None), "health() after up()")
            self.assertGreaterEqual(health.reconnects, 1, "health().reconnects counts each time it was connected anew")
            turns = all(one != other for one, other in zip(node.sink.story, node.sink.story[1:], strict=False))
            self.assertTrue(
                turns and node.sink.story[0] == "up",
                f"{node.sink.story}: tell up() at the start, then down() and up() in turns",
            )

    def test_every_loss_is_told(self) -> None:
        """What is published while the bus is lost arrives later or is told to dropped(), and nothing else is lost."""
        here, there = self.join(), self.join(self.channel)
        before = numbered(20, "before")
        self.send(here, before)
        self.assert_came(there, before, "What is published while the bus is there arrives")
        self._break((here, there))
        meanwhile = self.publish_while_lost(here, numbered(100, "meanwhile"))
        self._mend((here, there))
        after = numbered(20, "after")
        self.send(here, after)
        self.wait(there, lambda: after[-1] in there.sink.on(self.channel), "Nothing arrives after up()")
        came = there.sink.on(self.channel)
        self.assertEqual(
            [each for each in came if each in after],
            after,
            "What is published after up() arrives once. up() is told when all subscriptions are acknowledged",
        )
        once = list(dict.fromkeys(came))  # what a lost connection may have swallowed is sent again
        self.assertEqual(
            once,
            [each for each in (*before, *meanwhile, *after) if each in once],
            "What was kept while the bus was lost is sent in its order, before what is published later",
        )
        self._assert_told(here, there, meanwhile)

    def _assert_told(self, here: Node, there: Node, taken: Sequence[bytes]) -> None:
        came = set(there.sink.on(self.channel))
        lost = sum(each not in came for each in taken)
        here.sink.wait(lambda: here.sink.dropped_all.get(self.channel, 0) >= lost, self.patience)
        advice = (
            "Keep a message until the bus has taken it; after a return, wait until the others are back as well (a"
            " second or so) before it is sent; and tell dropped() of what was kept for too long. Where publish()"
            " returned False, do not"
        )
        told = here.sink.dropped_all.get(self.channel, 0)
        self.assertEqual(told, lost, f"Of {len(taken)} that were taken {lost} did not come, {told} were told. {advice}")

    def test_the_last_proof(self) -> None:
        """up() says until when nothing was missed: the instant of a proof before the loss, not of the return."""
        before = time.monotonic()
        here, there = self.join(self.channel), self.join(self.channel)
        self.assertTrue(
            before <= there.sink.proofs[0] <= time.monotonic(), "At the first up() proven is the instant of the start"
        )
        self.send(here, [b"1"])
        self.assert_came(there, [b"1"], "What is published while the bus is there arrives")
        self.break_bus()
        broken = time.monotonic()
        self._wait_until_down((here, there))
        self._mend((here, there))
        for node in (here, there):
            self.assertLessEqual(
                node.sink.proofs[1],
                broken,
                "proven is a time.monotonic() at which the way through the bus was known to work: note it with each"
                " message or answer that comes",
            )

    def test_publish_never_waits(self) -> None:
        """While the bus is lost publish() returns as quickly as ever, noticed or not."""
        here, there = self.join(), self.join(self.channel)
        self.break_bus()
        held: list[float] = []

        def publish() -> None:
            for message in numbered(500):
                began = time.monotonic()
                here.backplane.publish(self.channel, message)
                held.append(time.monotonic() - began)

        advice = "publish() puts a message into a queue and returns: a thread of the backplane's own sends it"
        self.in_time(publish, advice)
        middle = statistics.median(held)
        self.assertTrue(middle <= _HELD, f"publish() held its caller for {middle:g} s. {advice}")
        self.in_time(lambda: here.backplane.unsubscribe([self.channel]), "unsubscribe() never waits")
        self._mend((there,))

    def test_the_queue_is_bounded(self) -> None:
        """While the bus is lost the queue fills up, and publish() says False; what it took arrives, or is dropped."""
        here, there = self.join(), self.join(self.channel)
        self._break((here, there))
        taken = self.publish_while_lost(here, (b"%d" % number for number in range(_ENDLESS)))
        advice = "bound it, and return False when it is full"
        self.assertLess(len(taken), _ENDLESS, f"The queue has taken all that was published: {advice}")
        self.assertGreaterEqual(
            here.backplane.health().dropped_out, 1, "health().dropped_out counts what publish() refused, too"
        )
        self._mend((here, there))
        self.send(here, [b"last"])
        self.wait(there, lambda: there.sink.on(self.channel)[-1:] == [b"last"], "Nothing arrives after a full queue")
        self._assert_told(here, there, taken)

    def test_subscribing_while_it_is_lost(self) -> None:
        """While the bus is known to be lost subscribe() returns False at once, and is made good by the next up()."""
        here, there = self.join(), self.join()
        self._break((here, there))
        done = self.in_time(
            lambda: there.backplane.subscribe([self.channel], 4 * self.patience),
            "subscribe() does not wait while the bus is known to be lost",
        )
        self.assertFalse(done, "subscribe() returns False while the bus is lost")
        self._mend((here, there))
        self.send(here, [b"1"])
        self.assert_came(there, [b"1"], "up() is told when all subscriptions are acknowledged, those of meanwhile too")

    def test_subscriptions_outlive_it(self) -> None:
        """After the return all subscriptions are there again, and those that were let go of are not."""
        here, there = self.join(), self.join()
        kept, left = [self.new_channel() for _ in range(200)], self.new_channel()
        self.subscribe(there, [*kept, left])
        self._break((here, there))
        there.backplane.unsubscribe([left])
        self._mend((here, there))
        self.send(here, [b"1"], left)
        for channel in kept:
            self.send(here, [b"1"], channel)
        for channel in kept:
            self.assert_came(there, [b"1"], "Subscribe to all channels again before up() is told", channel)
        if here.backplane.addressed:
            self.assertEqual(there.sink.on(left), [], "Something arrived on a channel that was unsubscribed meanwhile")

    def test_started_while_it_is_lost(self) -> None:
        """start() returns at once although the bus cannot be reached; it is up when the bus comes."""
        there = self.join(self.channel)
        self._break((there,))
        late = self.in_time(lambda: self.start(self.make()), "start() returns at once: a thread connects")
        self.assertFalse(late.backplane.health().up, "health().up is False before the bus was reached")
        taken = self.publish_while_lost(late, numbered(10))
        self.assertTrue(taken, "What is published before the bus was reached is queued as ever")
        self._mend((there, late))
        self.send(late, [b"last"])
        self.wait(
            there, lambda: b"last" in there.sink.on(self.channel), "Nothing arrives from one that was started late"
        )
        self._assert_told(late, there, taken)

    def test_closed_while_it_is_lost(self) -> None:
        """close() with messages that the bus does not take ends when its time is over."""
        here = self.join(self.channel)
        self._break((here,))
        here.backplane.publish(self.channel, b"1")
        self.assertFalse(here.backplane.flush(0.05), "flush() returns False when its time is over")
        self.in_time(lambda: here.backplane.close(0.05), "close() ends after its timeout, sent or not")
        self.mend_bus()

    def _break(self, nodes: Sequence[Node]) -> None:
        """Break the bus, and wait until all have told so."""
        self.break_bus()
        self._wait_until_down(nodes)

    def _wait_until_down(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.wait(
                node,
                lambda node=node: node.sink.story[-1:] == ["down"],  # type: ignore[misc]
                "The sink was not told down(). Notice that the bus is lost: send something through it to yourself,"
                " every few seconds, and look whether it comes back",
            )

    def _mend(self, nodes: Sequence[Node]) -> None:
        """Mend the bus, and wait until all have told so."""
        self.mend_bus()
        for node in nodes:
            self.wait_until_up(node)
