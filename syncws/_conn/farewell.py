"""The end of many connections at once: tell their peers, wait for their handlers, cut what is left.

`Server.shutdown` and the shutdown of guests in other servers are this one algorithm. Whoever calls it has closed the
door first, under the same lock: nobody enters any more, and a connection that was on its way in is told by the code
that brings it in.

    tell everybody    at once, or spread over some time
    wait              until the deadline, for those that this thread does not serve itself
    cut               who is still here; that wakes handlers that are stuck in a read or a write
    wait              CUT_GRACE, and count the handlers that are stuck in something else
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Set
from typing import Protocol

#: Seconds that handlers get to notice that their connection was cut, before those that still run are counted.
CUT_GRACE = 0.5

#: Where telling is spread, so many peers are told at a time.
_PORTION = 50


class Leaving(Protocol):
    """One connection, as a farewell knows it. Its methods are for any thread, do not wait, and raise nothing."""

    @property
    def thread(self) -> int | None:
        """The thread that runs its handler (threading.get_ident()); None if none does yet."""

    def start_close(self, code: int, reason: str) -> None:
        """Tell its peer to go."""

    def cut(self) -> None:
        """End it at once, and wake the threads that are stuck in it."""


def farewell(
    everybody: Set[Leaving],
    changed: threading.Condition,
    code: int,
    reason: str,
    *,
    deadline: float,
    spread: float = 0.0,
    tell_own: bool = False,
) -> int:
    """End all connections of a set, and return how many handlers are still running.

    A handler may call this: it is not waited for, its connection is not cut, and it is not counted. So may a signal
    handler, in a thread that has the lock, if the lock is reentrant.

    Args:
        everybody: the set of connections. Whoever changes it has the lock.
        changed: its lock, which is notified when a connection leaves. Nobody is called while it is held.
        code, reason: what the peers are told.
        deadline: the instant of time.monotonic() at which those that are left are cut.
        spread: seconds over which many peers are told, so that not all of them come back in the same instant; 0: at
            once.
        tell_own: whether the peer of the connection whose handler calls this is told, too.
    """
    with changed:
        told = list(everybody) if tell_own else _others(everybody)
    _tell(told, code, reason, spread)
    if _wait_for_others(everybody, changed, deadline) > 0:
        with changed:
            left = _others(everybody)
        for each in left:
            each.cut()
    return _wait_for_others(everybody, changed, time.monotonic() + CUT_GRACE)


def _tell(everybody: list[Leaving], code: int, reason: str, spread: float) -> None:
    pause = spread * _PORTION / len(everybody) if len(everybody) > _PORTION else 0.0
    if pause:
        random.shuffle(everybody)
    for start in range(0, len(everybody), _PORTION):
        for each in everybody[start : start + _PORTION]:
            each.start_close(code, reason)
        if pause:
            time.sleep(pause)


def _others(everybody: Set[Leaving]) -> list[Leaving]:
    """All except the connection whose handler this thread runs. Under the lock."""
    return [each for each in everybody if each.thread != threading.get_ident()]


def _wait_for_others(everybody: Set[Leaving], changed: threading.Condition, deadline: float) -> int:
    """Wait until no other connection is left, or the deadline has passed; how many are left."""
    with changed:
        own = len(everybody) - len(_others(everybody))  # 1 if a handler called: it does not end while it waits here
        changed.wait_for(lambda: len(everybody) <= own, max(0.0, deadline - time.monotonic()))
        return len(everybody) - own
