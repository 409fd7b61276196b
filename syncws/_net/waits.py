"""Waiting for a socket outside the kernel's own timeouts, and judging a write that has to wait."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Container, Iterable
from typing import Protocol

from .._base.green import is_green

#: The system's calls take no wait of any length. A longer wait ends after a day, as if nothing had come.
LONGEST_WAIT = 86400.0

#: A blocked write looks at its progress so many times within the stall limit.
_LOOKS_PER_STALL = 8


def wait_for(sock: socket.socket, wait: float | None, *, write: bool) -> bool:
    """Wait until a socket is ready or broken, at most wait seconds; whether it is."""
    wait = None if wait is None else min(max(0.0, wait), LONGEST_WAIT)
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLOUT if write else select.POLLIN)
        return bool(poller.poll(None if wait is None else wait * 1000))
    only = [sock]  # Windows
    return any(select.select([] if write else only, only if write else [], only, wait))


def readable(numbers: Iterable[int]) -> Container[int]:
    """Which of these descriptors there may be something to read from, or to find broken, without waiting; -1 is none.

    All of them where asking each is cheaper: on Windows, and in a process whose poll is gevent's or eventlet's.
    """
    if not hasattr(select, "poll") or is_green():
        return tuple(numbers)
    poller = select.poll()
    for number in numbers:
        if number >= 0:
            poller.register(number, select.POLLIN)
    return {number for number, _ in poller.poll(0)}


def has_hung_up(sock: socket.socket) -> bool:
    """Whether the peer is known to send no more; False where asking may wait, or is not possible."""
    if not hasattr(select, "poll") or is_green():
        return False
    poller = select.poll()
    try:
        poller.register(sock, 0)  # for what is always told: a hang-up, and an error
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))
    except (OSError, ValueError):  # closed
        return False


class Counting(Protocol):
    """What `Progress` asks: see `Transport.taken_by_peer`."""

    def taken_by_peer(self) -> int: ...


class Progress:
    """Judges a blocked write: progress is any byte that the kernel or the peer took since the last look.

    Concurrency: for the one thread that writes.
    """

    def __init__(self, transport: Counting, stall: float | None) -> None:
        self._transport = transport
        self._stall = stall  # seconds without progress that are too many; None: any number may pass
        self._taken: int | None = None  # what the peer had taken when a look last found progress; None before the first
        self._since = 0.0  # the instant of that look

    def check(self, now: float) -> None:
        """Raise OSError (ETIMEDOUT) when nothing has moved for the stall limit."""
        if self._stall is None:
            return
        taken = self._transport.taken_by_peer()
        if self._taken is None or taken > self._taken:
            self._taken, self._since = taken, now
        elif now - self._since >= self._stall:
            raise OSError(errno.ETIMEDOUT, f"the peer took nothing for {self._stall:g} s")

    def tick(self, deadline: float | None, now: float) -> float | None:
        """Seconds until it is worth looking again."""
        ticks = [] if self._stall is None else [self._stall / _LOOKS_PER_STALL]
        if deadline is not None:
            ticks.append(deadline - now)
        return min(ticks, default=None)

    def end(self) -> None:
        """The write waits no longer."""


class Pace(float):
    """A stall limit, in seconds, of all writes of one answer; and a least rate at which the peer takes them together.

    A peer that takes a byte now and then would stay below any stall limit, and hold its thread for days. So on the
    whole it is waited for `patience` seconds, and a second more for each `rate` bytes that it has taken. Only time
    that is spent in blocked writes counts: what is made slowly is not held against who takes it.

    Concurrency: for the one thread that writes.
    """

    def __new__(cls, stall: float, patience: float, rate: float) -> Pace:
        return super().__new__(cls, stall)

    def __init__(self, stall: float, patience: float, rate: float) -> None:
        self._patience = patience
        self._rate = rate
        self._waited = 0.0
        self._before: int | None = None  # what the peer had taken before the first write that had to wait

    def progress(self, transport: Counting) -> Progress:
        """What judges the next write that has to wait."""
        if self._before is None:
            self._before = transport.taken_by_peer()
        return _PacedProgress(transport, self)

    def left(self, taken: int) -> float:
        """Seconds for which the peer may be waited for, once it has taken so much."""
        assert self._before is not None
        return self._patience + (taken - self._before) / self._rate - self._waited

    def waited(self, seconds: float) -> None:
        """So much more was spent in a blocked write."""
        self._waited += seconds


class _PacedProgress(Progress):
    def __init__(self, transport: Counting, pace: Pace) -> None:
        super().__init__(transport, float(pace))
        self._pace = pace
        self._began = time.monotonic()

    def _left(self, now: float) -> float:
        return self._pace.left(self._transport.taken_by_peer()) - (now - self._began)

    def check(self, now: float) -> None:
        super().check(now)
        if self._left(now) <= 0:
            raise OSError(errno.ETIMEDOUT, "the peer takes its answer too slowly")

    def tick(self, deadline: float | None, now: float) -> float | None:
        own = super().tick(deadline, now)
        left = max(0.0, self._left(now))
        return left if own is None else min(own, left)

    def end(self) -> None:
        self._pace.waited(time.monotonic() - self._began)
