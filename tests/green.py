"""A server and a client in a process that gevent or eventlet has patched: python -m tests.green gevent

Prints one line for each kind of connection: what the message was, and whether another greenlet went on meanwhile.
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


main()
