"""What a peer has done wrong, in words. They are written here, as wsproto's depend on how the stream was cut."""

from __future__ import annotations

from .frame import CONTINUATION, FIN, MASKED, MAX_CONTROL_PAYLOAD, OP_BINARY, OP_CLOSE, OP_PONG, RSV1

#: The three bits of a frame's first byte that an extension may use.
_RESERVED = 0x70

NOT_UTF8 = "text that is not UTF-8"
LONG_LENGTH = "a length that is not in its shortest form"

#: What a peer has done that keeps its context although it promised not to, or more of it. It fits into a close frame.
KEPT_CONTEXT = "compressed data that refers to what is not kept here: see context_takeover and max_window_bits"


def header_fault(first: int, second: int, mask_bit: int, *, inside: bool, compression: bool) -> str | None:
    """What is wrong with a frame that begins with these two bytes (RFC 6455 section 5.2, RFC 7692 section 6).

    mask_bit is what the peer's frames must have; inside says that a fragmented message is under way.
    """
    opcode = first & 0x0F
    reserved = _RESERVED
    if opcode >= OP_CLOSE:
        if opcode > OP_PONG:
            return f"unknown opcode {opcode}"
        if not first & FIN:
            return "a fragmented control frame"
        if second & 0x7F > MAX_CONTROL_PAYLOAD:
            return f"a control frame of over {MAX_CONTROL_PAYLOAD} bytes"
    elif opcode == CONTINUATION:
        if not inside:
            return "a continuation of no message"
    elif opcode > OP_BINARY:
        return f"unknown opcode {opcode}"
    elif inside:
        return "a message inside a fragmented one"
    elif compression:
        reserved ^= RSV1
    if first & reserved:
        return "reserved bits set"
    if second & MASKED != mask_bit:
        return "an unmasked frame from a client" if mask_bit else "a masked frame from a server"
    return None


def compressed_fault(*, is_text: bool, refers_back: bool) -> str:
    """What is wrong with a compressed message that cannot be inflated, or is no text."""
    if refers_back:
        return KEPT_CONTEXT
    # Which of the two shows first depends on the cut.
    return f"compressed data that is corrupt, or {NOT_UTF8}" if is_text else "compressed data that is corrupt"


def too_large(size: int | None, limit: int | None) -> str:
    """Of a message over the read limit; its declared size, None if it became too large as it was inflated."""
    over = "the inflated message is over" if size is None else f"{size} bytes are over"
    return f"{over} the limit of {limit}"
