"""breaks.py: backplanes that lose silently, or wait, while the bus is lost are caught, each by the case for it."""

from __future__ import annotations

import dataclasses
import sys
import time

from .saboteurs import Saboteur
from .support import SaboteurChecks

_KEPT = ("test_every_loss_is_told", "test_the_queue_is_bounded", "test_started_while_it_is_lost")


class NeverDown(Saboteur):
    """It never says that the bus is lost."""

    caught = (
        "test_down_and_up",
        "test_every_loss_is_told",
        "test_the_last_proof",
        "test_the_queue_is_bounded",
        "test_subscribing_while_it_is_lost",
        "test_subscriptions_outlive_it",
        "test_started_while_it_is_lost",
        "test_closed_while_it_is_lost",
        "test_outlet_without_a_bus",
    )

    def _lose_bus(self, reason):
        told, self._tell = self._tell, lambda what: None
        super()._lose_bus(reason)
        self._tell = told


class DownTwice(Saboteur):
    """It says twice that the bus is lost."""

    caught = ("test_down_and_up",)

    def _lose_bus(self, reason):
        super()._lose_bus(reason)
        self._tell(lambda sink: sink.down(reason))


class ManyLines(Saboteur):
    """Its reason is a traceback."""

    caught = ("test_down_and_up",)

    def _lose_bus(self, reason):
        super()._lose_bus(f"{reason}\nTraceback\n")


class AlwaysUp(Saboteur):
    """It says that it is up whatever happens."""

    caught = (
        "test_down_and_up",
        "test_started_while_it_is_lost",
        "test_nothing_before_the_start",
        "test_nothing_after_the_close",
    )

    def health(self):
        return dataclasses.replace(super().health(), up=True)


class CountsNoReconnects(Saboteur):
    """It does not count how often it was connected again."""

    caught = ("test_down_and_up",)

    def health(self):
        return dataclasses.replace(super().health(), reconnects=0)


class Forgets(Saboteur):
    """What it kept while the bus was lost it throws away, and says nothing."""

    caught = _KEPT

    def _find_bus(self, resend):
        self._outbox.clear()
        super()._find_bus(resend)


class ForgetsOne(Saboteur):
    """Of what it kept the last is lost, and it says nothing."""

    caught = _KEPT

    def _find_bus(self, resend):
        if self._outbox:
            self._outbox.pop()
        super()._find_bus(resend)


class TellsTooMuch(Saboteur):
    """What it kept it sends, and tells that it was dropped."""

    caught = _KEPT

    def _find_bus(self, resend):
        if count := len(self._outbox):
            channel = self._outbox[0].channel
            self._tell_dropped({channel: count})
        super()._find_bus(resend)


class TellsWhatItRefused(Saboteur):
    """What it refused because its queue was full it tells to dropped() as well."""

    caught = ("test_the_queue_is_bounded",)

    def publish(self, channel, data, *, keep=False):
        taken = super().publish(channel, data, keep=keep)
        if not taken and self._sink:
            self._tell_dropped({channel: 1})
        return taken


class BackToFront(Saboteur):
    """What it kept it sends in the wrong order."""

    caught = ("test_every_loss_is_told",)

    def _find_bus(self, resend):
        self._outbox.reverse()
        super()._find_bus(resend)


class SendsTwiceForEver(Saboteur):
    """After a break everything that it sends comes twice."""

    caught = ("test_every_loss_is_told",)

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if self._reconnects and message.data.startswith(b"after"):
            super()._arrive(message, position)


class ProvenNow(Saboteur):
    """It says that nothing was missed until now."""

    caught = ("test_the_last_proof",)

    def _tell_up(self):
        self._lost_at = time.monotonic()
        super()._tell_up()


class ProvenByTheClock(Saboteur):
    """It says until when nothing was missed by another clock."""

    caught = ("test_the_last_proof",)

    def _tell_up(self):
        self._lost_at = time.time()
        super()._tell_up()


class Waits(Saboteur):
    """Whoever publishes waits for the bus."""

    caught = ("test_publish_never_waits", "test_every_loss_is_told", "test_the_queue_is_bounded")

    def publish(self, channel, data, *, keep=False):
        if self._reason:
            time.sleep(0.03)
        return super().publish(channel, data, keep=keep)


class Endless(Saboteur):
    """Its queue has no bound."""

    caught = ("test_the_queue_is_bounded",)
    options = {"queue": 1 << 60}


class DoesNotCount(Saboteur):
    """It does not count what it refused."""

    caught = ("test_the_queue_is_bounded",)

    def health(self):
        return dataclasses.replace(super().health(), dropped_out=0)


class WaitsToSubscribe(Saboteur):
    """Whoever subscribes while the bus is lost waits for it."""

    caught = ("test_subscribing_while_it_is_lost",)

    def subscribe(self, channels, timeout):
        deadline = time.monotonic() + timeout
        while self._reason and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().subscribe(channels, timeout)


class SubscribesInVain(Saboteur):
    """What is asked for while the bus is lost is never subscribed."""

    caught = ("test_subscribing_while_it_is_lost",)

    def subscribe(self, channels, timeout):
        return self._reason is None and super().subscribe(channels, timeout)


class SaysItHasSubscribed(Saboteur):
    """It says that a channel is subscribed while the bus is lost."""

    caught = ("test_subscribing_while_it_is_lost",)

    def subscribe(self, channels, timeout):
        return super().subscribe(channels, timeout) or self._reason is not None


class SubscribesOnlyOnce(Saboteur):
    """Of many subscriptions some are not there again after the return."""

    caught = ("test_subscriptions_outlive_it",)

    def _find_bus(self, resend):
        self._channels = set(sorted(self._channels)[:150])
        super()._find_bus(resend)


class RaisesWhenThereIsNoBus(Saboteur):
    """start() raises if the bus cannot be reached."""

    caught = ("test_started_while_it_is_lost",)

    def start(self, sink, node):
        if self.bus._reason:
            raise ConnectionError
        super().start(sink, node)


class NeverEnds(Saboteur):
    """close() waits until everything is sent."""

    caught = ("test_closed_while_it_is_lost",)

    def close(self, timeout):
        self.flush(2 if self._reason else timeout)
        super().close(timeout)


class BreakTests(SaboteurChecks):
    def test_caught(self):
        """Each saboteur of this file is caught by the cases that it names."""
        self.check_caught(sys.modules[__name__])

    def test_nothing_else_fails(self):
        """No other case fails for it."""
        self.check_nothing_else(sys.modules[__name__])
