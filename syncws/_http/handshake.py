"""What both sides of the opening handshake share: options, lists in headers, key and accept, subprotocols.

Data in, data out: nothing here does I/O, and nothing that a peer sends makes a function here raise.

Lists in headers may be spread over several lines, and every line counts. A malformed element makes the rest of its
line worthless, since nobody knows where it ends. The elements before it count (as in gorilla). Empty elements are
skipped (RFC 9110 section 5.6.1.2). The patterns are possessive, so a long line is read in linear time.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.options import ConnKeywords, ConnOptions, check_integer, check_timeout, strings
from .._base.printable import printable
from .._frames.agreement import Terms
from .._frames.deflate import check_level
from .._frames.window import LARGEST
from .headers import TOKEN, Headers
from .hosts import ascii_lower
from .request import Request

#: RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: 16 bytes in Base64: 21 characters of six bits each, and one that holds two bits. Its other four should be zero, but
#: that is for who encodes (RFC 4648 section 3.5), and the key is never decoded.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")

_OWS = r"[ \t]*+"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PARAMETER = rf";{_OWS}({TOKEN}){_OWS}(?:={_OWS}({TOKEN}|{_QUOTED}){_OWS})?+"
_SKIPPED = r"[ \t,]*+"  # blanks and empty elements

_LISTED_TOKEN = re.compile(rf"{_SKIPPED}({TOKEN}){_OWS}(?:,|\Z)")
_LISTED_PROTOCOL = re.compile(rf"{_SKIPPED}({TOKEN}(?:/{TOKEN})?+){_OWS}(?:,|\Z)")
_LISTED_EXTENSION = re.compile(rf"{_SKIPPED}({TOKEN}){_OWS}((?:{_PARAMETER})*+)(?:,|\Z)")
_EXTENSION_PARAMETER = re.compile(_PARAMETER)

_TOKEN = re.compile(TOKEN)

#: A subprotocol that can be no token: words and versions, such as graphql-transport-ws and v12.stomp.
_PLAIN_NAME = re.compile(r"(?:[vV]?\d{1,2}|[A-Za-z]{1,12})(?:[._\-](?:[vV]?\d{1,2}|[A-Za-z]{1,12}))*")


@dataclass(frozen=True, kw_only=True)
class HandshakeOptions(ConnOptions):
    """What `Upgrader` and `Dialer` have in common, beyond the options of connections.

    Args:
        handshake_timeout: seconds that the handshake may take; None: no limit.
        enable_compression: agree on permessage-deflate, if the peer does.
        compression_level: zlib's, -2 to 9.
        compression_threshold: messages of fewer bytes are sent uncompressed.
        context_takeover: with compression, whether messages may refer back to those before them, both ways, where the
            peer agrees. Small messages that resemble each other shrink several times as much then, and a connection
            that is in use holds memory: 4 << max_window_bits and 512 << mem_level bytes to compress (256 KiB), and
            1 << max_window_bits and 7 KiB to inflate (40 KiB).
        max_window_bits: how far back a message may refer, 9 to 15 for 2**9 to 2**15 bytes. The peer is asked to keep to
            it as well.
        mem_level: zlib's, 1 to 9, for compressing with context takeover.

    Raises TypeError or ValueError, naming the option, for a value that cannot work.
    """

    handshake_timeout: float | None = 10.0
    enable_compression: bool = False
    compression_level: int = 1
    compression_threshold: int = 0
    context_takeover: bool = False
    max_window_bits: int = LARGEST
    mem_level: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_timeout("handshake_timeout", self.handshake_timeout)
        if not isinstance(self.enable_compression, bool):
            raise TypeError(f"enable_compression is True or False, not {self.enable_compression!r}")
        check_level(self.compression_level, "compression_level")
        check_integer("compression_threshold", self.compression_threshold, 0)
        if not isinstance(self.context_takeover, bool):
            raise TypeError(f"context_takeover is True or False, not {self.context_takeover!r}")
        check_integer("max_window_bits", self.max_window_bits, 9, most=LARGEST)
        check_integer("mem_level", self.mem_level, 1, most=9)


class HandshakeKeywords(ConnKeywords, total=False):
    """The options of HandshakeOptions as keyword arguments; see `ConnKeywords`."""

    handshake_timeout: float | None
    enable_compression: bool
    compression_level: int
    compression_threshold: int
    context_takeover: bool
    max_window_bits: int
    mem_level: int


def compression_terms(options: HandshakeOptions) -> Terms:
    """What these options want of compression."""
    return Terms(takeover=options.context_takeover, bits=options.max_window_bits, memory=options.mem_level)


def checked_subprotocols(value: Any) -> tuple[str, ...]:
    """A list of subprotocols as a tuple. Raises TypeError, or ValueError for a name that is no token."""
    names = strings("subprotocols", value, 'subprotocols=["chat"]', hidden=True)
    for number, name in enumerate(names, 1):
        if not _TOKEN.fullmatch(name):
            wrong = next((each for each in name if not _TOKEN.fullmatch(each)), "")
            found = f"it has {wrong!r}" if wrong else "it is empty"
            raise ValueError(
                f"subprotocols: number {number} is not a token (letters, digits and !#$%&'*+-.^_`|~): {found}"
            )
    return names


def say_subprotocol(name: str) -> str:
    """A subprotocol for a log line or an error: whole if it looks like a name, else only its beginning.

    Browsers cannot send a token in another header, so one is often offered beside the names.
    """
    name = name.strip()
    return printable(name, 40) if _PLAIN_NAME.fullmatch(name) else printable(name, 4)


def parse_tokens(values: Iterable[str]) -> list[str]:
    """The tokens of comma-separated lists, one list a line, in order (RFC 9110 section 5.6.1); as in gorilla."""
    return [match[1] for line in values for match in _elements(_LISTED_TOKEN, line)]


def has_token(headers: Headers, name: str, token: str) -> bool:
    """Whether a token is in the lists under this name, without regard to ASCII case."""
    wanted = ascii_lower(token)
    lines = headers.get_all(name)
    # A line that is the token alone, as nearly every client writes it, need not be taken apart.
    return wanted in map(ascii_lower, lines) or wanted in map(ascii_lower, parse_tokens(lines))


def switches_to_websocket(headers: Headers) -> bool:
    """Whether the Upgrade header names WebSocket, alone or among other protocols, which may tell their version.

    ``Upgrade: HTTP/2.0, websocket`` does (RFC 9110 section 7.8). WebSocket's own version stands elsewhere.
    """
    lines = headers.get_all("Upgrade")
    if "websocket" in map(ascii_lower, lines):  # as in has_token
        return True
    return any(ascii_lower(match[1]) == "websocket" for line in lines for match in _elements(_LISTED_PROTOCOL, line))


def parse_extensions(values: Iterable[str]) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Extensions with their parameters, one list a line (RFC 6455 section 9.1); as in gorilla.

    Each is ``(name, [(parameter, value), ...])``. A value may be quoted, and comes without its quotes and backslashes;
    it is None for a parameter without one.
    """
    return [
        (match[1], [(parameter[1], _unquote(parameter[2])) for parameter in _EXTENSION_PARAMETER.finditer(match[2])])
        for line in values
        for match in _elements(_LISTED_EXTENSION, line)
    ]


