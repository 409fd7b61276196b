"""The accelerator, which is written in C, beside its twins in Python: frames read, written, masked and received.

The first byte of an input says who reads the stream, the rest is the stream:

    bit 0      this side is the client
    bit 1      with a read limit

`make fuzz-accelerator` runs it under AddressSanitizer and UBSan.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Hashable, Sequence
from random import Random
from typing import Any, ClassVar
from zlib import crc32

from syncws._frames import accelerator, masking
from syncws._frames.frame import MASKED
from syncws._frames.frame import encode as pure_encode
from syncws._frames.protocol import Protocol, PureProtocol
from syncws.errors import ProtocolError

from .harness import Finding, Harness, must_be_equal, pieces
from .wire import BINARY, FIN, PING, TEXT, WORDS, Talk, written

_CLIENT, _LIMITED = 1, 2
_LIMIT = 1000

#: Frames to draw from, of each role.
_POOL = 1500

_KEY = b"\x37\xfa\x21\x3d"

#: Payload lengths around every place where something changes: forms of a header, words, small and large buffers.
_LENGTHS = (*range(10), 31, 32, 33, 63, 124, 125, 126, 127, 128, 497, 498, 499, 511, 512, 513, 65535, 65536, 65537)


def read(protocol: Any, chunks: Sequence[bytes]) -> list[Any]:
    """The events of a stream, how it fails, and what is left after each chunk."""
    found: list[Any] = []
    add, next_event = found.append, protocol.next_event
    try:
        for chunk in chunks:
            if protocol.idle and (event := protocol.only(chunk)) is not None:
                add(event)
                continue
            protocol.receive(chunk)
            while (event := next_event()) is not None:
                add(event)
            add((protocol.unread, protocol.idle))
    except ProtocolError as error:
        add((type(error), error.code, error.reason))
    return found


class Accelerator(Harness):
    """The accelerator and its twins."""

    name = "accelerator"
    most_bytes = 80_000
    seeds = (
        b"\x00" + written(FIN | TEXT, b"hello", _KEY) + written(FIN | BINARY, bytes(200), _KEY),
        b"\x01" + written(FIN | TEXT, "\u20ac".encode(), None) + written(FIN | PING, b"", None),
        b"\x02" + written(FIN | BINARY, bytes(_LIMIT + 1), _KEY),
        *(b"\x01" + written(FIN | BINARY, bytes(length), None) for length in (125, 126, 65535, 65536)),
    )
    words = WORDS
    differences: ClassVar = {}

    def __init__(self, without: Collection[str] = ()) -> None:
        super().__init__(without)
        self._pools = {client: _good_frames(client) for client in (False, True)}

    def make(self, rng: Random) -> bytes:
        flags = rng.randrange(4)
        client = bool(flags & _CLIENT)
        frames = rng.choices(self._pools[client], k=rng.choice((1, 2, 10, 100, 400)))
        if rng.random() < 0.3:
            talk = Talk(rng, masked=not client, compression=False, takeover=False)
            frames.insert(rng.randrange(len(frames) + 1), talk.odd())
        return bytes((flags,)) + b"".join(frames)

    def check(self, data: bytes) -> Hashable:
        flags, stream = data[0] if data else 0, data[1:]
        client = bool(flags & _CLIENT)
        options: dict[str, Any] = {
            "client": client,
            "read_limit": _LIMIT if flags & _LIMITED else None,
            "compression": False,
        }
        chunks = pieces(stream) if crc32(stream) & 1 else [stream]
        fast, pure = read(Protocol(**options), chunks), read(PureProtocol(**options), chunks)
        must_be_equal("read otherwise than by the twin", fast, pure)
        if accelerator.encode is not pure_encode:
            self._compare_functions(stream)
            if accelerator.receive is not None and accelerator.send is not None:
                self._compare_receiving(stream, accelerator.receive, accelerator.send)
        reason = str(pure[-1][-1])[:40] if pure and isinstance(pure[-1][0], type) else ""
        return flags & 3, min(len(pure), 20), reason

    def _compare_functions(self, payload: bytes) -> None:
        """What is written, masked and unmasked."""
        rng = Random(crc32(payload))
        key, first, offset = rng.randbytes(4), rng.randrange(256), rng.randrange(9)
        must_be_equal("a frame", accelerator.encode(first, payload, False), pure_encode(first, payload, False))
        head, body = accelerator.encode(first, payload, True)
        frame = head + body
        start = len(frame) - len(payload)
        for unmask in (masking.unmask, accelerator.unmask):
            must_be_equal("unmasked", unmask(frame, start, len(frame)), payload)
        masked = masking.mask(payload, key, offset)
        must_be_equal("masked", accelerator.mask(memoryview(payload), key, offset), masked)
        buffer = bytearray(payload)
        accelerator.mask_into(buffer, 0, len(buffer), key, offset)
        must_be_equal("masked in place", buffer, masked)

    def _compare_receiving(self, data: bytes, receive: Any, send: Any) -> None:
        """What is received from a socket and sent to one, as a server does it."""
        rng = Random(crc32(data))
        data, size = data[:60_000], rng.choice((448, 1792, 65550))
        if not data:
            return
        here, there = socket.socketpair()
        with here, there:
            there.sendall(data)
            came = receive(here.fileno(), size, MASKED, None)
            pure = PureProtocol(client=False, read_limit=None, compression=False)
            expected = pure.only(data) if len(data) < size else None
            must_be_equal("received", came, data[:size] if expected is None else expected)
            sent = send(here.fileno(), socket.MSG_DONTWAIT, FIN | BINARY, data, bool(data[0] & 1))
            if not isinstance(sent, int) and sent[0] >= len(sent[1]) + len(sent[2]):
                raise Finding("sent more than there is", sent)


def _good_frames(client: bool) -> list[bytes]:
    """What a good peer of this side says, always the same: none of it ends a stream."""
    rng = Random(f"accelerator {client}")
    key = None if client else _KEY
    talk = Talk(rng, masked=not client, compression=False, takeover=False)
    found = [written(FIN | kind, b"a" * length, key) for length in _LENGTHS for kind in (TEXT, BINARY)]
    while len(found) < _POOL:
        data = talk.item()
        protocol = PureProtocol(client=client, read_limit=None, compression=False)
        events = read(protocol, [data + data])
        if events and not isinstance(events[-1][0], type) and protocol.idle:
            found.append(data)
    return found
