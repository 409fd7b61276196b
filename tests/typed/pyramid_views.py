"""WebSocket views in Pyramid applications, as functions and as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import syncws
from syncws.pyramid import websocket_view


class Request:
    """As an application's own types know Pyramid's, which has none."""

    environ: dict[str, Any]
    matchdict: dict[str, str]


def logged_in(request: Request) -> object:
    return None


@websocket_view
def echo(request: Request, conn: syncws.Conn) -> None:
    conn.send(request.matchdict["name"])


@websocket_view(before=logged_in, upgrader=syncws.Upgrader(), detach=False, max_connections=5)
def room(request: Request, conn: syncws.Conn) -> None:
    conn.send(request.matchdict["name"])


class Views:
    def __init__(self, request: Request) -> None:
        self.request = request

    @websocket_view
    def hall(self, conn: syncws.Conn) -> None:
        conn.send(self.request.matchdict["name"])


views: list[Callable[[Request], Any]] = [echo, room]
methods: list[Callable[[Views], Any]] = [Views.hall]
