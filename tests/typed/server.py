"""A server, its handlers in both styles, and a client that talks to it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any, assert_type

import syncws
from syncws.testing import running

upgrader = syncws.Upgrader(subprotocols=["chat"], enable_compression=True, overflow="drop_oldest")


def choose(request: syncws.Request) -> str | None:
    return request.query.get("protocol")


def explain(request: syncws.Request, status: int, reason: syncws.HandshakeError) -> syncws.Response:
    return syncws.Response(f"{reason}\n", status)


strict = syncws.Upgrader(
    subprotocols=choose,
    error=explain,
    check_origin=lambda request: request.headers.get("Origin") == "https://example.com",
    read_limit=None,
)


def echo(request: syncws.Request) -> None:
    """gorilla's style."""
    with upgrader.upgrade(request, {"X-Served-By": "here"}) as conn:
        assert_type(conn, syncws.Conn)
        while True:
            message_type, data = conn.read_message()
            assert_type(message_type, syncws.MessageType)
            assert_type(data, str | bytes)
            conn.write_message(message_type, data)


def either(request: syncws.Request) -> syncws.Response | None:
    if request.path == "/health":
        return syncws.Response.json({"fine": True})
    echo(request)
    return None


def talk(conn: syncws.Conn) -> None:
    """What there is to know of a connection needs no check for None in a handler."""
    assert_type(conn.request, syncws.Request)
    assert_type(conn.request.path, str)
    assert_type(conn.request.query["user"], str)
    assert_type(conn.request.headers.get("Origin"), str | None)
    assert_type(conn.request.headers.get("Origin", ""), str)
    assert_type(conn.request.cookies, dict[str, str])
    assert_type(conn.remote_address, tuple[str, int] | tuple[str, int, int, int] | str)
    assert_type(conn.remote_address[0], str)
    assert_type(conn.subprotocol, str | None)
    assert_type(conn.id, str)
    assert_type(conn.closed, bool)
    assert_type(conn.end, syncws.ConnectionClosed | None)
    assert_type(conn.latency, float | None)
    assert_type(conn.queued, tuple[int, int])
    conn.set_close_handler(lambda code, reason: print(code, reason))
    conn.set_ping_handler(lambda data: conn.write_control(syncws.PONG, data))
    previous: Callable[[bytes], object] = conn.pong_handler
    conn.set_pong_handler(previous)
    for message in conn:
        assert_type(message, str | bytes)
        conn.send(message)
        conn.send_json({"said": message if isinstance(message, str) else len(message)})
        assert_type(conn.send_nowait(message), bool)


def stream(conn: syncws.Conn) -> None:
    reader = conn.next_reader()
    assert_type(reader, syncws.MessageReader)
    with conn.next_writer(reader.message_type) as writer:
        assert_type(writer, syncws.MessageWriter)
        while piece := reader.read(4096):
            assert_type(piece, bytes)
            writer.write(piece)
    for part in syncws.join_messages(conn, b"\n"):
        assert_type(part, bytes)


def serve(tls: ssl.SSLContext | None, path: os.PathLike[str]) -> None:
    """Not run: it would not come back."""
    syncws.serve(talk, "127.0.0.1", 8080, upgrader=strict, ssl_context=tls, max_connections=None)
    syncws.serve(lambda conn: conn.send("hello"), unix_path=path, workers=4, pin=True)
    syncws.serve(lambda conn: conn.send("hello"), pin="auto")
    syncws.serve(lambda conn: conn.send("hello"), pin=3)


def main() -> Any:
    """Serve, connect, and say what came back."""
    with running(syncws.Server(either, port=0, keep_alive_timeout=None)) as server:
        assert_type(server, syncws.Server)
        assert_type(server.port, int)
        if not isinstance(server.address, str):
            assert_type(server.address[1], int)
        url = f"ws://127.0.0.1:{server.port}/"
        with syncws.dial(url, {"Origin": url}, subprotocols=["chat"], ping_interval=None) as conn:
            conn.send_json(["hello"])
            return conn.receive_json(timeout=10)
