"""The pace of a message that has begun to come and is kept until it is whole: so many bytes a second, after a grace.

A peer that begins a message and sends a byte of it now and then is alive, so keepalive never ends it; this does.
"""

from __future__ import annotations

from .._base.counters import breaches
from ..errors import CloseCode, ProtocolError


class Pace:
    """How long reads have waited for the message that is under way.

    Only what reads have waited for it counts, and it is judged right after a wait that found nothing: what came while
    the handler was busy lies in the socket.

    Concurrency: one thread at a time, the one that holds the read turn.
    """

    __slots__ = ("_grace", "_rate", "waited")

    def __init__(self, rate: int, grace: float) -> None:
        self._rate = rate  # bytes a second
        self._grace = grace  # seconds
        self.waited = 0.0  # seconds; 0 again for each message

    def usual(self, tick: float | None) -> float | None:
        """How long a wait may be while there is time enough, given the usual one; None where there is not: `left`."""
        if self.waited * 8 < self._grace:
            return self._grace if tick is None else min(tick, self._grace)
        return None

    def left(self, arrived: int) -> float:
        """Seconds that a message of which so many bytes have come may still be waited for."""
        return max(0.0, self._allowed(arrived) - self.waited)

    def judge(self, arrived: int) -> None:
        """A wait has found nothing: raises ProtocolError if the message is too slow."""
        if self.waited >= self._allowed(arrived):
            breaches.add("least_rate")
            raise ProtocolError(
                CloseCode.POLICY_VIOLATION, f"a message that comes with less than {self._rate} bytes a second"
            )

    def _allowed(self, arrived: int) -> float:
        return self._grace + arrived / self._rate
