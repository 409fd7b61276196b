"""Servers of others, all with the same few methods: `server_cases` lets our client talk to them.

Every server has these paths:

* /echo: what is sent comes back;
* /stream: what is sent comes back in fragments;
* /close?code=C&reason=R: the server closes at once; code 1005 stands for a close without one;
* /ping?data=D: the server pings, and when the pong has come sends the text "pong D";
* /large?size=N: the server sends one binary message of N zero bytes;
* /vanish: the server ends TCP without a close;
* /refuse?status=S: it refuses the handshake with that status, and the body "refused: S\\n".
"""

from __future__ import annotations

import http
import queue
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from tests.partners import need

from ..tasks import PATIENCE, Task
from .clients import End, Message
from .gos import GoProgram
from .loops import Loop
from .nodes import NodeProgram, Program
from .terms import AS_USUAL, EACH, NO_CONTEXT, Terms

try:
    import websockets
    from websockets.asyncio.server import serve as serve_asyncio
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
    from websockets.sync.server import serve as serve_sync
except ImportError:
    websockets = None

#: Certificate and key: paths of PEM files.
Certificate = tuple[str, str]


class Server:
    """A server of one kind that listens on a port of the loopback address, and what that kind can do."""

    compresses: ClassVar[bool] = True
    closes_without_code: ClassVar[bool] = True  # it can send a close frame that has no code

    sees_flags: ClassVar[bool] = True  # it forgets its context if that was agreed on, and says so
    says_client_flag: ClassVar[bool] = True  # it repeats client_no_context_takeover
    limits_windows: ClassVar[bool] = True  # it repeats client_max_window_bits, or has a limit of its own
    #: As those of a client.
    terms: ClassVar[tuple[Terms, ...]] = (AS_USUAL,)
    #: Those of the paths that send back what comes.
    echoes: ClassVar[tuple[str, ...]] = ("/echo", "/stream")

    #: ws://127.0.0.1:PORT, or wss.
    url: str

    @classmethod
    def start(cls) -> None:
        """Once before all tests. Skips them if a part is missing."""

    @classmethod
    def stop(cls) -> None:
        """Once after all tests."""

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        """Listen. terms: what its compression insists on, of `terms`; subprotocols: those that the server speaks."""
        raise NotImplementedError

    def ended(self) -> End:
        """How the next connection that ends has ended for the server: the code and reason that it got, 1006 if none."""
        raise NotImplementedError

    def close(self) -> None:
        """Listen no longer. The tests end their connections before."""
        raise NotImplementedError


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def _parsed(target: str) -> tuple[str, dict[str, str]]:
    """Path and query."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query))


def _cut(piece: Message) -> Iterator[Message]:
    """Cut a piece into smaller ones; an empty one stays as it is."""
    for start in range(0, len(piece) or 1, 1000):
        yield piece[start : start + 1000]


class WebsocketsSync(Server):
    """`websockets`, its threads."""

    terms = EACH
    closes_without_code = False

    @classmethod
    def start(cls) -> None:
        need(websockets is not None, "websockets (PyPI) is not installed")

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        self._ends: queue.Queue[End] = queue.Queue()
        options: dict[str, Any] = {
            "ssl": _context(certificate),
            "compression": "deflate" if compression else None,
            "subprotocols": subprotocols or None,
            "process_request": self._refuse,
            "max_size": None,
        }
        if terms is not AS_USUAL:
            options |= {"compression": None, "extensions": [ServerPerMessageDeflateFactory(**terms.given())]}
        port = self._listen(options)
        self.url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}"

    def _refuse(self, conn: Any, request: Any) -> Any:
        path, query = _parsed(request.path)
        if path != "/refuse":
            return None
        return conn.respond(http.HTTPStatus(int(query["status"])), f"refused: {query['status']}\n")

    def _listen(self, options: dict[str, Any]) -> int:
        if options["ssl"] is not None:
            # As for the client of the same name: under TLS 1.3 its two threads get in each other's way.
            options["ssl"].maximum_version = ssl.TLSVersion.TLSv1_2
        self._server = serve_sync(self._handle, "127.0.0.1", 0, **options)
        self._task = Task(self._server.serve_forever)
        return self._server.socket.getsockname()[1]  # type: ignore[no-any-return]

    def _handle(self, conn: Any) -> None:
        path, query = _parsed(conn.request.path)
        try:
            self._talk(conn, path, query)
            for _ in conn:
                pass
        except websockets.ConnectionClosed:
            pass
        conn.wait_closed()
        self._ends.put((conn.close_code, conn.close_reason))

    def _talk(self, conn: Any, path: str, query: dict[str, str]) -> None:
        if path == "/echo":
            for message in conn:
                conn.send(message)
        elif path == "/stream":
            while True:
                conn.send(part for piece in conn.recv_streaming() for part in _cut(piece))
        elif path == "/close":
            conn.close(int(query["code"]), query.get("reason", ""))
        elif path == "/ping":
            conn.ping(query["data"]).wait(PATIENCE)
            conn.send(f"pong {query['data']}")
        elif path == "/large":
            conn.send(bytes(int(query["size"])))
        elif path == "/vanish":
            conn.socket.close()

    def ended(self) -> End:
        return self._ends.get(timeout=PATIENCE)

    def close(self) -> None:
        self._server.shutdown()
        self._task.result()


class WebsocketsAsyncio(WebsocketsSync):
    """`websockets`, on asyncio, in a thread of its own."""

    terms = (AS_USUAL,)  # the rest is that of its threads

    def _listen(self, options: dict[str, Any]) -> int:
        async def listen() -> Any:
            return await serve_asyncio(self._handle, "127.0.0.1", 0, **options)

        self._loop = Loop()
        self._server = self._loop.run_first(listen())
        return self._server.sockets[0].getsockname()[1]  # type: ignore[no-any-return]

    async def _handle(self, conn: Any) -> None:  # type: ignore[override]
        path, query = _parsed(conn.request.path)
        try:
            await self._talk(conn, path, query)
            async for _ in conn:
                pass
        except websockets.ConnectionClosed:
            pass
        await conn.wait_closed()
        self._ends.put((conn.close_code, conn.close_reason))

    async def _talk(self, conn: Any, path: str, query: dict[str, str]) -> None:  # type: ignore[override]
        if path == "/echo":
            async for message in conn:
                await conn.send(message)
        elif path == "/stream":
            while True:
                await conn.send(self._pieces(conn))
        elif path == "/close":
            await conn.close(int(query["code"]), query.get("reason", ""))
        elif path == "/ping":
            await (await conn.ping(query["data"]))
            await conn.send(f"pong {query['data']}")
        elif path == "/large":
            await conn.send(bytes(int(query["size"])))
        elif path == "/vanish":
            conn.transport.abort()

    async def _pieces(self, conn: Any) -> AsyncIterator[Message]:
        async for piece in conn.recv_streaming():
            for part in _cut(piece):
                yield part

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            await self._server.wait_closed()

        self._loop.run_last(end())


class NodeWs(Server):
    """Node's `ws`."""

    terms = EACH
    _program: ClassVar[Program]

    @classmethod
    def start(cls) -> None:
        cls._program = NodeProgram("ws_server.js")

    @classmethod
    def stop(cls) -> None:
        cls._program.close()

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        cert, key = certificate or (None, None)
        wanted = compression and (terms.in_camel_case() or True)
        options = {"cert": cert, "key": key, "compression": wanted, "subprotocols": subprotocols}
        self._port = self._program.call("listen", options)
        self.url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{self._port}"

    def ended(self) -> End:
        code, reason = self._program.call("ended", self._port)
        return code, reason

    def close(self) -> None:
        self._program.call("close", self._port)


class Gorilla(NodeWs):
    """Go's gorilla/websocket."""

    terms = (NO_CONTEXT,)  # always

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "terms": AS_USUAL})

    @classmethod
    def start(cls) -> None:
        cls._program = GoProgram("server")
