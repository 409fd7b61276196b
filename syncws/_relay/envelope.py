r"""One message between processes, as bytes. docs/redis-protocol.md has it for other languages, with a test vector.

    offset  size
     0       1    version: 1
     1       1    kind
     2       1    flags: 1 the body is BINARY (else TEXT), 2 somebody is excluded,
                         4 the sender knows of no earlier number on this channel
     3       1    0
     4       8    boot: 64 random bits, new in each process and each fork
    12       8    number: of this boot's messages on this channel, each higher by one; 0: it has none.
                         Of LOST and BEAT: the last number that was used
    20       2    length of the target: the text of a room, or of an id
    22       4    length of extra: JSON
    26            target, extra, body to the end

All integers are big-endian. What is not written so is dropped and counted by who receives it, never raised.
"""

from __future__ import annotations

import enum
import json
import struct
from typing import Any, NamedTuple

from .._frames.prepared import PreparedMessage
from ..errors import BINARY, TEXT

VERSION = 1

_HEAD = struct.Struct(">BBBB8sQHI")

#: Bytes before the target.
HEAD = _HEAD.size

#: Bytes of JSON that are looked at: a list of some thousand ids.
MOST_EXTRA = 256 << 10

_BINARY, _EXCLUDES = 1, 2

#: A flag: the sender knows of no earlier number on this channel, so that nothing is missing before this one.
BEGINS = 4


class Kind(enum.IntEnum):
    """What a message is."""

    ROOM = 0  # a broadcast to the room that is the target
    ALL = 1  # a broadcast to everybody
    ID = 2  # a message to the id that is the target
    LOST = 3  # messages of this boot on this channel were not sent, up to this number
    BEAT = 4  # a process is alive
    LEAVE = 5  # a process says goodbye
    ASK = 6  # a question; the answer goes to the channel of the boot
    ANSWER = 7  # an answer
    CLAIM = 8  # an id that may be there once has a connection here
    DO = 9  # close, join, leave


class Foreign(ValueError):
    """An envelope of another version: a newer program on the same bus."""


class Envelope(NamedTuple):
    """One message between processes."""

    kind: Kind
    boot: bytes  # 8 bytes
    number: int = 0
    target: str = ""
    extra: dict[str, Any] | None = None
    body: bytes = b""
    binary: bool = False
    begins: bool = False

    def encode(self) -> bytes:
        """As bytes. Raises ValueError for a target or extra that is too long."""
        target = self.target.encode()
        extra = b"" if self.extra is None else json.dumps(self.extra, separators=(",", ":")).encode()
        if len(extra) > MOST_EXTRA:
            raise ValueError(f"exclude is too long: {len(extra):,} bytes as JSON, at most {MOST_EXTRA:,} are sent")
        flags = (
            (BEGINS if self.begins else 0)
            | (_BINARY if self.binary else 0)
            | (_EXCLUDES if extra and "exclude" in (self.extra or ()) else 0)
        )
        head = _HEAD.pack(VERSION, self.kind, flags, 0, self.boot, self.number, len(target), len(extra))
        return b"".join((head, target, extra, self.body))

    def check_size(self, most: int) -> None:
        """Raise ValueError for a message that is too large for a bus. most: its max_message."""
        if HEAD + len(self.target) + len(self.body) <= most and not self.extra:
            return
        size = len(self.encode())  # which raises for an extra that is too long by itself
        if size > most:
            raise ValueError(
                f"a message of {len(self.body):,} bytes is too large for the backplane: with its envelope it has "
                f"{size:,} bytes, and max_message is {most:,}"
            )


def decode(data: bytes) -> Envelope:
    """The message of these bytes. Raises Foreign for another version, ValueError for what is no envelope.

    The body of a TEXT message is UTF-8, or it is no envelope: members never get what a peer would close for.
    """
    if len(data) < HEAD:
        raise ValueError("shorter than its head")
    version, kind, flags, zero, boot, number, target_length, extra_length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise Foreign(f"version {version}")
    begin_extra = HEAD + target_length
    begin_body = begin_extra + extra_length
    if zero or flags & ~(_BINARY | _EXCLUDES | BEGINS) or extra_length > MOST_EXTRA or begin_body > len(data):
        raise ValueError("its lengths or flags are wrong")
    body = data[begin_body:]
    if not flags & _BINARY:
        body.decode()
    extra = _object(data[begin_extra:begin_body]) if extra_length else None
    target = data[HEAD:begin_extra].decode()
    return Envelope(Kind(kind), boot, number, target, extra, body, bool(flags & _BINARY), bool(flags & BEGINS))


def message_of(envelope: Envelope) -> PreparedMessage:
    """The message that an envelope brings to members."""
    if envelope.binary:
        return PreparedMessage(BINARY, envelope.body)
    return PreparedMessage(TEXT, envelope.body.decode())


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("extra is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("extra is no JSON object")
    return value
