"""The channels that this process listens to: those of rooms and ids that have a member here, and for a while after.

A member that joins a room pins its channel until it is in: a sweep in between would let go of the channel.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from .._bus.backplane import Backplane

#: Seconds for which a channel is kept after its last member: rooms of few come and go.
LINGER = 10.0


class Interests:
    """Which channels are listened to, and since when.

    Any thread. `_lock` guards the fields that say so. It is held while the bus is told of channels, which never waits:
    in two steps, a channel that is let go and taken again at the same time could end as let go.
    """

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._pins: dict[str, int] = {}  # channels that somebody is about to join
        self._used: dict[str, float] = {}  # every channel, with the monotonic instant of its last use
        self._since: dict[str, float] = {}  # every channel, with that of its first use
        self._late: dict[str, float] = {}  # not acknowledged in time, with the instant since which they should be

    def has(self, channel: str) -> bool:
        """Whether a channel is listened to. Without the lock: one look into a dict, which is one step."""
        return channel in self._used

    def age(self, channel: str) -> float:
        """For how many seconds a channel is listened to; 0 if it is not."""
        with self._lock:
            since = self._since.get(channel)
        return 0.0 if since is None else time.monotonic() - since

    def __len__(self) -> int:
        return len(self._used)

    @contextlib.contextmanager
    def pinned(self, channels: Collection[str], timeout: float) -> Iterator[None]:
        """Listen to these channels, and let go of none of them inside the block.

        Waits at most timeout seconds until the bus has acknowledged the new ones. It goes on without: then `effective`
        tells of them later.
        """
        now = time.monotonic()
        with self._lock:
            new = [channel for channel in channels if channel not in self._used]
            for channel in channels:
                self._pins[channel] = self._pins.get(channel, 0) + 1
                self._used[channel] = now
                self._since.setdefault(channel, now)
        try:
            # Old ones too: another thread may be waiting for the acknowledgement of one that is new to it.
            self._subscribe(channels, new, timeout)
            yield
        finally:
            now = time.monotonic()
            with self._lock:
                for channel in channels:
                    self._used[channel] = max(self._used[channel], now)  # else a sweep under way might not know of it
                    self._pins[channel] -= 1
                    if not self._pins[channel]:
                        del self._pins[channel]

    def _subscribe(self, channels: Collection[str], new: Collection[str], timeout: float) -> None:
        if self._backplane.subscribe(channels, timeout):
            return
        now = time.monotonic()
        with self._lock:
            for channel in new:
                self._late.setdefault(channel, now)

    def effective(self) -> dict[str, float]:
        """Channels whose late acknowledgement has come, each with the instant since which it was waited for."""
        with self._lock:
            late = dict(self._late)
        arrived = {channel: since for channel, since in late.items() if self._backplane.subscribe((channel,), 0.0)}
        with self._lock:
            for channel in arrived:
                self._late.pop(channel, None)
        return arrived

    def forgive(self) -> bool:
        """Ask no more about those that are late, as one answer covers all; whether there were any."""
        with self._lock:
            late, self._late = self._late, {}
        return bool(late)

    def sweep(self, needed: Callable[[], set[str]], forget: Callable[[list[str]], object]) -> list[str]:
        """Let go of channels that nobody has needed for a while, and return them.

        Args:
            needed: tells the channels that members here are in. It may take long where there are many rooms, and is
                called without the lock: who joins does not wait for it.
            forget: is told the channels, under the lock too: what comes once somebody has joined again stays.
        """
        idle_since = time.monotonic() - LINGER
        with self._lock:
            idle = [each for each, used in self._used.items() if used < idle_since and each not in self._pins]
        if not idle:
            return []
        # A member is in its room before its pin is gone. So who was pinned at that look, or is since, has a later use
        # than idle_since; of all others it is known by now whether somebody is in.
        in_use = needed()
        now = time.monotonic()
        gone = []
        with self._lock:
            for channel in idle:
                if channel in self._pins or self._used.get(channel, now) >= idle_since:
                    continue
                if channel in in_use:
                    self._used[channel] = now
                else:
                    del self._used[channel], self._since[channel]
                    self._late.pop(channel, None)
                    gone.append(channel)
            forget(gone)
            self._backplane.unsubscribe(gone)
        return gone

    def keep(self, channels: Iterable[str]) -> None:
        """Listen to these for good: they are this process's own."""
        with self._lock:
            for channel in channels:
                self._used[channel] = float("inf")
                self._since[channel] = time.monotonic()
        self._backplane.subscribe(list(channels), 0.0)
