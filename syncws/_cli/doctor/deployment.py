"""`syncws doctor URL`: every check of a deployment, in the order of the report.

The checks come one after the other, and each closes its connections: an application that serves one connection at a
time is then found by the check that looks for it, and not by all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..._http.httpclient import ReceivedResponse
from ...errors import WebSocketError
from .. import dialing
from . import conversations, handshakes, patience
from .finding import Finding, Findings, Severity, fault
from .fronts import guess
from .patience import Progress
from .visitor import Place


@dataclass(frozen=True)
class Scope:
    """How much is looked at.

    * ``idle``: seconds that a connection is left idle; None: not at all; ``restart``: those to wait for one;
    * ``size``: bytes of the large message; ``count``: connections at once; ``health``: the path of a plain request;
    * ``compression``: whether it is a fault where none is agreed on.
    """

    idle: float | None = 65.0
    restart: float | None = None
    size: int = 1 << 20
    count: int = 10
    health: str = "/"
    compression: bool = False


class Deployment:
    """A deployment under the eyes of the doctor. `front` is its guess of what stands in front, once `check` has begun.

    Concurrency: for one thread.
    """

    def __init__(self, place: Place, scope: Scope, progress: Progress) -> None:
        self._place = place
        self._scope = scope
        self._progress = progress
        self.front: str | None = None

    def check(self) -> Findings:
        """Every check, each finding as soon as it is there."""
        entrance = handshakes.enter(self._place)
        place, scope = entrance.place, self._scope
        answers = [] if entrance.answer is None else [entrance.answer]
        if entrance.entered:
            answers += _plain_answer(place, scope.health)
        self.front = guess(*answers)
        yield from entrance.findings
        if not entrance.entered:
            return
        yield from handshakes.check_front(*answers)
        yield from _guarded("unencrypted", lambda: handshakes.check_unencrypted(place))
        yield from _guarded("request", lambda: handshakes.check_request(place))
        yield from _guarded("origin", lambda: handshakes.check_origin(place))
        yield from _guarded("subprotocol", lambda: handshakes.check_subprotocol(place))
        yield from _guarded("compression", lambda: handshakes.check_compression(place, wanted=scope.compression))
        echoes = list(_guarded("echo", lambda: conversations.check_echo(place)))
        yield from echoes
        if echoes[0].severity is Severity.OK:
            yield from _guarded("early", lambda: conversations.check_early(place))
            yield from _guarded("fragments", lambda: conversations.check_fragments(place))
            yield from _guarded("large", lambda: conversations.check_large(place, scope.size))
            yield from _guarded("latency", lambda: conversations.check_latency(place))
        pings = list(_guarded("ping", lambda: conversations.check_ping(place)))
        yield from pings
        pongs = pings[0].severity is Severity.OK
        yield from _guarded("close", lambda: conversations.check_close(place))
        yield from _guarded("parallel", lambda: self._parallel(place))
        if scope.idle is not None:
            idle = scope.idle
            yield from _guarded("idle", lambda: patience.check_idle(place, idle, self._progress, answers=pongs))
        if scope.restart is not None:
            restart = scope.restart
            yield from _guarded("restart", lambda: patience.check_restart(place, restart, self._progress))

    def _parallel(self, place: Place) -> Findings:
        return conversations.check_parallel(
            place, self._scope.count, lambda: conversations.check_plain_http(place, self._scope.health)
        )


def _plain_answer(place: Place, path: str) -> list[ReceivedResponse]:
    """The answer to a plain request, or none."""
    try:
        return [conversations.ask(place, path)]
    except (OSError, WebSocketError):
        return []


def _guarded(name: str, check: Callable[[], Findings]) -> Findings:
    """The findings of a check; what stops it is one, too."""
    try:
        yield from check()
    except (OSError, WebSocketError) as error:
        yield _stopped(name, error)


def _stopped(name: str, error: Exception) -> Finding:
    said = dialing.cannot_dial(error)
    return fault(name, "the check could not be ended", f"{type(error).__name__}: {said}")
