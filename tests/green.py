"""A server and a client in a process that gevent or eventlet has patched: python -m tests.green gevent

Prints one line for each kind of connection: what the message was, and whether another greenlet went on meanwhile.
With "busy" after it: whether connections live while their handlers work, and a peer that leaves is noticed. With "bus":
whether processes on a local bus hear each other, in order, also one that does not keep up.
"""

from __future__ import annotations

import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import ssl
import tempfile
import threading
import time

import syncws
from syncws._base.green import is_green
from tests.certificates import contexts

LARGE = b"x" * 3_000_000  # more than the socket's buffers hold


def echo(request: syncws.Request) -> None:
    with syncws.Upgrader(read_limit=None).upgrade(request) as conn:
        for message in conn:
            conn.send(message)


def talk(url: str, tls: ssl.SSLContext | None) -> str:
    """Send messages both ways, and wait for one that another greenlet sends."""
    with syncws.dial(url, ssl_context=tls, read_limit=None) as conn:
        conn.send(LARGE, timeout=20)
        if conn.receive(timeout=20) != LARGE:
            return "the large message came back as another one"
        threading.Timer(0.1, conn.send, ["late"]).start()
        return str(conn.receive(timeout=20))


def main() -> None:
    of_server, of_client = contexts()
    for scheme, server_tls, client_tls in (("ws", None, None), ("wss", of_server, of_client)):
        with syncws.Server(echo, "127.0.0.1", 0, ssl_context=server_tls) as server:
            server.start()
            began = time.monotonic()
            print(is_green(), scheme, talk(f"{scheme}://localhost:{server.address[1]}/", client_tls))
            assert time.monotonic() - began < 20
            assert server.shutdown(5) == 0


def work(request: syncws.Request) -> None:
    with syncws.Upgrader(ping_interval=0.2, ping_timeout=0.2).upgrade(request) as conn:
        for message in conn:
            time.sleep(1)
            conn.send(message)


def wait(request: syncws.Request) -> None:
    conn = syncws.Upgrader().upgrade(request)
    print("noticed" if conn.wait_closed(20) else "not noticed")


def main_busy() -> None:
    of_server, of_client = contexts()
    for scheme, server_tls, client_tls in (("ws", None, None), ("wss", of_server, of_client)):
        with syncws.Server(work, "127.0.0.1", 0, ssl_context=server_tls) as server:
            server.start()
            url = f"{scheme}://localhost:{server.address[1]}/"
            with syncws.dial(url, ssl_context=client_tls, ping_interval=0.2, ping_timeout=0.2) as conn:
                conn.send("one")
                conn.send("two")
                time.sleep(1)
                answers = [conn.receive(timeout=20) for _ in range(2)]
            print(scheme, "answered" if answers == ["one", "two"] else answers)
            assert server.shutdown(5) == 0
    with syncws.Server(wait, "127.0.0.1", 0) as server:
        server.start()
        syncws.dial(f"ws://localhost:{server.address[1]}/").close_now()
        assert server.shutdown(20) == 0


class Heard:
    """What one process on a bus hears, slowly."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        self.messages.append(data)
        time.sleep(0.001)

    def up(self, proven: float) -> None: ...

    def down(self, reason: str) -> None: ...

    def dropped(self, counts: object) -> None: ...

    def vanished(self, node: str) -> None: ...


def main_bus() -> None:
    with tempfile.TemporaryDirectory(prefix="bus", dir="/tmp") as folder:
        joined = [syncws.LocalBackplane(f"{folder}/bus") for _ in range(3)]
        heard = [Heard() for _ in joined]
        for number, backplane in enumerate(joined):
            backplane.start(heard[number], f"{number:016x}")
        settled = all(backplane.subscribe([], 20) for backplane in joined)
        for number in range(200):
            joined[0].publish("x", b"%d" % number + b"x" * 10_000)
        outlet = joined[0].outlet()
        outlet.send([("x", b"last")], 20)
        outlet.close()
        until = time.monotonic() + 20
        while time.monotonic() < until and any(len(each.messages) < 201 for each in heard[1:]):
            time.sleep(0.01)
        for each in heard[1:]:
            numbers = [int(data.partition(b"x")[0]) for data in each.messages if data != b"last"]
            print(settled, "in order" if numbers == list(range(200)) else numbers, b"last" in each.messages)
        for backplane in joined:
            backplane.close(20)


if sys.argv[2:] == ["busy"]:
    main_busy()
elif sys.argv[2:] == ["bus"]:
    main_bus()
else:
    main()
