"""Clients of others, all with the same few methods. A connection is open once it is made, or `Refused` is raised."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from contextlib import AsyncExitStack, ExitStack
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.partners import need
from tests.tasks import PATIENCE

from .gos import GoProgram
from .nodes import NodeProgram, Program, start_browser
from .terms import AS_USUAL, EACH, NO_CONTEXT, Terms

try:
    import websockets
    from websockets.asyncio.client import connect as connect_asyncio
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.sync.client import connect as connect_sync
except ImportError:
    websockets = None

try:
    import websocket as websocket_client
except ImportError:
    websocket_client = None

Message = str | bytes
End = tuple[int, str]  # close code and reason


class Refused(Exception):
    """The server refused; status is None for a client that is not told."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


class Client:
    """A connection of one kind of client, and what that kind can do."""

    compresses: ClassVar[bool] = True
    echoes_code: ClassVar[bool] = True  # it answers a close with the code it got, not with 1000
    sees_status: ClassVar[bool] = True  # it says with which status it was refused
    fragments: ClassVar[bool] = True  # it can send a message in fragments
    sees_flags: ClassVar[bool] = True  # it forgets its context if that was agreed on
    limits_its_window: ClassVar[bool] = True  # it offers that its window may be limited
    #: What its compression can be told to insist on; or all that it does, if that is something else than usual.
    terms: ClassVar[tuple[Terms, ...]] = (AS_USUAL,)
    #: What it can close with; None: a close without a code.
    codes: ClassVar[tuple[int | None, ...]] = (1000, 1001, 1008, 1011, 3000, 4999)

    #: What was agreed on.
    subprotocol: str | None
    compression: bool

    @classmethod
    def start(cls) -> None:
        """Once before all tests. Skips them if a part is missing."""

    @classmethod
    def stop(cls) -> None:
        """Once after all tests."""

    def __init__(
        self,
        url: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        certificate: str | None = None,
    ) -> None:
        """Connect.

        Args:
            terms: what its compression insists on, of its own `terms`.
            certificate: the authority (PEM) whose certificates to trust.
        """
        raise NotImplementedError

    def send(self, message: Message) -> None:
        raise NotImplementedError

    def send_fragments(self, pieces: list[Message]) -> None:
        raise NotImplementedError

    def receive(self) -> Message:
        raise NotImplementedError

    def echo(self, count: int) -> None:
        """Send so many messages back as they come."""
        for _ in range(count):
            self.send(self.receive())

    def echoes(self, content: str, size: int) -> bool:
        """Send a message of that many bytes ("text", "zeros" or "random"), and say whether the same comes back."""
        message = {"text": "ü" * (size // 2), "zeros": bytes(size), "random": random.Random(1).randbytes(size)}[content]
        self.send(message)
        return self.receive() == message

    def ping(self, data: str) -> None:
        """Send a ping, and wait for its pong."""
        raise NotImplementedError

    def close(self, code: int | None, reason: str = "") -> End:
        """Perform the closing handshake from this side; returns what the client says of the end."""
        raise NotImplementedError

    def wait_closed(self) -> End:
        """Wait until the server has closed; returns what the client says of the end."""
        raise NotImplementedError

    def drop(self) -> None:
        """Give up whatever is left of the connection."""


def _trusting(certificate: str | None) -> ssl.SSLContext | None:
    return None if certificate is None else ssl.create_default_context(cadata=certificate)


class WebsocketsSync(Client):
    """`websockets`, its threads."""

    terms = EACH

    @classmethod
    def start(cls) -> None:
        need(websockets is not None, "websockets (PyPI) is not installed")

    def __init__(
        self,
        url: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        certificate: str | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "subprotocols": subprotocols or None,
            "origin": origin,
            "compression": "deflate" if compression else None,
            "ssl": _trusting(certificate),
            "proxy": None,
            "max_size": None,
        }
        if terms is not AS_USUAL:
            wanted = {"client_max_window_bits": True, **terms.given()}
            options |= {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**wanted)]}
        try:
            self._connect(url, options)
        except websockets.InvalidStatus as exc:
            raise Refused(exc.response.status_code) from None
        self.subprotocol = self._conn.subprotocol
        self.compression = bool(self._conn.protocol.extensions)

    def _connect(self, url: str, options: dict[str, Any]) -> None:
        if options["ssl"] is not None:
            # Under TLS 1.3 its reading thread is inside the SSLSocket, for the session tickets, when its other thread
            # sends the request; on Python 3.11 that request is lost now and then.
            options["ssl"].maximum_version = ssl.TLSVersion.TLSv1_2
        self._stack = ExitStack()
        self._conn = self._stack.enter_context(connect_sync(url, **options))

    def _run(self, result: Any) -> Any:
        return result

    def send(self, message: Message) -> None:
        self._run(self._conn.send(message))

    def send_fragments(self, pieces: list[Message]) -> None:
        self._run(self._conn.send(iter(pieces)))

    def receive(self) -> Message:
        return self._run(self._conn.recv())  # type: ignore[no-any-return]

    def ping(self, data: str) -> None:
        if not self._conn.ping(data).wait(PATIENCE):
            raise TimeoutError("no pong")

    def close(self, code: int | None, reason: str = "") -> End:
        self._run(self._conn.close(code, reason))
        return self._end()

    def wait_closed(self) -> End:
        try:
            while True:
                self.receive()
        except websockets.ConnectionClosed:
            return self._end()

    def _end(self) -> End:
        return self._conn.close_code, self._conn.close_reason

    def drop(self) -> None:
        self._stack.close()


