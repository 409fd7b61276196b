"""The payload of a message or a close: what a caller may put there, and what a peer's close says.

A mistake of the caller raises before a byte is sent.
"""

from __future__ import annotations

from ..errors import BINARY, TEXT, CloseCode, MessageType, ProtocolError
from .frame import MAX_CONTROL_PAYLOAD

MAX_REASON = MAX_CONTROL_PAYLOAD - 2  # bytes of a close reason: two are the code's


def format_close_message(code: int, reason: str = "") -> bytes:
    """The payload of a close frame (gorilla's FormatCloseMessage); 1005 gives an empty one.

    Raises ValueError for a code that may not be sent (RFC 6455 section 7.4) and for a reason over 123 bytes, TypeError
    for a code that is no integer or a reason that is no str.
    """
    if not isinstance(code, int) or not isinstance(reason, str):
        raise TypeError(f"a close has an integer code and a str reason, not {code!r} and {reason!r}")
    if code == CloseCode.NO_STATUS_RECEIVED:
        if reason:
            raise ValueError("a close frame without a code (1005) cannot carry a reason")
        return b""
    if not is_sendable(code):
        raise ValueError(f"close code {code} may not be sent: use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    encoded = reason.encode()
    if len(encoded) > MAX_REASON:
        raise ValueError(f"a close reason has at most {MAX_REASON} bytes of UTF-8, not {len(encoded)}: shorten it")
    return int(code).to_bytes(2) + encoded


def parse_close_payload(payload: bytes) -> tuple[int, str]:
    """(code, reason) of a payload the caller wants to send; ValueError where no peer may accept it."""
    if not payload:
        return CloseCode.NO_STATUS_RECEIVED, ""
    if len(payload) == 1:
        raise ValueError(
            "the payload of a close frame is empty or begins with two bytes of code: see format_close_message"
        )
    code = int.from_bytes(payload[:2])
    if code == CloseCode.NO_STATUS_RECEIVED:
        raise ValueError("close code 1005 may not be sent: it stands for a close frame with an empty payload")
    reason = payload[2:].decode()  # UnicodeDecodeError is a ValueError
    format_close_message(code, reason)
    return code, reason


def is_sendable(code: int) -> bool:
    """Whether a close frame may carry this code (RFC 6455 section 7.4, and 1012 to 1014 of its registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def received_close(payload: bytes) -> tuple[int, str] | ProtocolError:
    """(code, reason) of a peer's close frame; what to fail the connection with, for one that may not be sent."""
    if not payload:
        return CloseCode.NO_STATUS_RECEIVED.value, ""
    if len(payload) == 1:
        return ProtocolError(CloseCode.PROTOCOL_ERROR, "a close frame of one byte, which is no code")
    code = int.from_bytes(payload[:2])
    if not is_sendable(code):
        reason = payload[2:].decode(errors="replace")  # it may be all that tells why the peer closed
        said = f": {reason}" if reason else ""
        return ProtocolError(CloseCode.PROTOCOL_ERROR, f"a close frame with code {code}, which may not be sent{said}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        return ProtocolError(CloseCode.INVALID_FRAME_PAYLOAD_DATA, "a close reason that is not UTF-8")


def clipped_reason(reason: str) -> str:
    """As much of a reason as a close frame can hold."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")


def no_message(data: object, json_method: str = "send_json") -> TypeError:
    """What to raise for data that is no message: it names the method that sends such data, by default Conn's."""
    kind = type(data).__name__
    advice = (
        "write_prepared sends it" if kind == "PreparedMessage" else f"{json_method} sends any value that JSON can hold"
    )
    return TypeError(f"a message is str or bytes, not {kind}: {advice}")


def message_as(text: bool | None, data: object, json_method: str = "send_json") -> tuple[MessageType, bytes]:
    """The type and the payload of a message: TEXT or BINARY as text says, or, with None, as the data is.

    Bytes may go as TEXT, and a str as BINARY, which is its UTF-8 then. Raises TypeError for what is no message, or a
    text that is no bool; ValueError for bytes that are to be TEXT and are not UTF-8, and for a lone surrogate.
    """
    if not isinstance(data, str | bytes | bytearray | memoryview):
        raise no_message(data, json_method)
    if not (text is None or isinstance(text, bool)):
        raise wrong_text(text)
    is_text = isinstance(data, str) if text is None else text
    payload = data.encode() if isinstance(data, str) else bytes(data)
    if is_text and not isinstance(data, str):
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"a TEXT message is UTF-8, and these bytes are not: {error}") from None
    return (TEXT if is_text else BINARY), payload


def wrong_text(text: object) -> TypeError:
    """What to raise for a `text` that says nothing."""
    return TypeError(
        f"text is True for TEXT and str, False for BINARY and bytes, or None for either, not {text!r:.100}"
    )


def message_payload(message_type: int, data: str | bytes | bytearray | memoryview) -> bytes:
    """The payload of a message of that type; raises before anything is written.

    TypeError for TEXT that is not str or other types that are not bytes; ValueError for an unknown type, a control
    payload over 125 bytes, or a str that UTF-8 cannot hold (a lone surrogate).
    """
    if message_type == TEXT:
        if isinstance(data, str):
            return data.encode()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise no_message(data)
        raise TypeError(f"a TEXT message is a str, not {type(data).__name__}: decode it, or send it as BINARY")
    if message_type == BINARY and isinstance(data, bytes):
        return data
    if message_type not in (BINARY, MessageType.PING, MessageType.PONG, MessageType.CLOSE):
        # Not shown if it is no number: the message, where somebody has swapped the two.
        found = message_type if isinstance(message_type, int) else type(message_type).__name__
        raise ValueError(f"no message type {found}: use TEXT, BINARY, PING, PONG or CLOSE")
    if isinstance(data, str) and message_type == BINARY:
        raise TypeError("a BINARY message is bytes, not str: encode it, or send it as TEXT")
    if isinstance(data, str):
        raise TypeError("a control frame carries bytes, not str: encode it")
    if not isinstance(data, bytes | bytearray | memoryview):
        if message_type != BINARY:
            raise TypeError(f"a control frame carries bytes, not {type(data).__name__}")
        raise no_message(data)
    payload = data if isinstance(data, bytes) else bytes(data)
    if message_type != BINARY and len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
    return payload
