"""werkzeug's development server, which `flask run` starts too."""

from __future__ import annotations

from ..inside import read_buffered
from ..taken import Environ, Taken


def find(environ: Environ) -> Taken | None:
    """The socket has a key of its own."""
    sock = environ.get("werkzeug.socket")
    if sock is None:
        return None
    return Taken(
        server="werkzeug",
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: read_buffered(environ.get("wsgi.input")),
        environ_keys=("werkzeug.",),
    )