class WebsocketsAsyncio(WebsocketsSync):
    """`websockets`, on asyncio. Its event loop runs while a method does, which is when it answers pings."""

    terms = (AS_USUAL,)  # the rest is that of its threads

    def _connect(self, url: str, options: dict[str, Any]) -> None:
        async def connect() -> Any:
            return await self._stack.enter_async_context(connect_asyncio(url, **options))

        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner()
        try:
            self._conn = self._runner.run(connect())
        except BaseException:
            self._runner.close()
            raise

    def _run(self, result: Any) -> Any:
        async def in_time() -> Any:
            return await asyncio.wait_for(result, PATIENCE)

        return self._runner.run(in_time())

    def ping(self, data: str) -> None:
        async def ping() -> None:
            await (await self._conn.ping(data))

        self._run(ping())

    def drop(self) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._runner.close()


class WebsocketClient(Client):
    """`websocket-client`, which knows no compression."""

    compresses = False
    echoes_code = False

    @classmethod
    def start(cls) -> None:
        need(websocket_client is not None, "websocket-client (PyPI) is not installed")

    def __init__(
        self,
        url: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        certificate: str | None = None,
    ) -> None:
        try:
            self._conn = websocket_client.create_connection(
                url,
                timeout=PATIENCE,
                subprotocols=list(subprotocols),
                origin=origin,
                sslopt={"context": _trusting(certificate)} if certificate else {},
            )
        except websocket_client.WebSocketBadStatusException as exc:
            raise Refused(exc.status_code) from None
        self.subprotocol = self._conn.subprotocol
        self.compression = False

    def send(self, message: Message) -> None:
        if isinstance(message, str):
            self._conn.send(message)
        else:
            self._conn.send_binary(message)

    def send_fragments(self, pieces: list[Message]) -> None:
        first = websocket_client.ABNF.OPCODE_TEXT if isinstance(pieces[0], str) else websocket_client.ABNF.OPCODE_BINARY
        for index, piece in enumerate(pieces):
            opcode = websocket_client.ABNF.OPCODE_CONT if index else first
            data = piece.encode() if isinstance(piece, str) else piece
            self._conn.send_frame(websocket_client.ABNF.create_frame(data, opcode, int(index == len(pieces) - 1)))

    def receive(self) -> Message:
        opcode, data = self._conn.recv_data()
        return data.decode() if opcode == websocket_client.ABNF.OPCODE_TEXT else data

    def ping(self, data: str) -> None:
        self._conn.ping(data)
        opcode, frame = self._conn.recv_data_frame(control_frame=True)
        if (opcode, frame.data) != (websocket_client.ABNF.OPCODE_PONG, data.encode()):
            raise AssertionError(f"instead of the pong came {frame}")

    def close(self, code: int | None, reason: str = "") -> End:
        self._conn.close(code, reason.encode())
        return _parsed(self._conn.close_frame.data)

    def wait_closed(self) -> End:
        while True:
            opcode, frame = self._conn.recv_data_frame()
            if opcode == websocket_client.ABNF.OPCODE_CLOSE:
                self._conn.shutdown()  # it has answered by now, and leaves TCP open
                return _parsed(frame.data)

    def drop(self) -> None:
        self._conn.shutdown()


