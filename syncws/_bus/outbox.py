"""What waits to be sent to a bus, and what was sent and may be lost: kept in order until the bus has taken it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

#: Messages and bytes that are sent before an answer is waited for.
_BATCH, _BATCH_BYTES = 500, 1 << 20


class Waiting(NamedTuple):
    """A message that the bus has not taken yet."""

    channel: str
    data: bytes
    keep: bool
    since: float  # when it was put in: of time.monotonic()


class Outbox:
    """Messages on their way to the bus, in order, bounded.

    `put`, `wake`, `flush` and `close` are for any thread, the rest for the one that sends. `_lock` guards every field,
    is held by nobody who waits for something else, and is what the condition `_changed` is of.

    Args:
        most, most_bytes: what waits at most, in messages and in bytes.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._sleeps = False  # the sender waits for a message
        self._closed = False
        self.refused = 0  # written under the lock, read without: a count that may be one behind

    def put(self, channel: str, data: bytes, keep: bool) -> bool:
        """Queue a message; False if there is no room, or none any more."""
        size = len(data)
        with self._lock:
            if len(self._waiting) >= self._most or self._bytes + size > self._most_bytes or self._closed:
                self.refused += 1
                return False
            self._waiting.append(Waiting(channel, data, keep, time.monotonic()))
            self._bytes += size
            if self._sleeps:
                self._sleeps = False
                self._changed.notify_all()
            return True

    def wait(self, timeout: float) -> None:
        """Wait until there is something to send, at most timeout seconds."""
        with self._lock:
            if not self._waiting and not self._closed:
                self._sleep(timeout)

    def wake(self) -> None:
        """End a `wait` that is under way. Any thread."""
        with self._lock:
            self._sleeps = False
            self._changed.notify_all()

    def pause(self, timeout: float) -> None:
        """Wait for timeout seconds, or until it is closed."""
        until = time.monotonic() + timeout
        with self._lock:
            while not self._closed and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _sleep(self, timeout: float) -> None:
        self._sleeps = True
        self._changed.wait(timeout)
        self._sleeps = False

    def batch(self) -> Sequence[Waiting]:
        """What is to be sent next. It stays here until it is confirmed: after a failure the same is sent again."""
        with self._lock:
            if len(self._waiting) <= 1:
                return tuple(self._waiting)
            size = 0
            for count, each in enumerate(islice(self._waiting, _BATCH)):
                size += len(each.data)
                if size > _BATCH_BYTES and count:
                    return tuple(islice(self._waiting, count))
            return tuple(islice(self._waiting, _BATCH))

    def confirm(self, count: int) -> None:
        """The bus has taken the first so many."""
        with self._lock:
            self._drop(count)

    def expire(self, before: float) -> Counter[str]:
        """Give up what was put in before an instant of time.monotonic(): how many messages, by channel."""
        with self._lock:
            old = next((i for i, each in enumerate(self._waiting) if each.since >= before), len(self._waiting))
            lost = Counter(each.channel for each in islice(self._waiting, old))
            self._drop(old)
        return lost

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._waiting.popleft().data)
        if not self._waiting:
            self._changed.notify_all()  # for `flush`

    def flush(self, timeout: float) -> bool:
        """Wait until nothing waits, at most timeout seconds; whether it is so."""
        until = time.monotonic() + timeout
        with self._lock:
            while self._waiting and not self._closed and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._waiting

    def close(self) -> None:
        """Take nothing more, and end every wait. Idempotent."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    @property
    def size(self) -> tuple[int, int]:
        """(messages, bytes) that wait."""
        with self._lock:
            return len(self._waiting), self._bytes
