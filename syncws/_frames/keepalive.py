"""When to ping a silent peer and when to give it up. No clock and no I/O: the reading thread tells what it saw.

Silence is a wait that ended without a byte. It is judged only right after such a wait, so a handler that was busy for
a minute kills nobody: the peer's bytes lie in the socket then. What the peer takes counts as life, as what it sends
does, so a slow reader of a large message is not cut. Only the ping does not count: a kernel takes that also for a
program that hangs.

| state | `silent_since` | `_pinged_at` | next |
|---|---|---|---|
| heard | None | None | silent, when a wait ends without a byte |
| silent | since when | None | pinged, after `interval` |
| pinged | since when | when | dead, after `timeout`; without a timeout pinged again, after `interval` |

A byte from the peer leads back to "heard" from everywhere; bytes that it took lead back to "silent", beginning now.
"""

from __future__ import annotations

from typing import Literal

#: What a ping may add to the bytes taken, under TLS too.
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
        self._taken = 0  # bytes that the peer had taken when this silence began, or at the last progress in it

    def heard(self) -> None:
        """Bytes came: the peer lives."""
        self.silent_since = self._pinged_at = None

    def nothing_came(
        self, now: float, waited: float, taken: int, *, ping_size: int = _PING_SIZE
    ) -> Literal["ping", "dead"] | None:
        """What to do after a wait of that many seconds has just ended without a byte; None for nothing yet.

        taken is how many bytes the peer has taken from this side so far. With a ping_size of 0 a ping counts, too: for
        a peer of which nothing else can be known than whether its kernel lives.
        """
        if self.interval is None:
            return None
        if self.silent_since is None:
            self.silent_since, self._taken = now - waited, taken
        elif taken - self._taken > ping_size:
            self.silent_since, self._pinged_at, self._taken = now, None, taken
        if self._next_at(now) > now:
            return None
        if self._pinged_at is not None and self.timeout is not None:
            return "dead"
        self._pinged_at = now
        return "ping"

    @property
    def is_counting(self) -> bool:
        """Whether a silence is under way, or none is judged. A hint, for any thread."""
        return self.interval is None or self.silent_since is not None

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
