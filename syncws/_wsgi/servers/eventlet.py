"""eventlet.wsgi, and what gunicorn's eventlet worker has of it."""

from __future__ import annotations

import sys
from typing import Any

from ..inside import read_buffered
from ..taken import Environ, Taken

#: The key of its stream.
_KEY = "eventlet.input"

ENVIRON_KEYS = ("eventlet.",)


def find(environ: Environ) -> Taken | None:
    """Its stream has the socket. It has a key of its own besides wsgi.input, which a middleware may replace."""
    if not is_of(environ):
        return None
    stream = environ[_KEY]
    sock = stream.get_socket()
    return Taken(
        server="eventlet",
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: read_buffered(stream),
        swallow=True,
        on_taken=mark_handled,
        environ_keys=ENVIRON_KEYS,
    )


def is_of(environ: Environ) -> bool:
    """Whether a request came by eventlet. Its SERVER_PROTOCOL says HTTP/1.0, whatever the client has spoken."""
    return environ.get(_KEY) is not None


def mark_handled() -> None:
    """Tell eventlet that the response to the request under way is none of its concern."""
    wsgi: Any = sys.modules["eventlet.wsgi"]
    wsgi.WSGI_LOCAL.already_handled = True
