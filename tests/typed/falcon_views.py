"""WebSocket resources in Falcon's WSGI applications."""

from __future__ import annotations

from typing import assert_type

import falcon

import syncws
from syncws.falcon import WebSocketResource, serve


def echo(req: falcon.Request, conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


def room(req: falcon.Request, conn: syncws.Conn, *, name: str) -> None:
    conn.send(name)


def logged_in(req: falcon.Request, resp: falcon.Response, **fields: str) -> None:
    if req.get_cookie_values("session") is None:
        raise falcon.HTTPUnauthorized(title="log in first")


class Rooms:
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        serve(req, resp, self.talk, name, len(name), upgrader=syncws.Upgrader(), max_connections=None)

    def talk(self, conn: syncws.Conn, name: str, length: int) -> None:
        conn.send(name[:length])


app = falcon.App()
app.add_route("/echo", WebSocketResource(echo, before=logged_in))
app.add_route("/rooms/{name}", WebSocketResource(room, upgrader=syncws.Upgrader(), detach=False, max_connections=5))
app.add_route("/halls/{name}", Rooms())

assert_type(WebSocketResource(echo), WebSocketResource)
