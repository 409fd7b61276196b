"""gunicorn, with each kind of its workers, from 23 to 27."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..inside import calling_objects, read_buffered, streams
from ..taken import Environ, Taken
from . import eventlet

#: The classes of workers, by the name that `--worker-class` has for them.
KINDS = {
    "SyncWorker": "sync",
    "ThreadWorker": "gthread",
    "GeventWorker": "gevent",
    "GeventPyWSGIWorker": "gevent_pywsgi",
    "EventletWorker": "eventlet",
}


def find(environ: Environ) -> Taken | None:
    """The socket has a key of its own. The worker that runs the view tells the rest, if it can be found."""
    sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")  # the latter by gevent_pywsgi
    if sock is None:
        return None
    stream = environ.get("wsgi.input")
    taken = Taken(
        server="gunicorn",
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: _read_parsed(stream) or read_buffered(stream),
        environ_keys=("gunicorn.", *eventlet.ENVIRON_KEYS),
    )
    worker = _worker()
    return taken if worker is None else _of_worker(taken, worker)


def _of_worker(taken: Taken, worker: Any) -> Taken:
    """What the worker tells besides."""
    kind = KINDS.get(type(worker).__name__, type(worker).__name__)
    taken = replace(
        taken,
        server=f"gunicorn {kind}",
        is_ending=lambda: not worker.alive,
        is_replaced=lambda: is_replaced(worker),
        on_taken=lambda: _note_reloads(worker),
    )
    if kind == "sync":  # its one thread is in the view, and so cannot tell the arbiter that it lives
        return replace(taken, pool=1, say_alive=worker.notify)
    if kind == "gthread":
        return replace(taken, pool=worker.cfg.threads)
    return _of_eventlet(taken, worker) if kind == "eventlet" else taken


def _of_eventlet(taken: Taken, worker: Any) -> Taken:
    """What an eventlet worker has of eventlet."""

    def on_taken() -> None:
        _note_reloads(worker)
        eventlet.mark_handled()

    return replace(taken, swallow=True, on_taken=on_taken)


def _worker() -> Any:
    """The Worker object of this process. It has called the view, or gevent's server has, which knows it."""
    base = sys.modules.get("gunicorn.workers.base")
    if base is None:
        return None
    for caller in calling_objects():
        for found in (caller, getattr(caller, "worker", None)):
            if isinstance(found, base.Worker):
                return found
    return None


def _read_parsed(stream: Any) -> bytes:
    """Take out what gunicorn's parser has read after the request; b"" where gevent_pywsgi parses by itself."""
    unreader = next(filter(None, (getattr(each, "unreader", None) for each in streams(stream))), None)
    if unreader is None:
        return b""
    if hasattr(unreader, "take_buffered"):  # gunicorn 27
        return bytes(unreader.take_buffered())
    early = bytes(unreader.buf.getvalue())
    unreader.buf = type(unreader.buf)()
    return early


# Why a worker ends: no hook tells


class _NotedReload:
    """Notes that gunicorn's reloader has seen a changed file, and passes that on to gunicorn, which ends the worker."""

    def __init__(self, callback: Callable[[str], object]) -> None:
        self._callback = callback
        self.has_come = False

    def __call__(self, file: str) -> None:
        self.has_come = True
        self._callback(file)


def _note_reloads(worker: Any) -> None:
    """From now on, note when the reloader ends this worker. Does nothing the second time, or without --reload."""
    callback = getattr(worker.reloader, "_callback", None)
    if callback is not None and not isinstance(callback, _NotedReload):
        worker.reloader._callback = _NotedReload(callback)


def is_replaced(worker: Any) -> bool:
    """Whether this worker ends by itself, so that another takes its place: --max-requests, --reload."""
    callback = getattr(worker.reloader, "_callback", None)
    reloads = isinstance(callback, _NotedReload) and callback.has_come
    return bool(reloads or worker.nr >= worker.max_requests)
