"""WebSocket resources in Falcon's WSGI applications.

    import falcon
    from syncws.falcon import WebSocketResource, serve

    def echo(req, conn):
        for message in conn:
            conn.send(message)

    app = falcon.App()
    app.add_route("/echo", WebSocketResource(echo))

The fields of a URI template are keyword arguments: ``/rooms/{name}`` calls ``handler(req, conn, name=...)``. A
resource of your own calls `serve`, and chooses the arguments of the handler:

    class Rooms:
        def on_get(self, req, resp, name):
            serve(req, resp, self.talk, name)

        def talk(self, conn, name):
            conn.send(f"welcome to {name}")

**Login before the 101.** Middleware and ``@falcon.before`` hooks run before the handshake, as for every responder. A
WebSocketResource has the hook ``before`` too, which is called with the responder's arguments. To refuse, it raises
`falcon.HTTPForbidden`, or any other error or redirect of Falcon's, or fills in ``resp`` and sets ``resp.complete``, or
a status from 300 on. Otherwise it returns None; another value refuses too, with 500 and an error in the log. It is
checked to be a plain function. Falcon itself does not check those of ``@falcon.before``: under WSGI it never runs one
that is ``async def``.

    def logged_in(req, resp, **fields):
        if req.get_cookie_values("session") is None:
            raise falcon.HTTPUnauthorized(title="log in first")

    app.add_route("/private", WebSocketResource(echo, before=logged_in))

Cookies that were set on ``resp`` by then leave with the 101. Later changes to ``resp`` never reach the client. Where
the connection is detached from the responder, ``process_response`` of a middleware is called at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Concatenate, TypeVarTuple

from ._base.extras import needs
from ._base.owners import explains_options
from ._conn.conn import Conn
from ._http.wsgiresponse import WSGIResponse
from ._server.upgrader import Upgrader
from ._server.views import call_before, check_before, check_handler, check_upgrader, is_refusal, serving
from ._wsgi.guests import MAX_CONNECTIONS

with needs("falcon", "falcon"):
    import falcon

__all__ = ["WebSocketResource", "serve"]

_UPGRADER = Upgrader()

Arguments = TypeVarTuple("Arguments")

Handler = Callable[Concatenate[falcon.Request, Conn, ...], object]


@explains_options
def serve(
    req: falcon.Request,
    resp: falcon.Response,
    handler: Callable[[Conn, *Arguments], object],
    *args: *Arguments,
    upgrader: Upgrader | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> None:
    """Upgrade this request, and run ``handler(conn, *args)`` with its connection: the last call of a responder.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). A request that
    is refused gets its response here too: nothing is raised for it. For any thread.

    Args:
        req, resp: the responder's own; resp is complete afterwards.
        handler: called in a thread of its own or in the responder's; see `Upgrader.serve`.
        upgrader: the options of the handshake and of the connection; without it those of ``Upgrader()``.
        detach: where the handler runs: see `Upgrader.serve`.
        max_connections: how many at a time, of all resources of this process; one more is refused (503). None: no
            limit.

    Raises:
        ValueError, TypeError: an argument is invalid, or the request was upgraded before.
    """
    check_upgrader(upgrader)
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
    """The cookies that were set on the response so far, for the 101."""
    return [pair for pair in resp._wsgi_headers() if pair[0].lower() == "set-cookie"]


def _fill(resp: falcon.Response, answer: WSGIResponse) -> None:
    """Put the answer to a handshake into the response of a responder."""
    resp.status = answer.status
    resp.data = answer.body
    for name, value in answer.headers:
        if name.lower() == "set-cookie":  # set_header refuses it
            resp.append_header(name, value)
        else:
            resp.set_header(name, value)


@explains_options
class WebSocketResource:
    """A resource whose GET is a WebSocket: ``handler(req, conn, **fields)``.

    For any thread.

    Args:
        handler: called with the request, its `Conn` and the fields of the URI template, in a thread of its own or in
            the responder's.
        before: called with the responder's arguments before the handshake; see the top of the module.
        upgrader, detach, max_connections: see `serve`.

    Raises:
        ValueError, TypeError: an argument is invalid, or the handler is a coroutine function.
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
        """Falcon calls this for a GET, with req, resp and the fields of the URI template: ``before``, and then `serve`.

        Raises TypeError if ``before`` returns what is no refusal here.
        """
        refusal = call_before(self._before, req, resp, **fields)
        if resp.complete or (refusal is None and is_refusal(self._before, resp.status_code)):
            return
        if refusal is not None:  # as in other frameworks, where that is the response
            raise TypeError(
                f"before returned {refusal!r:.200}: to refuse a request it raises an error of Falcon's or sets "
                "resp.complete, and to let it pass it returns None"
            )

        def run(conn: Conn) -> object:
            if conn.detached:  # else the request would keep the server's streams for as long as the handler runs
                assert conn.request.environ is not None  # its request was made from one
                req.env, req.stream = conn.request.environ, io.BytesIO()
            return self._handler(req, conn, **fields)

        _fill(resp, self._serve(req.env, run, response_headers=_cookies(resp)))
