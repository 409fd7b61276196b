"""permessage-deflate (RFC 7692): the messages in both directions; `agreement` is what two sides agree on.

A compressed message is the output of DEFLATE, flushed to a byte boundary (Z_SYNC_FLUSH), without the 00 00 ff ff that
such a flush ends in; RSV1 of its first frame says so. The receiver puts the four bytes back. These rules hold here:

* **No context takeover, unless it is wanted.** Each message is compressed by itself, so a connection between two
  messages holds no zlib state (256 KiB to compress, 40 KiB to inflate). With context takeover a side keeps its
  `Compressor`, and what the other's messages may refer back to is a `Window`.
* **A message by itself is inflated with the largest window.** It reads what any smaller one wrote. The window that is
  kept from message to message has the size that was agreed on, since it is memory.
* **Bounded while it inflates.** 64 KiB of wire can hold 67 MB. The limit is zlib's max_length, so a byte more than the
  limit is the most that a bomb ever makes, and a limit on the wire bytes (wire_limit) ends blocks that inflate to
  nothing for ever.
* **A message that was cut is refused.** zlib says nothing when its input merely stops. So at the end of a message it
  is asked whether it stands between two blocks: an empty final block must end the stream there and then. A stream that
  goes on with the next message must make nothing of blocks that are empty.
* **Nothing is inflated before it is asked for.** A message that is held back at its last byte takes what came of it.

No compressed message goes through wsproto, either way: 1.3 forgets, at a ping between two fragments, that the message
is compressed; it inflates what has come at once, without bound; and it ignores what follows a block with BFINAL set.
"""

from __future__ import annotations

import zlib

from ..errors import CloseCode
from .window import LARGEST, Window

#: The end of a sync flush, which the sender takes off (section 7.2.1), and an empty final block of fixed codes.
_TAIL = b"\x00\x00\xff\xff"
_PROBE = b"\x03\x00"

#: Empty blocks, which leave a stream between two blocks as it is. Inside a block zlib takes them for data, and makes
#: something of them, or finds the data corrupt. The longest description of a code, of which it makes nothing, has 286
#: bytes.
_NOTHING = b"\x00\x00\x00\xff\xff" * 60

#: zlib is fed this much at a time, because after each block with BFINAL set it copies what is left of its input: with
#: 1 MiB of nothing but such blocks (2 bytes each) at once it would copy 270 GB.
_PIECE = 4096

#: Bytes that zlib holds to inflate one message, about: its window and its tables.
_STATE = 40_000


def wire_limit(limit: int) -> int:
    """How many payload bytes a compressed message may have on the wire, when it may inflate to limit bytes.

    It is more than limit, since data without repetitions grows: 1 MiB of random bytes by 161 bytes to 5.2 %, depending
    on how the sender's zlib is set (the websockets library's default: 2561 bytes). A sixteenth and 64 bytes are enough
    for every window size and memLevel there is. There has to be a limit because empty blocks inflate to nothing for
    ever.
    """
    return limit + limit // 16 + 64


class Inflater:
    """Inflates one message: `feed` it in whatever pieces it comes, and `take` as much as is asked for.

    With a window it may refer back to the messages before it, and the next one to it.

    Concurrency: for one thread.
    """

    __slots__ = ("_inflated", "_input", "_unfinished", "_window", "_zlib", "refers_back")

    def __init__(self, window: Window | None = None) -> None:
        self._window = window
        #: Whether it failed since the message refers to what no message has left here: its sender keeps a context.
        self.refers_back = False
        self._zlib: zlib._Decompress | None = None
        self._input = bytearray()  # compressed, and not given to zlib
        self._unfinished = False  # zlib may make more of what it has been given
        self._inflated = 0

    @property
    def held(self) -> int:
        """Bytes of memory that it holds."""
        return len(self._input) + (_STATE if self._zlib is not None else 0)

    @property
    def waiting(self) -> int:
        """Bytes that were fed and not inflated."""
        return len(self._input)

    @property
    def more(self) -> bool:
        """Whether `take` may have something to give."""
        return bool(self._input) or self._unfinished

    def feed(self, data: bytes | bytearray) -> None:
        """Add to the message."""
        self._input += data

    def inflate(self, data: bytes, limit: int | None) -> bytes | CloseCode:
        """`feed` and `take` all."""
        self.feed(data)
        return self.take(None, limit)

    def take(self, most: int | None, limit: int | None) -> bytes | CloseCode:
        """Up to most bytes of what was fed, inflated; None: all of them.

        1009 once the message is over limit bytes altogether, 1007 for what is no DEFLATE. A limit of None or 0 is none.
        """
        if most is not None and self._is_on_trial:
            self._keep()  # what is handed out in pieces cannot be inflated twice
        pieces = []
        position = taken = 0
        while most is None or taken < most:
            piece = self._input[position : position + _PIECE]
            if not piece and not self._unfinished:
                break
            inflater = self._zlib
            if inflater is None or inflater.eof:
                # A block with BFINAL set ends a stream, not the message: what follows is a stream of its own
                # (section 7.2.3.4). Its writer began anew too, so nothing in it refers to what was before.
                window = self._window
                if window is not None and not window.on_trial:
                    inflater = window.stream()
                else:
                    inflater = zlib.decompressobj(-LARGEST)
                self._zlib = inflater
            # One byte more than is allowed, so that a message over the limit shows. (0 would be no limit at all.)
            allowed = max(limit - self._inflated, 0) + 1 if limit else 0
            if most is not None:
                allowed = min(allowed or most, most - taken)
            try:
                inflated = inflater.decompress(piece, allowed)
            except zlib.error as error:
                self.refers_back = "too far back" in str(error)
                if not self.refers_back or not self._is_on_trial:
                    return CloseCode.INVALID_FRAME_PAYLOAD_DATA
                self._keep()
                return self.take(most, limit)  # all of the message: what was given to zlib is still in the input
            taken += len(inflated)
            self._inflated += len(inflated)
            if limit and self._inflated > limit:
                return CloseCode.MESSAGE_TOO_BIG
            # Where less came out than was allowed, zlib has taken all it was given, up to the end of the stream.
            self._unfinished = len(inflated) == allowed > 0 and not inflater.eof
            # At the end of a stream Python's zlib may leave the same bytes in unconsumed_tail as well.
            position += len(piece) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
            pieces.append(inflated)
        del self._input[:position]
        return b"".join(pieces)

    @property
    def _is_on_trial(self) -> bool:
        return self._window is not None and self._window.on_trial

    def _keep(self) -> None:
        """The trial is over: inflate the message from its beginning, as one that may refer back."""
        assert self._window is not None
        self._window.keep()
        self.refers_back, self._unfinished, self._zlib, self._inflated = False, False, None, 0

    def whole(self, payload: bytes, limit: int | None) -> bytes | CloseCode:
        """All of a message that is all there, with the faults that would be found in pieces."""
        inflated = self.inflate(payload, limit)
        if not isinstance(inflated, bytes) or self.ends_well():
            return inflated
        return CloseCode.INVALID_FRAME_PAYLOAD_DATA

    def ends_well(self) -> bool:
        """True if the message is whole: with its tail put back, zlib stands between two blocks. All was taken."""
        inflater = self._zlib
        if inflater is None:
            # No byte of payload at all. RFC 7692 wants at least one (00); zlib flushed with nothing new gives none, and
            # no reader would take this for anything but an empty message.
            return True
        if inflater.eof:
            # Its last block had BFINAL set and the 00 that should follow is missing: an inflater
            # that simply stops at a final block, as Go's does, never misses it.
            return True
        try:
            if self._window is not None and not self._window.on_trial:
                return not inflater.decompress(_TAIL + _NOTHING, 1) and not inflater.eof
            # Only a tail that was data, because the message was cut inside a block, inflates to anything.
            surplus = inflater.decompress(_TAIL + _PROBE, 1)
        except zlib.error:
            return False
        return not surplus and inflater.eof and not inflater.unused_data


