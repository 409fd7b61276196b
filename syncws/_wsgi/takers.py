"""Where each WSGI server keeps the socket of a request: one small taker for each of them.

A taker looks at an environ and gives what it found as a `Taken`, or None if the request is not of its server. Looking
changes nothing: a handshake that is refused later leaves the server as it was. `find` asks one taker after the other,
those that an application has added first.

    find(environ) -> Taken        the socket, and how to get at what the server has read of it already
    register_taker(taker)         for a server that is not among these

Bytes behind the request are in a buffer of the server's, each in its own place (`Taken.read_early`). RFC 6455 has a
client wait for the 101 before it sends a frame, but not every client does.

Where no socket can be had (granian, mod_wsgi, a stream of HTTP/2), `Untakeable` says so, and what to do instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

Environ = dict[str, Any]

#: Attributes under which middlewares and servers keep the stream that a wsgi.input wraps, or a bound method of it.
_INNER_STREAMS = ("rfile", "input", "_stream", "stream", "_file", "_read", "reader")

#: So many objects are looked at inside of a wsgi.input, and so many callers of the view.
_DEPTH = 20
_STACK = 200


class Untakeable(Exception):
    """The server's socket cannot be taken over; ``advice`` says what the operator can do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def _nothing() -> bytes:
    return b""


def _no_mark() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The socket of a request, as its server holds it.

    Args:
        server: its name, for people: "gunicorn gthread".
        sock: its socket object. None: nothing is known but the descriptor.
        fd: the descriptor.
        read_early: gives, once and without waiting, what the server has received behind the request.
        detachable: whether a connection may outlive the view: the server has the descriptor in no selector while a
            view runs, and takes a peer that is gone when the view returns as nothing remarkable.
        pool: how many requests the server serves at a time; None: not known, or as many as come.
        swallow: the server logs a response that it cannot write: let it write into nothing.
        mark: called before the view returns; tells the server that the response is no concern of its.
        worker: gunicorn's Worker, where it can be found.
        is_ending: tells whether the server is about to end, if it then waits for the views under way.
    """

    server: str
    sock: Any
    fd: int
    read_early: Callable[[], bytes] = _nothing
    detachable: bool = True
    pool: int | None = None
    swallow: bool = False
    mark: Callable[[], None] = _no_mark
    worker: Any = None
    is_ending: Callable[[], bool] | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the server itself speaks TLS on it."""
        return getattr(self.sock, "_sslobj", None) is not None


Taker = Callable[[Environ], Taken | None]


def find(environ: Environ) -> Taken:
    """The socket of this request. Raises Untakeable. Changes nothing."""
    for taker in (*_registered, *_TAKERS):
        taken = taker(environ)
        if taken is not None:
            _check(taken)
            return taken
    raise Untakeable(
        f"{_name(environ)} does not let its applications take a connection over",
        "serve with gunicorn (gthread), werkzeug, waitress, cheroot or gevent, or with syncws.Server(wsgi_app=...)",
    )


def register_taker(taker: Taker) -> None:
    """Ask this taker before those of the library, from now on.

    It gets the environ, and gives a `Taken`, None if the request is not of its server, or raises `Untakeable`.
    Registering one twice changes nothing. For any thread.
    """
    if not callable(taker):
        raise TypeError(f"a taker is a callable that takes an environ, not {taker!r}")
    global _registered
    if taker not in _registered:
        _registered = (taker, *_registered)


_registered: tuple[Taker, ...] = ()


def _check(taken: Taken) -> None:
    if taken.fd < 0:
        raise Untakeable(f"{taken.server} has closed this connection already", "the client has gone")
    known = taken.sock is None or taken.is_tls or hasattr(taken.sock, "recv_into")
    if not known or type(taken.sock).__module__.startswith("OpenSSL"):
        raise Untakeable(
            f"{taken.server} holds this connection in a {type(taken.sock).__module__}.{type(taken.sock).__qualname__}",
            "for TLS use Python's own ssl module (cheroot: BuiltinSSLAdapter), or let nginx do it",
        )


# The takers


