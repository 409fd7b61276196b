"""The health checks that a server answers by itself, also when it is full.

* *Alive* (`health_path`): the process accepts and answers. 200. Whoever gets none is to restart it.
* *Ready* (`ready_path`): there is room for one more connection. 200; or 503, so that a balancer sends clients elsewhere
  for a while and nobody restarts a server for being busy.

Neither asks the application, nor looks at the Host: a prober connects to an address.
"""

from __future__ import annotations

from typing import Any

from .._http.request import Request
from .._http.response import Response
from .roster import Roster

#: Seconds after which a client may come back that found no room.
RETRY_AFTER = 5

_METHODS = ("GET", "HEAD")


class Health:
    """Answers health checks.

    Concurrency: immutable; for any number of threads.
    """

    def __init__(self, roster: Roster, health_path: str | None, ready_path: str | None) -> None:
        self._roster = roster
        self._health_path = health_path
        self._ready_path = ready_path

    @property
    def is_asked(self) -> bool:
        """Whether there is a path for any of them."""
        return self._health_path is not None or self._ready_path is not None

    def answer(self, request: Request) -> Response | None:
        """The answer to a health check; None for any other request."""
        if request.method not in _METHODS or request.path not in (self._health_path, self._ready_path):
            return None
        if request.path == self._health_path:
            return _answer(200, "alive")
        if self._roster.closing:
            return _answer(503, "shutting down")
        if self._roster.draining:
            return _answer(503, "draining")
        return _answer(503, "full") if self._roster.is_full else _answer(200, "ready")


def no_room(why: str) -> Response:
    """The answer to a client for which there is no room."""
    return Response(f"{why}; try again later\n", 503, {"Retry-After": str(RETRY_AFTER)})


def check_path(name: str, path: Any) -> None:
    """Raise TypeError or ValueError unless it can be the path of a request, or is None."""
    if path is None:
        return
    if not isinstance(path, str):
        raise TypeError(f"{name} is a path such as '/healthz', or None, not {path!r}")
    if not path.startswith("/") or "?" in path:
        raise ValueError(f"{name} is a path such as '/healthz', without a query, not {path!r}")


def _answer(status: int, text: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return Response(f"{text}\n", status, headers)
