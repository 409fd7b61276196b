"""A message that is encoded once and sent to many (gorilla's PreparedMessage)."""

from __future__ import annotations

import json
import threading
from typing import Any

from ..errors import BINARY, TEXT, MessageType
from .accelerator import encode
from .deflate import compress
from .frame import FIN, RSV1
from .payloads import message_as, message_payload, no_message, parse_close_payload

#: How a frame is compressed: (level, window bits); None for not at all.
Compression = tuple[int, int] | None


class PreparedMessage:
    """One message of any type, ready to be sent on any number of connections with `Conn.write_prepared`.

    It is compressed at most once for each level and window size in use, whatever the number of connections. The data
    is copied: the caller may change its buffer afterwards.

    Args:
        message_type: TEXT, BINARY, or the type of a control frame.
        data: str for TEXT, bytes for the others.

    Raises TypeError or ValueError for data that no connection could send: TEXT that is not str, a control payload over
    125 bytes, a close code that may not be sent.

    Concurrency: immutable to its users; for any thread. `_lock` guards the cache and is a leaf.
    """

    __slots__ = ("_frames", "_lock", "_payloads", "message_type", "payload")

    def __init__(self, message_type: MessageType | int, data: str | bytes | bytearray | memoryview) -> None:
        self.message_type = MessageType(message_type)
        self.payload = message_payload(self.message_type, data)
        if self.message_type is MessageType.CLOSE:
            parse_close_payload(self.payload)
        self._lock = threading.Lock()
        self._payloads: dict[Compression, tuple[int, bytes]] = {}  # guarded by _lock
        self._frames: dict[Compression, bytes] = {}  # guarded by _lock

    def __repr__(self) -> str:
        return f"<syncws.PreparedMessage {self.message_type.name} {len(self.payload)} bytes>"

    @property
    def is_control(self) -> bool:
        """Whether this is a ping, pong or close: those are never compressed."""
        return self.message_type >= MessageType.CLOSE

    def encoded(self, compression: Compression) -> tuple[int, bytes]:
        """(first byte, payload) of the frame under a compression, for a client: each of its frames has a new mask."""
        with self._lock:
            return self._encoded(compression)

    def frame(self, compression: Compression) -> bytes:
        """The whole frame as a server sends it under a compression."""
        with self._lock:
            frame = self._frames.get(compression)
            if frame is None:
                frame = b"".join(encode(*self._encoded(compression), False))
                self._frames[compression] = frame
        return frame

    def _encoded(self, compression: Compression) -> tuple[int, bytes]:
        assert self._lock.locked()
        encoded = self._payloads.get(compression)
        if encoded is None:
            encoded = encode_payload(self.message_type, self.payload, compression)
            self._payloads[compression] = encoded
        return encoded


def prepare(
    message: str | bytes | bytearray | memoryview | PreparedMessage,
    json_method: str = "send_json",
    text: bool | None = None,
) -> PreparedMessage:
    """A message to be queued: str as TEXT, bytes as BINARY, or either as text says.

    Raises TypeError for what is no message (the text names the caller's method for JSON), ValueError for a control
    frame, and both as `message_as`.
    """
    if text is not None:
        if isinstance(message, PreparedMessage):
            raise TypeError("a PreparedMessage is TEXT or BINARY already: leave text out")
        message_type, payload = message_as(text, message, json_method)
        return PreparedMessage(message_type, payload.decode() if message_type is TEXT else payload)
    if isinstance(message, str):
        return PreparedMessage(TEXT, message)
    if isinstance(message, bytes | bytearray | memoryview):
        return PreparedMessage(BINARY, message)
    if not isinstance(message, PreparedMessage):
        raise no_message(message, json_method)
    if message.is_control:
        raise ValueError("a control frame is not queued: Conn.write_control sends it")
    return message


def json_text(value: Any) -> str:
    """A value as JSON (no newline, no HTML escapes). Raises TypeError or ValueError for one that JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("the value is nested too deep for JSON") from None


def encode_payload(message_type: int, payload: bytes, compression: Compression) -> tuple[int, bytes]:
    """(first byte, payload) of a whole message; one that compression would make longer goes plain."""
    first = FIN | message_type
    if compression is None or message_type >= MessageType.CLOSE:
        return first, payload
    compressed = compress(payload, *compression)
    return (first | RSV1, compressed) if len(compressed) < len(payload) else (first, payload)
