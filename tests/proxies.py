"""Proxies in this process: one for HTTP that opens tunnels, and misbehaves when told to; fronts: TLS, and a tap."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from syncws import Headers
from tests.tasks import PATIENCE

CONSENT = b"HTTP/1.1 200 Connection established\r\n\r\n"

_SIZE = 1 << 16
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Relay:
    """Accepts on a port of the loopback interface, and moves bytes to and from a server, while a with block lasts.

    Concurrency: a thread accepts, and each connection has one more. One thread moves the bytes of both directions, as
    two may not use one SSLSocket at the same time.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._context = ssl_context
        self.connections = 0  # how many were accepted
        self._threads: list[threading.Thread] = []

    def _converse(self, client: socket.socket) -> socket.socket | None:
        """What comes before the bytes are moved; the server's socket, or None for no server."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        # Readable as soon as the other end is closed, for every thread that waits.
        self._ended, self._end = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}" if self._context is None else f"https://localhost:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        for thread in self._threads:  # the first accepts: once it is over there will be no more
            thread.join(PATIENCE)
        self._ended.close()
        self._listener.close()

    def _start(self, call: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=call, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(_Ended):
            while True:
                client, _ = self._try(self._listener, self._listener.accept)
                self.connections += 1
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(_Ended, OSError), contextlib.ExitStack() as stack:
            stack.callback(client.close)
            client.setblocking(False)
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                stack.callback(client.close)
                self._try(client, client.do_handshake)
            server = self._converse(client)
            if server is not None:
                stack.callback(server.close)
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Move bytes both ways until both have ended."""
        ways = self._ways(client, server)
        while ways:
            moved = [way.step() for way in ways]
            if not any(moved):
                readable = [way.source for way in ways if not way.held]
                self._wait(readable, [way.target for way in ways if way.held])
            ways = [way for way in ways if not way.over]

    def _ways(self, client: socket.socket, server: socket.socket) -> list[_Way]:
        return [_Way(client, server), _Way(server, client)]

    def _send(self, sock: socket.socket, data: bytes) -> None:
        while data:
            data = data[self._try(sock, sock.send, data, write=True) :]

    def _try(self, sock: socket.socket, call: Callable[..., Any], *arguments: Any, write: bool = False) -> Any:
        """A call on a socket that does not block, again and again until it is done."""
        while True:
            try:
                return call(*arguments)
            except _BLOCKED as blocked:
                writes = isinstance(blocked, ssl.SSLWantWriteError) or write
                self._wait([] if writes else [sock], [sock] if writes else [])

    def _wait(self, readable: list[socket.socket], writable: list[socket.socket]) -> None:
        ready, _, _ = select.select([*readable, self._ended], writable, [])
        if self._ended in ready:
            raise _Ended


