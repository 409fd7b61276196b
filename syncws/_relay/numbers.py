"""The numbers of messages, by which every loss is known: those of this process, and the last ones of the others.

A process numbers its messages on each channel, from 1 on. Who listens remembers the last number of each channel and
process: a message whose number is not above it is a copy, one that is higher by more than one comes after a loss.
A number that is far away, above or below, is neither: it is where the sender stands, and nobody knows what is missing.
So a number that somebody has forged does not make copies of all that comes after it.

**The first that is heard of a sender on a channel** says nothing of those before it: they were sent before this process
listened, or are lost. It is remembered until the sender tells of losses, which says what there was before.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from .names import ALL

#: Channels whose numbers a sender remembers: 15 MB. Each id that is registered is one, as it is claimed.
MOST_CHANNELS = 65_536

#: Processes whose numbers on one channel are remembered: who writes to the bus could invent any number.
MOST_SENDERS = 65_536

#: Below each number that came stands the second of time.time() in which it did, in so many bits of one int: a float
#: beside it would take twice the memory.
_SECOND = 32
_SECONDS = (1 << _SECOND) - 1

#: A jump up by more is no loss but a new start: nobody knows what is missing.
JUMP = 10_000_000

#: A jump down by more is no copy but a new start. It is larger than JUMP, by which a sender itself goes on where it
#: does not know how many are missing: what it sent before, and the bus brings twice, is a copy still.
BACK = 4 * JUMP


class Channel:
    """The numbers that this process has used on one channel."""

    __slots__ = ("began", "first", "last", "lost_at")

    def __init__(self, number: int) -> None:
        self.first = self.last = number
        self.began = time.monotonic()
        self.lost_at = 0.0  # when the last message was lost that is to be told


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
        self._jumped: set[str] = set()  # those of `owed` of which nobody knows how many were not sent

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
            known.lost_at = time.monotonic()
        else:  # who is sent to may be anybody's choice: what is owed is bounded
            self.owe_anything(ALL)

    def owe_anything(self, channel: str) -> None:
        """Nobody knows how many messages on a channel were not sent; on that of everybody: on any channel."""
        assert self.lock.locked()
        if channel in self._jumped and channel in self.owed:
            return  # its listeners are to be told just that already
        self.next(channel)
        known = self._channels[channel]
        known.last += JUMP
        self._jumped.add(channel)
        self.owed[channel] = known
        known.lost_at = time.monotonic()

    def told(self, channel: str) -> None:
        """Who listens to a channel has been told."""
        assert self.lock.locked()
        del self.owed[channel]
        self._jumped.discard(channel)


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
        # Guarded by _lock:
        # By channel and process the last number, and the second up to which all came, or was told as lost: some 90
        # bytes each, half of a flat dict's.
        self._last: dict[str, dict[bytes, int]] = {}
        self._heard_from: dict[str, dict[bytes, int]] = {}  # the first number that was heard, where others were before
        self._spoke: set[bytes] = set()  # processes of which messages came since `take_spoken`

    def came(self, channel: str, boot: bytes, number: int, begins: bool) -> Came:
        """A message of this number came; begins: its sender knows of none before it."""
        with self._lock:
            self._spoke.add(boot)
            numbers = self._last.setdefault(channel, {})
            known = numbers.get(boot)
            last = None if known is None else known >> _SECOND
            if last is not None and number <= last and last - number <= BACK:
                return _COPY
            if last is None and len(numbers) >= MOST_SENDERS:
                numbers.clear()
                numbers[boot] = number << _SECOND
                return _ANEW
            if last is None and not begins and number > 1:
                self._heard_from.setdefault(channel, {})[boot] = number
            if known is None or last is None or number == last + 1:
                numbers[boot] = number << _SECOND | _now()
                return _NEW
            numbers[boot] = number << _SECOND | known & _SECONDS  # until `since` is asked
        if abs(number - last) > JUMP:
            return _NEW if begins and number > last else _ANEW
        return _NEW if begins else Came(True, number - last - 1)

    def lost(self, channel: str, boot: bytes, number: int) -> int | None:
        """All up to this number have been sent or are lost: how many are missing; more than JUMP: nobody knows.

        None: no number is known yet.
        """
        with self._lock:
            numbers = self._last.setdefault(channel, {})
            known = numbers.get(boot)
            if known is None:
                if is_full := len(numbers) >= MOST_SENDERS:
                    numbers.clear()
                numbers[boot] = number << _SECOND
                return JUMP + 1 if is_full else None
            last = known >> _SECOND
            if number == last:
                numbers[boot] = number << _SECOND | _now()
            if number <= last:
                return 0
            numbers[boot] = number << _SECOND | known & _SECONDS  # until `since` is asked
        return number - last

    def since(self, channel: str, boot: bytes) -> float | None:
        """Since when something of a process may be missing on a channel, where `came` or `lost` has just found that.

        An instant of time.time(), early by a second at most; None: it is not known. What comes next is missing since
        now, as what is missing so far is told.
        """
        with self._lock:
            numbers = self._last.get(channel, {})
            known = numbers.get(boot)
            if known is None:
                return None
            numbers[boot] = known & ~_SECONDS | _now()
        return float(known & _SECONDS) or None

    def take_heard_from(self, channel: str, boot: bytes) -> int | None:
        """The first number that was heard of a process on a channel, if there were others before it: once."""
        with self._lock:
            return self._heard_from.get(channel, {}).pop(boot, None)

    def forget_channels(self, channels: Iterable[str]) -> None:
        """Nobody listens to these any more."""
        with self._lock:
            for channel in channels:
                self._last.pop(channel, None)
                self._heard_from.pop(channel, None)

    def forget_boot(self, boot: bytes) -> None:
        """This process is gone for good."""
        with self._lock:
            for channel in [channel for channel, numbers in self._last.items() if numbers.pop(boot, None) is not None]:
                self._heard_from.get(channel, {}).pop(boot, None)
                if not self._last[channel]:
                    del self._last[channel]
                    self._heard_from.pop(channel, None)

    def boots(self) -> set[bytes]:
        """The processes that have sent something."""
        with self._lock:
            return {boot for numbers in self._last.values() for boot in numbers}

    def take_spoken(self) -> set[bytes]:
        """The processes that have sent something since the last call."""
        with self._lock:
            spoke, self._spoke = self._spoke, set()
            return spoke


def _now() -> int:
    """The second of time.time()."""
    return int(time.time()) & _SECONDS
