"""The end of many connections at once: tell their peers, wait for their handlers, cut what is left.

`Server.shutdown` and the shutdown of guests in other servers are this one algorithm. Whoever calls it has closed the
door first, under the same lock: nobody enters any more, and a connection that was on its way in is told by the code
that brings it in.

    Rest              readers rest, and a close of each is queued
    tell everybody    at once, or spread over some time; then readers go on
    wait              until the deadline, for those that this thread does not serve itself
    doom              all that are still here: who reads or writes leaves
    cut               them; that wakes handlers that are stuck in a read or a write
    wait              CUT_GRACE, and count the handlers that are stuck in something else

**Every loop looks at the clock, and what needs no system call comes first.** A hundred peers that flood keep a hundred
threads busy, and each system call of this one hands the interpreter to all of them in turn: then telling takes a second
for each. So before the first such call a loop without any has all readers rest, and at the end leave.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Iterable, Set
from contextlib import suppress
from typing import Protocol

from .conn import Conn

#: Seconds that handlers get to notice that their connection was cut, before those that still run are counted.
CUT_GRACE = 0.5

#: Seconds that telling and cutting get at least, however near the deadline is.
_LEAST = 0.5

#: Seconds that readers rest at most, while everybody is told.
_MOST_REST = 1.0

#: Seconds between two portions of frames that busy readers read, all together, while handlers are waited for.
_TURN = 0.01

#: Where telling is spread, so many peers are told at a time.
_PORTION = 50


class Leaving(Protocol):
    """One connection, as a farewell knows it. Its methods are for any thread, do not wait, and raise nothing."""

    @property
    def thread(self) -> int | None:
        """The thread that runs its handler (threading.get_ident()); None if none does yet."""

    @property
    def conn(self) -> Conn | None:
        """Its WebSocket, once it is one."""

    def start_close(self, code: int, reason: str) -> None:
        """Tell its peer to go."""

    def cut(self) -> None:
        """End it at once, and wake the threads that are stuck in it."""


class Rest:
    """A block in which many peers are told to go; busy readers rest until they are told, and then go on in turn.

    Made of the connections it interrupts their readers, and has a close of each ready to leave, by `Conn._start_close`.
    It makes no system call. Any thread.
    """

    def __init__(self, conns: Collection[Conn], code: int, reason: str) -> None:
        self._told, self._over = threading.Event(), threading.Event()
        self._turn = threading.Lock()  # of readers that go on although there is no time for all of them
        for conn in conns:  # all of them first: this takes no lock, which a busy thread might hold
            conn._hold(self._wait)
        for conn in conns:
            conn._announce_close(code, reason)

    def _wait(self) -> bool:
        """Rest as a reader; whether to come again."""
        if not self._told.is_set():
            self._told.wait(_MOST_REST)
        else:
            with self._turn:
                self._over.wait(_TURN)
        return not self._over.is_set()

    def told(self) -> None:
        """Everybody was told: readers go on, for what their peers answer; one after the other if they are busy."""
        self._told.set()

    def end(self) -> None:
        """Nobody rests any more. Idempotent."""
        self._over.set()
        self._told.set()

    def __enter__(self) -> Rest:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.end()


def farewell(
    everybody: Set[Leaving],
    lock: threading.RLock,
    changed: threading.Condition,
    code: int,
    reason: str,
    *,
    deadline: float,
    spread: float = 0.0,
    tell_own: bool = False,
    rest: Rest | None = None,
) -> int:
    """End all connections of a set, and return how many handlers are still running.

    A handler may call this: it is not waited for, its connection is not cut, and it is not counted. So may a signal
    handler, in a thread that has the lock, if the lock is reentrant.

    It returns by the deadline and CUT_GRACE, or by twice CUT_GRACE from now if that is later. Whom there was no time to
    cut by then is cut by a thread.

    Args:
        everybody: the set of connections. Whoever changes it has the lock.
        lock: guards it. Nobody is called while it is held.
        changed: the lock's condition, which is notified when a connection leaves.
        code, reason: what the peers are told.
        deadline: the instant of time.monotonic() at which those that are left are cut.
        spread: seconds over which many peers are told, so that not all of them come back in the same instant; 0: at
            once.
        tell_own: whether the peer of the connection whose handler calls this is told, too.
        rest: that of these connections, if they rest already.
    """
    with lock:
        told = list(everybody) if tell_own else _others(everybody)
    with rest or rest_of(told, code, reason) as resting:
        _tell(told, code, reason, spread, max(deadline, time.monotonic() + _LEAST))
        resting.told()
        if _wait_for_others(everybody, lock, changed, deadline) > 0:
            with lock:
                left = _others(everybody)
            for each in left:
                if (conn := each.conn) is not None:
                    conn._doom()
            resting.end()  # who rests finds that
            _cut(left, time.monotonic() + _LEAST)
    return _wait_for_others(everybody, lock, changed, time.monotonic() + CUT_GRACE)


def rest_of(everybody: Iterable[Leaving], code: int, reason: str) -> Rest:
    """Have these connections ready to be told."""
    return Rest([conn for each in everybody if (conn := each.conn) is not None], code, reason)


def _tell(everybody: list[Leaving], code: int, reason: str, spread: float, deadline: float) -> None:
    """Tell all, as far as that is possible until the deadline."""
    pause = spread * _PORTION / len(everybody) if len(everybody) > _PORTION else 0.0
    if pause:
        random.shuffle(everybody)
    for start in range(0, len(everybody), _PORTION):
        for each in everybody[start : start + _PORTION]:
            if time.monotonic() >= deadline:
                return
            each.start_close(code, reason)
        if pause and start + _PORTION < len(everybody):  # after the last one there is nobody to wait for
            time.sleep(max(0.0, min(pause, deadline - time.monotonic())))


def _cut(everybody: list[Leaving], deadline: float) -> None:
    """Cut all; those that are left at the deadline by a thread."""
    left = iter(everybody)
    for each in left:
        each.cut()
        if time.monotonic() >= deadline:
            break
    rest = list(left)
    if rest:
        with suppress(RuntimeError):  # the interpreter is about to end, and closes them all
            threading.Thread(target=_cut_all, args=(rest,), name="syncws-cut", daemon=True).start()


def _cut_all(everybody: list[Leaving]) -> None:
    for each in everybody:
        each.cut()


def _others(everybody: Set[Leaving]) -> list[Leaving]:
    """All except the connection whose handler this thread runs. Under the lock."""
    return [each for each in everybody if each.thread != threading.get_ident()]


def _wait_for_others(
    everybody: Set[Leaving], lock: threading.RLock, changed: threading.Condition, deadline: float
) -> int:
    """Wait until no other connection is left, or the deadline has passed; how many are left."""
    with lock:
        own = len(everybody) - len(_others(everybody))  # 1 if a handler called: it does not end while it waits here
        seconds = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
        changed.wait_for(lambda: len(everybody) <= own, seconds)
        return len(everybody) - own