def _elements(pattern: re.Pattern[str], line: str) -> Iterator[re.Match[str]]:
    """The elements of one line, up to its end or the first that is malformed."""
    position = 0
    while match := pattern.match(line, position):
        yield match
        position = match.end()


def _unquote(value: str | None) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def make_key() -> str:
    """A fresh Sec-WebSocket-Key (RFC 6455 section 4.1 item 7)."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def is_valid_key(key: str) -> bool:
    """Whether a Sec-WebSocket-Key is exactly 16 bytes in Base64."""
    return _KEY.fullmatch(key) is not None


def accept_for(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a key (RFC 6455 section 4.2.2 item 5.4)."""
    digest = hashlib.sha1(key.encode("utf-8", "replace") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def is_websocket_upgrade(request: Request) -> bool:
    """Whether a request asks for WebSocket: by its Connection and Upgrade headers (gorilla's IsWebSocketUpgrade).

    Method, version and key are not looked at: `Upgrader.upgrade` judges those.
    """
    return has_token(request.headers, "Connection", "upgrade") and switches_to_websocket(request.headers)


def subprotocols(request: Request) -> list[str]:
    """The subprotocols that a client offers in a request, in its order of preference (gorilla's Subprotocols)."""
    return parse_tokens(request.headers.get_all("Sec-WebSocket-Protocol"))


def select_subprotocol(offered: Iterable[str], supported: Sequence[str]) -> str | None:
    """The first of the client's offers that is supported, None if none is (gorilla's order). Case matters."""
    return next((name for name in offered if name in supported), None)
