"""What this side writes: messages whole and in fragments, compressed in each way there is, with a context or without.

The first byte of an input says how, the second has the window and zlib's memory, the rest is a sequence of messages: a
byte that says which, one for the length, and the payload.

    bit 0      this side is the client
    bit 1      permessage-deflate was agreed on
    bit 2      this side keeps its context

Oracle: `websockets` and `Protocol` read what was written, with a window that is as small as was agreed on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from random import Random
from typing import Any, ClassVar

from syncws import PreparedMessage
from syncws._frames.accelerator import encode
from syncws._frames.agreement import Agreement
from syncws._frames.compressor import Compressor
from syncws._frames.deflate import Deflater, compress
from syncws._frames.frame import MASKED
from syncws._frames.protocol import Protocol
from syncws._frames.window import Window

from .harness import Harness, must_be_equal
from .readers import Event, Theirs
from .wire import BINARY, CONTINUATION, FIN, PING, RSV1, TEXT, arrivals

_CLIENT, _COMPRESSION, _TAKEOVER = 1, 2, 4

WHOLE, FRAGMENTS, SHARED, PLAIN, ANEW, LEVEL, CONTROL = range(7)

_LEVELS = (1, 6, 9, 0, -1, -2)


class Writer:
    """One side of a connection, as far as its messages go."""

    def __init__(self, flags: int, sizes: int) -> None:
        self.client = bool(flags & _CLIENT)
        self.compression = bool(flags & _COMPRESSION)
        takeover = self.compression and bool(flags & _TAKEOVER)
        self.agreement = Agreement(9 + sizes % 7, takeover=takeover, memory=1 + sizes // 7 % 9)
        self.level = 1
        self.compressor: Compressor | None = self.agreement.compressor(self.level)
        self.sent: list[bytes] = []
        self.wanted: list[Event] = []

    def write(self, kind: int, payload: bytes) -> None:
        if kind == ANEW:
            if self.compressor is not None:
                self.compressor.begin_anew()
        elif kind == LEVEL:
            self.level = _LEVELS[len(payload) % len(_LEVELS)]
            if self.compressor is not None:
                self.compressor.level = self.level
        elif kind == CONTROL:
            self._send(FIN | PING, payload[:125])
            self.wanted.append((PING, payload[:125]))
        else:
            self._message(kind, payload)

    def _message(self, kind: int, payload: bytes) -> None:
        opcode = TEXT if payload.isascii() else BINARY
        self.wanted.append((opcode, payload.decode() if opcode == TEXT else payload))
        if kind == PLAIN or not self.compression:
            self._send(FIN | opcode, payload)
        elif kind == SHARED:
            first, made = PreparedMessage(opcode, self.wanted[-1][1]).encoded(
                (self.level, self.agreement.outbound_bits)
            )
            if self.compressor is not None:
                first, made = self.compressor.shared(first, made)
            self._send(first, made)
        elif kind == FRAGMENTS:
            self._fragments(opcode, payload)
        elif self.compressor is not None:
            self._send(*self.compressor.whole(FIN | opcode, payload))
        else:
            self._send(FIN | opcode | RSV1, compress(payload, self.level, self.agreement.outbound_bits))

    def _fragments(self, opcode: int, payload: bytes) -> None:
        bits = self.agreement.outbound_bits
        deflater = Deflater(self.level, bits) if self.compressor is None else self.compressor.stream()
        middle = len(payload) // 2
        self._send(opcode | RSV1, deflater.compress(payload[:middle]) + deflater.flush())
        self._send(FIN | CONTINUATION, deflater.compress(payload[middle:]) + deflater.finish())

    def _send(self, first: int, payload: bytes) -> None:
        self.sent.append(b"".join(encode(first, payload, self.client)))


class Writes(Harness):
    """What is written."""

    name = "writes"
    most_bytes = 4000
    words = tuple(bytes((kind, 8)) + b'{"a": 1}' for kind in range(7))
    seeds = (
        b"\x00\x00\x00\x05hello\x01\x02ab",
        b'\x06\x06\x00\x08{"a": 1}\x00\x08{"a": 2}\x02\x08{"a": 3}\x01\x08{"a": 4}\x04\x00\x00\x08{"a": 5}',
        b"\x07\x00\x01\x05aaaaa\x05\x02aa\x00\x05aaaaa\x06\x01p",
    )
    differences: ClassVar = {}

    def make(self, rng: Random) -> bytes:
        said = [bytes((rng.randrange(8), rng.randrange(63)))]
        feed = [b'{"symbol": "ABC", "price": %d}' % rng.randrange(1000) for _ in range(3)]
        for _ in range(rng.choice((1, 2, 3, 6, 12))):
            chance = rng.random()
            payload = rng.choice(feed) if chance < 0.5 else rng.randbytes(rng.choice((0, 1, 5, 125, 126, 255)))
            if chance > 0.85:
                payload = b"x" * rng.choice((0, 1, 125, 126, 255))
            kind = rng.choice((WHOLE, WHOLE, WHOLE, FRAGMENTS, SHARED, PLAIN, ANEW, LEVEL, CONTROL))
            said.append(bytes((kind, len(payload))) + payload)
        return b"".join(said)

    def check(self, data: bytes) -> Hashable:
        flags, sizes = (data[0], data[1]) if len(data) > 1 else (0, 0)
        writer = Writer(flags, sizes)
        kinds = []
        for kind, payload in _messages(data[2:]):
            # Now and then large, so that a window is full: 512 bytes of the smallest.
            writer.write(kind, payload * 40 if sizes & 1 and kind in (WHOLE, SHARED) else payload)
            kinds.append(kind)
        self._read_by_websockets(writer)
        self._read_by_protocol(writer)
        return flags & 7, sizes % 7, tuple(kinds[:4])

    def _read_by_websockets(self, writer: Writer) -> None:
        bits = writer.agreement.outbound_bits
        theirs = Theirs(
            client=not writer.client, compression=writer.compression, takeover=writer.agreement.takeover, bits=bits
        )
        found = theirs.read([frame for data in writer.sent for frame in arrivals(data)])
        must_be_equal("read otherwise by websockets", [event for _, event in found], writer.wanted)

    def _read_by_protocol(self, writer: Writer) -> None:
        bits = writer.agreement.outbound_bits
        window = Window(bits) if writer.agreement.takeover else None
        protocol = Protocol(client=not writer.client, read_limit=None, compression=writer.compression, window=window)
        found: list[tuple[int, Any]] = []
        for number, data in enumerate(writer.sent):
            must_be_equal("the mask of a frame", data[1] & MASKED, MASKED if writer.client else 0)
            protocol.receive(data)
            while (event := protocol.next_event()) is not None:
                found.append((int(event[0]), event[1]))
            if window is not None and protocol.idle and number % 3 == 0:
                window.let_go()
        must_be_equal("read otherwise by Protocol", found, writer.wanted)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(data) - at >= 2:
        end = at + 2 + data[at + 1]
        yield data[at] % 7, data[at + 2 : end]
        at = end