def check_stream(environ: Environ) -> None:
    """Raise Untakeable for a stream of HTTP/2, which has no handshake that could be looked at first.

    A stream has no socket of its own: taking the one that all of them share would break them all.
    """
    if str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/2"):
        raise Untakeable(
            f"{_name(environ)} gave this request as a stream of HTTP/2, which has no connection of its own",
            "let it speak HTTP/1.1 (gunicorn: --http-protocols h1)",
        )


def _no_socket(environ: Environ) -> None:
    """Servers that keep their sockets out of Python."""
    module = type(environ.get("wsgi.input")).__module__
    if "mod_wsgi.version" in environ:
        raise Untakeable(
            "mod_wsgi keeps the connections of Apache to itself",
            "run a second process for WebSocket (gunicorn, or syncws) and send it there with mod_proxy_wstunnel",
        )
    if module.startswith("granian"):
        raise Untakeable(
            "granian keeps its connections to itself",
            "serve with gunicorn (gthread), or with syncws.Server(wsgi_app=...)",
        )
    if module.startswith("bjoern"):
        raise Untakeable("bjoern keeps its connections to itself", "serve with gunicorn (gthread)")


def _gunicorn(environ: Environ) -> Taken | None:
    # Its gevent_pywsgi worker writes the key without "et".
    sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    if sock is None:
        return None
    worker = _gunicorn_worker()
    kind = "" if worker is None else _WORKERS.get(type(worker).__name__, type(worker).__name__)
    return Taken(
        server=f"gunicorn {kind}".rstrip(),
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: _unread(environ) or _buffered(environ),
        pool={"gthread": getattr(getattr(worker, "cfg", None), "threads", None), "sync": 1}.get(kind),
        swallow=kind == "eventlet",
        mark=_mark_eventlet if kind == "eventlet" else _no_mark,
        worker=worker,
        is_ending=None if worker is None else lambda: not worker.alive,
    )


_WORKERS = {
    "SyncWorker": "sync",
    "ThreadWorker": "gthread",
    "GeventWorker": "gevent",
    "GeventPyWSGIWorker": "gevent_pywsgi",
    "EventletWorker": "eventlet",
}


def _werkzeug(environ: Environ) -> Taken | None:
    sock = environ.get("werkzeug.socket")
    if sock is None:
        return None
    return Taken(server="werkzeug", sock=sock, fd=sock.fileno(), read_early=lambda: _buffered(environ))


def _waitress(environ: Environ) -> Taken | None:
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    if channel is None:
        return None
    if channel.adj.channel_request_lookahead > 0:
        raise Untakeable(
            "waitress reads ahead of its application, and would take frames for requests",
            "serve with channel_request_lookahead=0, which is its default",
        )
    return Taken(
        server="waitress",
        sock=channel.socket,
        fd=channel.socket.fileno(),
        read_early=lambda: bytes(getattr(channel.request, "header_plus", b"")),
        pool=channel.adj.threads,
        swallow=True,
    )


def _eventlet(environ: Environ) -> Taken | None:
    stream = environ.get("eventlet.input")
    if stream is None:
        return None
    sock = stream.get_socket()
    return Taken(
        server="eventlet",
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: _buffered(environ),
        swallow=True,
        mark=_mark_eventlet,
    )


def _mark_eventlet() -> None:
    wsgi: Any = sys.modules["eventlet.wsgi"]
    wsgi.WSGI_LOCAL.already_handled = True


def _uwsgi(environ: Environ) -> Taken | None:
    if "uwsgi.version" not in environ:
        return None
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return None
    if _UWSGI_ROUTERS & uwsgi.opt.keys() and b"http-websockets" not in map(_as_bytes, uwsgi.opt):
        raise Untakeable(
            "uWSGI's own HTTP router passes nothing on after the handshake",
            "serve with --http-socket instead of --http, behind nginx, or add --http-websockets",
        )
    return Taken(server="uWSGI", sock=None, fd=uwsgi.connection_fd(), swallow=True)


