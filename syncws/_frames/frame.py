"""What a frame looks like (RFC 6455 section 5.2): the bits of its header; and one written, of either role.

A large payload is not copied: header and payload are two buffers for one system call. (Whole messages, masked client
sends and compression levels cannot go through a wsproto connection without copies; what would be left of the encoder
is four lines, so wsproto is not used for writing at all. A test holds the two encoders against each other.)
"""

from __future__ import annotations

import os
import struct

from ..errors import MessageType
from .masking import mask

FIN = 0x80
RSV1 = 0x40  # "compressed", on the first frame of a message (RFC 7692 section 6)
MASKED = 0x80

# The opcodes as plain integers: looking up a member of MessageType, and comparing with it, takes several times as long.
CONTINUATION = 0x0
OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG = map(int, MessageType)

WHOLE_TEXT = FIN | OP_TEXT
WHOLE_BINARY = FIN | OP_BINARY

MAX_HEADER = 14  # of any frame: two bytes, eight of length, four of the mask
MAX_CONTROL_PAYLOAD = 125  # RFC 6455 section 5.5

#: From this size on a payload is worth a second buffer rather than a copy.
LARGE = 1 << 14

#: The three forms of a header, without a client's mask.
_HEAD = struct.Struct("!BB").pack
_HEAD_16 = struct.Struct("!BBH").pack
_HEAD_64 = struct.Struct("!BBQ").pack


def encode(first: int, payload: bytes, client: bool) -> tuple[bytes, bytes]:
    """One frame as two buffers to be sent together: first is FIN, RSV1 and opcode; a client's payload is masked.

    The second one is a large payload, uncopied, or empty.

    The mask key is fresh for each frame, from the system's random source (RFC 6455 section 5.3).
    """
    length = len(payload)
    second = MASKED if client else 0
    if length < 126:
        head = _HEAD(first, second | length)
    elif length < 1 << 16:
        head = _HEAD_16(first, second | 126, length)
    else:
        head = _HEAD_64(first, second | 127, length)
    if client:
        key = os.urandom(4)
        head += key
        payload = mask(payload, key)
    if length < LARGE:
        return head + payload, b""
    return head, payload


def fragment_for_engine(payload: bytearray, mask_bit: int) -> bytes:
    """A fragment in the middle of a message, as wsproto is to read it: with the mask bit, under a mask of nothing."""
    length = len(payload)
    if length < 126:
        head = _HEAD(CONTINUATION, mask_bit | length)
    elif length < 1 << 16:
        head = _HEAD_16(CONTINUATION, mask_bit | 126, length)
    else:
        head = _HEAD_64(CONTINUATION, mask_bit | 127, length)
    return b"".join((head, bytes(4) if mask_bit else b"", payload))


def is_minimal(length: int, size: int) -> bool:
    """Whether a length of 2 or 8 bytes could not have been shorter, and has no sign bit."""
    return length > 125 if size == 2 else 0xFFFF < length < 1 << 63
