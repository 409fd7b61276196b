"""WebSocket in WSGI applications, on the server that they run on already. The modules for frameworks are made of this.

    @syncws.wsgi.websocket
    def echo(conn):
        for message in conn:
            conn.send(message)

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/echo":
            return echo(environ, start_response)
        ...

A check of the request, such as who is logged in, is the application's own code before that call.
`syncws.Upgrader.serve` is the same without the decorator, and passes arguments on to the handler:

    return upgrader.serve(environ, chat, user)(environ, start_response)

It works where the server lets an application have the socket of a request: gunicorn, werkzeug, Django's runserver,
wsgiref, waitress, cheroot, rocket3, gevent, eventlet, uWSGI, `syncws.Server(wsgi_app=...)`; others can be added with
`register_taker`. Where it does not, the request is refused with 501, and the log says what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack, overload

from ._base.options import check_wait
from ._base.owners import explains_options
from ._conn.conn import Conn
from ._frames.payloads import format_close_message
from ._http.wsgiresponse import WSGIResponse
from ._server.upgrader import Upgrader
from ._server.views import ServingKeywords, check_handler, serving
from ._wsgi.guests import MAX_CONNECTIONS, guests
from ._wsgi.stats import WsgiStats
from ._wsgi.taken import Environ, Taken, Taker, Untakeable
from ._wsgi.takers import register_taker
from .errors import CloseCode

__all__ = [
    "Environ",
    "Taken",
    "Taker",
    "Untakeable",
    "WSGIResponse",
    "WsgiStats",
    "connections",
    "open_connections",
    "register_taker",
    "shutdown",
    "stats",
    "websocket",
]

WSGIApplication = Callable[[Environ, Callable[..., object]], list[bytes]]


@overload
def websocket(handler: Callable[[Conn], object], **options: Unpack[ServingKeywords]) -> WSGIApplication: ...


@overload
def websocket(
    handler: None = None, **options: Unpack[ServingKeywords]
) -> Callable[[Callable[[Conn], object]], WSGIApplication]: ...


@explains_options
def websocket(
    handler: Callable[[Conn], object] | None = None,
    *,
    upgrader: Upgrader | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> WSGIApplication | Callable[[Callable[[Conn], object]], WSGIApplication]:
    """Make a WSGI application of ``handler(conn)``. Used as ``@websocket`` or ``@websocket(upgrader=...)``.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). For any thread.

    Args:
        handler: called with the `Conn` of each request that was upgraded, in a thread of its own or in the
            application's.
        upgrader: the options of the handshake and of the connection; None for ``Upgrader()``.
        detach, max_connections: see `Upgrader.serve`.

    Raises:
        ValueError, TypeError: an argument is invalid, or the handler is a coroutine function.
    """
    serve = serving(upgrader, detach=detach, max_connections=max_connections)

    def decorate(handler: Callable[[Conn], object]) -> WSGIApplication:
        check_handler(handler, "websocket decorates", "conn")

        def application(environ: Environ, start_response: Callable[..., object]) -> list[bytes]:
            return serve(environ, handler)(environ, start_response)

        return application

    return decorate if handler is None else decorate(handler)


def open_connections() -> int:
    """How many WebSocket connections this process serves inside its WSGI server. For any thread."""
    return len(guests())


def stats() -> WsgiStats:
    """What this process has seen of WebSockets inside its WSGI server. For any thread, at any time; never raises.

    Each process counts for itself: docs/metrics.md says how to see all workers of a server. Those of a `syncws.Server`
    are left out, which has a `stats` of its own.
    """
    return guests().stats()


def connections() -> list[Conn]:
    """The WebSockets that this process serves inside its WSGI server and that are open now, in the order they came.

    The list is the caller's own. For any thread.
    """
    return guests().ledger.conns()


def shutdown(
    code: int = CloseCode.GOING_AWAY, reason: str = "", timeout: float = 3.0, *, spread: float | None = None
) -> int:
    """Close every connection of this process, wait for the handlers, and cut what is left.

    A process that ends in order does it by itself. Some servers have no handler for SIGTERM (werkzeug, waitress,
    cheroot, wsgiref), so that it does not end the process in order: there, call this from a signal handler of your own.
    While it lasts, new connections are refused with 503. It leaves out those of a `syncws.Server`, which has a shutdown
    of its own.

    Any thread may call it. A handler that does is neither waited for, nor is its own connection closed.

    Args:
        code, reason: those of the close frame that the peers get.
        timeout: seconds to wait for peers and handlers.
        spread: seconds, of these, over which many peers are told, so that they do not all come back in one instant; for
            a restart, with the code 1012. None for half the timeout, a second at most.

    Returns:
        How many handlers are still running although their connections were cut.

    Raises:
        ValueError, TypeError: the code or the reason may not be sent, the timeout or the spread is no number of
            seconds, or the spread is longer than the timeout. Nothing has ended then.
    """
    format_close_message(code, reason)
    check_wait("timeout", timeout)
    if spread is not None:
        check_wait("spread", spread)
        if spread > timeout:
            raise ValueError(f"spread is a part of the timeout, {timeout:g} s, not {spread!r}")
    return guests().shutdown(code, reason, timeout, spread=spread)
