"""permessage-deflate (RFC 7692): what two sides agree on, and the messages in both directions.

A compressed message is the output of DEFLATE, flushed to a byte boundary (Z_SYNC_FLUSH), without the 00 00 ff ff that
such a flush ends in; RSV1 of its first frame says so. The receiver puts the four bytes back. Five rules hold here:

* **No context takeover, either way.** Each message is compressed by itself, so a connection between two messages holds
  no zlib state (256 KiB to compress, 40 KiB to inflate). A server may demand this of any client; a client refuses an
  answer that does not promise it, since its inflater forgets.
* **Inflate with the largest window, always.** It reads what any smaller window wrote, so what the peer promises about
  its window does not matter here. Only the window of what this side *sends* is negotiated.
* **Bounded while it inflates.** 64 KiB of wire can hold 67 MB. The limit is zlib's max_length, so a byte more than the
  limit is the most that a bomb ever makes, and a limit on the wire bytes (wire_limit) ends blocks that inflate to
  nothing for ever.
* **A message that was cut is refused.** zlib says nothing when its input merely stops. So at the end of a message it
  is asked whether it stands between two blocks: an empty final block must end the stream there and then.

* **Nothing is inflated before it is asked for.** A message that is held back at its last byte takes what came of it.

No compressed message goes through wsproto, either way: 1.3 forgets, at a ping between two fragments, that the message
is compressed; it inflates what has come at once, without bound; and it ignores what follows a block with BFINAL set.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import CloseCode

#: Extensions as a header lists them: (name, [(parameter, value or None), ...]), quotes taken off.
Extensions = Sequence[tuple[str, Sequence[tuple[str, str | None]]]]

_NAME = "permessage-deflate"

# RFC 7692 section 7.1: which values each parameter may have, and what they stand for. Decimal, no leading zeros. An
# offer may name client_max_window_bits alone, "you may limit my window"; an answer may not. Anything that is not in
# the table declines an offer, and fails an answer.
_FLAG: Mapping[str | None, int] = {None: 1}
_BITS: Mapping[str | None, int] = {str(bits): bits for bits in range(8, 16)}
_IN_ANSWER = {
    "server_no_context_takeover": _FLAG,
    "client_no_context_takeover": _FLAG,
    "server_max_window_bits": _BITS,
    "client_max_window_bits": _BITS,
}
_IN_OFFER = {**_IN_ANSWER, "client_max_window_bits": {None: 15, **_BITS}}

#: The end of a sync flush, which the sender takes off (section 7.2.1), and an empty final block of fixed codes.
_TAIL = b"\x00\x00\xff\xff"
_PROBE = b"\x03\x00"

#: zlib is fed this much at a time, because after each block with BFINAL set it copies what is left of its input: with
#: 1 MiB of nothing but such blocks (2 bytes each) at once it would copy 270 GB.
_PIECE = 4096

#: Bytes that zlib holds to inflate one message, about: its window and its tables.
_STATE = 40_000


@dataclass(frozen=True)
class Agreement:
    """What both sides agreed on; immutable."""

    #: Base 2 logarithm of the window this side compresses with, 9 to 15; 0: this side sends uncompressed.
    outbound_bits: int
    #: A server answers the handshake with this Sec-WebSocket-Extensions value; empty on a client.
    header: str = ""


def accept_offers(offers: Extensions) -> Agreement | None:
    """What a server makes of a client's Sec-WebSocket-Extensions: the first offer it can serve, or None.

    The answer always has both no_context_takeover parameters (RFC 7692 allows a server to demand them unasked), repeats
    server_max_window_bits, and client_max_window_bits only where offered. Declined is an offer with an unknown,
    repeated or malformed parameter, or of server_max_window_bits=8, which zlib cannot do; gorilla ignores all
    parameters. Never raises.
    """
    for name, parameters in offers:
        if name != _NAME:
            continue
        try:
            offered = _read(parameters, _IN_OFFER)
        except ValueError:
            continue
        bits = offered.get("server_max_window_bits", 15)
        if bits == 8:
            continue
        header = f"{_NAME}; server_no_context_takeover; client_no_context_takeover"
        # In the client's order. Its window is its own affair: it gets back what it proposed.
        windows = [f"; {key}={value}" for key, value in offered.items() if key.endswith("_max_window_bits")]
        return Agreement(bits, header + "".join(windows))
    return None


def offer() -> str:
    """What a client offers: no context takeover both ways, and that the server may limit the client's window."""
    return f"{_NAME}; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"


