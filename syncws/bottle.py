"""WebSocket routes in Bottle applications.

    import bottle
    from syncws.bottle import websocket

    app = bottle.Bottle()

    @app.get("/echo")
    @websocket
    def echo(conn):
        for message in conn:
            conn.send(message)

``@app.get("/echo", apply=websocket)`` does the same. The wildcards of a route are keyword arguments of the handler:
``/rooms/<name>`` calls ``handler(conn, name=...)``.

**Login before the 101.** ``before`` runs in the view, with the same keyword arguments. If it returns anything except
None, that is the response in place of the 101, as of any Bottle callback; it may call `bottle.abort` and
`bottle.redirect` too, and a ``bottle.response.status`` from 300 on refuses as well. A cookie that it sets on
``bottle.response`` leaves with the 101:

    def logged_in(**wildcards):
        if bottle.request.get_cookie("user", secret=SECRET) is None:
            bottle.abort(401, "log in first")

    @app.get("/private")
    @websocket(before=logged_in)
    def private(conn):
        user = bottle.request.get_cookie("user", secret=SECRET)
        conn.send(f"hello {user}")

In the handler's thread ``bottle.request`` is the request of the handshake, also where the connection is detached from
the view. ``bottle.response`` is of no use there: the response has left. A thread that the handler starts has neither.

Bottle's own development server serves one request at a time: with ``detach=False`` one WebSocket blocks it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, Unpack, overload

from ._base.extras import needs
from ._base.owners import explains_options
from ._conn.conn import Conn
from ._server.upgrader import Upgrader
from ._server.views import Serve, ViewKeywords, ask_before, check_before, check_handler, is_refusal, serving
from ._wsgi.guests import MAX_CONNECTIONS

with needs("bottle", "bottle"):
    import bottle

__all__ = ["websocket"]

Handler = Callable[Concatenate[Conn, ...], object]
View = Callable[..., Any]


@overload
def websocket(handler: Handler, **options: Unpack[ViewKeywords]) -> View: ...


@overload
def websocket(handler: None = None, **options: Unpack[ViewKeywords]) -> Callable[[Handler], View]: ...


@explains_options
def websocket(
    handler: Handler | None = None,
    *,
    upgrader: Upgrader | None = None,
    before: Callable[..., object] | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> View | Callable[[Handler], View]:
    """Make a Bottle callback of ``handler(conn, **wildcards)``: a decorator, below the route's or in its ``apply``.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). For any thread.

    Args:
        handler: called with the `Conn` of each request that was upgraded, in a thread of its own or in the view.
        upgrader: the options of the handshake and of the connection; without it those of ``Upgrader()``.
        before: called with the route's wildcards before the handshake; see the top of the module.
        detach: where the handler runs: see `Upgrader.serve`.
        max_connections: how many at a time, of all routes of this process; one more is refused (503). None: no limit.

    Raises:
        ValueError, TypeError: an argument is invalid, or the handler is a coroutine function.
    """
    serve = serving(upgrader, detach=detach, max_connections=max_connections)
    check_before(before)

    def decorate(handler: Handler) -> View:
        check_handler(handler, "websocket decorates", "conn")
        return _view(handler, before, serve)

    return decorate if handler is None else decorate(handler)


def _view(handler: Handler, before: Callable[..., object] | None, serve: Serve) -> View:
    """The callback of a handler: the handshake, then the handler with the request of its view."""

    @functools.wraps(handler)
    def view(**wildcards: Any) -> Any:
        refusal = ask_before(before, **wildcards)
        if refusal is not None:
            return refusal
        if is_refusal(before, bottle.response.status_code):
            return ""

        def run(conn: Conn) -> object:
            if conn.detached:  # bottle.request stands for another request in each thread
                bottle.request.bind(conn.request.environ)
            return handler(conn, **wildcards)

        environ = bottle.request.environ
        cookies = [pair for pair in bottle.response.headerlist if pair[0].lower() == "set-cookie"]
        answer = serve(environ, run, response_headers=cookies)
        bottle.response.status = answer.status
        for name, value in answer.headers:
            put = bottle.response.add_header if name.lower() == "set-cookie" else bottle.response.set_header
            put(name, value)
        return answer.body  # empty after the handshake, so that the server has nothing to iterate

    return view
