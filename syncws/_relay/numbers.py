"""The numbers of messages, by which every loss is known: those of this process, and the last ones of the others.

A process numbers its messages on each channel, from 1 on. Who listens remembers the last number of each channel and
process: a message whose number is not above it is a copy, one that is higher by more than one comes after a loss.
A number that is far away, above or below, is neither: it is where the sender stands, and nobody knows what is missing.
So a number that somebody has forged does not make copies of all that comes after it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from .names import ALL

#: Channels whose numbers a sender remembers: some 10 MB. A private message to one user is a channel.
MOST_CHANNELS = 65_536

#: Processes whose numbers on one channel are remembered: who writes to the bus could invent any number.
MOST_SENDERS = 65_536

#: A jump by more, up or down, is neither a loss nor a copy, but a new start.
JUMP = 10_000_000


class Channel:
    """The numbers that this process has used on one channel."""

    __slots__ = ("began", "first", "last")

    def __init__(self, number: int) -> None:
        self.first = self.last = number
        self.began = time.monotonic()


class Outgoing:
    """The numbers of this process on each channel, and the channels whose listeners are to be told of a loss.

    `lock` guards everything here. It is held while a message is numbered and put into the queue of the bus, in one
    step: in two, threads that publish at the same time would queue numbers out of order, and listeners would drop the
    lower one as a copy.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Guarded by lock:
        self._channels: OrderedDict[str, Channel] = OrderedDict()  # the one that was used longest ago first
        self._forgotten = 0  # no channel that was forgotten has had a higher number
        self.owed: dict[str, Channel] = {}

    def next(self, channel: str) -> tuple[int, bool]:
        """(the next number, whether this process knows of none before it on this channel)."""
        assert self.lock.locked()
        known = self._channels.get(channel)
        if known is not None:
            known.last += 1
            self._channels.move_to_end(channel)
            return known.last, False
        # Above all that were forgotten, as this channel may be one of them: a lower number would be taken for a copy.
        number = self._forgotten + 1
        self._channels[channel] = Channel(number)
        if len(self._channels) > MOST_CHANNELS:
            self._forgotten = max(self._forgotten, self._channels.popitem(last=False)[1].last)
        return number, True

    def last(self, channel: str) -> int:
        """The last number that was used on a channel; 0 if none is known."""
        assert self.lock.locked()
        known = self._channels.get(channel)
        return 0 if known is None else known.last

    def owe(self, channel: str) -> None:
        """Messages on a channel were not sent; their numbers are used up, which is how listeners find out.

        A channel without numbers has lost nothing that anybody misses.
        """
        assert self.lock.locked()
        known = self._channels.get(channel)
        if known is None:
            return
        if len(self.owed) < MOST_CHANNELS or channel in self.owed:
            self.owed[channel] = known
        else:  # who is sent to may be anybody's choice: what is owed is bounded
            self.owe_anything(ALL)

    def owe_anything(self, channel: str) -> None:
        """Nobody knows how many messages on a channel were not sent; on that of everybody: on any channel."""
        assert self.lock.locked()
        self.next(channel)
        self._channels[channel].last += JUMP
        self.owed[channel] = self._channels[channel]


class Came(NamedTuple):
    """What the number of a message says."""

    is_new: bool  # it is no copy
    missed: int | None  # how many are missing before it; None: the sender has begun anew, and nobody knows


_COPY = Came(False, 0)
_NEW = Came(True, 0)
_ANEW = Came(True, None)


class Incoming:
    """The last number of every other process on each channel that is listened to.

    Any thread. `_lock` guards everything here and is a leaf. A channel is forgotten when nobody listens to it any more,
    and a process when it is gone, so it holds as many numbers as there are channels here times processes. A channel of
    too many processes forgets all of them, which is a loss of unknown size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, dict[bytes, int]] = {}  # guarded by _lock; 83 bytes each, half of a flat dict's

    def came(self, channel: str, boot: bytes, number: int, begins: bool) -> Came:
        """A message of this number came; begins: its sender knows of none before it."""
        with self._lock:
            numbers = self._last.setdefault(channel, {})
            last = numbers.get(boot)
            if last is not None and number <= last and last - number <= JUMP:
                return _COPY
            if last is None and len(numbers) >= MOST_SENDERS:
                numbers.clear()
                numbers[boot] = number
                return _ANEW
            numbers[boot] = number
        if last is None or number == last + 1:
            return _NEW
        if abs(number - last) > JUMP:
            return _NEW if begins and number > last else _ANEW
        return _NEW if begins else Came(True, number - last - 1)

    def lost(self, channel: str, boot: bytes, number: int) -> int | None:
        """All up to this number have been sent or are lost: how many are missing; more than JUMP: nobody knows.

        None: no number is known yet.
        """
        with self._lock:
            numbers = self._last.setdefault(channel, {})
            last = numbers.get(boot)
            if last is not None and number <= last:
                return 0
            if last is None and len(numbers) >= MOST_SENDERS:
                numbers.clear()
                numbers[boot] = number
                return JUMP + 1
            numbers[boot] = number
        return None if last is None else number - last

    def forget_channels(self, channels: Iterable[str]) -> None:
        """Nobody listens to these any more."""
        with self._lock:
            for channel in channels:
                self._last.pop(channel, None)

    def forget_boot(self, boot: bytes) -> None:
        """This process is gone for good."""
        with self._lock:
            for channel in [channel for channel, numbers in self._last.items() if numbers.pop(boot, None) is not None]:
                if not self._last[channel]:
                    del self._last[channel]

    def boots(self) -> set[bytes]:
        """The processes that have sent something."""
        with self._lock:
            return {boot for numbers in self._last.values() for boot in numbers}
