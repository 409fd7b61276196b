"""So many at once, and so many a second: how often a peer may do what costs this side more than it brings."""

from __future__ import annotations


class Allowance:
    """What a peer may spend: `burst` at once, and `rate` more each second, up to `burst` again.

    No clock is read for each: what the seconds have brought is added once all is spent. Instants are those of
    time.monotonic(), and the caller's, as there is no clock here.

    Concurrency: none; belongs to whoever holds the connection's read turn.
    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: int, rate: int, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left: float = burst
        self._since = now  # when the seconds were last counted

    def spend(self, count: int) -> bool:
        """Spend that much; False, and nothing is spent, where there is less: then `refill`, and ask again."""
        if self._left < count:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        """That much was spent, and not used."""
        self._left += count

    def refill(self, now: float) -> None:
        """Add what the seconds have brought since the last time."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
