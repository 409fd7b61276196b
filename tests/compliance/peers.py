"""The programs that the suite tests: an echo server and an echo client of each library, run by `suite` as processes.

    python -m tests.compliance.peers server syncws ws://127.0.0.1:9001
    python -m tests.compliance.peers client websockets wss://127.0.0.1:9002 both.pem

Compression is on where the library has it, limits are off (9.* sends messages of 16 MiB), and nothing else is set.
syncws-takeover keeps the context of compression from one message to the next; websockets does so anyway.
websockets and flask-sock are here for comparison; install the latter yourself if you want to see it.
"""

from __future__ import annotations

import functools
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class PeerPrograms:
    """The programs of one library: server(host, port, context or None), client(url, agent, context or None)."""

    server: Callable[[str, int, ssl.SSLContext | None], None] | None
    client: Callable[[str, str, ssl.SSLContext | None], None] | None
    tls: bool = False
    takeover: str = ""  # the name of the programs that are the same with context takeover

    @property
    def sides(self) -> tuple[str, ...]:
        return tuple(side for side in ("server", "client") if getattr(self, side) is not None)


def syncws_server(host: str, port: int, context: ssl.SSLContext | None, **options: Any) -> None:
    """read_message and write_message: one frame a message."""
    import syncws

    upgrader = syncws.Upgrader(enable_compression=True, read_limit=None, **options)

    def echo(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            while True:
                conn.write_message(*conn.read_message())

    syncws.Server(echo, host, port, ssl_context=context).serve_forever()


def syncws_streams_server(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """next_reader and next_writer: a message leaves in fragments while it arrives."""
    import syncws

    upgrader = syncws.Upgrader(enable_compression=True, read_limit=None)

    def echo(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            while True:
                reader = conn.next_reader()
                with conn.next_writer(reader.message_type) as writer:
                    while piece := reader.read(1 << 16):
                        writer.write(piece)

    syncws.Server(echo, host, port, ssl_context=context).serve_forever()


def syncws_client(url: str, agent: str, context: ssl.SSLContext | None, **options: Any) -> None:
    import syncws

    dialer = syncws.Dialer(enable_compression=True, read_limit=None, proxy=None, ssl_context=context, **options)

    def run(path: str) -> None:
        with dialer.dial(url + path) as conn:
            try:
                while True:
                    conn.write_message(*conn.read_message())
            except syncws.ConnectionClosed:  # the case is over, one way or another
                pass

    with dialer.dial(url + "/getCaseCount") as conn:
        count = int(conn.receive())
    _each_case(count, agent, run)


def websockets_server(host: str, port: int, context: ssl.SSLContext | None) -> None:
    _lift_websockets_limit()
    from websockets.sync.server import ServerConnection, serve

    def echo(conn: ServerConnection) -> None:
        for message in conn:
            conn.send(message)

    with serve(echo, host, port, ssl=context, max_size=None) as server:
        server.serve_forever()


def websockets_client(url: str, agent: str, context: ssl.SSLContext | None) -> None:
    _lift_websockets_limit()
    from websockets import ConnectionClosed
    from websockets.sync.client import connect

    options: dict[str, Any] = {"max_size": None, "proxy": None, "ssl": context}

    def run(path: str) -> None:
        with connect(url + path, **options) as conn:
            try:
                for message in conn:
                    conn.send(message)
            except ConnectionClosed:
                pass

    with connect(url + "/getCaseCount", **options) as conn:
        count = int(conn.recv())
    _each_case(count, agent, run)


def _lift_websockets_limit() -> None:
    """websockets takes at most 4096 fragments a message; the environment can say more, before it is imported."""
    os.environ["WEBSOCKETS_MAX_FRAGMENTS"] = str(1 << 20)  # 9.3.1 sends 65536


def flask_sock_server(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """On werkzeug's threaded server, as in its documentation; max_message_size is off by default."""
    from flask import Flask
    from flask_sock import Sock

    app = Flask(__name__)

    @Sock(app).route("/")
    def echo(conn: Any) -> None:
        while True:
            conn.send(conn.receive())

    app.run(host, port, threaded=True, ssl_context=context)


def _each_case(count: int, agent: str, run: Callable[[str], None]) -> None:
    for number in range(1, count + 1):
        run(f"/runCase?case={number}&agent={agent}")
    run(f"/updateReports?agent={agent}")


PEERS = {
    "syncws": PeerPrograms(syncws_server, syncws_client, tls=True, takeover="syncws-takeover"),
    "syncws-takeover": PeerPrograms(
        functools.partial(syncws_server, context_takeover=True), functools.partial(syncws_client, context_takeover=True)
    ),
    "syncws-streams": PeerPrograms(syncws_streams_server, None),
    "websockets": PeerPrograms(websockets_server, websockets_client),
    "flask-sock": PeerPrograms(flask_sock_server, None),
}


def main(side: str, peer: str, url: str, tls: str | None = None) -> None:
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT)
        if side == "server":
            context.load_cert_chain(tls)
        else:  # the suite's certificate is nobody's
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    if side == "server":
        address = urlsplit(url)
        assert PEERS[peer].server is not None
        PEERS[peer].server(str(address.hostname), address.port or 0, context)
    else:
        assert PEERS[peer].client is not None
        PEERS[peer].client(url, peer, context)


if __name__ == "__main__":
    main(*sys.argv[1:])
