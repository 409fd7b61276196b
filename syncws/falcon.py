"""WebSocket resources in Falcon's WSGI applications.

    import falcon
    from syncws.falcon import WebSocketResource, serve

    def echo(req, conn):
        for message in conn:
            conn.send(message)

    app = falcon.App()
    app.add_route("/echo", WebSocketResource(echo))

The fields of a URI template are keyword arguments: ``/rooms/{name}`` calls ``handler(req, conn, name=...)``. A
resource of one's own calls `serve`, and says itself what the handler gets:

    class Rooms:
        def on_get(self, req, resp, name):
            serve(req, resp, self.talk, name)

        def talk(self, conn, name):
            conn.send(f"welcome to {name}")

**Login before the 101.** Middleware and ``@falcon.before`` hooks run before it, as for every responder. A
WebSocketResource has a hook of its own, which is called with the responder's arguments: raise `falcon.HTTPForbidden`,
or any other error or redirect of Falcon's, to refuse, or fill in ``resp`` and set ``resp.complete``:

    def logged_in(req, resp, **fields):
        if req.get_cookie_values("session") is None:
            raise falcon.HTTPUnauthorized(title="log in first")

    app.add_route("/private", WebSocketResource(echo, before=logged_in))

Cookies that were set on ``resp`` by then leave with the 101. Nothing that is done to ``resp`` later reaches the client,
and ``process_response`` of a middleware is called at once where the connection is detached from the responder.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Concatenate, TypeVarTuple

import falcon

from ._conn.conn import Conn
from ._http.wsgiresponse import WSGIResponse
from ._server.upgrader import Upgrader
from ._server.views import check_before, check_handler, serving
from ._wsgi.guests import MAX_CONNECTIONS

__all__ = ["WebSocketResource", "serve"]

_UPGRADER = Upgrader()

Arguments = TypeVarTuple("Arguments")

Handler = Callable[Concatenate[falcon.Request, Conn, ...], object]


def serve(
    req: falcon.Request,
    resp: falcon.Response,
    handler: Callable[[Conn, *Arguments], object],
    *args: *Arguments,
    upgrader: Upgrader | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> None:
    """Upgrade this request, and run ``handler(conn, *args)`` with its connection; the last thing a responder does.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). A request that
    is refused gets its response here too: nothing is raised for it. For any thread.

    Args:
        req, resp: of the responder; resp is complete afterwards.
        handler: called in a thread of its own or in the responder's; see `Upgrader.serve`.
        upgrader: the options of the handshake and of the connection; without it those of ``Upgrader()``.
        detach: where the handler runs: see `Upgrader.serve`.
        max_connections: how many at a time, of all resources of this process; one more is answered with 503. None
            for no limit.
    """
    answer = (upgrader if upgrader is not None else _UPGRADER).serve(
        req.env,
        handler,
        *args,
        response_headers=_cookies(resp),
        detach=detach,
        max_connections=max_connections,
    )
    _fill(resp, answer)


def _cookies(resp: falcon.Response) -> list[tuple[str, str]]:
    """Those that were set so far, for the 101."""
    return [pair for pair in resp._wsgi_headers() if pair[0].lower() == "set-cookie"]


def _fill(resp: falcon.Response, answer: WSGIResponse) -> None:
    """Make the answer to a handshake the response of a responder."""
    resp.status = answer.status
    resp.data = answer.body
    for name, value in answer.headers:
        if name.lower() == "set-cookie":  # which set_header does not take
            resp.append_header(name, value)
        else:
            resp.set_header(name, value)


class WebSocketResource:
    """A resource whose GET is a WebSocket: ``handler(req, conn, **fields)``.

    The arguments are those of `serve`, and ``before``: see the top of the module. For any thread. Raises
    ValueError, TypeError: an argument is wrong.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        upgrader: Upgrader | None = None,
        before: Callable[..., object] | None = None,
        detach: bool | None = None,
        max_connections: int | None = MAX_CONNECTIONS,
    ) -> None:
        check_handler(handler, "WebSocketResource takes", "req, conn, ...")
        check_before(before)
        self._handler = handler
        self._before = before
        self._serve = serving(upgrader, detach=detach, max_connections=max_connections)

    def on_get(self, req: falcon.Request, resp: falcon.Response, **fields: Any) -> None:
        """Called by Falcon."""
        if self._before is not None:
            self._before(req, resp, **fields)
            if resp.complete:
                return

        def run(conn: Conn) -> object:
            if conn.detached:  # else the request would keep the server's streams for as long as the handler runs
                assert conn.request.environ is not None  # it came from there
                req.env, req.stream = conn.request.environ, io.BytesIO()
            return self._handler(req, conn, **fields)

        _fill(resp, self._serve(req.env, run, response_headers=_cookies(resp)))