def check_level(level: int, name: str = "a compression level") -> int:
    """Return level, or raise ValueError if it is no compression level (gorilla's SetCompressionLevel).

    0: none; 1 (fastest) to 9 (smallest); -1: zlib's default, which is 6; -2: Huffman codes only, as in Go.
    """
    if isinstance(level, bool) or not isinstance(level, int) or not -2 <= level <= 9:
        raise ValueError(f"{name} is an integer from -2 to 9, not {level!r}")
    return level


class Deflater:
    """Compresses a message in pieces, for a peer that inflates with a window of 2**bits (bits 9 to 15).

    The next message may refer back to it.

    zlib decides where each piece ends, so compress() may return nothing yet. The level is one that check_level() lets
    pass.

    Concurrency: for one thread.
    """

    def __init__(self, level: int, bits: int, memory: int = 8, past: bytes = b"") -> None:
        """past is what the peer has inflated last, to which the message may refer back."""
        self._zlib = _compressobj(level, bits, memory, past)

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take the next piece of the message; return what there is to send."""
        return self._zlib.compress(data)

    def flush(self) -> bytes:
        """Return what the peer needs to inflate all that was taken so far; b"" if it has that already."""
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """End the message; return the last that is to be sent, which is never empty."""
        # zlib has nothing to say after a flush: an empty block then, without its tail (RFC 7692 section 7.2.3.6).
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)] or b"\x00"


def compress(payload: bytes | bytearray | memoryview, level: int, bits: int) -> bytes:
    """One whole message compressed, for a peer that inflates with a window of 2**bits (bits 9 to 15).

    The empty message gives b"\\x00" (RFC 7692 section 7.2.3.6). The result may be longer than payload: the caller
    compares. The level is one that check_level() lets pass. For any thread.
    """
    # With a state made for each message, making it is most of the cost of a small one: 256 KiB which malloc takes
    # fresh from the system and returns, page faults and all. A window that holds the payload and the 262 bytes of
    # zlib's lookahead finds all matches there are, and memLevel bits - 6 gives room for as many symbols, so they
    # still make one block. Same size to the byte; at level 1, microseconds with 15 bits / with fewer: 0 bytes 8 to
    # 32 / 1.5; 32 bytes 15 / 3.9; 700 bytes 15 / 6.5; 3800 bytes 24 / 15; 16 KB 93 / 86; beyond, no difference.
    enough = min(max((len(payload) + 261).bit_length(), 9), 15)
    deflater = _compressobj(level, min(enough, bits), min(enough - 6, 8))
    return deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]


def _compressobj(level: int, bits: int, memory: int, past: bytes = b"") -> zlib._Compress:
    """zlib's own compressor of raw DEFLATE, which its negative bits stand for. Go's level -2 is a strategy in zlib."""
    strategy = zlib.Z_HUFFMAN_ONLY if level == -2 else zlib.Z_DEFAULT_STRATEGY
    level = 1 if level == -2 else level
    if past:
        return zlib.compressobj(level, zlib.DEFLATED, -bits, memory, strategy, past)
    return zlib.compressobj(level, zlib.DEFLATED, -bits, memory, strategy)
