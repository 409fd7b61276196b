"""When to ping a silent peer and when to give it up. No clock and no I/O: the reading thread tells what it saw.

Silence is a wait that ended without a byte; it is judged only right after such a wait, so a handler that was busy for
a minute kills nobody: the peer's bytes lie in the socket then. What the peer takes counts as life like what it sends,
so a slow reader of a large message is not cut; but for our ping itself, which the kernel takes for a peer that hangs.
"""

from __future__ import annotations

from typing import Literal

#: What our own ping may add to the bytes taken, under TLS too. A kernel takes it for a program that hangs.
_PING_SIZE = 64


class Keepalive:
    """The silence of one peer.

    Concurrency: none; belongs to whoever holds the connection's read turn.
    """

    __slots__ = ("_pinged_at", "_taken", "interval", "silent_since", "timeout")

    def __init__(self, interval: float | None, timeout: float | None) -> None:
        self.interval = interval  # seconds of silence before a ping; None: never ping
        self.timeout = timeout  # seconds of silence after it before the peer counts as dead; None: never, ping again
        self.silent_since: float | None = None
        self._pinged_at: float | None = None
        self._taken = 0  # when this silence was first looked at, or at the last progress

    def heard(self) -> None:
        """Bytes came: the peer lives."""
        self.silent_since = self._pinged_at = None

    def nothing_came(self, now: float, waited: float, taken: int) -> Literal["ping", "dead"] | None:
        """A wait of that many seconds has just ended without a byte; what to do about it.

        taken is how many bytes the peer has taken from this side so far.
        """
        if self.interval is None:
            return None
        if self.silent_since is None:
            self.silent_since, self._taken = now - waited, taken
        elif taken - self._taken > _PING_SIZE:
            self.silent_since, self._pinged_at, self._taken = now, None, taken
        if self._next_at(now) > now:
            return None
        if self._pinged_at is not None and self.timeout is not None:
            return "dead"
        self._pinged_at = now
        return "ping"

    def seconds_left(self, now: float) -> float | None:
        """Seconds until there is something to decide; None for never."""
        if self.interval is None:
            return None
        return max(0.0, self._next_at(now) - now)

    def _next_at(self, now: float) -> float:
        assert self.interval is not None
        if self._pinged_at is None:
            return (now if self.silent_since is None else self.silent_since) + self.interval
        return self._pinged_at + (self.interval if self.timeout is None else self.timeout)
