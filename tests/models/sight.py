"""What stands on a wire: frames, told by a parser of its own (RFC 6455 section 5.2, RFC 7692)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: What a sender takes off the end of a compressed message (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True)
class Seen:
    """A frame: where it ends in the stream, its raw bytes, and what it brings.

    ``payload`` is that of a control frame; of the last frame of a message the whole message, inflated; else None.
    """

    end: int
    raw: bytes
    opcode: int
    payload: bytes | None


class Sight:
    """Reads one direction of a wire, and fails at the first frame that no good sender sends."""

    def __init__(self, *, masked: bool, compression: bool, takeover: bool = False) -> None:
        self._masked = masked
        self._compression = compression
        self._takeover = takeover
        self._inflater = zlib.decompressobj(-15)
        self._rest = b""
        self._end = 0
        self._opcode = 0  # of the message that is open
        self._is_deflated = False
        self.open = b""  # what has come of the message that is open

    def feed(self, data: bytes) -> list[Seen]:
        """The frames that are whole now."""
        self._rest += data
        found = []
        while (seen := self._next()) is not None:
            found.append(seen)
        return found

    @property
    def is_between(self) -> bool:
        """Whether no frame has come in part."""
        return not self._rest

    def _next(self) -> Seen | None:
        rest = self._rest
        if len(rest) < 2:
            return None
        size, at = rest[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(rest[2:at])
        masked = bool(rest[1] & 0x80)
        assert masked is self._masked, "a frame with the mask of the other role"
        key = rest[at : at + 4] if masked else b""
        at += len(key)
        if len(rest) < at + size:
            return None
        payload = rest[at : at + size]
        if key:
            payload = _unmasked(payload, key)
        raw, self._rest = rest[: at + size], rest[at + size :]
        self._end += len(raw)
        return Seen(self._end, raw, *self._read(raw[0], payload))

    def _read(self, first: int, payload: bytes) -> tuple[int, bytes | None]:
        opcode, final, deflated = first & 0x0F, bool(first & 0x80), bool(first & 0x40)
        assert not first & 0x30, "reserved bits"
        if opcode >= CLOSE:
            assert final and not deflated and len(payload) <= 125, "a control frame that may not be"
            return opcode, payload
        if opcode == CONTINUATION:
            assert self._opcode and not deflated, "a continuation of nothing"
        else:
            assert not self._opcode, "a message inside another"
            assert self._compression or not deflated, "compressed, which was not agreed on"
            self._opcode, self._is_deflated, self.open = opcode, deflated, b""
        self.open += self._inflated(payload, final) if self._is_deflated else payload
        if not final:
            return CONTINUATION, None
        opcode, message = self._opcode, self.open
        self._opcode, self.open = 0, b""
        return opcode, message

    def _inflated(self, payload: bytes, final: bool) -> bytes:
        data = self._inflater.decompress(payload + (_TAIL if final else b""))
        if final and (self._inflater.eof or not self._takeover):
            self._inflater = zlib.decompressobj(-15)
        return data


def _unmasked(payload: bytes, key: bytes) -> bytes:
    """By one large number, which is fast enough, and nobody else's way."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(keys)).to_bytes(size)


def frame(first: int, payload: bytes = b"", *, masked: bool, length: int | None = None) -> bytes:
    """The bytes of a frame, valid or not; length is what its head says, if that is not so."""
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8)
    if not masked:
        return head + payload
    key = b"\x37\xfa\x21\x3d"
    return head + key + _unmasked(payload, key)
