"""Connections are opened: `Opening`, by a few threads, each of which performs one handshake at a time."""

from __future__ import annotations

import queue
import threading
import time
from typing import NamedTuple

from ..._client.dialer import Opened
from ..._net.attempt import Attempt, Stopped
from ...errors import WebSocketError
from ..dialing import cannot_dial, dialer_from
from .plan import Plan

#: Handshakes at the same time: enough for a server that is far away, too few to be taken for a flood.
_THREADS = 32


class Result(NamedTuple):
    """What came of a handshake: a connection, or why there is none."""

    opened: Opened | None
    failure: str
    nanoseconds: int


class Opening:
    """Opens the connections of a plan; each is in `results` once it is there.

    Concurrency: `stop` and `results` are for one thread. Its own threads share the numbers, under `_lock`.
    """

    def __init__(self, plan: Plan) -> None:
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._plan = plan
        self._dialer = dialer_from(plan.dialing)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._next = 0
        self._attempts: set[Attempt] = set()  # that are under way
        self._ended = threading.Event()  # set under _lock: what comes after that is closed, and not in `results`
        for number in range(min(plan.connections, _THREADS)):
            threading.Thread(target=self._run, name=f"syncws-bench-{number}", daemon=True).start()

    def stop(self) -> None:
        """Begin no more handshakes, end those under way, and close what nobody has taken from `results`."""
        with self._lock:
            self._ended.set()
            under_way = list(self._attempts)
        for attempt in under_way:
            attempt.stop()
        while not self.results.empty():
            _close(self.results.get())

    def _run(self) -> None:
        while (number := self._take_number()) is not None:
            due = self._began + number * self._plan.ramp / self._plan.connections
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            self._hand_over(self._open())

    def _hand_over(self, result: Result) -> None:
        with self._lock:
            is_wanted = not self._ended.is_set()
            if is_wanted:
                self.results.put(result)
        if not is_wanted:
            _close(result)

    def _take_number(self) -> int | None:
        with self._lock:
            number = self._next
            self._next += 1
        return number if number < self._plan.connections else None

    def _open(self) -> Result:
        began = time.perf_counter_ns()
        attempt = Attempt(self._plan.dialing.timeout)
        with self._lock:
            self._attempts.add(attempt)
            if self._ended.is_set():
                attempt.stop()
        try:
            opened = self._dialer._open_within(attempt, self._plan.url, self._plan.headers, lambda opened: opened)
        except (OSError, WebSocketError, ValueError, ImportError, Stopped) as error:
            return Result(None, cannot_dial(error), time.perf_counter_ns() - began)
        finally:
            with self._lock:
                self._attempts.discard(attempt)
        return Result(opened, "", time.perf_counter_ns() - began)


def _close(result: Result) -> None:
    if result.opened is not None:
        result.opened.transport.close()
