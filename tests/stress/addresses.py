"""More clients of one address come than it may have: so many are let in and no more, and places are given back."""

from __future__ import annotations

import threading
from functools import partial

from syncws import BadHandshakeError, Conn, Dialer, Request, Server
from syncws._server.capacity import Capacity
from syncws._server.roster import Roster
from syncws._server.server import upgrading
from syncws.testing import running

from .breaks import Break, both, slowly, without_lock
from .trial import Trial, Wrong

_MOST = 3
_CLIENTS = 8
_VISITS = 6


def run(trial: Trial) -> None:
    for number in trial.rounds():
        inside = _Inside()
        server = Server(
            upgrading(inside.handle),
            "127.0.0.1",
            0,
            max_connections_per_address=_MOST,
            client_address=_address if number % 2 else None,
        )
        with running(server):
            url = f"ws://127.0.0.1:{server.port}/"
            found = trial.together(*(partial(_visit, url) for _ in range(_CLIENTS)))
            let_in = sum(each[0] for each in found)
            trial.comes("nobody is left", _is_empty, server)
            counted = server.stats()
            trial.same("let in", counted.opened, let_in)
            trial.same("sent away", counted.refused.get("address", 0), sum(each[1] for each in found))
            trial.same("all", let_in + counted.refused.get("address", 0), _CLIENTS * _VISITS)
            if inside.most > _MOST:
                raise Wrong(f"{inside.most} were inside at once, and {_MOST} may be")
            capacity = server._roster._capacity
            trial.same("places", (capacity._size, dict(capacity._of_one), capacity._networks), (0, {}, {}))
        trial.counts["let in"] += let_in
        trial.counts["sent away"] += sum(each[1] for each in found)


def _is_empty(server: Server) -> bool:
    return server.stats().connections == 0


def _address(request: Request) -> str:
    return "192.0.2.1"


class _Inside:
    """How many handlers there are at once. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def handle(self, conn: Conn) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        conn.send("hello")
        for _ in conn:
            pass
        with self._lock:
            self._now -= 1


def _visit(url: str) -> tuple[int, int]:
    """(how often it was let in, how often it was sent away)."""
    dialer, let_in, sent_away = Dialer(proxy=None), 0, 0
    for _ in range(_VISITS):
        try:
            with dialer.dial(url) as conn:
                conn.receive()
                let_in += 1
        except BadHandshakeError as error:
            if error.status != 503:
                raise
            sent_away += 1
    return let_in, sent_away


BREAKS: dict[str, Break] = {
    "no lock": both(without_lock(Roster, "lock", "begin_anew", condition="changed"), slowly(Capacity, "_has_all"))
}
