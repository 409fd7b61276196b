"""Many threads raise the end of one connection at the same time; each gets an exception of its own, once per call."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from syncws import Conn, ConnectionClosed
from syncws._conn.states import End

from .breaks import Break, replaced
from .peers import peer, read_to_the_end
from .trial import Trial, Wrong

_THREADS = 8
_CALLS = 40


def run(trial: Trial) -> None:
    for number in trial.rounds():
        with peer(client=number % 2 == 1) as (conn, raw):
            if number % 3 == 0:  # the end is found by those who read and write
                trial.together(partial(read_to_the_end, conn), partial(_write, conn), partial(_cut, trial, conn))
            elif number % 3 == 1:
                raw.close()
                trial.together(partial(read_to_the_end, conn), partial(_write, conn))
            conn.close_now()
            kinds: list[Callable[[], Any]] = [
                partial(conn.send, "x"),
                partial(conn.send_nowait, b"x"),
                conn.ping,
                conn.receive,
            ]
            raised = trial.together(*(partial(_raise, kinds[who % 4]) for who in range(_THREADS)))
            errors = [error for each in raised for error in each]
            trial.same("exceptions of their own", len({id(error) for error in errors}), _THREADS * _CALLS)
            trial.same("texts", len({str(error) for error in errors}), 1)
        trial.counts["raised"] += len(errors)
        del raised, errors


def _raise(call: Callable[[], Any]) -> list[BaseException]:
    errors: list[BaseException] = []
    for _ in range(_CALLS):
        try:
            call()
        except ConnectionClosed as error:
            errors.append(error)
        else:
            raise Wrong("a connection that is over was read, or written")
    return errors


def _write(conn: Conn) -> None:
    try:
        while True:
            conn.send_nowait(b"x" * 100)
    except ConnectionClosed:
        pass


def _cut(trial: Trial, conn: Conn) -> None:
    time.sleep(trial.random.random() * 0.001)
    conn.close_now()


_made = End.exception
_first: dict[End[Any], Any] = {}


def _the_same(end: End[Any]) -> Any:
    return _first.setdefault(end, _made(end))


BREAKS: dict[str, Break] = {"one exception for all": replaced(End, "exception", _the_same)}
