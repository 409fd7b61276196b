"""permessage-deflate (RFC 7692): what two sides agree on, and the messages in both directions.

A compressed message is the output of DEFLATE, flushed to a byte boundary (Z_SYNC_FLUSH), without the 00 00 ff ff that
such a flush ends in; RSV1 of its first frame says so. The receiver puts the four bytes back. Four rules hold here:

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

wsproto parses the frames and calls InboundDeflate, which replaces all three inbound hooks of its base class: wsproto
1.3 forgets, at a ping between two fragments, that the message is compressed; it inflates without bound; and it ignores
what follows a block with BFINAL set. Sending does not go through wsproto: see compress() and Deflater.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol

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
        raise ValueError(f"the server agreed to {_NAME} without server_no_context_takeover, which was asked for")
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
    """Inflates one message, in whatever pieces it comes.

    Concurrency: for one thread.
    """

    __slots__ = ("_inflated", "_zlib")

    def __init__(self) -> None:
        self._zlib: zlib._Decompress | None = None
        self._inflated = 0

    def inflate(self, data: bytes, limit: int | None) -> bytes | CloseReason:
        """The next piece inflated; 1009 once it is over limit bytes altogether, 1007 for what is no DEFLATE.

        A limit of None or 0 is none.
        """
        inflater = self._zlib
        pieces = []
        position = 0
        while position < len(data):
            if inflater is None or inflater.eof:
                # A block with BFINAL set ends a stream, not the message: what follows is a stream of its own
                # (section 7.2.3.4). Its writer began anew too, so nothing in it refers to what was before.
                inflater = self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte more than is allowed, so that a message over the limit shows. (0 would be no limit at all.)
            allowed = max(limit - self._inflated, 0) + 1 if limit else 0
            piece = data[position : position + _PIECE]
            try:
                inflated = inflater.decompress(piece, allowed)
            except zlib.error:
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self._inflated += len(inflated)
            if limit and self._inflated > limit:
                return CloseReason.MESSAGE_TOO_BIG
            # Less came out than was allowed, so zlib has taken all it was given, up to the end of the stream.
            position += len(piece) - len(inflater.unused_data)
            pieces.append(inflated)
        return b"".join(pieces)

    def ends_well(self) -> bool:
        """True if the message is whole: with its tail put back, zlib stands between two blocks."""
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


def decompress(payload: bytes, limit: int | None) -> bytes | CloseReason:
    """One whole message inflated, with the faults that `InboundDeflate` finds in pieces. For any thread."""
    inflater = Inflater()
    inflated = inflater.inflate(payload, limit)
    if isinstance(inflated, CloseReason) or inflater.ends_well():
        return inflated
    return CloseReason.INVALID_FRAME_PAYLOAD_DATA


class InboundDeflate(PerMessageDeflate):
    """The extension as wsproto's frame decoder meets it, for either role: inflates, bounded by limit.

    limit is how many bytes one message may inflate to; None or 0: any number. It holds from the next bytes on.

    A hook that returns a code ends the connection with it: 1009 for more than limit; 1007 for what is not DEFLATE, or
    is cut short; 1002 for RSV1 on a frame that may not have it. No hook is to be called after that.

    Concurrency: for the thread that reads. `limit` may be set by any thread: it is one reference, read once a piece.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._enabled = True
        self.limit = limit
        # Whether the frame at hand is no part of the message at hand: a control frame, which may stand between
        # fragments, or a data frame out of order, which wsproto is about to refuse. It changes nothing here.
        self._apart = False
        self._message_open = False  # whether the last data frame was without FIN
        self._compressed = False  # whether the message at hand is
        self._inflater: Inflater | None = None

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Say which reserved bits belong to this extension, or refuse the frame.

        wsproto calls it again for the same header if the mask had not arrived, so it counts nothing.
        """
        first = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not first:
            return CloseReason.PROTOCOL_ERROR  # RFC 7692 section 6.1: on the first frame of a message only
        self._apart = opcode.iscontrol() or first is self._message_open
        if first and not self._apart:
            self._compressed = rsv.rsv1
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Inflate a part of a frame's payload, which is unmasked by now."""
        if self._apart or not self._compressed:
            return data
        if self._inflater is None:
            self._inflater = Inflater()
        inflated = self._inflater.inflate(data, self.limit)
        if isinstance(inflated, CloseReason):
            self._forget()
        return inflated

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> CloseReason | None:
        """Take note of the end of a frame, and with fin of its message, which has been handed out by now."""
        if self._apart:
            return None
        self._message_open = not fin
        if not fin or not self._compressed:
            return None
        whole = self._inflater is None or self._inflater.ends_well()
        self._forget()
        return None if whole else CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Compress nothing: the wsproto connection that this extension belongs to only reads."""
        return rsv, data

    def _forget(self) -> None:
        """Back to the state between two messages, which holds no memory of zlib's."""
        self._inflater = None
        self._compressed = False


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

    def finish(self) -> bytes:
        """End the message, once; return the last that is to be sent, which is never empty."""
        return self._zlib.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]


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
