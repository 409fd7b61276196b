"""The retreat of a server: its WebSockets are told to go one after another, over some seconds, and not all at once.

Whoever is told connects again at once, somewhere else: ten thousand that are told in one moment come back in one. So
the time that is left is divided into as many equal parts as there are connections to be told, and each is told at a
random instant of a part of its own, in random order. That is even, and no two servers that began together keep step.

    add, discard      by the roster, as connections come to be WebSockets, and leave
    hasten            it is to be over sooner
    next_due          by the thread that tells: who is due now, or how long to wait
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

from .._conn.farewell import Leaving


class Retreat:
    """Who of a server's connections is told to go, and when. Ends at an instant of time.monotonic().

    Concurrency: for whoever holds `Roster.lock`, which guards every field.
    """

    def __init__(self, connections: Iterable[Leaving], end: float) -> None:
        self.end = end
        self._waiting: set[Leaving] = set()  # to be told yet
        self._order: list[Leaving] = []  # the last one is the next; those that are not in `_waiting` have gone
        for each in connections:
            self.add(each)
        self._part_end = time.monotonic()  # where the part of the next one begins
        self._due: float | None = None  # when the next one is told, if that was drawn

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: Leaving) -> None:
        """One more is to be told: at any place of the order, so that many that come late are spread, too."""
        if connection in self._waiting:
            return
        self._waiting.add(connection)
        self._order.append(connection)
        place = random.randrange(len(self._order))
        self._order[place], self._order[-1] = self._order[-1], self._order[place]

    def discard(self, connection: Leaving) -> None:
        """It has gone. Those that stay have its time."""
        self._waiting.discard(connection)

    def hasten(self, end: float) -> None:
        """Be over by this instant, if that is sooner."""
        if end < self.end:
            self.end = end
            self._part_end, self._due = time.monotonic(), None

    def next_due(self, now: float) -> Leaving | float:
        """Who is to be told now, who is told from then on; else seconds to wait before asking again."""
        if not self._waiting:
            self._order.clear()
            self._due = None
            return max(0.0, self.end - now)
        if self._due is None:
            # From now if that is later: after a delay the rest is spread over the rest of the time, without a burst.
            begin = max(self._part_end, now)
            part = max(0.0, self.end - begin) / len(self._waiting)
            self._part_end, self._due = begin + part, begin + part * random.random()
        if self._due > now:
            return self._due - now
        self._due = None
        while (connection := self._order.pop()) not in self._waiting:
            pass
        self._waiting.remove(connection)
        return connection
