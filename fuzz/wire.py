"""Frames as bytes, by RFC 6455 alone: written, well or badly, and found in a stream by their lengths."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from random import Random

FIN, RSV1, MASKED = 0x80, 0x40, 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: Beginnings of frames, and what has a meaning inside them, for whoever puts words into a stream.
WORDS = (
    *(bytes((first, 0x80)) + bytes(4) for first in (0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xC2)),
    *(bytes((first, 0)) for first in (0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xC2)),
    *(b"\x00\x00\xff\xff", b"\x03\x00", b"\xfe\x00\x7e", b"\xff" + bytes(7), b"\x03\xe8", b"\xe2\x82"),
)

_KEYS = (b"\x37\xfa\x21\x3d", b"\0\0\0\0", b"\xff\0\xff\0")


def unmask(data: bytes, key: bytes) -> bytes:
    """RFC 6455 section 5.3, as one large number."""
    keys = key * (len(data) // 4 + 1)
    return (int.from_bytes(data) ^ int.from_bytes(keys[: len(data)])).to_bytes(len(data))


def written(
    first: int, payload: bytes, key: bytes | None, *, length: int | None = None, form: int | None = None
) -> bytes:
    """One frame.

    key: of the mask; None: it has none. length and form (0, 2 or 8 bytes of length) say what is not so.
    """
    length = len(payload) if length is None else length
    if form is None:
        form = 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = {0: length & 0x7F, 2: 126, 8: 127}[form]
    head = bytes((first, (0 if key is None else MASKED) | short))
    head += (length % (1 << (8 * form))).to_bytes(form) if form else b""
    return head + payload if key is None else head + key + unmask(payload, key)


@dataclass(frozen=True)
class Arrival:
    """A frame as it stands in a stream, by its own account; maybe not all there."""

    first: int
    masked: bool
    length: int  # -1: that is not there yet
    form: int
    payload: bytes  # unmasked, as far as it is there
    data: bytes  # the frame as it came
    has_head: bool = True  # its header is all there, the mask included

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def final(self) -> bool:
        return bool(self.first & FIN)

    @property
    def complete(self) -> bool:
        return self.has_head and self.length == len(self.payload)

    @property
    def shortest(self) -> bool:
        """Whether the length has its shortest form, without a sign bit, as far as it is there."""
        return self.length < 0 or {0: True, 2: self.length > 125, 8: 0xFFFF < self.length < 1 << 63}[self.form]


def arrivals(stream: bytes) -> list[Arrival]:
    """The frames of a stream, the last one maybe in part; what is less than two bytes is none."""
    found = []
    start = 0
    while len(stream) - start >= 2:
        first, second = stream[start], stream[start + 1]
        form = {126: 2, 127: 8}.get(second & 0x7F, 0)
        key_at = start + 2 + form
        at = key_at + (4 if second & MASKED else 0)
        length = int.from_bytes(stream[start + 2 : key_at]) if form else second & 0x7F
        if len(stream) < key_at:
            length = -1
        has_head = len(stream) >= at
        end = min(at + max(0, length), len(stream)) if length >= 0 else len(stream)
        key = stream[key_at:at] if second & MASKED and has_head else bytes(4)
        payload = unmask(stream[at:end], key)
        found.append(Arrival(first, bool(second & MASKED), length, form, payload, stream[start:end], has_head))
        start = end
    return found


class Talk:
    """What one side says: mostly what a good peer does, and now and then something that nobody may say.

    Args:
        masked: whether its frames are, as a client's.
        compression: whether messages may be compressed.
        takeover: whether the compressor keeps its context from one message to the next, as a rule.
        bits: the largest window that it uses, as a power of two.
    """

    def __init__(self, rng: Random, *, masked: bool, compression: bool, takeover: bool, bits: int = 15) -> None:
        self._rng = rng
        self._masked = masked
        self._compression = compression
        self._takeover = takeover
        self._bits = bits
        self._compressor = self._new_compressor()

    def stream(self) -> bytes:
        """Some messages, one after the other."""
        rng = self._rng
        parts = [self.item() for _ in range(rng.choice((1, 1, 2, 2, 3, 5, 8)))]
        if rng.random() < 0.15:
            parts.append(self._close())
        return b"".join(parts)

    def frame(self, first: int, payload: bytes, *, length: int | None = None, form: int | None = None) -> bytes:
        """A frame of this side, with a mask that is mostly the same: an input is to shrink."""
        return written(first, payload, self._key() if self._masked else None, length=length, form=form)

    def _key(self) -> bytes:
        return self._rng.choice(_KEYS) if self._rng.random() < 0.9 else self._rng.randbytes(4)

    def item(self) -> bytes:
        rng = self._rng
        chance = rng.random()
        if chance < 0.12:
            return self._control()
        if chance < 0.20:
            return self.odd()
        text = rng.random() < 0.6
        payload = self._text() if text else self._bytes()
        compressed = self._compression and rng.random() < 0.6
        if compressed:
            payload = self._deflated(payload)
        first = (TEXT if text else BINARY) | (RSV1 if compressed else 0)
        return self._message(first, payload)

    def _message(self, first: int, payload: bytes) -> bytes:
        rng = self._rng
        if rng.random() < 0.5:
            return self.frame(FIN | first, payload)
        edges = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.choice((1, 1, 2, 3, 6))))
        parts = [payload[start:end] for start, end in pairwise([0, *edges, len(payload)])]
        said = []
        for number, part in enumerate(parts):
            opcode = first if number == 0 else CONTINUATION
            said.append(self.frame(opcode | (FIN if number == len(parts) - 1 else 0), part))
            if rng.random() < 0.15:
                said.append(self._control())
        return b"".join(said)

    def _control(self) -> bytes:
        rng = self._rng
        return self.frame(FIN | rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 0, 1, 4, 125))))

    def _close(self) -> bytes:
        rng = self._rng
        code = rng.choice((1000, 1001, 1003, 1005, 1006, 1011, 1012, 1014, 1015, 2999, 3000, 4999, 5000, 0, 999))
        reason = rng.choice((b"", b"bye", "\u00df\u20ac".encode(), b"\xff", b"x" * 123, b"\xe2\x82"))
        return self.frame(FIN | CLOSE, rng.choice((b"", b"\x03", code.to_bytes(2) + reason, code.to_bytes(2))))

    def odd(self) -> bytes:
        """Something that may not be, or only in some places."""
        rng = self._rng
        payload = self._bytes()[:200]
        match rng.randrange(9):
            case 0:
                return self.frame(rng.randrange(256), payload)
            case 1:
                return self.frame(FIN | rng.choice((TEXT, BINARY, PING)), payload, form=rng.choice((2, 8)))
            case 2:
                return written(FIN | TEXT, b"masked?", None if self._masked else b"\x01\x02\x03\x04")
            case 3:
                return self.frame(FIN | CONTINUATION, payload)
            case 4:
                length = rng.choice((1 << 62, (1 << 63) + 5, 1 << 20, 65536))
                return self.frame(FIN | rng.choice((TEXT, BINARY)), payload, length=length, form=8)
            case 5:
                return self.frame(rng.choice((PING, PONG, CLOSE)), payload)
            case 6:
                return self._close()
            case 7:
                return self.frame(FIN | PING, rng.randbytes(126))
            case _:
                return self.frame(rng.choice((TEXT, BINARY)) | RSV1, payload)

    def _text(self) -> bytes:
        rng = self._rng
        text = "".join(rng.choices("ab \u00df\u20ac\U0001d11e", k=rng.choice((0, 1, 3, 8, 30, rng.randrange(300)))))
        data = text.encode()
        if rng.random() < 0.08:
            place = rng.randrange(len(data) + 1)
            wrong = rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\x80"))
            data = data[:place] + wrong + data[place:]
        return data

    def _bytes(self) -> bytes:
        rng = self._rng
        size = rng.choice((0, 1, 2, 5, 20, 124, 125, 126, 127, rng.randrange(600)))
        if rng.random() < 0.02:
            size = rng.choice((65535, 65536, 70000))
        return rng.randbytes(size) if rng.random() < 0.5 and size < 1000 else b"ab" * (size // 2) + b"c" * (size % 2)

    def _deflated(self, data: bytes) -> bytes:
        """The payload of a compressed message, by zlib alone, in one of the ways in which writers do it."""
        rng = self._rng
        chance = rng.random()
        if chance < 0.06:
            data = b"\0" * rng.choice((1000, 70_000))
        if chance > 0.96:
            return rng.choice((b"", b"\x00", b"\x07\x00", b"\x03\x00", b"\x03\x00\x00", rng.randbytes(9), b"\x00" * 50))
        if not self._takeover or rng.random() < 0.15:
            self._compressor = self._new_compressor()
        compressor = self._compressor
        packed = b""
        while rng.random() < 0.1:
            place = rng.randrange(len(data) + 1)
            packed += compressor.compress(data[:place]) + compressor.flush(rng.choice((2, 2, 3)))  # sync and full
            data = data[place:]
        packed += compressor.compress(data)
        if rng.random() < 0.06:  # a block with BFINAL set; what may follow is a stream of its own
            packed += compressor.flush(zlib.Z_FINISH)
            self._compressor = self._new_compressor()
            if rng.random() < 0.4:
                packed += b"\x00"
            elif rng.random() < 0.5:
                packed += (self._compressor.compress(b"more") + self._compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
                self._compressor = self._new_compressor()
            return packed
        packed += compressor.flush(zlib.Z_SYNC_FLUSH)
        if rng.random() < 0.04:
            return packed  # with the tail that is to be taken off
        packed = packed[:-4]
        return packed[: rng.randrange(len(packed) + 1)] if rng.random() < 0.03 else packed

    def _new_compressor(self) -> zlib._Compress:
        rng = self._rng
        level, bits, memory = rng.choice((0, 1, 6, 9)), min(rng.choice((9, 12, 15, 15)), self._bits), rng.choice((1, 8))
        return zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
