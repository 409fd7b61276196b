"""The sums of what a server's connections count: those that are there, and those that have gone.

    opened(conn)      an open connection is counted from now on
    released(tally)   its descriptor is closed: nothing comes or leaves any more
    left(conn)        whoever served it is done with it: it reads no more of what had come before

Its numbers are added to the sums once the last two have happened, in whichever order, and it is forgotten. That is one
step under the lock, and so is the beginning of a snapshot, which copies the sums and the list of those that are there.
So each connection is in one of the two, and in a snapshot once. A tally that is added to the sums after that keeps its
numbers, which the snapshot then reads.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from typing import Any

from .._base.forks import begin_anew_in_child
from .conn import Conn
from .stats import REFUSALS, RoundTrips, counted_as
from .tally import Tally, Trips


class Ledger:
    """Counts the WebSockets of one server, or of one process inside another server.

    Concurrency: every method is for any thread. `_lock` is a leaf and guards everything except `_left`; nobody is
    called while it is held. The child of a fork begins at nothing.
    """

    def __init__(self) -> None:
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Nothing was counted, as in the child of a fork: the connections are the parent's."""
        self._lock = threading.Lock()
        # Those that were released, or left (True), for whoever has the lock next. Appending takes no lock.
        self._left: deque[tuple[Tally, bool]] = deque()
        # Guarded by _lock:
        self._here: dict[Tally, None] = {}  # in the order they came
        self._opened = 0
        self._closed: Counter[str] = Counter()
        self._closed_by: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._sums = _Sums()

    # What happens

    def opened(self, conn: Conn) -> Tally:
        """Count a connection that is open from now on; what it counts."""
        tally = conn._wire.tally
        tally.conn = weakref.ref(conn)
        with self._lock:
            self._here[tally] = None
            self._opened += 1
        # After it is here. It may have been released before: then whoever leaves it finds that.
        tally.ledger = self
        return tally

    def released(self, tally: Tally) -> None:
        """The descriptor of a connection is closed."""
        self._tell(tally, is_left=False)

    def left(self, tally: Tally | None) -> None:
        """Whoever served a connection is done with it, and has closed it; None: there was none. Idempotent.

        It waits for no lock: the collector may call it, in the middle of a method here.
        """
        if tally is None:
            return
        self._tell(tally, is_left=True)

    def _tell(self, tally: Tally, *, is_left: bool) -> None:
        """Note what has happened to a tally, without waiting: also in the middle of a method here, in a signal's
        handler that calls `Server.shutdown`, or for the collector.
        """
        self._left.append((tally, is_left))
        # Looked at again after the lock was let go: who came meanwhile did not get it, and has left his to this thread.
        while self._left and self._lock.acquire(blocking=False):
            try:
                self._look_at_left()
            finally:
                self._lock.release()

    def _look_at_left(self) -> None:
        """Add those that were left, and are released, to the sums. Under the lock."""
        while self._left:
            tally, is_left = self._left.popleft()
            if is_left:
                tally.is_left = True
            self._add_if_done(tally)

    def _add_if_done(self, tally: Tally) -> None:
        is_gone = tally.conn is not None and tally.conn() is None  # the collector has it, and nobody released it
        if tally.is_left and (tally.is_released or is_gone) and tally in self._here:
            del self._here[tally]
            self._sums.add(tally, None)
            self._closed[counted_as(tally.code)] += 1
            self._closed_by[tally.by] += 1

    def refused(self, reason: str) -> None:
        """A handshake, or a connection, was refused."""
        assert reason in REFUSALS
        with self._lock:
            self._refused[reason] += 1

    def answered(self, status: int) -> None:
        """A request was answered with this status, and is no WebSocket."""
        with self._lock:
            self._answered[f"{status // 100}xx"] += 1

    # What is known

    def conns(self) -> list[Conn]:
        """The connections that are here and open, in the order they came."""
        with self._lock:
            here = list(self._here)
        conns = [tally.conn() for tally in here if tally.conn is not None]
        return [conn for conn in conns if conn is not None and not conn.closed]

    def requests(self) -> dict[str, int]:
        """How many requests were answered, by the class of the status: "2xx"."""
        with self._lock:
            return dict(self._answered)

    def messages(self) -> int:
        """How many messages have come and left so far. It asks no kernel, unlike `traffic`."""
        with self._lock:
            self._look_at_left()
            gone, here = self._sums.messages, list(self._here)
        return gone + sum(tally.messages_in + tally.messages_out for tally in here)

    def traffic(self) -> dict[str, Any]:
        """The fields of a `Traffic`, as of now."""
        with self._lock:
            self._look_at_left()
            sums, here, opened = self._sums.copy(), list(self._here), self._opened
            closed, closed_by, refused = dict(self._closed), dict(self._closed_by), dict(self._refused)
        is_open = queued_messages = queued_bytes = 0
        for tally in here:  # without the lock: the kernel is asked for each
            conn = None if tally.conn is None else tally.conn()
            sums.add(tally, conn)
            is_open += conn is not None and not conn.closed
            queued_messages += len(tally.queue)
            queued_bytes += tally.queue.size
        return {
            **{"open": is_open, "ending": len(here) - is_open, "opened": opened},
            **{"closed": closed, "closed_by": closed_by, "refused": refused},
            **{"queued_messages": queued_messages, "queued_bytes": queued_bytes, **sums.fields()},
        }


class _Sums:
    """The sums of some tallies."""

    def __init__(self) -> None:
        self._messages_in = self._messages_out = self._dropped = self._pings = self._pongs = 0
        self._bytes: tuple[int, int] | None = None  # of those whose bytes the kernel counts
        self._trips = Trips()

    def add(self, tally: Tally, conn: Conn | None) -> None:
        """One more; conn is asked for its bytes, while it has them."""
        self._messages_in += tally.messages_in
        self._messages_out += tally.messages_out
        self._dropped += tally.queue.dropped
        self._pings += tally.pings
        self._pongs += tally.pongs
        self._trips.include(tally.trips)
        came, left = tally.bytes(None if conn is None else conn.transport)
        if came is not None and left is not None:
            before = self._bytes or (0, 0)
            self._bytes = before[0] + came, before[1] + left

    @property
    def messages(self) -> int:
        """How many have come and left."""
        return self._messages_in + self._messages_out

    def copy(self) -> _Sums:
        """Sums of their own."""
        copied = _Sums()
        vars(copied).update(vars(self))
        copied._trips = Trips()
        copied._trips.include(self._trips)
        return copied

    def fields(self) -> dict[str, int | RoundTrips | None]:
        """The fields of a `Traffic` that are sums."""
        came, left = self._bytes or (None, None)
        return {
            **{"messages_in": self._messages_in, "messages_out": self._messages_out},
            **{"bytes_in": came, "bytes_out": left, "dropped": self._dropped},
            **{"pings": self._pings, "pongs": self._pongs, "round_trips": self._trips.snapshot()},
        }