def _parsed(payload: bytes) -> End:
    """Code and reason of a close frame; 1005 for an empty one, as RFC 6455 section 7.1.5 has it."""
    return (int.from_bytes(payload[:2]), payload[2:].decode()) if payload else (1005, "")


class NodeWs(Client):
    """Node's `ws`."""

    terms = EACH
    codes = (*Client.codes, None)
    _program: ClassVar[Program]

    @classmethod
    def start(cls) -> None:
        cls._program = NodeProgram("ws_client.js")

    @classmethod
    def stop(cls) -> None:
        cls._program.close()

    def __init__(
        self,
        url: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        certificate: str | None = None,
    ) -> None:
        wanted = compression and (terms.in_camel_case() or True)
        options = {"subprotocols": subprotocols, "origin": origin, "compression": wanted, "ca": certificate}
        self._opened(self._call("open", url, {name: value for name, value in options.items() if value is not None}))

    def _opened(self, found: dict[str, Any]) -> None:
        if "subprotocol" not in found:
            raise Refused(found.get("status"))
        self.subprotocol = found["subprotocol"] or None
        self.compression = "permessage-deflate" in found["extensions"]

    def _call(self, method: str, *args: Any) -> Any:
        return self._program.call(method, *args)

    def send(self, message: Message) -> None:
        self._call("send", _to_json(message))

    def send_fragments(self, pieces: list[Message]) -> None:
        self._call("sendFragments", [_to_json(piece) for piece in pieces])

    def receive(self) -> Message:
        message = self._call("receive")
        return message if isinstance(message, str) else message["binary"].encode("latin-1")

    def echoes(self, content: str, size: int) -> bool:
        return self._call("echoes", content, size)  # type: ignore[no-any-return]  # large ones do not travel as JSON

    def ping(self, data: str) -> None:
        if (pong := self._call("ping", data)) != data:
            raise AssertionError(f"the pong says {pong!r}")

    def close(self, code: int | None, reason: str = "") -> End:
        end = self._call("close", code, reason)
        return end["code"], end["reason"]

    def wait_closed(self) -> End:
        end = self._call("closed")
        return end["code"], end["reason"]


def _to_json(message: Message) -> Any:
    return message if isinstance(message, str) else {"binary": message.decode("latin-1")}


class Gorilla(NodeWs):
    """Go's gorilla/websocket. It sends fragments of the size of its write buffer, 4096 bytes unless told otherwise."""

    limits_its_window = False
    terms = (NO_CONTEXT,)  # always

    @classmethod
    def start(cls) -> None:
        cls._program = GoProgram("client")

    def __init__(self, url: str, *, write_buffer_size: int | None = None, **options: Any) -> None:
        self._write_buffer_size = write_buffer_size
        super().__init__(url, **{**options, "terms": AS_USUAL})

    def _call(self, method: str, *args: Any) -> Any:
        if method == "open":
            url, options = args
            args = (url, {**options, "writeBufferSize": self._write_buffer_size})
        return super()._call(method, *args)

    def send_fragments(self, pieces: list[Message]) -> None:
        self.frames = self._call("sendFragments", [_to_json(piece) for piece in pieces])  # how many it took


class Browser(NodeWs):
    """The WebSocket of a page in Chromium."""

    sees_status = False
    fragments = False
    terms = (AS_USUAL,)
    codes = (1000, 3000, 4999, None)

    @classmethod
    def start(cls) -> None:
        cls._program = start_browser()

    def __init__(
        self,
        url: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origin: str | None = None,
        compression: bool = False,
        terms: Terms = AS_USUAL,
        certificate: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        scheme = "https" if parts.scheme == "wss" else "http"
        self._program.call("page", "goto", f"{origin or f'{scheme}://{parts.netloc}'}/")
        self._evaluate(
            f"globalThis.peer = new Peer(new WebSocket({json.dumps(url)}, {json.dumps(subprotocols)})); null"
        )
        self._opened(self._evaluate("peer.open()"))

    def _call(self, method: str, *args: Any) -> Any:
        if method == "closed":
            return self._evaluate("peer.closed")
        return self._evaluate(f"peer.{method}(...{json.dumps(args)})")

    def _evaluate(self, script: str) -> Any:
        return self._program.call("ask", "evaluate", script)
