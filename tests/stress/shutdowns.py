"""Servers are shut down, or drained, while clients connect: every client is told, and every handler ends."""

from __future__ import annotations

import threading
import time
from functools import partial

from syncws import CloseError, Conn, Dialer, HandshakeError, Server
from syncws._server.roster import Leaving, Roster
from syncws._server.server import upgrading
from syncws._server.upgrader import Upgrader
from syncws.testing import running
from tests.tasks import PATIENCE

from .breaks import Break, both, replaced, slowly
from .trial import Trial, Wrong

_CLIENTS = 8

#: Seconds within which the end comes, once somebody is connected.
_SOON = 0.03


def run(trial: Trial) -> None:
    for number in trial.rounds():
        handled = _Handled()
        with running(Server(upgrading(handled.echo), "127.0.0.1", 0)) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            after = trial.random.random() ** 3 * _SOON  # mostly while others are about to connect
            end = (
                partial(server.drain, 0.05, trial.patience) if number % 2 else partial(server.shutdown, trial.patience)
            )
            left, *told = trial.together(
                partial(_end, end, handled.first, after), *(partial(_come, url) for _ in range(_CLIENTS))
            )
            trial.same("handlers that are left", left, 0)
            counted = server.stats()
            trial.same("open and ending", (counted.open, counted.ending, counted.handlers), (0, 0, 0))
            trial.same("closed", sum(counted.closed.values()), counted.opened)
            answers = sum(each[1] for each in told)
            trial.same("messages, answered and all", counted.messages_in >= answers, True)
            trial.same("handled", (handled.began, handled.ended), (counted.opened,) * 2)
        trial.counts["connections"] += counted.opened
        trial.counts["told to go"] += sum(each[0] for each in told)


class _Handled:
    """How many handlers have begun, and ended. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began = self.ended = 0
        self.first = threading.Event()  # somebody is connected

    def echo(self, conn: Conn) -> None:
        with self._lock:
            self.began += 1
        self.first.set()
        try:
            for each in conn:
                conn.send(each)
        finally:
            with self._lock:
                self.ended += 1


def _end(end: partial[int], first: threading.Event, after: float) -> int:
    first.wait(PATIENCE)
    time.sleep(after)
    return end()


def _come(url: str) -> tuple[int, int]:
    """Connect, again and again, until nobody is there; how often it was told to go, and how many answers it got."""
    dialer, told, answers = Dialer(proxy=None), 0, 0
    while True:
        try:
            conn = dialer.dial(url)
        except (OSError, HandshakeError):
            return told, answers
        try:
            for _ in range(5):
                conn.send("hello")
                conn.receive()
                answers += 1
            if answers % 2:
                conn.receive()  # until it is told
            conn.close()
        except CloseError as end:
            if end.code not in (1001, 1012):
                raise Wrong(f"a client was told {end!r}") from end
            told += 1
        finally:
            conn.close_now()


def _not_told(roster: Roster, connection: Leaving) -> None:
    """Who becomes a WebSocket when everybody was told is not told."""


BREAKS: dict[str, Break] = {
    "a latecomer is not told": both(replaced(Roster, "has_upgraded", _not_told), slowly(Upgrader, "negotiate")),
}
