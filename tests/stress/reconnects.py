"""Loops that reconnect are stopped by one to three threads at any moment: each ends, and its connection with it."""

from __future__ import annotations

import time
from functools import partial

from syncws import Conn, ConnectionClosed, Reconnector, reconnect
from syncws.testing import serving

from .breaks import Break, replaced
from .trial import Trial

_LOOPS = 3

#: Seconds within which they are stopped.
_SOON = 0.03


def run(trial: Trial) -> None:
    with serving(_echo) as live:
        for _ in trial.rounds():
            loops = [reconnect(live.url, min_delay=0.001, proxy=None, close_timeout=5.0) for _ in range(_LOOPS)]
            stops = [
                partial(_stop, each, trial.random.random() * _SOON)
                for number, each in enumerate(loops)
                for _ in range(number + 1)
            ]
            turns = trial.together(*(partial(_loop, each, number) for number, each in enumerate(loops)), *stops)
            trial.same("stopped", {each.stopped for each in loops}, {True})
            trial.comes("the server has none", lambda: live.server.stats().connections == 0)
            trial.counts["stops"] += len(stops)
            trial.counts["turns"] += sum(turns[:_LOOPS])
        counted = live.server.stats()
        trial.same("opened and closed", counted.opened, sum(counted.closed.values()))


def _echo(conn: Conn) -> None:
    for each in conn:
        conn.send(each)


def _loop(reconnector: Reconnector, number: int) -> int:
    turns = 0
    for conn in reconnector:
        turns += 1
        try:
            conn.send("hello")
            conn.receive()
            if number:
                conn.receive()  # which waits until it is stopped
        except ConnectionClosed:
            pass
    return turns


def _stop(reconnector: Reconnector, after: float) -> None:
    time.sleep(after)
    reconnector.stop()


def _nothing(reconnector: Reconnector) -> None:
    """What is under way goes on."""


BREAKS: dict[str, Break] = {"what is under way goes on": replaced(Reconnector, "_end_what_is_under_way", _nothing)}
