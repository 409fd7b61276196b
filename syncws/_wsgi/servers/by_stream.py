"""Any server whose wsgi.input reads from the socket: wsgiref, Django's runserver, gevent.pywsgi, and unknown ones."""

from __future__ import annotations

from ..inside import buffered_reader, read_buffered, server_name
from ..taken import Environ, Taken


def find(environ: Environ) -> Taken | None:
    """The socket is inside the reader that `socket.makefile` has made, or a class of the server's own like it."""
    reader = buffered_reader(environ.get("wsgi.input"))
    if reader is None:
        return None
    sock = reader.raw._sock
    return Taken(server=server_name(environ), sock=sock, fd=sock.fileno(), read_early=lambda: read_buffered(reader))
