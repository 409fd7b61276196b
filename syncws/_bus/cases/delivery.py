"""What arrives where, and in which order: the first half of what `Backplane` promises."""

from __future__ import annotations

import os
import sys
import threading
import time

from .fixture import Fixture, Node, numbered

_ORDER = "Messages of one sender go through one queue and one connection, and one thread of the receiver reads them"

#: Seconds for which nothing else may come, where something must not.
_GRACE = 0.1


class DeliveryCases(Fixture):
    """Order, subscriptions, names of channels, bytes."""

    def test_one_sender_keeps_its_order(self) -> None:
        """What one process publishes on a channel arrives at each that is subscribed: all of it, once, in its order."""
        here, there, third = self.join(), self.join(self.channel), self.join(self.channel)
        sent = numbered(1_000)
        self.send(here, sent)
        self.assert_came(there, sent, _ORDER)
        self.assert_came(third, sent, _ORDER)

    def test_eight_threads(self) -> None:
        """What eight threads of one process publish at the same time arrives once, and that of each in its order."""
        here, there, third = self.join(self.channel), self.join(self.channel), self.join(self.channel)
        self._switch_often()
        threads = [
            threading.Thread(target=self.send, args=(here, numbered(200, f"{name}:")), name="kit-sender", daemon=True)
            for name in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for node in (there, third):
            node.sink.wait(lambda node=node: node.sink.count(self.channel) >= 1_600, self.patience)  # type: ignore[misc]
            came = node.sink.on(self.channel)
            for name in range(8):
                of_one = [each for each in came if each.startswith(f"{name}:".encode())]
                self.assertEqual(
                    of_one,
                    numbered(200, f"{name}:"),
                    f"publish() of several threads: put a message into the queue under a lock. {_ORDER}",
                )

    def test_both_ways(self) -> None:
        """Two processes that publish at the same time each get all of the other's; with echoes in one order for all."""
        here, there = self.join(self.channel), self.join(self.channel)
        mine, theirs = numbered(200, "here"), numbered(200, "there")
        self._switch_often()
        thread = threading.Thread(target=self.send, args=(there, theirs), name="kit-sender", daemon=True)
        thread.start()
        self.send(here, mine)
        thread.join()
        for node, prefix, sent in ((there, b"here", mine), (here, b"there", theirs)):
            node.sink.wait(lambda node=node, last=sent[-1]: last in node.sink.on(self.channel), self.patience)  # type: ignore[misc]
            came = [each for each in node.sink.on(self.channel) if each.startswith(prefix)]
            self.assertEqual(came, sent, f"Not all of the other's messages came, once and in order. {_ORDER}")
        if here.backplane.echoes:
            for node in (here, there):
                node.sink.wait(lambda node=node: node.sink.count(self.channel) >= 400, self.patience)  # type: ignore[misc]
            advice = "With echoes the order is one for all: what a process publishes comes to it from the bus alone"
            self.assert_came(here, there.sink.on(self.channel), advice)

    def test_its_own(self) -> None:
        """With echoes a process gets what it publishes itself; without, it does not."""
        here, there = self.join(self.channel), self.join(self.channel)
        self.send(here, [b"own"])
        self.assert_came(there, [b"own"], "What others publish has to arrive")
        self.send(there, [b"answer"])
        if here.backplane.echoes:
            self.assert_came(here, [b"own", b"answer"], "echoes is True: what a process publishes arrives there too")
        else:
            time.sleep(_GRACE)
            self.assert_came(here, [b"answer"], "echoes is False: what a process publishes does not arrive there")

    def test_subscribed_means_that_it_arrives(self) -> None:
        """Once subscribe() has returned True, what anybody publishes on that channel arrives."""
        here, there = self.join(), self.join()
        for _ in range(50):
            channel = self.new_channel()
            self.subscribe(there, [channel])
            self.send(here, [b"1"], channel)
            advice = "subscribe() returns True only when the bus has acknowledged it; before that it waits"
            self.assert_came(there, [b"1"], advice, channel)

    def test_a_new_process_hears(self) -> None:
        """A process that has just come hears what the others publish from its up() and its subscribe() on."""
        here = self.join()
        for sent in numbered(5):
            there = self.join(self.channel)
            self.send(here, [sent])
            self.assert_came(there, [sent], "up() is told when the others reach this process, not before")
            there.backplane.close(self.patience)

    def test_many_channels_at_once(self) -> None:
        """One subscribe() may have hundreds of channels; what comes says on which of them."""
        here, there = self.join(), self.join()
        channels = [self.new_channel() for _ in range(300)]
        self.subscribe(there, channels)
        for channel in channels:
            self.send(here, [channel.encode()], channel)
        for channel in channels:
            self.assert_came(there, [channel.encode()], "received() gets the name of the channel as it was", channel)

    def test_subscribing_from_many_threads(self) -> None:
        """Any thread may subscribe, and each is told of its own channels."""
        here, there = self.join(), self.join()
        names = [[self.new_channel() for _ in range(20)] for _ in range(8)]
        done: list[bool] = []

        def subscribe(channels: list[str]) -> None:
            done.extend(there.backplane.subscribe([channel], self.patience) for channel in channels)

        threads = [threading.Thread(target=subscribe, args=(each,), name="kit-sub", daemon=True) for each in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(done, [True] * 160, "subscribe() of several threads: each waits for its own acknowledgment")
        for channel in (name for each in names for name in each):
            self.send(here, [b"1"], channel)
            self.assert_came(there, [b"1"], "A channel of which subscribe() said True is subscribed", channel)

    def test_channels_that_are_not_subscribed(self) -> None:
        """If it is addressed, what is published on other channels does not arrive; if it is not, everything does."""
        here, there = self.join(), self.join(self.channel)
        other, left = self.new_channel(), self.new_channel()
        self.subscribe(there, [left])
        there.backplane.unsubscribe([left])
        self.subscribe(there, [self.new_channel()])  # by its acknowledgment the other has been taken, too
        for channel in (other, left):
            self.send(here, [b"1"], channel)
        self.send(here, [b"last"])
        self.assert_came(there, [b"last"], "What is subscribed arrives")
        if not here.backplane.addressed:
            for channel in (other, left):
                self.assert_came(there, [b"1"], "addressed is False: everything arrives", channel)
            return
        time.sleep(_GRACE)
        for channel, what in ((other, "nobody subscribed"), (left, "was unsubscribed")):
            advice = "addressed is True: look whether a channel is subscribed before received(), or have the bus do it"
            self.assertEqual(there.sink.on(channel), [], f"Something arrived on a channel that {what}. {advice}")

    def test_channels_that_are_known(self) -> None:
        """A channel may be subscribed twice, and still arrives once; letting go of an unknown one is no error."""
        here, there = self.join(), self.join(self.channel)
        self.subscribe(there, [self.channel, self.channel])
        there.backplane.unsubscribe([self.new_channel()])
        there.backplane.unsubscribe([])
        self.subscribe(there, [])
        sent = numbered(3)
        self.send(here, sent)
        self.assert_came(there, sent, "Remember which channels are subscribed: the bus is asked once for each")

    def test_left_and_joined_again(self) -> None:
        """A channel that was let go of and is subscribed again arrives again, however quickly that was."""
        here, there = self.join(), self.join(self.channel)
        for _ in range(20):
            there.backplane.unsubscribe([self.channel])
            self.subscribe(there, [self.channel])
        self.send(here, [b"1"])
        self.assert_came(
            there, [b"1"], "Send what is subscribed and what is let go of in the order of the calls, by one thread"
        )

    def test_names_of_channels(self) -> None:
        """The name of a channel is any printable ASCII up to 4 KiB; every character counts, and none is special."""
        here, there = self.join(), self.join()
        printable = "".join(map(chr, range(32, 127)))
        long = self.channel + "x" * (4096 - len(self.channel) - 1)
        names = [
            *(
                f"{self.channel}{end}"
                for end in (printable, " ", "  ", "*", "?", "[a]", "%", "%s", "'", '"', "\\", ".")
            ),
            *(f"{self.channel}{end}" for end in ("A", "a", "é".encode().hex(), "{0}", "$1", ";", "/", "../x", "\\0")),
            *(long + end for end in ("1", "2")),
        ]
        self.subscribe(there, names)
        for name in names:
            self.send(here, [b"1"], name)
        for name in names:
            self.assert_came(
                there,
                [b"1"],
                f"Channel {name[len(self.channel) :][:40]!r}: escape names, or hash those that the bus does not take",
                name,
            )

    def test_bytes(self) -> None:
        """A message is any bytes: none at all, every value, and as many as max_message."""
        here, there = self.join(), self.join(self.channel)
        size = here.backplane.max_message
        sent = [b"", bytes(range(256)), b"\r\n", b"\0", b"'", os.urandom(size), b"\0" * size]
        self.send(here, sent)
        self.assert_came(there, sent, "Bytes arrive as they were; what the bus does not take so is encoded, or cut up")

    def test_equal_messages(self) -> None:
        """Equal messages are messages of their own: each arrives."""
        here, there = self.join(), self.join(self.channel)
        self.send(here, [b"same"] * 20)
        self.send(here, [b"last"])
        self.wait(there, lambda: there.sink.count(self.channel) >= 21, "Equal messages were taken for one: number them")
        self.assertEqual(there.sink.on(self.channel), [b"same"] * 20 + [b"last"])

    def test_too_large(self) -> None:
        """More than max_message bytes is a ValueError for who publishes, and changes nothing else."""
        here, there = self.join(), self.join(self.channel)
        with self.assertRaises(ValueError, msg="publish() raises ValueError, before anything is queued"):
            here.backplane.publish(self.channel, bytes(here.backplane.max_message + 1))
        self.send(here, [b"1"])
        self.assert_came(there, [b"1"], "What is too large is not sent, and what follows is")

    def test_flush(self) -> None:
        """Once flush() has returned True, the bus has all that was published; what is queued is 0."""
        here, there = self.join(), self.join(self.channel)
        sent = numbered(200)
        self.send(here, sent)
        self.assertTrue(here.backplane.flush(self.patience), "flush() returns True as soon as the queue is empty")
        health = here.backplane.health()
        advice = "count a message as queued until the bus has taken it"
        self.assertEqual((health.queued_messages, health.queued_bytes), (0, 0), f"After flush(): {advice}")
        self.assertGreaterEqual(health.published, 200, "health().published counts what the bus has taken")
        self.assert_came(there, sent, _ORDER)
        self.assertGreaterEqual(there.backplane.health().received, 200, "health().received counts what came")

    def test_health(self) -> None:
        """While the bus is there health() says so, since when, and no error."""
        before = time.time()
        here = self.join()
        health = here.backplane.health()
        self.assertEqual((health.up, health.error), (True, None), "health() while the bus is there: up, without error")
        self.assertTrue(
            health.since is not None and before - 1 <= health.since <= time.time() + 1,
            f"health().since is the time.time() of the last change, not {health.since!r}",
        )

    def test_a_slow_reader(self) -> None:
        """A process that is busy for a while delays nobody else, is not taken for lost, and then gets everything."""
        here, slow, third = self.join(), self.join(self.channel), self.join(self.channel)
        slow.sink.gate.clear()
        sent = numbered(500)
        advice = "A slow process is waited for by the bus, or by a queue; neither publish() nor other processes wait"
        self.in_time(lambda: self.send(here, sent), advice)
        self.assert_came(third, sent, advice)
        slow.sink.gate.set()
        self.assert_came(slow, sent, advice)
        self._assert_never_down(slow, "While there is something to read the bus is not lost, however long it takes")

    def test_junk_on_the_bus(self) -> None:
        """What somebody else puts on the bus, valid or not, neither ends a thread nor loses a message."""
        here, there = self.join(), self.join(self.channel)
        sent = numbered(60)
        for number, message in enumerate(sent):
            junk = (b"", b"\0", b"\xff" * 9, os.urandom(40), b"{}", b"1,2,3", b"A" * 5_000)[number % 7]
            self.inject(self.channel, junk)
            self.send(here, [message])
        self.wait(
            there,
            lambda: sent[-1] in there.sink.on(self.channel),
            "Junk on the bus ended the reading: whatever cannot be read is dropped, and reading goes on",
        )
        ours = set(sent)
        came = [each for each in there.sink.on(self.channel) if each in ours]
        self.assertEqual(came, sent, "Junk on the bus lost messages of ours")
        self._assert_never_down(there, "Junk on the bus is dropped; it is no reason to connect anew")

    def _switch_often(self) -> None:
        """Let threads interrupt each other at nearly every step, until the end of the test."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)

    def _assert_never_down(self, node: Node, advice: str) -> None:
        self.assertNotIn("down", node.sink.story, f"down() was told: {node.sink.reasons}. {advice}")
