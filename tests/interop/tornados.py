"""Tornado, as a client and as an echo server, each on an event loop in a thread of its own.

It offers to keep the context of both sides, and keeps it: parameters without a value, such as
server_no_context_takeover, it does not see.
"""

from __future__ import annotations

from typing import Any

from tests.partners import need

from .clients import Client, Message
from .loops import Loop
from .servers import Certificate, Server
from .terms import AS_USUAL, Terms

try:
    import tornado
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.web import Application
    from tornado.websocket import WebSocketHandler, websocket_connect
except ImportError:
    tornado = None  # type: ignore[assignment]

#: The longest message, in bytes.
_LONGEST = 64 << 20


def need_tornado() -> None:
    need(tornado is not None, "tornado (PyPI) is not installed")


class TornadoClient(Client):
    """Messages only: its calls know no fragments."""

    fragments = False
    sees_flags = False

    @classmethod
    def start(cls) -> None:
        need_tornado()

    def __init__(self, url: str, *, compression: bool = False, terms: Terms = AS_USUAL, **options: Any) -> None:
        self._loop = Loop()
        self._loop.run_first(self._connect(url, {} if compression else None))
        self.compression = self._conn.protocol._compressor is not None

    async def _connect(self, url: str, compression: dict[str, Any] | None) -> None:
        self._conn: Any = await websocket_connect(url, compression_options=compression, max_message_size=_LONGEST)

    def send(self, message: Message) -> None:
        async def send() -> None:
            await self._conn.write_message(message, binary=isinstance(message, bytes))

        self._loop.run(send())

    def receive(self) -> Message:
        async def receive() -> Any:
            return await self._conn.read_message()

        return self._loop.run(receive())  # type: ignore[no-any-return]

    def drop(self) -> None:
        async def end() -> None:
            self._conn.close()
            while await self._conn.read_message() is not None:
                pass

        self._loop.run_last(end())


class TornadoServer(Server):
    """An echo on every path."""

    echoes = ("/",)
    sees_flags = False

    @classmethod
    def start(cls) -> None:
        need_tornado()

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        self._loop = Loop()
        self._loop.run_first(self._listen({} if compression else None))

    async def _listen(self, compression: dict[str, Any] | None) -> None:
        class Echo(WebSocketHandler):
            def get_compression_options(self) -> dict[str, Any] | None:
                return compression

            async def on_message(self, message: Message) -> None:
                await self.write_message(message, binary=isinstance(message, bytes))

        self._server = HTTPServer(Application([(".*", Echo)], websocket_max_message_size=_LONGEST))
        (listener,) = bind_sockets(0, "127.0.0.1")
        self._server.add_socket(listener)
        self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}"

    def close(self) -> None:
        async def end() -> None:
            self._server.stop()
            await self._server.close_all_connections()

        self._loop.run_last(end())
