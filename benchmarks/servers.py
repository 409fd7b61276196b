"""The echo servers that are compared, each in a process of its own: python servers.py NAME [CORE].

Prints its port and serves until its standard input ends. None of them compresses: the load client does not offer it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator


def say(port: int) -> None:
    print(port, flush=True)
    threading.Thread(target=end_with_standard_input, daemon=True).start()


def end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def run_syncws() -> None:
    """This library: one thread per connection."""
    from syncws.server import Server
    from syncws.upgrader import Upgrader

    upgrader = Upgrader()

    def echo(request):
        with upgrader.upgrade(request) as conn:
            for message in conn:
                conn.send(message)

    server = Server(echo, port=0)
    say(server.address[1])
    server.serve_forever()


def run_websockets_sync() -> None:
    """websockets' threading implementation."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import serve

    def echo(connection):
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)

    with serve(echo, "127.0.0.1", 0, compression=None) as server:
        say(server.socket.getsockname()[1])
        server.serve_forever()


def run_websockets_asyncio() -> None:
    """websockets' asyncio implementation, one event loop."""
    import asyncio

    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed

    async def echo(connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async def main():
        async with serve(echo, "127.0.0.1", 0, compression=None) as server:
            say(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


def run_bare() -> None:
    """The ceiling: threads that receive and send back what came, after an answer made with a string; no framing."""
    import base64
    import hashlib
    import re
    import socket

    def handle(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", sock.recv(65536)).group(1)
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        say(listener.getsockname()[1])
        while True:
            threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()


SERVERS = {
    "syncws": run_syncws,
    "websockets.sync": run_websockets_sync,
    "websockets.asyncio": run_websockets_asyncio,
    "bare": run_bare,
}


@contextlib.contextmanager
def running(name: str, core: int | None = None) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server, on a core of its own if one is named; it ends with the block."""
    command = [sys.executable, __file__, name] + ([] if core is None else [str(core)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the server {name} did not start; is its package installed? (pip install 'syncws[bench]')")
            yield int(line), process.pid
        finally:
            process.stdin.close()
            process.wait()


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


if __name__ == "__main__":
    pin(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    SERVERS[sys.argv[1]]()
