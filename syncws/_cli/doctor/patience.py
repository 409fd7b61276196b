"""The checks of a deployment that take long: a connection that is idle, and one that sees a restart."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..._conn.conn import Conn
from ...errors import CloseError, ConnectionClosed, ReadTimeout
from .finding import Finding, Findings, fault, note, ok, warning
from .visitor import Place

#: Seconds after which well-known programs cut what is idle, unless they are told otherwise.
_DEFAULTS = {
    30: "gunicorn's --timeout is 30 s",
    55: "Heroku's router has 55 s",
    60: "nginx, Apache and ALB have 60 s",
    100: "Cloudflare has 100 s",
    240: "Azure's balancer has 240 s",
    350: "AWS's network balancer has 350 s",
}

#: Seconds by which a cut may be off one of these.
_OFF = 3

#: Seconds between two lines of progress.
_STEP = 0.5

#: Tells how far a check is; "" when it is over.
Progress = Callable[[str], None]


def check_idle(place: Place, seconds: float, progress: Progress, *, answers: bool = True) -> Findings:
    """A connection on which this side says nothing lives for so long, and still works then.

    answers: whether the application answers pings at all; else nobody can tell that it still works.
    """
    pings: list[float] = []
    with place.connection(ping_interval=None) as conn:
        answer = conn.ping_handler

        def note_ping(data: bytes) -> None:
            pings.append(time.monotonic())
            answer(data)

        conn.set_ping_handler(note_ping)
        began = time.monotonic()
        end = _wait(conn, began, seconds, lambda past: progress(f"idle: {past:.0f} of {seconds:g} s"))
        lived = time.monotonic() - began
        if end is None and answers:
            end = _tried(conn, place.patience)
            lived = min(lived, seconds)
        progress("")
    if end is None:
        kept = _rhythm(began, pings)
        yield ok("idle", f"a connection that is idle for {seconds:g} s lives{kept}")
    else:
        yield _of_cut(end, lived, bool(pings))


def _wait(conn: Conn, began: float, seconds: float, tell: Callable[[float], None]) -> ConnectionClosed | None:
    """Read until the time is over; the end, if the connection ends before."""
    while (past := time.monotonic() - began) < seconds:
        tell(past)
        try:
            conn.receive(timeout=min(_STEP, seconds - past))
        except ReadTimeout:
            pass
        except ConnectionClosed as end:
            return end
    return None


def _tried(conn: Conn, patience: float) -> ConnectionClosed | None:
    """Whether the connection still works: a ping must be answered. Some cuts show to whoever sends only."""
    pongs: list[bytes] = []
    conn.set_pong_handler(pongs.append)
    until = time.monotonic() + patience
    try:
        conn.ping(b"still there?")
        while not pongs and time.monotonic() < until:
            try:
                conn.receive(timeout=0.05)
            except ReadTimeout:
                continue
    except ConnectionClosed as end:
        return end
    return None if pongs else CloseError(1006, "a ping is not answered any more")


def _rhythm(began: float, pings: list[float]) -> str:
    if not pings:
        return ""
    return f"; the server pings, first after {pings[0] - began:.0f} s"


def _of_cut(end: ConnectionClosed, lived: float, pinged: bool) -> Finding:
    known = next((told for time_, told in _DEFAULTS.items() if abs(lived - time_) <= _OFF), "")
    code = getattr(end, "code", 1006)
    if code == 1006 or not isinstance(end, CloseError):  # a server that is killed may write nonsense at its end
        seen = f"{end}. {f'{known}. ' if known else ''}" + (
            "" if pinged else "The server has sent no ping meanwhile, which would have kept it open."
        )
        return fault("idle", f"a connection that is idle is cut after {lived:.0f} s", seen.strip(), "idle")
    seen = f"{end}. {known}".strip()
    return warning("idle", f"a connection that is idle is closed with {code} after {lived:.0f} s", seen, "idle")


def check_restart(place: Place, seconds: float, progress: Progress) -> Findings:
    """What a client sees when the service is restarted: 1001, or 1012, rather than a cut."""
    with place.connection() as conn:
        began = time.monotonic()
        end = _wait(
            conn, began, seconds, lambda past: progress(f"restart the service now: {past:.0f} of {seconds:g} s")
        )
        progress("")
    if end is None:
        yield note("restart", f"nothing was restarted within {seconds:g} s")
        return
    code = getattr(end, "code", 1006)
    if code in (1001, 1012):
        yield ok("restart", f"clients are told {code} when the service restarts")
    else:
        seen = "Clients cannot tell it from a lost network, and all come back in the same moment."
        yield fault("restart", f"a restart is {code} for clients, not 1001 or 1012", f"{end}. {seen}", "restart")
