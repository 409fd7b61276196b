"""What the tests of the server share: a raw client, two handlers, a server in a thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import MessageType
from syncws.testing import LeakChecks, Peer, running
from tests.handshakes import asking

TEXT = MessageType.TEXT
WAIT = 10.0  # seconds after which something that should happen counts as never happening

UPGRADE = asking("/chat")
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

upgrader = Upgrader(close_timeout=WAIT)


def echo(request: Request) -> None:
    """gorilla's echo: until the peer closes."""
    with upgrader.upgrade(request) as conn:
        for message in conn:
            conn.send(message)


def hello(request: Request) -> Response:
    return Response(f"hello {request.path}")


class Client:
    """The raw other end of HTTP and of WebSocket; for one thread."""

    def __init__(self, address: Any, *, tls: ssl.SSLContext | None = None) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(WAIT)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address[:2], WAIT)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.peer = Peer(self.socket, masked=True)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def request(self, data: bytes = GET) -> tuple[int, dict[str, str], bytes]:
        """Send bytes of a request, and receive a response."""
        self.socket.sendall(data)
        return self.response()

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body of a response, and not a byte of what comes behind it."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._receive(1)
        status, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0"))
        body = b""
        while len(body) < size:
            body += self._receive(size - len(body))
        return int(status.split()[1]), headers, body

    def _receive(self, size: int) -> bytes:
        data = self.socket.recv(size)
        if not data:
            raise EOFError("the connection ended before the response did")
        return data

    def upgrade(self) -> Peer:
        """Do the opening handshake."""
        self.socket.sendall(UPGRADE)
        return self.upgraded()

    def upgraded(self) -> Peer:
        """Receive the 101."""
        status, _, _ = self.response()
        assert status == 101, status
        return self.peer

    def at_end(self) -> bool:
        return self.peer.at_end()


class ServerTestCase(LeakChecks):
    @contextlib.contextmanager
    def serving(self, handler: Any = echo, *, timeout: float = WAIT, **options: Any) -> Iterator[Server]:
        """A server on a free port, in a thread."""
        options = {"host": "127.0.0.1", "port": 0, **options}
        with running(Server(handler, **options), timeout=timeout) as server:
            yield server

    @contextlib.contextmanager
    def client(self, server: Server, **options: Any) -> Iterator[Client]:
        with Client(server.address, **options) as client:
            yield client

    def in_thread(self, target: Callable[[], Any]) -> Callable[[], Any]:
        """Run something in a thread; calling what this returns joins it and gives its result."""
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(target()), name="test", daemon=True)
        thread.start()

        def join() -> Any:
            thread.join(WAIT)
            self.assertFalse(thread.is_alive(), "the thread is stuck")
            return results[0]

        self.addCleanup(thread.join, WAIT)
        return join

    def wait(self, event: threading.Event) -> None:
        self.assertTrue(event.wait(WAIT), "it never happened")
