"""cheroot: a pool of threads, which waits for its views when the server stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..inside import buffered_reader, calling_objects
from ..taken import Environ, Taken
from . import by_stream


def find(environ: Environ) -> Taken | None:
    """The socket is inside cheroot's own reader. The server tells the rest, if it can be found."""
    if not type(buffered_reader(environ.get("wsgi.input"))).__module__.startswith("cheroot"):
        return None
    taken, server = by_stream.find(environ), _server()
    if taken is None or server is None:
        return taken
    return replace(taken, pool=len(server.requests._threads), is_ending=lambda: not server.ready)


def _server() -> Any:
    """The server that runs this view. A method of its connection has called, and the connection knows the server."""
    for caller in calling_objects():
        server = getattr(caller, "server", None)
        if hasattr(getattr(server, "requests", None), "_threads") and hasattr(server, "ready"):
            return server
    return None
