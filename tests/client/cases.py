"""What the tests of `Dialer` share: servers good and bad, certificates, and a dial that cannot outlive its test."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from syncws._client.dialer import Dialer
from syncws._conn.conn import Conn
from syncws._http.handshake import accept_for
from syncws._http.headers import Headers
from syncws._http.request import Request
from syncws._net.tls import TLSTransport
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import BadHandshakeError
from syncws.testing import LeakChecks, running
from tests.tasks import PATIENCE, Task

#: Seconds between two bytes that drip: no test is about how many.
DRIP = 0.02


class Asked:
    """A request's head as it was on the wire."""

    def __init__(self, head: bytes) -> None:
        self.line, *self.lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.partition(":") for line in self.lines)
        self.headers = Headers([(name, value.strip(" ")) for name, _, value in pairs])


Script = Callable[[socket.socket, Asked], None]


class BadServer:
    """A listener that answers each connection as the test says, once the head of the request has come.

    answer is bytes, or a callable that makes bytes of the request; script is a callable that has the socket to itself.
    The connection is then read until the client ends it; with hang_up this side ends it at once. `asked` has
    the requests, `received` what came after them; `ended` is set when the client has ended a connection.
    """

    def __init__(
        self,
        answer: bytes | Callable[[Asked], bytes] = b"",
        *,
        script: Script | None = None,
        tls: ssl.SSLContext | None = None,
        hang_up: bool = False,
    ) -> None:
        self.asked: list[Asked] = []
        self.received = b""
        self.ended = threading.Event()
        self._answer = answer
        self._script = script
        self._tls = tls
        self._hang_up = hang_up
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._serving = Task(self._serve)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/"

    @property
    def request(self) -> Asked:
        """The one request that came; fails if there were none or several."""
        [asked] = self.asked
        return asked

    def net_dial(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """A net_dial that connects here, whatever name is dialed."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def close(self) -> None:
        """Close the listener once its connections are served. Raises what went wrong in its thread."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        try:
            self._serving.result()
        finally:
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                assert self._closing
                return
            with sock:
                sock.settimeout(PATIENCE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(ConnectionError, ssl.SSLError):  # the client may leave at any time
                    self._talk(sock)
                self.ended.set()

    def _talk(self, plain: socket.socket) -> None:
        with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as sock:
            self.asked.append(Asked(read_head(sock)))
            if self._script:
                self._script(sock, self.asked[-1])
            else:
                sock.sendall(self._answer if isinstance(self._answer, bytes) else self._answer(self.asked[-1]))
            while not self._hang_up and (data := sock.recv(1 << 16)):
                self.received += data


def read_head(sock: socket.socket) -> bytes:
    """Read the head of a request, and no byte after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        if not data:
            raise ConnectionError(f"the request ends with {head!r}")
        head += data
    return head


def drip(sock: socket.socket, data: bytes) -> None:
    """Send one byte at a time, and the last one again and again, until the client is gone."""
    rest = bytearray(data)
    while not select.select([sock], [], [], DRIP)[0]:
        sock.sendall(rest[:1])
        if len(rest) > 1:
            del rest[0]


def accepting(*lines: str, behind: bytes = b"", **instead: str | None) -> Callable[[Asked], bytes]:
    """A valid 101 with further lines, and the bytes after it. instead replaces its Upgrade, Connection, Accept lines.

    None leaves a line out.
    """

    def answer(asked: Asked) -> bytes:
        own = {
            "upgrade": "Upgrade: websocket",
            "connection": "Connection: Upgrade",
            "accept": f"Sec-WebSocket-Accept: {accept_for(asked.headers['Sec-WebSocket-Key'])}",
            **instead,
        }
        head = ["HTTP/1.1 101 Switching Protocols", *filter(None, own.values()), *lines]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + behind

    return answer


def frame(payload: bytes) -> bytes:
    """A text frame of a server, of fewer than 126 bytes."""
    return bytes([0x81, len(payload)]) + payload


def noting_names(context: ssl.SSLContext) -> list[str | None]:
    """The server names that clients ask this context for, as they come."""
    names: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    return names


class EchoServer(Server):
    """A real server, which echoes and keeps the requests."""

    def __init__(self, **options: Any) -> None:
        self.requests: list[Request] = []
        self._upgrader = Upgrader(
            subprotocols=options.pop("subprotocols", ()),
            enable_compression=options.pop("enable_compression", False),
            context_takeover=options.pop("context_takeover", False),
            close_timeout=PATIENCE,
        )
        self._response_headers = options.pop("response_headers", None)
        super().__init__(self._echo, **{"port": 0, "handshake_timeout": PATIENCE, **options})
        self._scheme = "wss" if options.get("ssl_context") else "ws"

    @property
    def port(self) -> int:
        port: int = self.address[1]
        return port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/"

    @property
    def request(self) -> Request:
        """The one request that came; fails if there were none or several."""
        [request] = self.requests
        return request

    def _echo(self, request: Request) -> None:
        self.requests.append(request)
        with self._upgrader.upgrade(request, self._response_headers) as conn:
            for message in conn:
                conn.send(message)


class DialCase(LeakChecks):
    """A test of dialing: no proxy of the environment comes in between, and nothing outlives the test."""

    def setUp(self) -> None:
        super().setUp()
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.enterContext(mock.patch.dict(os.environ, clean, clear=True))

    def bad_server(self, *args: Any, **options: Any) -> BadServer:
        server = BadServer(*args, **options)
        self.addCleanup(server.close)
        return server

    def echo_server(self, **options: Any) -> EchoServer:
        return self.enterContext(running(EchoServer(**options), timeout=PATIENCE))  # type: ignore[return-value]

    def dial(self, url: str, headers: Any = None, *, dialer: Dialer | None = None, **options: Any) -> Conn:
        """A connection, cut at the end of the test."""
        dialer = dialer or Dialer(**{"handshake_timeout": PATIENCE, "close_timeout": PATIENCE, **options})
        conn = dialer.dial(url, headers)
        self.addCleanup(conn.close_now)
        return conn

    def assert_echo(self, conn: Conn, message: str | bytes = "hello") -> None:
        conn.send(message, timeout=PATIENCE)
        # assertEqual would print mebibytes
        self.assertTrue(conn.receive(timeout=PATIENCE) == message, "another message came back")

    def refusal(self, server: Any, headers: Any = None, **options: Any) -> BadHandshakeError:
        """The error that dialing a bad server raises; the dialer has closed the connection by then."""
        with self.assertRaises(BadHandshakeError) as caught:
            self.dial(server.url, headers, **options)
        if isinstance(server, BadServer):
            self.assertTrue(server.ended.wait(PATIENCE), "the connection was left open")
        return caught.exception

    def refused(self, answer: bytes | Callable[[Asked], bytes], headers: Any = None, **options: Any) -> str:
        """The message of the error that such an answer raises, without the beginning that all of them have."""
        server = self.bad_server(answer)
        message = str(self.refusal(server, headers, **options))
        begin = f"no WebSocket at {server.url}: "
        self.assertEqual(message[: len(begin)], begin)
        return message.removeprefix(begin)


@contextlib.contextmanager
def accepting_one() -> Iterator[tuple[str, Callable[[], socket.socket]]]:
    """The URL of a listener that says nothing, and a function that waits for its next connection."""
    with contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)

        def accept() -> socket.socket:
            sock = cleanup.enter_context(listener.accept()[0])
            sock.settimeout(PATIENCE)
            return sock

        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/", accept


class Hook:
    """A net_dial, or with tls a net_dial_tls, that connects to one place whatever it is asked for; keeps arguments."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.timeouts: list[float | None] = []
        self.made: Any = None
        self._port = port
        self._tls = tls

    def __call__(self, host: str, port: int, timeout: float | None) -> Any:
        self.calls.append((host, port))
        self.timeouts.append(timeout)
        self.made = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        if self._tls is not None:
            self.made = TLSTransport(self.made, self._tls, server_side=False, server_hostname="127.0.0.1")
            self.made.handshake(None)
        return self.made
