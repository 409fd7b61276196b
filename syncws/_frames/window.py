"""The window of a peer that keeps its context: the latest bytes it has sent, which its next message may refer back to.

RFC 7692 section 7.2.3.2. A window stands in one of three states:

| state | what is held | then |
|---|---|---|
| live | zlib's inflater, which has the window in it: its size and 7 KiB | at rest, by `let_go` |
| at rest | the window's bytes, compressed: a few KiB of a feed of JSON | live, with the next message |
| on trial | the same bytes, up to 32 KiB; each message is inflated by itself | live, by `keep`; or dropped: see below |

**On trial** is a client that was told to forget its context, and did not say that it will: Tornado's does not listen. A
message that refers back tells that it does not, and is inflated again with what came before it. After 32 messages of
which none did, the client is believed, and nothing is held any more. A message of less than six bytes does not count:
there is nothing in it that could refer back.
"""

from __future__ import annotations

import zlib

#: zlib's largest window, as a power of two; and in bytes.
LARGEST = 15
_MOST = 1 << LARGEST

#: Bytes of an inflater beside its window.
_TABLES = 7_200

#: How many messages of a client on trial must refer to nothing, and from how many bytes on one counts.
_TRIAL = 32
_TELLING = 6


class Window:
    """What a peer's messages may refer back to.

    Concurrency: none; as its Protocol.
    """

    __slots__ = ("_bits", "_is_packed", "_past", "_stream", "_trial")

    def __init__(self, bits: int, *, on_trial: bool = False) -> None:
        self._bits = bits
        self._stream: zlib._Decompress | None = None  # while it is live
        self._past = b""  # what came before, unless it is in the stream
        self._is_packed = False  # whether that is compressed: at rest
        self._trial = _TRIAL if on_trial else 0  # messages until the peer is believed

    @property
    def on_trial(self) -> bool:
        """Whether each message is inflated by itself, until one refers back."""
        return self._trial > 0

    @property
    def is_live(self) -> bool:
        """Whether `let_go` would free memory. A hint, for any thread."""
        return self._stream is not None or (len(self._past) > 0 and not self._is_packed)

    @property
    def held(self) -> int:
        """Bytes of memory that it takes, about."""
        return len(self._past) + ((1 << self._bits) + _TABLES if self._stream is not None else 0)

    def stream(self) -> zlib._Decompress:
        """What inflates the message at hand, or what follows a block with BFINAL set, which ends a stream.

        Its writer began anew there, so nothing that follows refers to what was before.
        """
        stream = self._stream
        if stream is None and self._past:
            stream = zlib.decompressobj(-self._bits, zdict=self._take_past())
        elif stream is None or stream.eof:
            stream = zlib.decompressobj(-self._bits)
        self._stream = stream
        return stream

    def note(self, inflated: bytes) -> bool:
        """On trial, a message referred to nothing; False if the peer is believed from now on: it keeps no context."""
        self._past = (self._take_past() + inflated[-_MOST:])[-_MOST:]
        if len(inflated) >= _TELLING:
            self._trial -= 1
        return self._trial > 0

    def keep(self) -> None:
        """On trial no more: the peer keeps its context, or nobody can tell."""
        self._trial = 0

    def let_go(self) -> None:
        """Between two messages: hold as little as can be, until the next one comes."""
        if self._stream is not None:
            self._past = b"" if self._stream.eof else _bytes_in(self._stream, 1 << self._bits)
            self._stream = None
        if self._past and not self._is_packed:
            self._past, self._is_packed = zlib.compress(self._past), True

    def _take_past(self) -> bytes:
        """What came before; it is held no more."""
        past = zlib.decompress(self._past) if self._is_packed else self._past
        self._past, self._is_packed = b"", False
        return past


def _bytes_in(stream: zlib._Decompress, most: int) -> bytes:
    """The bytes in the window of a stream that stands between two blocks; most is how many there can be.

    zlib has a function for it that Python does not have. But a copy of the stream can be made to say them, by a block
    that repeats what is as far back as the window reaches. How far that is, where fewer bytes have come, is found by
    halving: zlib refuses what reaches back further.
    """
    window, size, too_far = b"", most, most + 1
    while size > len(window):
        try:
            window = stream.copy().decompress(_repeat(size), size)
        except zlib.error:
            too_far = size
        size = (len(window) + too_far) // 2
    return window


def _repeat(size: int) -> bytes:
    """A block that repeats the latest size bytes, and some of them twice: matches of 258 bytes, so far back.

    RFC 1951 section 3.2.5 and 3.2.6: codes begin with their highest bit, everything else with its lowest.
    """
    back = size - 1
    more = max(back.bit_length() - 2, 0)  # bits that follow the code of a distance
    code = 2 * more + (back >> more)
    match = 0xA3 | int(f"{code:05b}"[::-1], 2) << 8 | (back & (1 << more) - 1) << 13
    bits, length = 0b010, 3  # a block with fixed codes
    for _ in range(-(-size // 258)):
        bits |= match << length
        length += 13 + more
    return bits.to_bytes(length // 8 + 2, "little")
