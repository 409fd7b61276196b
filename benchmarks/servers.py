"""The echo servers that are compared, each as its own documentation writes one.

`python -m benchmarks.servers NAME ...`: see `serving`. syncws is `examples/echo_server.py` itself, also that of another
checkout or without the accelerator (see `ours`), and gorilla the program of `go/`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import gorilla, ours, serving
from .processes import NOTHING, started
from .serving import Ways, say, websockets_compression


def run_bare(ways: Ways) -> None:
    """The ceiling: threads that send back what they receive, after an answer made with a string; no framing."""
    import base64
    import hashlib
    import re
    import socket
    import threading

    def handle(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ways.tls is not None:
            sock = ways.tls.wrap_socket(sock, server_side=True)
        with sock, contextlib.suppress(OSError):
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", sock.recv(65536))
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            while data := sock.recv(65536):
                sock.sendall(data)

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        say(listener.getsockname()[1])
        while True:
            threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()


def run_apart(ways: Ways) -> None:
    """This library as its echo server has it, except that each answer leaves by itself."""
    import syncws

    # A name that older checkouts of the library do not know.
    options: Any = {"answers_together": False}
    upgrader = syncws.Upgrader(enable_compression=ways.deflate, **options)

    def handler(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            while True:
                message_type, data = conn.read_message()
                conn.write_message(message_type, data)

    server = syncws.Server(handler, port=0, ssl_context=ways.tls)
    say(int(server.address[1]))
    server.serve_forever()


def run_websockets_sync(ways: Ways) -> None:
    """websockets' threading implementation."""
    from websockets.sync.server import ServerConnection, serve

    def echo(websocket: ServerConnection) -> None:
        for message in websocket:
            websocket.send(message)

    with serve(echo, "127.0.0.1", 0, ssl=ways.tls, **websockets_compression(ways)) as server:
        say(server.socket.getsockname()[1])
        server.serve_forever()


def run_websockets_asyncio(ways: Ways) -> None:
    """websockets' asyncio implementation."""
    import asyncio

    asyncio.run(_serve_websockets(ways))


def run_websockets_uvloop(ways: Ways) -> None:
    """The same on uvloop."""
    import uvloop

    uvloop.run(_serve_websockets(ways))


async def _serve_websockets(ways: Ways) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=ways.tls, **websockets_compression(ways)) as server:
        say(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


def run_picows(ways: Ways) -> None:
    """picows, on uvloop if it is installed: frames as they come, without a check of the text."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    class EchoListener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin, frame.rsv1)

    def make_listener(request: WSUpgradeRequest) -> WSListener:
        return EchoListener()

    async def main() -> None:
        server = await ws_create_server(make_listener, "127.0.0.1", 0, ssl=ways.tls)
        say(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    _run_fast(main())


def _run_fast(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, or on asyncio's own loop if uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        import asyncio

        asyncio.run(main)
    else:
        uvloop.run(main)


def run_aiohttp(ways: Ways) -> None:
    """aiohttp's server, without its access log."""
    import asyncio

    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type == WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.get("/", echo)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ways.tls)
        await site.start()
        say(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def run_flask_sock(ways: Ways) -> None:
    """flask-sock (simple-websocket) on werkzeug's server with threads, which does not log requests here."""
    import logging

    from flask import Flask
    from flask_sock import Sock
    from werkzeug.serving import make_server

    app = Flask(__name__)
    sock = Sock(app)

    @sock.route("/")
    def echo(ws: Any) -> None:
        while True:
            data = ws.receive()
            ws.send(data)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    say(server.server_port)
    server.serve_forever()


RUN = {
    "bare": run_bare,
    "apart": run_apart,
    "websockets.sync": run_websockets_sync,
    "websockets.asyncio": run_websockets_asyncio,
    "websockets.asyncio+uvloop": run_websockets_uvloop,
    "picows": run_picows,
    "aiohttp": run_aiohttp,
    "flask-sock": run_flask_sock,
}


@dataclasses.dataclass(frozen=True)
class Server:
    """The facts about one server.

    Args:
        needs: the modules that it needs.
        packages: those whose versions matter.
        tls: whether it is compared over TLS.
        deflate: whether it is compared with compression: whether it can be made to compress as we do.
    """

    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    tls: bool = True
    deflate: bool = True


SERVERS = {
    "bare": Server(deflate=False),
    "syncws": Server(packages=("wsproto", "h11", "numpy")),
    "websockets.sync": Server(("websockets",), ("websockets",)),
    "websockets.asyncio": Server(("websockets",), ("websockets",)),
    "websockets.asyncio+uvloop": Server(("websockets", "uvloop"), ("websockets", "uvloop")),
    "picows": Server(("picows",), ("picows", "uvloop"), deflate=False),
    "aiohttp": Server(("aiohttp",), ("aiohttp",), deflate=False),
    "flask-sock": Server(
        ("flask_sock",), ("flask-sock", "simple-websocket", "flask", "werkzeug"), tls=False, deflate=False
    ),
    "gorilla": Server(("gorilla",)),
}
SERVERS |= dict.fromkeys(ours.OURS, SERVERS["syncws"])


def lacks(name: str, folder: Path) -> str:
    """A line that says why it is not available here; "" if it is."""
    return ours.ALL[name].missing() if name in ours.ALL else serving.lacks(SERVERS[name].needs, folder)


@contextlib.contextmanager
def running(
    name: str,
    core: int | None,
    folder: Path,
    *,
    tls: bool = False,
    deflate: bool = False,
    extra: Mapping[str, str] = NOTHING,
) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server, on a core of its own if one is named; it ends with the block.

    extra is added to its environment.
    """
    words = serving.words(tls=tls, deflate=deflate)
    if tls:
        serving.make_certificate(folder)
    way = ours.ALL.get(name, ours.Ours())
    if name == "apart":
        command = [way.python, "-m", "benchmarks.servers", name, str(folder), *words]
    elif name in ours.ALL:
        command = [way.python, str(way.library / "examples" / "echo_server.py"), "--port", "0"]
        command += ["--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem")] if tls else []
        command += ["--compression"] if deflate else []
    elif name == "gorilla":
        command = gorilla.command("echo", folder, words)
    else:
        command = [sys.executable, "-m", "benchmarks.servers", name, str(folder), *words]
    with started(command, core, way.library, {**way.extra, **extra}) as server:
        yield server


if __name__ == "__main__":
    serving.run_named(RUN)
