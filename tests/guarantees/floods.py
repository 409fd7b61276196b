"""Floods: many connections of one process that send frames which make no message, as fast as they are taken.

And the process of a server that is flooded, which shuts down when it is told to.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from syncws._conn.conn import Conn
from syncws._frames.frame import FIN, encode
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader

from .support import BINARY, CONTINUATION, PING, PONG, TEXT, WAIT, handshake

#: What each kind of flood begins with, and what it repeats: some KiB, so that one send is many frames.
FLOODS: dict[str, tuple[int | None, int, bytes]] = {
    "empty continuations": (TEXT, CONTINUATION, b""),
    "one-byte fragments": (TEXT, CONTINUATION, b"x"),
    "pings": (None, FIN | PING, b""),
    "pongs": (None, FIN | PONG, b""),
    "one-byte messages": (None, FIN | BINARY, b"x"),
}

_PORTION = 1 << 16

#: What a close frame with 1008 has after its length.
REFUSED = (1008).to_bytes(2)


def frames(kind: str) -> tuple[bytes, bytes]:
    """What a flood begins with, and what it repeats."""
    first, repeated, payload = FLOODS[kind]
    begin = b"" if first is None else b"".join(encode(first, b"", True))
    each = b"".join(encode(repeated, payload, True))
    return begin, each * (_PORTION // len(each))


def flood(kind: str, port: int, count: int) -> None:
    """Open so many connections, say so, and send until nobody takes anything any more. The process of a flood."""
    begin, portion = frames(kind)
    left: dict[socket.socket, memoryview] = {}
    selector = selectors.DefaultSelector()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), WAIT)
        sock.sendall(handshake())
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        sock.sendall(begin)
        sock.setblocking(False)
        left[sock] = memoryview(portion)
        selector.register(sock, selectors.EVENT_WRITE | selectors.EVENT_READ)
    print("flooding", flush=True)
    while left:
        for key, events in selector.select():
            sock: Any = key.fileobj
            try:
                if events & selectors.EVENT_READ and not sock.recv(1 << 16):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    left[sock] = left[sock][sock.send(left[sock]) :] or memoryview(portion)
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(sock)
                sock.close()
                del left[sock]


def serve(options: dict[str, Any], timeout: float) -> None:
    """The process of a server: it shuts down when it is told to, and says how long that took."""
    upgrader = Upgrader(**options)

    def handler(request: Request) -> None:
        with upgrader.upgrade(request) as conn:
            for message in conn:
                conn.send(message)

    server = Server(handler, port=0)
    server.start()
    print(server.port, flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    left = server.shutdown(timeout)
    print(f"{time.monotonic() - began:.3f} {left}", flush=True)


_upgrader = Upgrader(fragment_limit=None, control_limit=None, read_limit=None)


def _echo(conn: Conn) -> None:
    for message in conn:
        conn.send(message)


def application(environ: Any, start_response: Any) -> Any:
    """A WSGI application that echoes, whose connections no limit ends."""
    return _upgrader.serve(environ, _echo)(environ, start_response)


@contextlib.contextmanager
def child(call: str) -> Iterator[subprocess.Popen[str]]:
    """A process that makes a call of this module; killed at the end."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import *; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def flood_until_refused(kind: str, port: int, path: str, count: int) -> None:
    """As `flood`, once it is told to begin; then say how long each connection took to be refused with 1008."""
    begin, portion = frames(kind)
    left: dict[socket.socket, memoryview] = {}
    told: dict[socket.socket, bytes] = {}
    selector = selectors.DefaultSelector()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), WAIT)
        sock.sendall(handshake(path))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        sock.sendall(begin)
        sock.setblocking(False)
        left[sock], told[sock] = memoryview(portion), b""
        selector.register(sock, selectors.EVENT_WRITE | selectors.EVENT_READ)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    refused: list[float | None] = []
    while left:
        for key, events in selector.select():
            sock: Any = key.fileobj
            try:
                if events & selectors.EVENT_READ:
                    said = sock.recv(1 << 16)
                    told[sock] += said
                    if not said:
                        raise ConnectionResetError
                    if REFUSED in told[sock]:
                        refused.append(time.monotonic() - began)
                        raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    left[sock] = left[sock][sock.send(left[sock]) :] or memoryview(portion)
            except BlockingIOError:
                pass
            except OSError:
                if REFUSED not in told[sock]:
                    refused.append(None)
                selector.unregister(sock)
                sock.close()
                del left[sock]
    print(json.dumps(refused), flush=True)


def serve_health() -> None:
    """The process of a server that answers GET /health, reads whole messages at /, and pieces of them at /pieces."""
    upgrader = Upgrader()

    def handler(request: Request) -> Response | None:
        if request.path == "/health":
            return Response("well")
        with upgrader.upgrade(request) as conn:
            while True:
                if request.path == "/pieces":
                    reader = conn.next_reader()
                    while reader.read(1 << 16):
                        pass
                else:
                    conn.receive()

    with Server(handler, port=0) as server:
        server.start()
        print(server.port, flush=True)
        sys.stdin.readline()