class ConnectProxy(Relay):
    """A proxy for CONNECT. Every host is 127.0.0.1 to it.

    * ``url``: what clients are given, without credentials; ``port``; ``requests``: (method, target, headers) of each
      request, in the order they came; ``connections``: how many were accepted.
    * ``auth``: (user, password) that it asks for, in HTTP's Basic scheme.
    * ``ssl_context``: it speaks TLS, and is called "localhost" in its url.
    * ``answer``: bytes to say in place of its own answer, and then it hangs up; ``silent``: it never answers at all.
    * ``behind``: bytes sent together with its consent, as if the server had spoken first.
    """

    def __init__(
        self,
        *,
        auth: tuple[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        answer: bytes | None = None,
        behind: bytes = b"",
        silent: bool = False,
    ) -> None:
        super().__init__(ssl_context)
        self._credentials = None if auth is None else base64.b64encode(":".join(auth).encode()).decode()
        self._answer = answer
        self._behind = behind
        self._silent = silent
        self.requests: list[tuple[str, str, Headers]] = []

    def _converse(self, client: socket.socket) -> socket.socket | None:
        """Take a request and answer it; the server's socket if there is to be a tunnel."""
        request = self._take_request(client)
        if request is None:
            return None
        if self._silent:
            self._try(client, client.recv, 1)  # until the client leaves
            return None
        refusal = self._answer if self._answer is not None else self._refusal(*request)
        if refusal is not None:
            self._send(client, refusal)
            return None
        return self._open(client, request[1])

    def _take_request(self, client: socket.socket) -> tuple[str, str, Headers] | None:
        data = b""
        while not data.endswith(b"\r\n\r\n"):  # a client has nothing more to say before it is answered
            piece = self._try(client, client.recv, _SIZE)
            if not piece:
                return None
            data += piece
        first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, _version = first.split(" ")
        fields = [line.partition(":") for line in lines]
        request = method, target, Headers([(name, value.strip()) for name, _, value in fields])
        self.requests.append(request)
        return request

    def _refusal(self, method: str, target: str, headers: Headers) -> bytes | None:
        if self._credentials and headers.get("Proxy-Authorization") != f"Basic {self._credentials}":
            return (
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="here"\r\nContent-Length: 0\r\n\r\n'
            )
        return None if method == "CONNECT" else b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"

    def _open(self, client: socket.socket, target: str) -> socket.socket | None:
        try:
            server = socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])), PATIENCE)
        except OSError:
            self._send(client, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return None
        server.setblocking(False)
        try:
            self._send(client, CONSENT + self._behind)
        except BaseException:
            server.close()
            raise
        return server


class Front(Relay):
    """Something on another port, as it is."""

    def __init__(self, port: int, ssl_context: ssl.SSLContext | None = None) -> None:
        super().__init__(ssl_context)
        self._behind = port

    def _converse(self, client: socket.socket) -> socket.socket | None:
        server = socket.create_connection(("127.0.0.1", self._behind), PATIENCE)
        server.setblocking(False)
        for sock in (client, server):  # what comes passes on at once
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server


class TLSFront(Front):
    """TLS in front of something on another port, which speaks without. ``url`` is what an https proxy's is."""

    def __init__(self, ssl_context: ssl.SSLContext, port: int) -> None:
        super().__init__(port, ssl_context)


class Tap(Front):
    """Something on another port, and what is said to it and by it.

    ``heard`` has two streams for each connection that was accepted, in order: what the client has said so far, and the
    server. A byte is there before it is passed on.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.heard: list[tuple[bytearray, bytearray]] = []

    def _ways(self, client: socket.socket, server: socket.socket) -> list[_Way]:
        said, answered = bytearray(), bytearray()
        self.heard.append((said, answered))
        return [_HeardWay(client, server, said), _HeardWay(server, client, answered)]


class _Ended(Exception):
    """The proxy's block is over."""


class _Way:
    """One direction of a tunnel."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.held = b""  # read and not yet sent
        self.over = False

    def step(self) -> bool:
        """Read and send what can be without waiting; whether there was anything."""
        try:
            if not self.held:
                self.held = self._receive()
                if not self.held:
                    self._pass_end_on()
                    return True
            self.held = self.held[self.target.send(self.held) :]
            return True
        except _BLOCKED:
            return False

    def _receive(self) -> bytes:
        return self.source.recv(_SIZE)

    def _pass_end_on(self) -> None:
        self.over = True
        if isinstance(self.target, ssl.SSLSocket):  # shutdown() would end its reading as well
            with contextlib.suppress(OSError):
                self.target.unwrap()  # sends close_notify; the client's is not waited for
        else:
            self.target.shutdown(socket.SHUT_WR)


class _HeardWay(_Way):
    """One that notes what passes."""

    def __init__(self, source: socket.socket, target: socket.socket, heard: bytearray) -> None:
        super().__init__(source, target)
        self._heard = heard

    def _receive(self) -> bytes:
        data = super()._receive()
        self._heard += data
        return data
