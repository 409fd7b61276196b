"""delivery.py: backplanes that deliver wrongly are caught, each by the case for what is wrong with it."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time

from .saboteurs import Saboteur
from .support import SaboteurChecks


class Swaps(Saboteur):
    """Two messages of one sender change places."""

    caught = ("test_one_sender_keeps_its_order",)
    kept = None

    def _arrive(self, message, position):
        if message.data == b"500":
            self.kept = message
            return
        super()._arrive(message, position)
        if self.kept:
            kept, self.kept = self.kept, None
            super()._arrive(kept, None)


class Doubles(Saboteur):
    """A message comes twice although nothing broke."""

    caught = ("test_one_sender_keeps_its_order",)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if message.data == b"500":
            super()._arrive(message, position)


class LosesOneOfAThread(Saboteur):
    """One of many messages that are published at the same time is lost."""

    caught = ("test_eight_threads",)

    def _arrive(self, message, position):
        if message.data != b"3:150":
            super()._arrive(message, position)


class HearsItselfFirst(Saboteur):
    """What it publishes itself overtakes what others have published before."""

    caught = ("test_both_ways",)
    kept = ()
    prefix = b""

    def publish(self, channel, data, *, keep=False):
        self.prefix = data[:1]
        return super().publish(channel, data, keep=keep)

    def _arrive(self, message, position):
        if not message.data.startswith((b"here", b"there")):
            super()._arrive(message, position)
            return
        self.kept = (*self.kept, message)
        if len(self.kept) == 400:
            for each in sorted(self.kept, key=lambda each: each.data[:1] != self.prefix):
                super()._arrive(each, None)


class SaysItEchoes(Saboteur):
    """It says that it echoes, and does not."""

    caught = ("test_both_ways", "test_its_own")
    options = {"echoes": False}
    echoes = True


class EchoesAllTheSame(Saboteur):
    """It echoes although it says that it does not."""

    caught = ("test_its_own",)
    echoes = False


class AcknowledgesTooEarly(Saboteur):
    """It says of a channel that it is subscribed when it has only asked for it."""

    caught = (
        "test_subscribed_means_that_it_arrives",
        "test_subscribing_from_many_threads",
        "test_channels_that_are_not_subscribed",
    )
    asked = ()

    def subscribe(self, channels, timeout):
        channels, before, self.asked = list(channels), self.asked, ()
        if len(channels) == 1 and self._channels and not channels[0].endswith(":1"):
            self.asked = channels
            return super().subscribe(before, timeout)
        return super().subscribe([*channels, *before], timeout)


class IsUpTooEarly(Saboteur):
    """It says that it is up before the others have found it."""

    caught = ("test_a_new_process_hears",)

    def __init__(self, bus):
        super().__init__(bus)
        bus.made = getattr(bus, "made", 0) + 1
        if bus.made == 5:
            self.lose()


class KeepsTheFirstChannels(Saboteur):
    """Of many channels it subscribes only the first."""

    caught = ("test_many_channels_at_once", "test_subscriptions_outlive_it")

    def subscribe(self, channels, timeout):
        return super().subscribe(list(channels)[:128], timeout)


class OneAcknowledgmentForAll(Saboteur):
    """Of several threads that subscribe only one is told of its acknowledgment."""

    caught = ("test_subscribing_from_many_threads",)
    under_way = 0

    def subscribe(self, channels, timeout):
        self.under_way += 1
        alone = self.under_way == 1
        time.sleep(0.002)
        self.under_way -= 1
        return super().subscribe(channels, timeout) and alone


class SaysItIsAddressed(Saboteur):
    """It says that it is addressed, and everything arrives."""

    caught = ("test_channels_that_are_not_subscribed", "test_subscriptions_outlive_it", "test_started_again")
    options = {"addressed": False}
    addressed = True


class SaysItIsNotAddressed(Saboteur):
    """It says that everything arrives, and it does not."""

    caught = ("test_channels_that_are_not_subscribed",)
    addressed = False


class DeafToUnsubscribe(Saboteur):
    """What was unsubscribed goes on to arrive."""

    caught = ("test_channels_that_are_not_subscribed", "test_subscriptions_outlive_it")

    def unsubscribe(self, channels):
        pass


class SubscribesTwice(Saboteur):
    """A channel that is subscribed twice comes twice."""

    caught = ("test_channels_that_are_known",)
    double = frozenset()

    def subscribe(self, channels, timeout):
        channels = list(channels)
        self.double |= {channel for channel in channels if channels.count(channel) > 1}
        return super().subscribe(channels, timeout)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if message.channel in self.double:
            super()._arrive(message, position)


class RaisesForUnknown(Saboteur):
    """Letting go of a channel that is not subscribed raises."""

    caught = ("test_channels_that_are_known", "test_publish_never_waits")

    def unsubscribe(self, channels):
        for channel in channels:
            self._channels.remove(channel)


class LetsGoTooLate(Saboteur):
    """What is let go of and what is subscribed are done in the wrong order."""

    caught = ("test_left_and_joined_again", "test_subscriptions_outlive_it")
    late = ()

    def unsubscribe(self, channels):
        self.late = list(channels)

    def subscribe(self, channels, timeout):
        done = super().subscribe(channels, timeout)
        super().unsubscribe(self.late)
        return done


class Changed(Saboteur):
    """It changes the names of channels."""

    def changed(self, channel):
        raise NotImplementedError

    def publish(self, channel, data, *, keep=False):
        return super().publish(self.changed(channel), data, keep=keep)

    def subscribe(self, channels, timeout):
        return super().subscribe(map(self.changed, channels), timeout)


class LowerCase(Changed):
    """Names that differ in their case are one for it."""

    caught = ("test_names_of_channels",)

    def changed(self, channel):
        return channel.lower()


class CutShort(Changed):
    """Names that differ only far behind are one for it."""

    caught = ("test_names_of_channels",)

    def changed(self, channel):
        return channel[:500]


class Stripped(Changed):
    """A blank at the end of a name is lost."""

    caught = ("test_names_of_channels",)

    def changed(self, channel):
        return channel.rstrip()


class Strings(Saboteur):
    """It takes bytes for a string of C."""

    caught = ("test_bytes",)

    def publish(self, channel, data, *, keep=False):
        return super().publish(channel, b"" if data == b"\0" else data, keep=keep)


class NothingIsNothing(Saboteur):
    """It does not send an empty message."""

    caught = ("test_bytes",)

    def publish(self, channel, data, *, keep=False):
        return not data or super().publish(channel, data, keep=keep)


class FoldsEqualOnes(Saboteur):
    """It takes equal messages for one."""

    caught = ("test_equal_messages",)
    last = None

    def publish(self, channel, data, *, keep=False):
        last, self.last = self.last, data if data == b"same" else None
        return (data == last) or super().publish(channel, data, keep=keep)


class CutsWhatIsTooLarge(Saboteur):
    """What is too large is cut instead of refused."""

    caught = ("test_too_large",)

    def publish(self, channel, data, *, keep=False):
        return super().publish(channel, data[: self.max_message], keep=keep)


class NeverFlushes(Saboteur):
    """It never says that the bus has taken everything."""

    caught = ("test_flush", "test_nothing_after_the_close", "test_fork")

    def flush(self, timeout):
        return False


class Health(Saboteur):
    """What it says of itself is wrong."""

    wrong = {}

    def health(self):
        return dataclasses.replace(super().health(), **(self.wrong if self._sink else {}))


class AlwaysQueued(Health):
    """It counts what the bus has taken as queued."""

    caught = ("test_flush",)
    wrong = {"queued_messages": 3}


class CountsNothing(Health):
    """It counts nothing."""

    caught = ("test_flush",)
    wrong = {"received": 0}


class SinceWhenever(Health):
    """It says since when in seconds of another clock."""

    caught = ("test_health",)
    wrong = {"since": 5.0}


class AnErrorForEver(Health):
    """It says an error although the bus is there."""

    caught = ("test_health", "test_down_and_up")
    wrong = {"error": "once upon a time"}


class WaitsForTheSlowest(Saboteur):
    """Who publishes waits until every process has read it."""

    caught = ("test_a_slow_reader",)

    def publish(self, channel, data, *, keep=False):
        taken = super().publish(channel, data, keep=keep)
        while any(len(node._inbox) > 200 for node in list(self.bus._nodes)):
            time.sleep(0.001)
        return taken


class ImpatientWithTheSlow(Saboteur):
    """A process that has much to read is taken for lost."""

    caught = ("test_a_slow_reader",)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if len(self._inbox) == 400:
            self._lose_bus("slow")
            self._find_bus(resend=True)


class DiesOfJunk(Saboteur):
    """Junk on the bus ends what reads it."""

    caught = ("test_junk_on_the_bus",)

    def _arrive(self, message, position):
        if message.data == b"\xff" * 9:
            self._to_lose = sys.maxsize
        super()._arrive(message, position)


class ReconnectsForJunk(Saboteur):
    """Junk on the bus has it connect anew."""

    caught = ("test_junk_on_the_bus",)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if message.data == b"\xff" * 9:
            self._lose_bus("junk")
            self._find_bus(resend=True)


class LosesAfterJunk(Saboteur):
    """The message after junk is lost."""

    caught = ("test_junk_on_the_bus",)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if message.data == b"\xff" * 9:
            self.lose()


class TellsTwoAtATime(Saboteur):
    """Two threads tell the sink of one channel at the same time."""

    caught = ("test_a_slow_reader",)

    def _arrive(self, message, position):
        if message.data == b"7" and not self._sink.gate.is_set():
            threading.Thread(target=self._sink.received, args=message[:2], daemon=True).start()
        else:
            super()._arrive(message, position)


class DeliveryTests(SaboteurChecks):
    def test_caught(self):
        """Each saboteur of this file is caught by the cases that it names."""
        self.check_caught(sys.modules[__name__])

    def test_nothing_else_fails(self):
        """No other case fails for it."""
        self.check_nothing_else(sys.modules[__name__])
