"""The history that a `MemoryBus` keeps, in tests: one store for all who are on the bus, as Redis is."""

from __future__ import annotations

import os
import threading
import time
from collections import deque

from .history import Entry, History, Numbered, Past, tells_of_loss


class _Log:
    """What is remembered of one channel."""

    def __init__(self, size: int) -> None:
        self.tag = os.urandom(6).hex()  # in each of its positions: those of another channel, or time, have another
        self.count = 0
        self.entries: deque[Entry] = deque(maxlen=size)
        self.senders: dict[str, int] = {}  # the last number of each
        self.kept_at = time.monotonic()


class BusArchive:
    """An `Archive` that a bus fills. Any thread; `_lock` guards everything, and is a leaf.

    Args:
        history: what is kept; ``rooms`` and ``memory`` are not looked at.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.begin_anew()

    def begin_anew(self) -> None:
        """In the child of a fork: nothing was kept."""
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}

    @property
    def history(self) -> History:
        return self._history

    def keep(self, channel: str, data: bytes) -> str:
        """Keep a message; its position."""
        sender, number, begins = Numbered.of(data)
        with self._lock:
            log = self._log(channel)
            if not begins and number > log.senders.get(sender, number) + 1:
                log = self._anew(channel)  # one before it is missing
            if number:
                log.senders[sender] = max(number, log.senders.get(sender, 0))
            log.count += 1
            log.kept_at = time.monotonic()
            position = f"{log.tag}-{log.count}"
            log.entries.append(Entry(position, data))
            return position

    def told(self, channel: str, data: bytes) -> None:
        """A message was published that is not kept: that others were not sent makes a hole in what is."""
        if tells_of_loss(channel, data):
            sender, number, _ = Numbered.of(data)
            with self._lock:
                log = self._anew(channel)
                log.senders[sender] = max(number, log.senders.get(sender, 0))

    def read(self, channel: str, since: str | None, timeout: float) -> Past:
        """What was kept after a position; see `Archive.read`. Never waits."""
        with self._lock:
            log = self._log(channel)
            now = f"{log.tag}-{log.count}"
            tag, number = _parts(since or "")
            if tag != log.tag or number > log.count:
                return Past(now, (), since is None)
            entries = tuple(entry for entry in log.entries if _parts(entry.position)[1] > number)
            recovered = len(entries) == log.count - number
            return Past(now, entries if recovered else (), recovered)

    def is_after(self, position: str, other: str) -> bool:
        """Whether a message is not covered by a position; see `Archive.is_after`."""
        (tag, number), (other_tag, other_number) = _parts(position), _parts(other)
        return tag != other_tag or number > other_number

    def forget(self) -> None:
        """Lose everything, as a store does that was restarted."""
        with self._lock:
            self._logs.clear()

    def _log(self, channel: str) -> _Log:
        """What is remembered of a channel; a new one if there is none, or its ttl is over. Under the lock."""
        log = self._logs.get(channel)
        if log is None or time.monotonic() > log.kept_at + self._history.ttl:
            log = self._logs[channel] = _Log(self._history.size)
        return log

    def _anew(self, channel: str) -> _Log:
        """The history of a channel begins anew: no position from before is good. Under the lock."""
        senders = self._log(channel).senders
        log = self._logs[channel] = _Log(self._history.size)
        log.senders = senders
        return log


def _parts(position: str) -> tuple[str, int]:
    """The tag and the number of a position; ("", 0) of what is none."""
    tag, _, number = position.partition("-")
    return (tag, int(number)) if number.isascii() and number.isdigit() and len(number) < 20 else ("", 0)
