"""What the load generators speak: handshakes, frames that are made once, and one message to and fro."""

from __future__ import annotations

import functools
import random
import select
import socket
import ssl
import zlib
from collections.abc import Callable
from typing import Any

from .job import Job, LoadError

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

#: The accept that answers this key (RFC 6455 section 1.3 has the same example).
_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#: No context is kept between messages, so that equal messages are equal bytes; both windows are the largest.
_OFFER = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    b"server_max_window_bits=15; client_max_window_bits=15\r\n"
)

#: zlib's level for messages sent compressed; servers are set to the same, if they can be.
LEVEL = 1

#: A socket that does not block has nothing to give, or takes nothing, for now.
BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

TEXT, BINARY, CLOSE = 1, 2, 8

#: Bytes received at a time: as many as a processor's cache holds, and more than a TLS record has, of which a rest would
#: stay in OpenSSL, where no poll sees it.
BUFFER = 1 << 18


# Handshakes


def request(*, deflate: bool = False) -> bytes:
    """The head of a client's handshake."""
    return _REQUEST + (_OFFER if deflate else b"") + b"\r\n"


def check_head(head: bytes, *, deflate: bool = False) -> None:
    """Raise LoadError unless a server's answer to `request` agrees to what was asked for, and to no more."""
    status, *lines = head.split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not status.startswith(b"HTTP/1.1 101 "):
        raise LoadError(f"the server did not upgrade: {status.decode(errors='replace')}")
    if fields.get(b"sec-websocket-accept") != _ACCEPT:
        raise LoadError("the server's Sec-WebSocket-Accept is wrong")
    agreed = fields.get(b"sec-websocket-extensions", b"")
    if not deflate:
        if agreed:
            raise LoadError(f"the server agreed to what nobody offered: {agreed.decode()}")
        return
    parameters = {part.strip() for part in agreed.split(b";")}
    if not {b"permessage-deflate", b"server_no_context_takeover", b"client_no_context_takeover"} <= parameters:
        raise LoadError(f"the server did not agree to the same compression: {agreed.decode() or 'none'}")
    if any(b"window_bits" in part and not part.endswith(b"=15") for part in parameters):
        raise LoadError(f"the server wants a smaller window: {agreed.decode()}")


def connect(job: Job) -> socket.socket:
    """A socket past the opening handshake, which does not block from there on. Raises LoadError."""
    sock = open_socket(job.port)
    try:
        if job.authority:
            sock = trust(job.authority).wrap_socket(sock, server_hostname="localhost")
        sock.settimeout(job.patience)
        sock.sendall(request(deflate=job.deflate))
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(4096)
            if not data:
                raise LoadError("the server closed the connection during the handshake")
            head += data
        if not head.endswith(b"\r\n\r\n"):
            raise LoadError("the server said something before it was spoken to")
        check_head(head, deflate=job.deflate)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def open_socket(port: int) -> socket.socket:
    """A connection over TCP that sends without delay (TCP_NODELAY)."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@functools.cache
def trust(authority: str) -> ssl.SSLContext:
    """A client's context that trusts the certificate in a file."""
    return ssl.create_default_context(cafile=authority)


# Frames


def frame(payload: bytes, opcode: int, *, masked: bool, compressed: bool = False) -> bytes:
    """One frame that is a whole message, as a client (masked) or a server sends it."""
    first = 0x80 | (0x40 if compressed else 0) | opcode
    second = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = bytes([first, second | length])
    elif length < 1 << 16:
        head = bytes([first, second | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, second | 127]) + length.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = bytes([0x12, 0x34, 0x56, 0x78])
    pad = (key * (length // 4 + 1))[:length]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")


def frame_end(data: bytes | bytearray, at: int = 0) -> int | None:
    """Where the server's frame ends that begins at `at`; None: not all of it is there."""
    if len(data) < at + 2 or len(data) < (start := _payload_start(data, at)):
        return None
    length = int.from_bytes(data[at + 2 : start], "big") if start > at + 2 else data[at + 1] & 0x7F
    return start + length if len(data) >= start + length else None


def frame_payload(data: bytes | bytearray, at: int = 0) -> bytes:
    """What the server's frame holds that begins at `at` and is whole; inflated. Raises LoadError."""
    payload = bytes(data[_payload_start(data, at) : frame_end(data, at)])
    return inflated(payload) if data[at] & 0x40 else payload


def _payload_start(data: bytes | bytearray, at: int) -> int:
    """Where the payload starts: after the length, which has 0, 2 or 8 bytes of its own (RFC 6455 section 5.2)."""
    return at + 2 + {126: 2, 127: 8}.get(data[at + 1] & 0x7F, 0)


def describe_frame(data: bytes | bytearray) -> str:
    """The frame that begins with these bytes, described in words."""
    if data[0] == 0x80 | CLOSE and len(data) >= 4:
        return f"a close frame with {int.from_bytes(data[2:4], 'big')} {bytes(data[4:60]).decode(errors='replace')!r}"
    shown = bytes(data[:16])
    return f"{len(data):,} bytes that begin with {shown!r}"


def deflated(payload: bytes) -> bytes:
    """The payload as permessage-deflate sends it (RFC 7692 section 7.2.1), with the largest window."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload: bytes) -> bytes:
    """The opposite. Raises LoadError."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + b"\x00\x00\xff\xff")
    except zlib.error as error:
        raise LoadError(f"an answer does not inflate: {error}") from None


def make_payload(size: int, *, text: bool) -> bytes:
    """The same bytes each time: for text ASCII that looks like a feed of prices in JSON, else random ones."""
    chance = random.Random(size)
    if not text:
        return chance.randbytes(size)
    lines = bytearray()
    while len(lines) < size:
        price, volume = chance.randrange(10_000, 99_999) / 100, chance.randrange(1, 5000)
        symbol = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4))
        lines += b'{"symbol": "%s", "price": %.2f, "volume": %d}, ' % (symbol.encode(), price, volume)
    return bytes(lines[:size])


# To and fro


def exchange(sock: socket.socket, data: bytes, whole: Callable[[bytearray], bool], patience: float = 10.0) -> bytearray:
    """Send something and receive until the answer is whole. Raises LoadError.

    Both at the same time: a server that answers a large message before it has all of it would wait for this side, and
    this side for the server.
    """
    rest, received = memoryview(data), bytearray()
    poll = select.poll()
    while not whole(received):
        poll.register(sock, select.POLLIN | (select.POLLOUT if rest else 0))
        if not poll.poll(patience * 1000):
            raise LoadError(f"no answer for {patience:g} s{f', only {describe_frame(received)}' if received else ''}")
        if rest:
            try:
                rest = rest[sock.send(rest) :]
            except BLOCKED:
                pass
        try:
            more = sock.recv(BUFFER)
        except BLOCKED:
            continue
        if not more:
            raise LoadError(
                f"the server closed the connection{f' after {describe_frame(received)}' if received else ''}"
            )
        received += more
    return received


class _Poll:
    """`select.poll` with the interface of `select.epoll`, for systems that have no epoll."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register, self.modify = self._poll.register, self._poll.modify

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        return self._poll.poll(seconds * 1000)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def make_poller() -> Any:
    """An epoll object, or a substitute where the system has none."""
    return select.epoll() if hasattr(select, "epoll") else _Poll()
