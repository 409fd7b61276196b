r"""What processes write to each other over a local bus, as bytes. All integers are big-endian.

    offset  size
     0       4    length of what follows
     4       2    length of the channel's name; 0: a word of the bus itself
     6            the channel's name (UTF-8), and the data to the end

A connection goes one way. Its first frame is the greeting, a word of the bus: `syncws 1 <name>`, with the name of the
process that writes, or none if it listens nowhere (a Publisher). A process that ends says `goodbye` last: who does not
was killed, or cut off, and may have had more to say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: Bytes beyond max_message that a frame may have: the channel's name.
BESIDE = 64 << 10

_HEAD = struct.Struct(">IH")

#: Bytes of the length, which it does not count.
_LENGTH = 4

_GREETING = b"syncws 1 "

#: The word of a process that ends.
GOODBYE = b"goodbye"


def frame(channel: str, data: bytes) -> bytes:
    """A message on a channel. Raises ValueError for a channel without a name, or with one that is too long."""
    name = channel.encode()
    if not 0 < len(name) <= 0xFFFF:
        raise ValueError(f"a channel has a name of 1 to 65,535 bytes, not {len(name):,}")
    return b"".join((_HEAD.pack(2 + len(name) + len(data), len(name)), name, data))


def check_size(data: bytes, max_message: int) -> None:
    """Raise ValueError for a message that is too long to be sent."""
    if len(data) > max_message:
        raise ValueError(f"a message between processes has at most {max_message:,} bytes, not {len(data):,}")


def greeting(name: str) -> bytes:
    """The first frame of a connection, from the process of that name; "" if it listens nowhere."""
    return _word(_GREETING + name.encode())


def goodbye() -> bytes:
    """The last frame of a connection."""
    return _word(GOODBYE)


def _word(text: bytes) -> bytes:
    return _HEAD.pack(2 + len(text), 0) + text


def name_in(word: bytes) -> str:
    """The name in a greeting. Raises ValueError for what is none, and for that of another version."""
    if not word.startswith(_GREETING):
        raise ValueError("not the greeting of this version")
    return word[len(_GREETING) :].decode("ascii")


class Frames:
    """Frames out of what comes over one connection, in whatever pieces. For one thread."""

    def __init__(self, max_message: int) -> None:
        self._most = max_message + BESIDE
        self._rest = bytearray()  # the beginning of a frame
        self._missing = 0  # bytes without which that is no whole frame; a lower bound

    def add(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The frames that are whole with these bytes: channel and data; with channel "" a word of the bus.

        To be iterated over to its end before more is added. Raises ValueError for what is no frame, or one that is too
        long, after those before it: nothing that follows can be read.
        """
        if self._rest:
            self._rest += data
            if len(data) < self._missing:  # a long frame is looked at once it is there, not with each piece of it
                self._missing -= len(data)
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, len(data)
        self._missing = 0
        while end - at >= _HEAD.size:
            length, name_length = _HEAD.unpack_from(data, at)
            name_at = at + _HEAD.size
            data_at = name_at + name_length
            next_at = at + _LENGTH + length
            if length > self._most:
                raise ValueError(f"a frame of {length:,} bytes, and at most {self._most:,} are taken")
            if data_at > next_at:
                raise ValueError("a frame that is shorter than its channel's name")
            if next_at > end:
                self._missing = next_at - end
                break
            yield data[name_at:data_at].decode(), data[data_at:next_at]
            at = next_at
        self._rest += data[at:]
