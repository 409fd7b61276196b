"""WebSocket views in WSGI applications without a framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, assert_type

import syncws
from syncws.wsgi import Environ, Taken, WSGIResponse, open_connections, register_taker, shutdown, websocket

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

upgrader = syncws.Upgrader(allowed_origins=["https://example.com"])


@websocket
def bare(conn: syncws.Conn) -> None:
    conn.send(conn.request.path)


@websocket(upgrader=upgrader, detach=False, max_connections=None)
def with_options(conn: syncws.Conn) -> str:
    return conn.request.path


called = websocket(lambda conn: conn.send("hello"), upgrader=upgrader)

assert_type(bare, Callable[[Environ, Callable[..., object]], list[bytes]])
assert_type(with_options, Callable[[Environ, Callable[..., object]], list[bytes]])
assert_type(called, Callable[[Environ, Callable[..., object]], list[bytes]])


def chat(conn: syncws.Conn, room: str, size: int = 5) -> None:
    conn.send_json([room, size])


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/echo":
        return bare(environ, start_response)
    answer = upgrader.serve(environ, chat, "lobby", response_headers={"X-Served-By": "here"}, detach=True)
    assert_type(answer, WSGIResponse)
    return answer(environ, start_response)


def taker(environ: Environ) -> Taken | None:
    return None


def main() -> None:
    """Not run: it would change what the process does."""
    register_taker(taker)
    assert_type(open_connections(), int)
    assert_type(shutdown(1001, "restarting", timeout=5), int)
    typed: list[WSGIApplication] = [bare, with_options, called]  # as the standard library knows them
    for each in typed:
        syncws.Server(wsgi_app=each, port=0).shutdown()
    syncws.Server(wsgi_app=app, port=0).shutdown()
