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
    if taken is None:
        return None
    taken = replace(taken, on_taken=_send_once)
    if server is None:
        return taken
    return replace(taken, pool=len(server.requests._threads), is_ending=lambda: not server.ready)


class _Unsent(bytearray):
    """What a writer of cheroot's is to send: gone once that was tried."""

    def __bytes__(self) -> bytes:
        tried = bytes(memoryview(self))
        self.clear()
        return tried


def _send_once() -> None:
    """The view's empty 101 fails on a socket that was taken, and cheroot ends with the connection, as it should.

    Its writer would try again when it is freed, and since Python 3.13 say on stderr that it cannot.
    """
    for caller in calling_objects():
        writer: Any = getattr(caller, "wfile", None)
        if isinstance(getattr(writer, "_write_buf", None), bytearray):
            writer._write_buf = _Unsent(writer._write_buf)
            return


def _server() -> Any:
    """The server that runs this view. A method of its connection has called, and the connection knows the server."""
    for caller in calling_objects():
        server = getattr(caller, "server", None)
        if hasattr(getattr(server, "requests", None), "_threads") and hasattr(server, "ready"):
            return server
    return None
