"""What is counted of one connection, where it costs a message one addition.

The numbers stand in an object of their own, which refers to no part of the connection except weakly: whoever sums them
(`ledger`) keeps no connection alive, and has them when it is gone. Bytes are not counted here: the kernel does that,
and is asked when somebody wants to know, and once before the descriptor is closed.
"""

from __future__ import annotations

import time
import weakref
from bisect import bisect_left
from itertools import accumulate
from typing import Any, Protocol

from .._net.transport import Transport
from ..errors import CloseCode, Closing, ConnectionClosed
from .queue import SendQueue
from .states import Life
from .stats import BUCKETS, RoundTrips

Totals = tuple[int, int]


class Sums(Protocol):
    """What a tally tells that its connection is released: `Ledger`."""

    def released(self, tally: Tally) -> None: ...


class Trips:
    """Round trips, as they are counted. For one thread at a time; what others read of it may lack the latest.

    How many there are is the sum of the buckets, and no number of its own: so the two agree in whatever is read.
    """

    __slots__ = ("_buckets", "least", "most", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.least: float | None = None
        self.most: float | None = None
        self._buckets = [0] * (len(BUCKETS) + 1)  # not cumulative; the last one is for what took longer

    def add(self, seconds: float) -> None:
        """One more."""
        self.total += seconds
        self.least = seconds if self.least is None else min(self.least, seconds)
        self.most = seconds if self.most is None else max(self.most, seconds)
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def include(self, other: Trips | None) -> None:
        """All that another has."""
        if other is None or other.least is None or other.most is None:
            return
        self.total += other.total
        self.least = other.least if self.least is None else min(self.least, other.least)
        self.most = other.most if self.most is None else max(self.most, other.most)
        for number, count in enumerate(other._buckets):
            self._buckets[number] += count

    def snapshot(self) -> RoundTrips:
        """As a record."""
        *buckets, count = accumulate(self._buckets)
        if not count:
            return RoundTrips()
        return RoundTrips(count, self.total, self.least, self.most, tuple(buckets))


class Tally:
    """Counts one connection.

    Concurrency: the holder of the read turn writes `messages_in`, `pongs` and `trips`; the holder of the frame lock
    writes `messages_out` and `pings`; who releases the connection, and has both, writes the rest. Anybody reads them
    without a lock: each is one reference to a number that only grows, so that an old one was right a moment ago. No
    addition is lost, with the GIL or without: of each number there is one writer at a time, and the lock hands the
    number from one to the next.
    """

    __slots__ = (
        *("_before", "_began", "_ended", "_seen", "_totals", "by", "code", "conn", "is_left", "is_released", "ledger"),
        *("messages_in", "messages_out", "pings", "pongs", "queue", "trips"),
    )

    def __init__(self, queue: SendQueue) -> None:
        self._began = time.monotonic()
        self._ended: float | None = None
        self._before: Totals | None = (0, 0)  # what the kernel had counted before; None: it does not count
        self._totals: Totals | None = None  # what it counted in the end
        # What it said last, for a connection that is collected before anybody has asked for its end. By whoever asks.
        self._seen: Totals | None = None
        self.queue = queue
        self.messages_in = 0
        self.messages_out = 0
        self.pings = 0
        self.pongs = 0
        self.trips: Trips | None = None  # made for the first
        self.conn: weakref.ref[Any] | None = None  # set by who has it counted; a Conn, whose module imports this one
        self.ledger: Sums | None = None
        # Once it is released:
        self.is_released = False
        self.code = int(CloseCode.ABNORMAL_CLOSURE)
        self.by = "nobody"
        # Guarded by the ledger's lock:
        self.is_left = False  # whoever served it is done with it

    def begin(self, before: Totals | None) -> None:
        """So much had the kernel counted before; None if it does not count. Before anybody else has the connection."""
        self._before = before

    def round_trip(self, seconds: float) -> None:
        """A ping was answered. By the holder of the read turn."""
        if self.trips is None:
            self.trips = Trips()
        self.trips.add(seconds)

    @property
    def age(self) -> float:
        """Seconds since it was opened, until it was released."""
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    def bytes(self, transport: Transport | None) -> tuple[int | None, int | None]:
        """Bytes (in, out) so far; None where the kernel does not count. For any thread.

        The kernel's last numbers are kept before the descriptor is closed. So who finds it closed finds them.
        """
        told = self._totals or (None if transport is None else transport.totals()) or self._totals
        totals = self._seen = told or self._seen
        if totals is None or self._before is None:
            return None, None
        return totals[0] - self._before[0], totals[1] - self._before[1]

    def keep_totals(self, transport: Transport) -> None:
        """The descriptor is about to be closed."""
        self._totals = transport.totals()

    def end(self, life: Life) -> None:
        """The connection is released. By who holds its state lock, its read turn and its frame lock."""
        self._ended = time.monotonic()
        if life.end is not None:
            self.code, self.by = code_of(life.end.exception()), _first(life.closings)
        self.is_released = True

    def tell(self) -> None:
        """Tell who sums it up that it is released, once `end` is over and its locks are free."""
        if self.ledger is not None:
            self.ledger.released(self)


def code_of(end: ConnectionClosed) -> int:
    """The close code that an end stands for."""
    return int(getattr(end, "code", CloseCode.ABNORMAL_CLOSURE))


def _first(closings: tuple[Closing, ...]) -> str:
    """Who closed first."""
    return "nobody" if not closings else "here" if closings[0][0] == "sent" else "peer"
