"""aiohttp, as a client and as an echo server, each on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.partners import need

from .clients import Client, Message
from .loops import Loop
from .servers import Certificate, Server
from .terms import AS_USUAL, Terms

try:
    import aiohttp
    from aiohttp import web
except ImportError:
    aiohttp = None  # type: ignore[assignment]


def need_aiohttp() -> None:
    need(aiohttp is not None, "aiohttp (PyPI) is not installed")


class AiohttpClient(Client):
    """Messages only: its calls know no fragments."""

    fragments = False
    terms = (AS_USUAL, Terms(server_max_window_bits=10))

    @classmethod
    def start(cls) -> None:
        need_aiohttp()

    def __init__(self, url: str, *, compression: bool = False, terms: Terms = AS_USUAL, **options: Any) -> None:
        self._loop = Loop()
        # The window that it is told to offer is the server's.
        self._loop.run_first(self._connect(url, (terms.server_max_window_bits or 15) if compression else 0))

    async def _connect(self, url: str, bits: int) -> None:
        self._session = aiohttp.ClientSession()
        try:
            self._conn = await self._session.ws_connect(url, compress=bits, max_msg_size=0)
        except BaseException:
            await self._session.close()
            raise
        self.compression = bool(self._conn.compress)

    def send(self, message: Message) -> None:
        self._loop.run(self._conn.send_str(message) if isinstance(message, str) else self._conn.send_bytes(message))

    def receive(self) -> Message:
        return self._loop.run(self._conn.receive()).data  # type: ignore[no-any-return]

    def drop(self) -> None:
        async def end() -> None:
            await self._conn.close()
            await self._session.close()

        self._loop.run_last(end())


class AiohttpServer(Server):
    """An echo on every path."""

    echoes = ("/",)
    says_client_flag = False
    limits_windows = False

    @classmethod
    def start(cls) -> None:
        need_aiohttp()

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        self._compression = compression
        self._loop = Loop()
        self._loop.run_first(self._listen())
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _listen(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self._echo)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def _echo(self, request: Any) -> Any:
        conn = web.WebSocketResponse(compress=self._compression, max_msg_size=0)
        await conn.prepare(request)
        async for message in conn:
            send = conn.send_str if message.type == aiohttp.WSMsgType.TEXT else conn.send_bytes
            await send(message.data)
        return conn

    def close(self) -> None:
        self._loop.run_last(asyncio.wait_for(self._runner.cleanup(), 10))
