"""Looking inside a WSGI server, from a view: through the streams of the environ, and up the calls of the thread.

    buffered_reader(stream)    the reader over the socket, under whatever middlewares have put around it
    read_buffered(stream)      what that reader holds already
    calling_objects()          whose methods have called the view: the server is among them

What they look at is private to the servers. It may be missing, which is no error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .taken import Environ

#: Attributes under which middlewares and servers keep the stream that a wsgi.input wraps, or a bound method of it.
_INNER_STREAMS = ("rfile", "input", "_stream", "stream", "_file", "_read", "reader")

#: So many objects are looked at inside a wsgi.input, and so many calls that led to the view.
_MOST_STREAMS = 20
_MOST_CALLS = 200


def streams(stream: Any) -> Iterator[Any]:
    """A wsgi.input and the streams inside it: middlewares wrap it (wsgiref.validate), and servers do (runserver)."""
    left = [stream]
    seen: set[int] = set()
    while left and len(seen) < _MOST_STREAMS:
        stream = left.pop()
        stream = getattr(stream, "__self__", stream)  # of a bound method
        if stream is None or id(stream) in seen:
            continue
        seen.add(id(stream))
        yield stream
        left += [getattr(stream, name, None) for name in _INNER_STREAMS]


def buffered_reader(stream: Any) -> Any:
    """The buffered reader over the socket, which `socket.makefile` or the server itself has made; None without one."""
    return next((each for each in streams(stream) if hasattr(getattr(each, "raw", None), "_sock")), None)


def read_buffered(stream: Any) -> bytes:
    """Take out what that reader holds, without waiting. b"" where there is no reader."""
    reader = buffered_reader(stream)
    if reader is None:
        return b""
    sock = reader.raw._sock
    timeout = sock.gettimeout()
    sock.settimeout(0)  # a reader that holds nothing asks the network
    try:
        return bytes(reader.read(len(reader.peek(1))))
    except OSError:
        # It holds nothing: a plain socket raises BlockingIOError, TLS SSLWantReadError, eventlet's TLS TimeoutError.
        # Or the client has reset the connection, which the next read finds out.
        return b""
    finally:
        sock.settimeout(timeout)


def calling_objects() -> Iterator[Any]:
    """The objects whose methods are being called in this thread, the innermost call first.

    Each is the `self` of a call. Frames are not given away: one that is kept by its own locals is never freed.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_CALLS):
        if frame is None:
            return
        yield frame.f_locals.get("self")
        frame = frame.f_back


def server_name(environ: Environ) -> str:
    """What the server calls itself, or where its wsgi.input comes from."""
    software = environ.get("SERVER_SOFTWARE")
    return str(software) if software else f"this server ({type(environ.get('wsgi.input')).__module__})"
