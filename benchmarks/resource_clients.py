"""The other ends of what `resource_probe` weighs, in a process of their own: `python -m benchmarks.resource_clients`.

Each line of standard input is a command, and a line of output says that it is done:

    open URL COUNT [compressed | takeover]    that many connections more
    echo SIZE TIMES [json]                    on each connection, one after the other
    drain TIMES                               so many messages are taken on each, each connection by a thread of its own
    serve                                     an echo server; what is written is its URL
"""

from __future__ import annotations

import contextlib
import json
import random
import ssl
import sys
import threading
from collections.abc import Sequence
from typing import Any

import syncws

#: Fields of the telemetry that is sent as JSON: of one shape, each message with values of its own.
_FIELDS = ("temperature", "humidity", "pressure", "voltage", "current", "vibration")


def telemetry(draw: random.Random, number: int) -> str:
    """One message of about 200 bytes, as a device sends it."""
    readings = {name: round(draw.uniform(0, 1000), 3) for name in _FIELDS}
    device = f"sensor-{draw.randrange(50):04}"
    return json.dumps({"device": device, "site": "north", "sequence": number, "readings": readings})


class Clients:
    """What the commands do. Concurrency: for one thread."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._conns: list[syncws.Conn] = []
        self._draw = random.Random(1)

    def open(self, url: str, count: str, how: str = "") -> str:
        options: dict[str, Any] = {"enable_compression": True, "context_takeover": how == "takeover"} if how else {}
        tls = None
        if url.startswith("wss:"):  # to a certificate that was made a moment ago, on this machine
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        for _ in range(int(count)):
            conn = syncws.dial(url, ssl_context=tls, ping_interval=None, **options)
            self._conns.append(self._stack.enter_context(conn))
        return "opened"

    def echo(self, size: str, times: str, kind: str = "") -> str:
        for number in range(int(times)):
            for conn in self._conns:
                message = telemetry(self._draw, number) if kind else "x" * int(size)
                conn.send(message)
                assert conn.receive(timeout=60) == message
        return "echoed"

    def drain(self, times: str) -> str:
        def take(conn: syncws.Conn) -> None:
            for _ in range(int(times)):
                conn.receive(timeout=60)

        threads = [threading.Thread(target=take, args=(conn,)) for conn in self._conns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "drained"

    def serve(self) -> str:
        upgrader = syncws.Upgrader()

        def echo(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                for message in conn:
                    conn.send(message)

        server = syncws.Server(echo, port=0)
        server.start()
        self._stack.callback(server.shutdown, 0)
        return f"ws://127.0.0.1:{server.port}/"


def main(lines: Sequence[str] | None = None) -> None:
    with contextlib.ExitStack() as stack:
        clients = Clients(stack)
        for line in lines or sys.stdin:
            name, *words = line.split()
            print(getattr(clients, name)(*words), flush=True)


if __name__ == "__main__":
    main()
