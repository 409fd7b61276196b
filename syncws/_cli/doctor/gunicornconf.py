"""What gunicorn.conf.py beside an application means for its WebSockets. It is run, as gunicorn runs it."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from ..._base.printable import printable
from .finding import Findings, fault, note, ok, warning
from .frameworks import version_of
from .servers import gunicorn_kinds

NAME = "gunicorn.conf.py"

#: Workers of these speak ASGI.
_ASGI = ("uvicorn", "asgi", "aiohttp", "tornado")

#: gunicorn's own, where the file does not say.
_TIMEOUT = 30


def check_gunicorn_conf(folder: Path, holding: list[str], threads: list[str]) -> Findings:
    """Look at the file, if there is one and gunicorn is installed.

    holding: libraries of the program whose views hold a thread; threads: names of those that run since its import.
    """
    path = folder / NAME
    if version_of("gunicorn") is None or not path.is_file():
        return
    try:
        settings = runpy.run_path(str(path))
    except Exception as error:  # of the user's own code
        yield fault("gunicorn-conf", f"{NAME} cannot be run", printable(f"{type(error).__name__}: {error}"))
        return
    wrong = [*_worker_class(settings, holding), *_others(settings, threads)]
    yield from wrong
    if not wrong:
        yield ok("gunicorn-conf", f"{NAME}: {_kind(settings)}, {_say_workers(settings)}")


def _kind(settings: dict[str, Any]) -> str:
    """The kind of workers that comes of the settings: gunicorn takes gthread for sync where there are threads."""
    kind = settings.get("worker_class", "sync")
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "?")
    return "gthread" if kind == "sync" and _number(settings, "threads", 1) > 1 else kind


def _worker_class(settings: dict[str, Any], holding: list[str]) -> Findings:
    kind = _kind(settings)
    if any(each in kind.lower() for each in _ASGI):
        yield fault(
            "gunicorn-conf",
            f"worker_class is {printable(kind, 60)}, which is for ASGI",
            "A WSGI application, and its WebSockets, cannot run in it.",
            "gunicorn-sync",
        )
    elif kind in ("gevent", "gevent_pywsgi", "eventlet") and kind not in gunicorn_kinds():
        seen = "gunicorn 26 and later have none." if kind == "eventlet" else "pip install gevent"
        yield fault("gunicorn-conf", f"worker_class is {kind}, which cannot be had here", seen, "gunicorn-sync")
    elif holding and kind in ("sync", "gthread"):
        yield from _held(settings, kind, holding)


def _held(settings: dict[str, Any], kind: str, holding: list[str]) -> Findings:
    """Another library's views hold the threads of workers."""
    whose = ", ".join(holding)
    if kind == "sync":
        timeout = _number(settings, "timeout", _TIMEOUT)
        yield fault(
            "gunicorn-conf",
            f"a sync worker serves one WebSocket of {whose}, and nothing beside it",
            f"It is killed after {timeout} s (timeout), and the connection with it. Views of syncws leave the worker.",
            "gunicorn-sync",
        )
        return
    count = _number(settings, "threads", 1) * _number(settings, "workers", _default_workers())
    yield warning(
        "gunicorn-conf",
        f"{count} WebSockets of {whose} at once, and then no request is answered",
        f"Each holds a thread: {_say_workers(settings)}. Views of syncws hold none.",
        "gunicorn-sync",
    )


def _others(settings: dict[str, Any], threads: list[str]) -> Findings:
    if settings.get("preload_app") and threads:
        yield warning(
            "gunicorn-conf",
            "preload_app is on, and importing the application starts threads",
            f"A fork copies no thread: {printable(', '.join(threads), 120)} will not run in the workers.",
            "gunicorn-preload",
        )
    protocols = settings.get("http_protocols", "")
    if "h2" in (protocols if isinstance(protocols, str) else ",".join(map(str, protocols))):
        yield warning(
            "gunicorn-conf",
            "http_protocols has h2",
            "A stream of HTTP/2 has no connection of its own: a WebSocket that comes as one is refused with 501.",
            "gunicorn-http2",
        )
    if _number(settings, "max_requests", 0):
        yield note(
            "gunicorn-conf",
            "max_requests ends workers now and then",
            "Their peers are told 1012 (service restart) and come back.",
        )


def workers_of(folder: Path) -> int:
    """How many processes gunicorn would start, with the file if there is one; 1 without gunicorn."""
    if version_of("gunicorn") is None:
        return 1
    path = folder / NAME
    if not path.is_file():
        return _default_workers()
    try:
        return _number(runpy.run_path(str(path)), "workers", _default_workers())
    except Exception:  # which `check_gunicorn_conf` tells
        return _default_workers()


def _default_workers() -> int:
    """How many gunicorn starts where no setting says: WEB_CONCURRENCY of the environment, or 1."""
    value = os.environ.get("WEB_CONCURRENCY", "")
    return int(value) if value.isdecimal() else 1


def _say_workers(settings: dict[str, Any]) -> str:
    workers, threads = _number(settings, "workers", _default_workers()), _number(settings, "threads", 1)
    return f"{workers} worker{'' if workers == 1 else 's'} of {threads} thread{'' if threads == 1 else 's'}"


def _number(settings: dict[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    return value if isinstance(value, int) else default
