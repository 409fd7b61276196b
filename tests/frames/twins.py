"""The accelerator and its twins, driven with the same bytes: what its tests share."""

from __future__ import annotations

import importlib
import os
import unittest
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from syncws._frames import frame as pure_frame
from syncws._frames.frame import FIN, MASKED
from syncws._frames.protocol import Protocol, PureProtocol
from syncws.errors import MessageType, ProtocolError
from tests.partners import need

CONTINUATION = 0
TEXT, BINARY, CLOSE, PING, PONG = MessageType

#: Payloads' lengths around every place where something changes: forms of a header, words, small and large buffers.
LENGTHS = (*range(10), 31, 32, 33, 63, 124, 125, 126, 127, 128, 497, 498, 499, 511, 512, 513)
LONG = (1 << 14, (1 << 14) + 1, 65535, 65536, 65537, 1 << 17, (1 << 18) - 1, 1 << 18, (1 << 18) + 5)

#: Texts that are, and bytes that are not, UTF-8; cut ones, too long ones, half of a pair, over the last character.
TEXTS = (b"", b"a", "aß€𝄞".encode(), "𝄞".encode() * 40)
NO_TEXTS = (b"\xff", b"\xc3", b"\xe2\x82", b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 600 + b"\x80")


def the_accelerator() -> Any:
    """The module in C, also where it is turned off."""
    try:
        return importlib.import_module("syncws._frames._fast")
    except ImportError:
        need(False, "the accelerator was not built: python setup.py build_ext --inplace")
        raise


def need_both() -> None:
    """Skip what drives two classes of `Protocol` where the switch has left one."""
    the_accelerator()
    if os.environ.get("SYNCWS_ACCELERATED") == "0":
        raise unittest.SkipTest("the accelerator is turned off")


def whole(first: int, payload: bytes, to_client: bool) -> bytes:
    """A frame as the twin writes it."""
    return b"".join(pure_frame.encode(first, payload, not to_client))


def random_frames(random: Random, to_client: bool, count: int) -> list[bytes]:
    """Frames that a good peer sends as a rule, most of them short messages; some that are forbidden."""
    frames = []
    for _ in range(count):
        length = random.choice((random.randrange(20), random.randrange(140), random.choice(LENGTHS)))
        payload = random.randbytes(length)
        match random.randrange(40):
            case 0:
                data = whole(FIN | random.choice((PING, PONG)), payload[:125], to_client)
            case 1:
                data = whole(random.choice((TEXT, BINARY)), payload, to_client)
            case 2:
                data = whole(FIN | CONTINUATION, payload, to_client)
            case 3:
                data = whole(FIN | TEXT, random.choice(TEXTS), to_client)
            case 4:
                length = random.choice((126, 200)) if random.random() < 0.9 else random.choice((1000, 65535, 65536))
                data = whole(FIN | BINARY, random.randbytes(length), to_client)
            case kind:
                text = kind % 2 == 0
                data = whole(FIN | (TEXT if text else BINARY), _as_text(payload) if text else payload, to_client)
        frames.append(data)
    return frames


def bad_frames(random: Random, to_client: bool) -> Iterator[bytes]:
    """Frames that break a rule, or that only Python decides of."""
    for payload in NO_TEXTS:
        yield whole(FIN | TEXT, payload, to_client)
    yield whole(FIN | BINARY, b"masked the wrong way", not to_client)
    yield whole(FIN | CLOSE, b"\x03\xe8", to_client)
    mask = b"" if to_client else b"\0\0\0\0"
    bit = 0 if to_client else MASKED
    yield bytes((FIN | BINARY, bit | 126, 0, 125)) + mask + bytes(125)  # not the shortest form
    yield bytes((FIN | BINARY, bit | 127)) + (65535).to_bytes(8) + mask + bytes(65535)
    yield bytes((FIN | BINARY, bit | 127)) + (1 << 63).to_bytes(8) + mask
    yield bytes((FIN | BINARY, bit | 127)) + ((1 << 63) - 1).to_bytes(8) + mask
    yield bytes((FIN | BINARY | 0x10, bit)) + mask
    yield random.randbytes(random.randrange(2, 20))


def mutated(random: Random, data: bytes, most: int = 4) -> bytes:
    """The data with up to that many bytes changed, or lost, or sent twice."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, most + 1)):
        at = random.randrange(len(changed))
        match random.randrange(6):
            case 0:
                del changed[at]
            case 1:
                changed.insert(at, changed[at])
            case 2:
                changed[at] ^= 1 << random.randrange(8)
            case _:
                changed[at] = random.randrange(256)
        if not changed:
            changed += b"\0"
    return bytes(changed)


def outcome(protocol: Any, chunks: Iterable[bytes], *, raw: bool = False) -> list[Any]:
    """What a connection would do with them: `only` while nothing is there, else `receive` and `next_event`. The events,
    how much is left of each chunk, and how it fails."""
    found: list[Any] = []
    try:
        for chunk in chunks:
            if chunk and protocol.idle and not raw:
                event = protocol.only(chunk)
                if event is not None:
                    found.append(event)
                    continue
            protocol.receive(chunk)
            next_event = protocol.next_event
            while (event := next_event(raw)) is not None:
                found.append(event)
            found.append((protocol.unread, protocol.idle))
    except ProtocolError as error:
        found.append((type(error), error.code, error.reason))
    return found


def both_outcomes(
    chunks: list[bytes], *, client: bool, limit: int | None, compression: bool = False, raw: bool = False
) -> tuple[list[Any], list[Any]]:
    """What either class makes of the same chunks."""
    options: dict[str, Any] = {"client": client, "read_limit": limit, "compression": compression, "fragment_limit": 50}
    return outcome(Protocol(**options), chunks, raw=raw), outcome(PureProtocol(**options), chunks, raw=raw)


def _as_text(data: bytes) -> bytes:
    return data.decode("latin-1").encode()[: len(data) // 2 * 2] if data.isascii() else data.hex().encode()[: len(data)]
