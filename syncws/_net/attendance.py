"""The drain thread's second duty: looking after connections while nobody reads them.

A connection is read by its handler's thread. While that thread works, nobody answers the peer's pings, nobody pings the
peer, and nobody finds that it has gone. So every open connection is registered here, and one *look* after the other
asks which of them nobody reads just now: those whose read turn is free. These are attended (`Attended.attend`), one at
a time, without waiting for anything.

A connection that waits for its peer in a read costs that look at its turn, and pays nothing itself: no message passes
by here. Of those that nobody reads, many are asked for at a time whether something has come, by one system call: a
handler that only sends costs little more.

Connections with the same interval are one *round*. Intervals are powers of two, so there are few rounds, and one
connection that wants to be looked at often costs the others nothing. Rounds are driven by timers of the drain: no
connection, no timer, no thread.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from typing import Protocol

from .._base.latelock import LateLock
from .._base.logs import logger
from .drain import Timer, drain
from .waits import readable

_logger = logger("syncws.conn")

#: Seconds between two looks at most. A peer that waits five seconds for its pong is no rarity (aiohttp, heartbeat=10).
LONGEST = 1.0

#: And at least: for a connection whose peer is to answer within 15 ms.
_SHORTEST = LONGEST / 256

#: How many are attended before the drain thread looks whether it has something else to do.
_PORTION = 50

#: And seconds: a look at 64 KiB of tiny frames takes 7 ms, and timers and slow writers wait for the thread.
_LONG = 0.02


class Attended(Protocol):
    """A connection, as it is registered."""

    #: Held by whoever reads it.
    turn: threading.Lock

    def fileno(self) -> int:
        """The descriptor to read from; -1 for none."""

    def is_due(self, now: float) -> bool:
        """Whether there may be something to do at this instant though nothing has come. A hint, without the turn."""

    def attend(self) -> bool:
        """Look after it, unless it is being read; False: never again. Must not wait, nor run the application's code."""


class _Round:
    """Connections that are looked at together. The lock of `Attendance` guards all of it."""

    __slots__ = ("chain", "every", "members", "timer")

    def __init__(self, every: float) -> None:
        self.every = every
        # By turn, since that is all that most looks look at. Weak: a connection that nobody holds is freed.
        self.members: dict[threading.Lock, weakref.ref[Attended]] = {}
        # Marks the looks that follow one another; None: none is planned. One that finds another mark has been ended.
        self.chain: object | None = None
        self.timer: Timer | None = None


class Attendance:
    """Which connections are open, and the looks at them.

    Concurrency: `add` and `forget` are for any thread, looks belong to the drain's. `_lock` is a leaf that guards
    everything, and is not held while a connection is attended.
    """

    def __init__(self) -> None:
        self._lock = LateLock()
        self._rounds: dict[float, _Round] = {}

    def add(self, attended: Attended, every: float) -> None:
        """Look after it every so many seconds, from an `interval`, until it is forgotten or freed."""
        chain = None
        with self._lock.made:
            round_ = self._rounds.get(every)
            if round_ is None:
                round_ = self._rounds[every] = _Round(every)
            round_.members[attended.turn] = weakref.ref(attended)
            if round_.chain is None:
                chain = round_.chain = object()
        if chain is not None:
            self._plan(round_, chain)
        else:  # the next look is planned; but there may be no thread for it, if none was to be had then
            drain.go_on()

    def forget(self, attended: Attended, every: float) -> None:
        """Look after it no longer. A look may still be under way."""
        with self._lock.made:
            round_ = self._rounds.get(every)
            if round_ is not None:
                round_.members.pop(attended.turn, None)
                self._end_if_empty(round_)

    def begin_anew(self) -> None:
        """In the child of a fork: the connections are the parent's."""
        self._rounds = {}

    def _plan(self, round_: _Round, chain: object) -> None:
        # Not under the lock: the drain may log, and a handler of the log may open a connection.
        timer = drain.call_at(time.monotonic() + round_.every, functools.partial(self._look, round_, chain))
        with self._lock.made:
            if round_.chain is chain:
                round_.timer = timer
                return
        timer.cancel()  # the last one left meanwhile, and found no timer to cancel

    def _end_if_empty(self, round_: _Round) -> None:
        """Without a member there is no timer, so that the drain's thread can end."""
        assert self._lock.locked()
        if round_.members:
            return
        if round_.timer is not None:
            round_.timer.cancel()
        round_.chain = round_.timer = None

    def _look(self, round_: _Round, chain: object) -> None:
        """Attend those of a round that nobody reads, and plan the next look. For the drain's thread."""
        with self._lock.made:
            if round_.chain is not chain:
                return
            turns = tuple(round_.members)
        self._attend(round_, chain, [turn for turn in turns if not turn.locked()])

    def _attend(self, round_: _Round, chain: object, free: list[threading.Lock]) -> None:
        """Attend some of these that have something to be done for them, and then the rest."""
        left = free[_PORTION:]
        try:
            left = self._attend_portion(round_, free[:_PORTION]) + left
        finally:
            if left:
                drain.call_at(0.0, functools.partial(self._attend, round_, chain, left))
            elif round_.chain is chain:
                self._plan(round_, chain)

    def _attend_portion(self, round_: _Round, free: list[threading.Lock]) -> list[threading.Lock]:
        """Attend those of them that have something to be done, as long as it is time; those that are left."""
        with self._lock.made:
            references = {turn: round_.members[turn] for turn in free if turn in round_.members}
        those = {turn: reference() for turn, reference in references.items()}
        numbers = {turn: attended.fileno() for turn, attended in those.items() if attended is not None}
        ready, now = readable(numbers.values()), time.monotonic()
        over = [turn for turn, attended in those.items() if attended is None]  # freed
        left = list(numbers)
        left.reverse()
        while left:
            turn = left.pop()
            attended = those[turn]
            if attended is None or not (numbers[turn] in ready or attended.is_due(now)):
                continue
            if not _attends(attended):
                over.append(turn)
            if time.monotonic() >= now + _LONG:
                break
        with self._lock.made:
            for turn in over:
                if round_.members.get(turn) is references[turn]:
                    del round_.members[turn]
            self._end_if_empty(round_)
        left.reverse()
        return left


def _attends(attended: Attended) -> bool:
    """`Attended.attend`; False for one that fails."""
    try:
        return attended.attend()
    except Exception:  # a defect of this library, which must not cost the others their attendance
        _logger.exception("internal error while looking after a connection")
        return False


def interval(*waits: float | None) -> float:
    """Seconds between two looks at a connection that waits so long for its peer: at most a quarter of each."""
    every = LONGEST
    for wait in waits:
        while wait is not None and every > wait / 4 and every > _SHORTEST:
            every /= 2
    return every


attendance = Attendance()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=attendance.begin_anew)
