"""WebSocket routes in Bottle applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import syncws
from syncws.bottle import websocket


def logged_in(**_wildcards: str) -> str | None:
    return None


@websocket
def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


@websocket(before=logged_in, upgrader=syncws.Upgrader(), detach=False, max_connections=5)
def room(conn: syncws.Conn, name: str) -> None:
    conn.send(name)


assert_type(echo, Callable[..., Any])
assert_type(room, Callable[..., Any])
