"""WebSocket views in Pyramid applications.

    from pyramid.view import view_config
    from syncws.pyramid import websocket_view

    @view_config(route_name="echo")
    @websocket_view
    def echo(request, conn):
        for message in conn:
            conn.send(message)

It decorates methods of view classes too, below ``@view_config``: ``def echo(self, conn)``. The fields of a route are in
``request.matchdict``, as in every view. Do not give it as ``decorator=`` of ``add_view`` or ``@view_config``: it makes
the view itself.

**Login before the 101.** Pyramid checks the ``permission=`` of the view before the handshake. ``before`` is called with
the view's argument: a response that it returns or raises refuses, and so does a status from 300 on that it sets on
``request.response``. Otherwise it returns None. Cookies that it sets in the session or in ``request.response`` leave
with the 101:

    def logged_in(request):
        if request.authenticated_userid is None:
            raise HTTPForbidden("log in first")

    @view_config(route_name="private")
    @websocket_view(before=logged_in)
    def private(request, conn):
        conn.send(f"hello {request.authenticated_userid}")

A connection that is detached from its view goes on after tweens and finished callbacks have run: pyramid_tm's
transaction is over, and a database session bound to it is closed. Begin a transaction of your own for each message, and
read in ``before`` what you need of ``request``, including properties that query a database. ``get_current_request()``
is None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from ._base.extras import needs
from ._base.owners import explains_options
from ._conn.conn import Conn
from ._server.upgrader import Upgrader
from ._server.views import Serve, ViewKeywords, ask_before, check_before, check_handler, is_refusal, serving
from ._wsgi.guests import MAX_CONNECTIONS

with needs("pyramid", "pyramid"):
    from pyramid.response import Response

__all__ = ["websocket_view"]


#: What Pyramid calls a view with: a request, or an instance of a view class.
Target = TypeVar("Target")

Handler = Callable[[Target, Conn], object]
View = Callable[[Target], Any]


@overload
def websocket_view(handler: Handler[Target], **options: Unpack[ViewKeywords]) -> View[Target]: ...


@overload
def websocket_view(
    handler: None = None, **options: Unpack[ViewKeywords]
) -> Callable[[Handler[Target]], View[Target]]: ...


@explains_options
def websocket_view(
    handler: Handler[Target] | None = None,
    *,
    upgrader: Upgrader | None = None,
    before: Callable[..., object] | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> View[Target] | Callable[[Handler[Target]], View[Target]]:
    """Make a Pyramid view of ``handler(request, conn)``: a decorator.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). For any thread.

    Args:
        handler: called with the `Conn` of each request that was upgraded, in a thread of its own or in the view.
        upgrader: the options of the handshake and of the connection; without it those of ``Upgrader()``.
        before: called with the view's argument before the handshake; see the top of the module.
        detach: where the handler runs: see `Upgrader.serve`.
        max_connections: how many at a time, of all views of this process; one more is refused (503). None: no limit.

    Raises:
        ValueError, TypeError: an argument is invalid, or the handler is a coroutine function.
    """
    serve = serving(upgrader, detach=detach, max_connections=max_connections)
    check_before(before)

    def decorate(handler: Handler[Target]) -> View[Target]:
        check_handler(handler, "websocket_view decorates", "request, conn")
        return _view(handler, before, serve)

    return decorate if handler is None else decorate(handler)


def _view(handler: Handler[Target], before: Callable[..., object] | None, serve: Serve) -> View[Target]:
    """The view of a handler: the handshake, then the handler with what the view was called with."""

    @functools.wraps(handler)
    def view(target: Target) -> Any:
        refusal = ask_before(before, target)
        if refusal is not None:
            return refusal
        request: Any = getattr(target, "request", target)  # an instance of a view class has it as an attribute
        if is_refusal(before, request.response.status_code):
            return request.response

        def run(conn: Conn) -> object:
            if conn.detached:  # else the request would keep the server's streams for as long as the handler runs
                request.__dict__["environ"] = conn.request.environ
            return handler(target, conn)

        cookies = _cookies(request)
        answer = serve(request.environ, run, response_headers=cookies)
        headers = answer.headers if answer.is_websocket else [*answer.headers, *cookies]
        body = [answer.body] if answer.body else []  # a 101 iterates as empty
        # WebOb drops the Content-Type of a 101, which wsgiref needs, unless the headers are given as a list.
        return Response(status=f"{answer.status} {answer.reason}".rstrip(), headerlist=headers, app_iter=body)

    return view


def _cookies(request: Any) -> list[tuple[str, str]]:
    """The cookies of the request's response, after its callbacks have run: sessions set theirs in one."""
    response = request.response
    request._process_response_callbacks(response)
    return [("Set-Cookie", value) for value in response.headers.getall("Set-Cookie")]
