"""Which server a request came by: one taker after the other is asked, those of the application first.

    find(environ) -> Taken    what the server's taker tells of the request's connection
    register_taker(taker)     for a server that has no file in `servers`

A taker looks at an environ and gives a `Taken`, or None if the request is not of its server. Looking changes nothing: a
handshake that is refused later leaves the server as it was.

Where no socket can be had, `Untakeable` says so, and what to do instead.
"""

from __future__ import annotations

import threading

from .._base.callables import check_callable
from .inside import server_name
from .servers import by_stream, cheroot, eventlet, gunicorn, refused, rocket3, uwsgi, waitress, werkzeug
from .taken import Environ, Taken, Taker, Untakeable

#: Those of the library, in the order in which they are asked.
_TAKERS: tuple[Taker, ...] = (
    refused.check_http2,  # before gunicorn, which shows the socket that all streams share
    refused.find,
    gunicorn.find,
    werkzeug.find,
    eventlet.find,  # after gunicorn, whose eventlet worker has the keys of both
    waitress.find,
    uwsgi.find,
    cheroot.find,
    rocket3.find,
    by_stream.find,  # last: middlewares and other servers have such streams too
)

#: Those of the application, the latest first. Read without the lock: the tuple is replaced, never changed.
_registered: tuple[Taker, ...] = ()
_registering = threading.Lock()


def find(environ: Environ) -> Taken:
    """What is known of the connection of this request. Raises Untakeable. Changes nothing."""
    for taker in (*_registered, *_TAKERS):
        taken = taker(environ)
        if taken is not None:
            _check_usable(taken)
            return taken
    raise Untakeable(
        f"{server_name(environ)} does not let its applications take a connection over",
        "serve with gunicorn (gthread), werkzeug, waitress, cheroot or gevent, or with syncws.Server(wsgi_app=...)",
    )


def register_taker(taker: Taker) -> None:
    """Ask this taker before those of the library, from now on.

    It gets the environ of a handshake, and gives a `Taken`, or None if the request is not of its server, or raises
    `Untakeable`: then the request is refused with 501. It may be called more than once for a request, and must change
    nothing.

    Registering one twice changes nothing. For any thread; meant for the start of a process, before it serves.

    Raises:
        TypeError: it is no callable.
    """
    check_callable("a taker", taker, "is a callable that takes an environ")
    global _registered
    with _registering:
        if taker not in _registered:
            _registered = (taker, *_registered)


def http_version(environ: Environ) -> str:
    """The version of HTTP that the client has spoken: "1.1"."""
    if eventlet.is_of(environ):  # it says 1.0 of every request
        return "1.1"
    return str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")).removeprefix("HTTP/")


def _check_usable(taken: Taken) -> None:
    """Raise Untakeable for a socket that is closed, or is of a class that nothing here can use."""
    if taken.fd < 0:
        raise Untakeable(f"{taken.server} has closed this connection already", "the client has gone")
    known = taken.sock is None or taken.is_tls or hasattr(taken.sock, "recv_into")
    if not known or type(taken.sock).__module__.startswith("OpenSSL"):
        raise Untakeable(
            f"{taken.server} holds this connection in a {type(taken.sock).__module__}.{type(taken.sock).__qualname__}",
            "for TLS use Python's own ssl module (cheroot: BuiltinSSLAdapter), or let nginx do it",
        )
