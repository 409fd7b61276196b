"""Every exception of the library, and the two vocabularies of RFC 6455: message types and close codes.

    WebSocketError
    ├── HandshakeError        .status, .response   the server refused, or the request was malformed
    │   ├── BadHandshakeError .response            the client got something other than a valid 101
    │   └── ProxyError        .status, .headers    the proxy refused the client
    ├── ConnectionClosed                           any way a connection can be over
    │   ├── CloseError        .code, .reason       the peer closed, or vanished (1006)
    │   ├── ProtocolError     .code, .reason       the peer broke the RFC; we sent .code
    │   │   └── ReadLimitError                     its message was larger than the read limit (1009)
    │   └── CloseSentError                         written after this side had closed
    ├── ConcurrencyError      (RuntimeError)       used from two threads where one is allowed
    ├── DuplicateIdError      (ValueError)         a Manager that rejects duplicates has this id already
    ├── BackplaneError                             the bus between processes refuses, or is not there
    │   └── BackplaneTimeout  (TimeoutError)       it did not answer in time
    ├── ReadTimeout           (TimeoutError)       the connection stays usable
    └── WriteTimeout          (TimeoutError)       final once part of a frame is on the wire

The class says whose fault it is: CloseError and ProtocolError are the peer's, CloseSentError and ConcurrencyError are
the caller's. What a peer wrote is raw in attributes, and escaped in every text (`str()`), which is one line that may
stand in a log. Nothing here does I/O or knows a connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Literal, Protocol, overload

from ._base.printable import printable


class MessageType(IntEnum):
    """The opcodes a program meets (RFC 6455 section 11.8); gorilla's TextMessage and so on."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

    @classmethod
    def _missing_(cls, value: object) -> None:
        found = value if isinstance(value, int) else type(value).__name__
        raise ValueError(f"no message type {found}: use TEXT, BINARY, PING, PONG or CLOSE")


TEXT = MessageType.TEXT
BINARY = MessageType.BINARY
CLOSE = MessageType.CLOSE
PING = MessageType.PING
PONG = MessageType.PONG


class CloseCode(IntEnum):
    """Close codes (RFC 6455 section 7.4.1 and its IANA registry), named as in gorilla.

    1005, 1006 and 1015 are never sent: they tell the program on this side what happened.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_SERVER_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TLS_HANDSHAKE = 1015


_CODE_NAMES = {code.value: code.name.lower().replace("_", " ") for code in CloseCode}
_CODE_NAMES[1014] = "bad gateway"  # in the registry since 2016, and not in gorilla

#: One step of how a connection was closed: which side's close frame it was, its code, its reason.
Closing = tuple[Literal["sent", "received"], int, str]


class HeaderFields(Protocol):
    """The headers of an `Answer`, as a type; at run time they are `syncws.Headers`."""

    @overload
    def get(self, name: str) -> str | None: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get_all(self, name: str) -> list[str]: ...

    def __getitem__(self, name: str) -> str: ...

    def __contains__(self, name: object) -> bool: ...

    def __iter__(self) -> Iterator[tuple[str, str]]: ...


class Answer(Protocol):
    """An HTTP answer in an exception: `syncws.Response` on a server, `syncws.ReceivedResponse` on a client."""

    @property
    def status(self) -> int: ...

    @property
    def reason(self) -> str: ...

    @property
    def headers(self) -> HeaderFields: ...

    @property
    def body(self) -> bytes: ...


class WebSocketError(Exception):
    """The base class of the library's own exceptions."""

    # Marks the connection whose end, or whose timeout, this is; None if no connection has raised it. A pickle has None.
    _owner: object = None


