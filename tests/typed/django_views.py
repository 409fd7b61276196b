"""WebSocket views in Django projects."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.urls import path

import syncws
from syncws.django import release_connections, websocket_view

upgrader = syncws.Upgrader(allowed_origins=["https://example.com"])


def member(request: HttpRequest, name: str, size: int) -> HttpResponse | None:
    return None if request.method == "GET" else HttpResponseForbidden()


@websocket_view
def echo(request: HttpRequest, conn: syncws.Conn) -> None:
    conn.set_idle_handler(release_connections)
    for message in conn:
        conn.send(message)


@websocket_view(before=member, upgrader=upgrader, detach=None, max_connections=100)
def room(request: HttpRequest, conn: syncws.Conn, name: str, size: int = 1) -> None:
    conn.send_json([name, size, conn.request.path])


urlpatterns = [path("echo", echo), path("rooms/<name>", room, {"size": 2})]

plain: Callable[[HttpRequest], HttpResponseBase] = echo


def call(request: HttpRequest) -> list[HttpResponseBase]:
    """A view takes what is behind the connection: the arguments of its URL."""
    return [echo(request), room(request, "lobby"), room(request, name="lobby", size=2)]
