"""The way out: a message gets its number and its place in the queue of the bus, and losses are told to who listens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .._bus.backplane import Backplane
from .envelope import HEAD, Envelope, Kind
from .numbers import Outgoing

#: Seconds between two tries to tell of losses, while the queue of the bus is full.
RETRY = 0.05


class Published(NamedTuple):
    """A message that has got its number."""

    envelope: Envelope
    data: bytes  # the same, as bytes
    queued: bool  # whether the queue of the bus has taken it


class Outward:
    """What this process publishes, under the name of one boot.

    Any thread. The lock of the numbers is held while the backplane queues a message, which never waits.
    """

    def __init__(self, backplane: Backplane, boot: bytes) -> None:
        self._backplane = backplane
        self._boot = boot
        self._numbers = Outgoing()
        self._retry_at = 0.0  # guarded by the numbers' lock
        self.dropped = 0  # messages that were not sent; guarded by the numbers' lock
        self._successor: Outward | None = None  # under the next name of this process; guarded by the numbers' lock

    def publish(
        self,
        kind: Kind,
        channel: str,
        target: str = "",
        extra: dict[str, Any] | None = None,
        body: bytes = b"",
        *,
        binary: bool = False,
    ) -> bool:
        """Number a message and queue it; False if the queue is full: then who listens is told, once there is room.

        Raises ValueError for a message that is too large for the bus: nothing has changed then.
        """
        return self.number(kind, channel, target, extra, body, binary=binary).queued

    def number(
        self,
        kind: Kind,
        channel: str,
        target: str = "",
        extra: dict[str, Any] | None = None,
        body: bytes = b"",
        *,
        binary: bool = False,
        keep: bool = False,
    ) -> Published:
        """As `publish`, with what was published."""
        envelope = Envelope(kind, self._boot, 0, target, extra, body, binary)
        envelope.check_size(self._backplane.max_message)
        numbers = self._numbers
        with numbers.lock:
            self._tell_of_losses()
            # The mark of this very channel first: who has heard nothing on it yet would take this for the first.
            may_go = channel not in numbers.owed or self._tell(channel)
            number, begins = numbers.next(channel)
            envelope = envelope._replace(number=number, begins=begins)
            data = envelope.encode()
            queued = may_go and self._backplane.publish(channel, data, keep=keep)
            if not queued:  # the number is used up: it is how who listens finds out
                numbers.owe(channel)
                self.dropped += 1
                if self._successor is not None:
                    self._successor.miss([channel])
        return Published(envelope, data, queued)

    @property
    def most(self) -> int:
        """How many bytes the target, extra and body of a message may have."""
        return self._backplane.max_message - HEAD

    def check_size(self, kind: Kind, extra: dict[str, Any], body: bytes) -> None:
        """Raise ValueError for a message that is too large for the bus."""
        Envelope(kind, self._boot, 0, "", extra, body).check_size(self._backplane.max_message)

    def say(
        self,
        kind: Kind,
        channel: str,
        extra: dict[str, Any] | None = None,
        *,
        target: str = "",
        body: bytes = b"",
        marks: bool = False,
    ) -> bool:
        """Queue a message that has no number of its own, so that nobody misses it, and copies do no harm.

        It is small enough for the bus. marks: it tells the last number that was used.
        """
        numbers = self._numbers
        with numbers.lock:
            number = numbers.last(channel) if marks else 0
            return self._backplane.publish(channel, Envelope(kind, self._boot, number, target, extra, body).encode())

    def lost(self, counts: Mapping[str, int]) -> None:
        """The backplane had taken so many messages, and will not send them."""
        numbers = self._numbers
        with numbers.lock:
            for channel, count in counts.items():
                numbers.owe(channel)
                self.dropped += count
            self._retry_at = 0.0
            self._tell_of_losses()

    def take_over(self, before: Outward) -> None:
        """This process has left the bus, and comes back under another name: what was not sent by then is told under it.

        So is what threads do not send that are just at it under the old name.
        """
        with before._numbers.lock:
            before._successor = self
            owed = list(before._numbers.owed)
        self.miss(owed)

    def miss(self, channels: Iterable[str]) -> None:
        """Messages on these channels were not sent, under another name: who listens is told, once there is a bus."""
        with self._numbers.lock:
            for channel in channels:
                self._numbers.owe_anything(channel)

    def tell_of_losses(self) -> bool:
        """Tell who listens of what was not sent, as far as there is room; whether there is more to tell."""
        with self._numbers.lock:
            self._tell_of_losses()
            return bool(self._numbers.owed)

    def tell_at_the_end(self) -> bool:
        """`tell_of_losses`, once more and at once; whether all is told."""
        with self._numbers.lock:
            self._retry_at = 0.0
            self._tell_of_losses()
            return not self._numbers.owed

    def _tell_of_losses(self) -> None:
        numbers = self._numbers
        assert numbers.lock.locked()
        now = time.monotonic()
        if not numbers.owed or now < self._retry_at:
            return
        for channel in list(numbers.owed):
            if not self._tell(channel):
                self._retry_at = now + RETRY
                return

    def _tell(self, channel: str) -> bool:
        """Tell who listens to a channel of what was not sent; False if there is no room for that."""
        owed, now = self._numbers.owed[channel], time.monotonic()
        # For how long there has been something to send, and nothing more was lost.
        extra = {"first": owed.first, "age": round(now - owed.began, 3), "lost": round(now - owed.lost_at, 3)}
        if not self._backplane.publish(channel, Envelope(Kind.LOST, self._boot, owed.last, extra=extra).encode()):
            return False
        self._numbers.told(channel)
        return True