class HandshakeError(WebSocketError):
    """The server refuses to upgrade a request, or the request is malformed (gorilla's HandshakeError).

    ``status`` is the HTTP status. ``response`` is the answer to send, a `syncws.Response`; a server sends it when the
    exception escapes from a handler. It is None if the 101 could not be sent, so that there is nothing to answer.
    """

    def __init__(self, message: str, status: int = 400, response: Answer | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.response = response


class BadHandshakeError(HandshakeError):
    """The client got something other than a valid 101 (gorilla's ErrBadHandshake).

    ``response`` is what the server answered, a `syncws.ReceivedResponse` with the beginning of its body. If there was
    no answer, or it was not HTTP, ``response`` is None and ``status`` is 0.
    """

    def __init__(self, message: str, response: Answer | None = None) -> None:
        super().__init__(message, 0 if response is None else response.status, response)


class ProxyError(HandshakeError):
    """The proxy refused to open a tunnel.

    ``status`` and ``headers`` are those of its answer; 0 and empty if it speaks SOCKS, or its answer was not HTTP.
    """

    def __init__(self, message: str, status: int = 502, headers: HeaderFields | tuple[()] = ()) -> None:
        super().__init__(message, status)
        # The library itself always passes Headers.
        self.headers: HeaderFields = headers  # type: ignore[assignment]


class ConnectionClosed(WebSocketError):
    """The connection is over: the base class of every way to end.

    Once a connection is over, every read and write raises the same end: the same class, code, reason and story. Each
    raise makes an exception of its own, since two threads may raise at the same moment.
    """


class CloseError(ConnectionClosed):
    """The peer closed, or vanished (gorilla's CloseError).

    ``code`` and ``reason`` are those of the peer's close frame. The code is 1005 if that frame had none, 1006 if the
    peer vanished without a close frame. If this side gave the connection up (an overflowing send queue: 1013), both are
    this side's. ``closings`` holds who sent which code and reason, in order, and ``str()`` tells it: on one line,
    whatever the peer wrote. ``reason`` is raw: log the exception, not its reason.
    """

    def __init__(self, code: int, reason: str = "", closings: Iterable[Closing] = ()) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.closings = tuple(closings)

    def __str__(self) -> str:
        told = [f"{verb} {_say(code, reason)}" for verb, code, reason in self.closings]
        if ("received", self.code, self.reason) not in self.closings:
            told.append(_say(self.code, self.reason))
        return "; then ".join(told)


class ProtocolError(ConnectionClosed):
    """The peer broke RFC 6455 or RFC 7692; this side sent a close frame with ``code`` and ``reason``."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the peer broke the protocol: {_say(self.code, self.reason)}"


class ReadLimitError(ProtocolError):
    """The peer's message is larger than the read limit (gorilla's ErrReadLimit); this side sent 1009."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(CloseCode.MESSAGE_TOO_BIG, reason)
        self.args = (reason,)  # what copy and pickle call this class with

    def __str__(self) -> str:
        return f"read limit exceeded: {printable(self.reason)}"


class DuplicateIdError(WebSocketError, ValueError):
    """A `Manager` that rejects duplicates has a connection of this id already."""


class BackplaneError(WebSocketError):
    """The bus that joins processes refuses what was asked of it, or is not there.

    Raised to who asks and waits: `Publisher`, `Manager.position`. What does not wait (`Manager.broadcast`,
    send, close, join, leave) never raises it.
    """


class BackplaneTimeout(BackplaneError, TimeoutError):
    """The bus did not answer in time. What was sent may have been delivered all the same."""


class CloseSentError(ConnectionClosed):
    """The program wrote after this side had closed the connection (gorilla's ErrCloseSent). Reads go on."""

    def __init__(self, message: str = "this side has closed the connection; nothing can be written any more") -> None:
        super().__init__(message)


class ConcurrencyError(WebSocketError, RuntimeError):
    """A connection was used from two threads, or by one thread twice, where only one use at a time is allowed."""


class ReadTimeout(WebSocketError, TimeoutError):
    """The read deadline passed. The connection stays usable: the next read goes on where this one stopped."""


class WriteTimeout(WebSocketError, TimeoutError):
    """The write deadline passed.

    If part of a frame has left, every later write raises it again, since no frame can follow half of one. Otherwise
    later writes work.
    """


def log_level(end: ConnectionClosed) -> int:
    """The level at which the end of a connection is logged: INFO if the peer broke the protocol, else DEBUG."""
    return logging.INFO if isinstance(end, ProtocolError) else logging.DEBUG


def is_close_error(exc: BaseException | None, *codes: int) -> bool:
    """Whether exc is a CloseError with one of these codes (gorilla's IsCloseError). Chained causes are not searched.

    Raises TypeError for a code that is no int, such as a list of codes.
    """
    _check_codes(codes)
    return isinstance(exc, CloseError) and exc.code in codes


def is_unexpected_close_error(exc: BaseException | None, *expected: int) -> bool:
    """Whether exc is a CloseError with none of the expected codes (gorilla's IsUnexpectedCloseError).

    False for everything that is not a CloseError, such as a timeout. Raises TypeError for a code that is no int.
    """
    _check_codes(expected)
    return isinstance(exc, CloseError) and exc.code not in expected


def _check_codes(codes: tuple[int, ...]) -> None:
    for code in codes:
        if not isinstance(code, int):
            raise TypeError(f"each close code is an argument of its own, and an int, not {code!r}")


def _say(code: int, reason: str) -> str:
    """1000 (normal closure): bye"""
    name = _CODE_NAMES.get(code)
    said = f"{int(code)} ({name})" if name else str(int(code))
    return f"{said}: {printable(reason)}" if reason else said
