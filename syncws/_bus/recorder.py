"""A `Sink` for tests: it keeps what it is told, and lets a test wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Received(NamedTuple):
    """Something that came on a channel."""

    channel: str
    data: bytes
    position: str | None = None


class Recorder:
    """A `Sink` that keeps what it is told. Any thread may look.

    Attributes:
        received_all: what came, in order; the other lists likewise, for `down`, `up` and `vanished`.
        story: "down" and "up", in order.
        dropped_all: what `dropped` told, added up by channel.
        overlaps: channels for which it was told two things at the same time, which no backplane may do.
        gate: while it is not set, whoever tells of a message has to wait: a slow reader.
    """

    def __init__(self) -> None:
        self.received_all: list[Received] = []
        self.reasons: list[str] = []
        self.proofs: list[float] = []
        self.vanished_all: list[str] = []
        self.story: list[str] = []
        self.dropped_all: dict[str, int] = {}
        self.overlaps: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._by_channel: dict[str, list[bytes]] = {}
        self._under_way: set[str] = set()

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        """Keep it; first wait for the gate."""
        with self._lock:
            if channel in self._under_way:
                self.overlaps.append(channel)
            self._under_way.add(channel)
            self._changed.notify_all()
        self.gate.wait()
        with self._lock:
            self._under_way.discard(channel)
            self.received_all.append(Received(channel, data, position))
            self._by_channel.setdefault(channel, []).append(data)
            self._changed.notify_all()

    def down(self, reason: str) -> None:
        """Keep it."""
        with self._lock:
            self.reasons.append(reason)
            self.story.append("down")
            self._changed.notify_all()

    def up(self, proven: float) -> None:
        """Keep it."""
        with self._lock:
            self.proofs.append(proven)
            self.story.append("up")
            self._changed.notify_all()

    def dropped(self, counts: Mapping[str, int]) -> None:
        """Add it to what was told before."""
        with self._lock:
            for channel, count in counts.items():
                self.dropped_all[channel] = self.dropped_all.get(channel, 0) + count
            self._changed.notify_all()

    def vanished(self, node: str) -> None:
        """Keep it."""
        with self._lock:
            self.vanished_all.append(node)
            self._changed.notify_all()

    def on(self, channel: str) -> list[bytes]:
        """What came on a channel, in order."""
        with self._lock:
            return list(self._by_channel.get(channel, ()))

    def count(self, channel: str) -> int:
        """How much came on a channel."""
        with self._lock:
            return len(self._by_channel.get(channel, ()))

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on what was told holds, for at most so many seconds; whether it does."""
        with self._lock:
            return self._changed.wait_for(condition, timeout)
