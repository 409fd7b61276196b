"""gunicorn, with each kind of its workers, from 23 to 27."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from ..inside import calling_objects, read_buffered, streams
from ..taken import Environ, Taken
from . import eventlet

#: The classes of workers, by the name that `--worker-class` has for them.
_KINDS = {
    "SyncWorker": "sync",
    "ThreadWorker": "gthread",
    "GeventWorker": "gevent",
    "GeventPyWSGIWorker": "gevent_pywsgi",
    "EventletWorker": "eventlet",
}


def find(environ: Environ) -> Taken | None:
    """The socket has a key of its own; the rest depends on the worker that runs the view, if it can be found."""
    sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")  # the latter by gevent_pywsgi
    if sock is None:
        return None
    worker = _worker()
    kind = "" if worker is None else _KINDS.get(type(worker).__name__, type(worker).__name__)
    taken = Taken(
        server=f"gunicorn {kind}".rstrip(),
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: _read_parsed(environ) or read_buffered(environ),
        pool=_pool(kind, worker),
        environ_keys=("gunicorn.", *eventlet.ENVIRON_KEYS),
        worker=worker,
        is_ending=None if worker is None else lambda: not worker.alive,
    )
    return replace(taken, swallow=True, mark=eventlet.mark_handled) if kind == "eventlet" else taken


def _worker() -> Any:
    """The Worker object of this process: it calls the view, or gevent's server does, which knows it."""
    base = sys.modules.get("gunicorn.workers.base")
    if base is None:
        return None
    for caller in calling_objects():
        for found in (caller, getattr(caller, "worker", None)):
            if isinstance(found, base.Worker):
                return found
    return None


def _pool(kind: str, worker: Any) -> int | None:
    if kind == "sync":
        return 1
    return int(worker.cfg.threads) if kind == "gthread" else None


def _read_parsed(environ: Environ) -> bytes:
    """Take out what gunicorn's parser has read after the request. gevent_pywsgi parses by itself: b""."""
    unreader = next(filter(None, (getattr(stream, "unreader", None) for stream in streams(environ))), None)
    if unreader is None:
        return b""
    if hasattr(unreader, "take_buffered"):  # gunicorn 27
        return bytes(unreader.take_buffered())
    early = bytes(unreader.buf.getvalue())
    unreader.buf = type(unreader.buf)()
    return early