def accept_answer(answer: Extensions) -> Agreement | None:
    """What a client that sent offer() makes of the server's Sec-WebSocket-Extensions; None: no compression.

    Raises ValueError, which says why, if the answer is not one to that offer (RFC 6455 section 4.1 and RFC 7692
    section 7.1 have the client fail the connection then): another extension, more than one, an unknown, repeated or
    malformed parameter, or no server_no_context_takeover. client_no_context_takeover may be missing (gorilla asks for
    both): this side may forget its context unasked. With client_max_window_bits=8 this side sends uncompressed.
    """
    if not answer:
        return None
    if len(answer) > 1:
        raise ValueError(f"the server agreed to {len(answer)} extensions; one was offered")
    name, parameters = answer[0]
    if name != _NAME:
        raise ValueError(f"the server agreed to the extension {name!r:.100}, which was not offered")
    agreed = _read(parameters, _IN_ANSWER)
    if "server_no_context_takeover" not in agreed:
        raise ValueError(
            f"the server agreed to {_NAME} without server_no_context_takeover, which was asked for (Tornado does); "
            "enable_compression=False connects"
        )
    bits = agreed.get("client_max_window_bits", 15)
    return Agreement(bits if bits > 8 else 0)


def _read(
    parameters: Sequence[tuple[str, str | None]], allowed: Mapping[str, Mapping[str | None, int]]
) -> dict[str, int]:
    """The parameters by name, in their order, as numbers; ValueError if one is unknown, repeated or malformed."""
    found: dict[str, int] = {}
    for name, value in parameters:
        if name in found:
            raise ValueError(f"{_NAME}: the parameter {name} is there twice")
        if name not in allowed:
            raise ValueError(f"{_NAME}: unknown parameter {name!r:.100}")
        if value not in allowed[name]:
            raise ValueError(f"{_NAME}: {name} cannot have the value {value!r:.100}")
        found[name] = allowed[name][value]
    return found


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

    Concurrency: for one thread.
    """

    __slots__ = ("_inflated", "_input", "_unfinished", "_zlib", "refers_back")

    def __init__(self) -> None:
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
                inflater = self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte more than is allowed, so that a message over the limit shows. (0 would be no limit at all.)
            allowed = max(limit - self._inflated, 0) + 1 if limit else 0
            if most is not None:
                allowed = min(allowed or most, most - taken)
            try:
                inflated = inflater.decompress(piece, allowed)
            except zlib.error as error:
                self.refers_back = "too far back" in str(error)
                return CloseCode.INVALID_FRAME_PAYLOAD_DATA
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
    """Compresses one message in pieces, for a peer that inflates with a window of 2**bits (bits 9 to 15).

    zlib decides where each piece ends, so compress() may return nothing yet. The level is one that check_level() lets
    pass.

    Concurrency: for one thread.
    """

    def __init__(self, level: int, bits: int) -> None:
        self._zlib = _compressobj(level, bits, 8)

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take the next piece of the message; return what there is to send."""
        return self._zlib.compress(data)

    def flush(self) -> bytes:
        """Return what the peer needs to inflate all that was taken so far; b"" if it has that already."""
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """End the message, once; return the last that is to be sent, which is never empty."""
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


def _compressobj(level: int, bits: int, memory: int) -> zlib._Compress:
    """zlib's own compressor of raw DEFLATE, which its negative bits stand for. Go's level -2 is a strategy in zlib."""
    if level == -2:
        return zlib.compressobj(1, zlib.DEFLATED, -bits, memory, zlib.Z_HUFFMAN_ONLY)
    return zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
