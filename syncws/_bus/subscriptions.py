"""The channels that a process listens to: those that it wants, has asked for, and gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence


class Subscriptions:
    """What is wanted, and how far the connection is with it.

    `want`, `wait` and `drop` are for any thread, the rest for the one that reads from the bus, which asks for what has
    changed and tells what was acknowledged. `_lock` guards every field.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._changes: dict[str, bool] = {}  # what is to be asked for, and what is to be let go; the last word counts
        self._asked: set[str] = set()  # of the connection there is
        self._open: dict[str, int] = {}  # acknowledgements that are still to come, of commands of either kind
        self._active: set[str] = set()  # acknowledged: what is published there arrives
        self._first: set[str] = set()  # what the connection began with and has not acknowledged
        self._waiting: dict[str, list[threading.Event]] = {}  # by the channel that is waited for
        self._closed = False

    def want(self, channels: Iterable[str]) -> list[str]:
        """Have these channels arrive; those of them that do not yet."""
        with self._lock:
            missing = []
            for each in channels:
                if each not in self._wanted:
                    self._wanted.add(each)
                    self._changes[each] = True
                if each not in self._active:
                    missing.append(each)
            return missing

    def wait(self, channels: Sequence[str], timeout: float) -> bool:
        """Wait until all of these arrive, at most timeout seconds, also over a reconnect; whether they do."""
        until = time.monotonic() + timeout
        while True:
            with self._lock:
                missing = next((each for each in channels if each not in self._active), None)
                left = until - time.monotonic()
                if missing is None or left <= 0 or self._closed:
                    return missing is None
                came = threading.Event()
                self._waiting.setdefault(missing, []).append(came)
            if not came.wait(left):
                self._forget(missing, came)

    def _forget(self, channel: str, event: threading.Event) -> None:
        with self._lock:
            waiting = self._waiting.get(channel, [])
            if event in waiting:
                waiting.remove(event)
            if not waiting:
                self._waiting.pop(channel, None)

    def drop(self, channels: Iterable[str]) -> bool:
        """Let go of these channels; whether any of them was wanted."""
        with self._lock:
            known = self._wanted.intersection(channels)
            self._wanted -= known
            self._changes.update(dict.fromkeys(known, False))
            return bool(known)

    def close(self) -> None:
        """End every wait. Idempotent."""
        with self._lock:
            self._closed = True
            for each in [*self._waiting]:
                self._wake(each)

    def _wake(self, channel: str) -> None:
        for event in self._waiting.pop(channel, ()):
            event.set()

    # The thread that reads

    def begin(self) -> list[str]:
        """There is a new connection, which has nothing yet: all that is to be asked for."""
        with self._lock:
            self._changes.clear()
            self._active.clear()
            self._open = dict.fromkeys(self._wanted, 1)
            self._asked = set(self._wanted)
            self._first = set(self._wanted)
            return list(self._wanted)

    def end(self) -> None:
        """There is no connection: nothing arrives."""
        with self._lock:
            self._active.clear()
            self._open.clear()
            self._asked.clear()

    def changes(self) -> tuple[list[str], list[str]]:
        """(to ask for, to let go) since the last time; as asked for from now on."""
        if not self._changes:  # without the lock: who adds to it wakes this thread afterwards
            return [], []
        with self._lock:
            add = [each for each, wanted in self._changes.items() if wanted and each not in self._asked]
            remove = [each for each, wanted in self._changes.items() if not wanted and each in self._asked]
            self._changes.clear()
            self._asked.update(add)
            self._asked.difference_update(remove)
            self._active.difference_update(remove)
            for each in (*add, *remove):
                self._open[each] = self._open.get(each, 0) + 1
            return add, remove

    def acknowledged(self, channel: str, *, subscribed: bool) -> bool:
        """The bus says that a channel arrives from now on, or does no more; False: nobody has asked for that."""
        with self._lock:
            left = self._open.get(channel, 0) - 1
            if left < 0:
                return False
            if left:  # an answer to an older command; the channel is what the last one says
                self._open[channel] = left
                return True
            del self._open[channel]
            self._first.discard(channel)
            if subscribed and channel in self._asked:
                self._active.add(channel)
                self._wake(channel)
            return True

    @property
    def complete(self) -> bool:
        """Whether all that the connection began with is acknowledged."""
        return not self._first
