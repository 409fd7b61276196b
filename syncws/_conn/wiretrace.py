"""The wire trace: every frame and head of a connection, one line each, at DEBUG on the logger ``syncws.wire``.

    9f2c0e... < GET /chat HTTP/1.1; Host: example.com; Authorization: (hidden)
    9f2c0e... > HTTP/1.1 101 Switching Protocols; Upgrade: websocket; ...
    9f2c0e... < TEXT 5 bytes: hello
    9f2c0e... > CLOSE 5 bytes: 1000 bye

``<`` is what came, ``>`` what was sent; the id is `Conn.id`. Of a payload the first bytes are shown, without its mask,
and as it is on the wire where it is compressed. Whether there is a trace is decided when the connection is made: its
transport becomes one of a class that tells what passes, so that a connection without a trace pays nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from .._base.logs import logger
from .._base.printable import printable
from .._frames.accelerator import encode
from .._frames.frame import FIN, MASKED, RSV1
from .._http.handshake import say_subprotocol
from .._http.headers import shown
from .._net.transport import MOST_KEPT, Buffer, Transport
from ..errors import MessageType

_log = logger("syncws.wire")

#: Bytes of a payload that are shown.
MOST = 64

#: Characters of a head that are shown.
MOST_OF_A_HEAD = 2000

_NAMES = {0: "CONTINUATION", **{kind.value: kind.name for kind in MessageType}}


def is_on() -> bool:
    """Whether anybody wants the trace."""
    return _log.isEnabledFor(logging.DEBUG)


def tell_head(
    who: str, arrow: str, first_line: str, headers: Iterable[tuple[str, str]], field: str = "connection_id"
) -> None:
    """Log a head. Values that may be secrets are left out; the first line must have no query. `who` is the id of the
    connection, or else what `field` says."""
    fields = (f"{name}: {_say_value(name, value)}" for name, value in headers)
    _log.debug("%s %s %s", who, arrow, printable("; ".join((first_line, *fields)), MOST_OF_A_HEAD), extra={field: who})


def _say_value(name: str, value: str) -> str:
    if name.lower() == "sec-websocket-protocol":
        return ", ".join(map(say_subprotocol, value.split(",")))
    return shown(name, value)


def tell_answer(who: str, arrow: str, head: bytes) -> None:
    """Log the head of an answer, as it stands on the wire."""
    first_line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    tell_head(who, arrow, first_line, [(name, value.strip()) for name, _, value in pairs])


def trace(transport: Transport, who: str, early_data: bytes) -> None:
    """Tell of what passes a transport from now on, and of the frames in what came with the handshake.

    Before anybody else has the transport.
    """
    kind = type(transport)
    transport.__class__ = type(f"Traced{kind.__name__}", (_Traced, kind), {})
    assert isinstance(transport, _Traced)
    transport.came = _Frames(who, "<")
    transport.went = _Frames(who, ">")
    transport.came.take(early_data)


class _Traced(Transport):
    """What a traced transport does beyond its own class.

    Concurrency: as Transport: what came is told by the thread that receives, what went by the one that may send.
    """

    came: _Frames
    went: _Frames

    def receive(self, size: int, wait: float | None) -> bytes | None:
        data = super().receive(size, wait)
        self.came.take(data)
        return data

    def receive_now(self, size: int) -> bytes | None:
        data = super().receive_now(size)
        self.came.take(data)
        return data

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        count = super().receive_into(view, wait)
        self.came.take(view[: count or 0])
        return count

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        super().send(head, body, deadline, stall)
        self.went.take(head)
        self.went.take(body)

    # What passes is to be seen, so the two short ways become the long ones.

    def receive_by(self, call: Any, size: int, wait: float | None, mask_bit: int, limit: int | None) -> bytes | None:
        return self.receive(size, wait)

    def send_by(
        self, call: Any, first: int, payload: bytes, client: bool, deadline: float | None, stall: float | None
    ) -> None:
        self.send(*encode(first, payload, client), deadline, stall)

    def try_send(self, frame: bytes) -> bool:
        before = self.went.taken
        taken = super().try_send(frame)
        if taken and self.went.taken == before:  # under TLS it has gone through `take`, which has told
            self.went.take(frame)
        return taken

    def take(self, frame: bytes) -> None:
        super().take(frame)
        self.went.take(frame)

    def keep(self, frame: bytes, most: int = MOST_KEPT) -> bool:
        kept = super().keep(frame, most)
        if kept:
            self.went.take(frame)
        return kept


class _Frames:
    """The frames of one direction, of bytes that come in any pieces. It judges nothing: a peer may send what it likes.

    For one thread at a time.
    """

    def __init__(self, who: str, arrow: str) -> None:
        self._who = who
        self._arrow = arrow
        self._head = bytearray()  # of the frame that comes
        self._shown = bytearray()  # of its payload
        self._left = 0  # bytes of its payload that have yet to come
        self._told = False
        self.taken = 0  # bytes so far

    def take(self, data: Buffer | None) -> None:
        """Take what has passed, and tell of each frame of which enough is there."""
        rest = memoryview(data or b"").cast("B")
        self.taken += len(rest)
        while rest:
            rest = self._payload(rest) if self._left else self._header(rest)

    def _header(self, rest: memoryview) -> memoryview:
        missing = _header_size(self._head) - len(self._head)
        self._head += rest[:missing]
        if len(self._head) == _header_size(self._head):
            self._left = _length(self._head)
            self._shown.clear()
            if not self._left:
                self._tell(0)
        return rest[missing:]

    def _payload(self, rest: memoryview) -> memoryview:
        piece = rest[: self._left]
        length = _length(self._head)
        if len(self._shown) < min(length, MOST):
            self._shown += piece[: MOST - len(self._shown)]
            if len(self._shown) == min(length, MOST):
                self._tell(length)
        self._left -= len(piece)
        if not self._left:
            self._head.clear()
        return rest[len(piece) :]

    def _tell(self, length: int) -> None:
        first = self._head[0]
        kind = _NAMES.get(first & 0x0F, f"opcode {first & 0x0F}")
        notes = [
            *(() if first & FIN else ("not final",)),
            *(("compressed",) if first & RSV1 else ()),
            *(("reserved bits",) if first & 0x30 else ()),
        ]
        said = f"{kind} ({', '.join(notes)})" if notes else kind
        dots = "..." if length > MOST else ""
        shown = _say_payload(first, self._unmasked())
        _log.debug(
            "%s %s %s %d bytes: %s%s",
            self._who,
            self._arrow,
            said,
            length,
            shown,
            dots,
            extra={"connection_id": self._who},
        )
        if not length:
            self._head.clear()

    def _unmasked(self) -> bytes:
        if not self._head[1] & MASKED:
            return bytes(self._shown)
        key = self._head[-4:]
        return bytes(byte ^ key[index % 4] for index, byte in enumerate(self._shown))


def _header_size(head: bytearray) -> int:
    """How long a header is, as far as its first two bytes tell."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & MASKED else 0)


def _length(head: bytearray) -> int:
    """The payload's length, of a complete header."""
    length = head[1] & 0x7F
    if length < 126:
        return length
    return int.from_bytes(head[2:4] if length == 126 else head[2:10], "big")


def _say_payload(first: int, payload: bytes) -> str:
    """The beginning of a payload: a text as such, and anything else as Python writes bytes."""
    kind: Any = first & 0x0F
    if first & RSV1:
        return repr(payload)
    if kind == MessageType.TEXT:
        return printable(payload.decode("utf-8", "replace"))
    if kind == MessageType.CLOSE and len(payload) >= 2:
        reason = payload[2:].decode("utf-8", "replace")
        return f"{int.from_bytes(payload[:2], 'big')} {printable(reason)}".rstrip()
    return repr(payload)