_UWSGI_ROUTERS = {"http", "https", b"http", b"https"}


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _by_input(environ: Environ) -> Taken | None:
    """Servers whose wsgi.input is a stream over the socket: wsgiref, Django's runserver, cheroot, gevent.pywsgi."""
    reader = _buffered_reader(environ)
    if reader is None:
        return None
    sock = reader.raw._sock
    cheroot = _cheroot(reader)
    return Taken(
        server=_name(environ),
        sock=sock,
        fd=sock.fileno(),
        read_early=lambda: _buffered(environ),
        pool=None if cheroot is None else len(cheroot.requests._threads),
        is_ending=None if cheroot is None else lambda: not cheroot.ready,
    )


def _cheroot(reader: Any) -> Any:
    """The server, if it is cheroot: one of the callers of the view is a method of its connection."""
    if not type(reader).__module__.startswith("cheroot"):
        return None
    for frame in _callers():
        server = getattr(frame.f_locals.get("self"), "server", None)
        if hasattr(getattr(server, "requests", None), "_threads") and hasattr(server, "ready"):
            return server
    return None


_TAKERS: tuple[Taker, ...] = (
    check_stream,
    _no_socket,
    _gunicorn,
    _werkzeug,
    _eventlet,  # behind gunicorn, whose eventlet worker has both
    _waitress,
    _uwsgi,
    _by_input,
)


# What they look into


def _gunicorn_worker() -> Any:
    """The Worker object of this process: one of the callers of the view is a method of its."""
    gunicorn = sys.modules.get("gunicorn.workers.base")
    if gunicorn is None:
        return None
    for frame in _callers():
        found = frame.f_locals.get("self")
        if isinstance(found, gunicorn.Worker):
            return found
        worker = getattr(found, "worker", None)  # gevent_pywsgi: its server knows
        if isinstance(worker, gunicorn.Worker):
            return worker
    return None


def _callers() -> Iterator[FrameType]:
    """The frames of this thread, from the caller of whom iterates: its own would hold itself by its locals."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_STACK):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _streams(environ: Environ) -> Iterator[Any]:
    """wsgi.input, and the streams it wraps: middlewares do (wsgiref.validate), and servers (Django's runserver)."""
    left = [environ.get("eventlet.input"), environ.get("wsgi.input")]
    seen: set[int] = set()
    while left and len(seen) < _DEPTH:
        stream = left.pop()
        stream = getattr(stream, "__self__", stream)  # of a bound method
        if stream is None or id(stream) in seen:
            continue
        seen.add(id(stream))
        yield stream
        left += [getattr(stream, name, None) for name in _INNER_STREAMS]


def _buffered_reader(environ: Environ) -> Any:
    """The buffered reader over the socket, of `socket.makefile` or the server's own."""
    return next((stream for stream in _streams(environ) if hasattr(getattr(stream, "raw", None), "_sock")), None)


def _buffered(environ: Environ) -> bytes:
    """What such a reader holds. It is asked without blocking: with nothing to give it would read from the network."""
    reader = _buffered_reader(environ)
    if reader is None:
        return b""
    sock = reader.raw._sock
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        return bytes(reader.read(len(reader.peek(1))))
    except OSError:
        # Nothing: BlockingIOError of a plain socket, SSLWantReadError of TLS, TimeoutError of eventlet's TLS. And of a
        # client that has reset the connection who reads it finds out.
        return b""
    except ConnectionError:  # the client is gone, which sending the 101 will find
        return b""
    finally:
        sock.settimeout(timeout)


def _unread(environ: Environ) -> bytes:
    """What gunicorn's parser has read behind the request."""
    for stream in _streams(environ):
        unreader = getattr(stream, "unreader", None)
        if unreader is None:
            continue
        if hasattr(unreader, "take_buffered"):  # gunicorn 27
            return bytes(unreader.take_buffered())
        early = bytes(unreader.buf.getvalue())
        unreader.buf = type(unreader.buf)()
        return early
    return b""


def _name(environ: Environ) -> str:
    """What the server calls itself, or where its wsgi.input comes from."""
    software = environ.get("SERVER_SOFTWARE")
    return str(software) if software else f"this server ({type(environ.get('wsgi.input')).__module__})"
