"""Lists in headers: Connection, Upgrade, subprotocols, extensions; and what is agreed on of permessage-deflate.

The first byte of an input says which list it is, each line of the rest is the value of one header line.

Oracles: the parsers of `websockets` for each line, and its negotiation; a list that is written and read again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import Any, ClassVar

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.headers import (
    build_extension,
    parse_connection,
    parse_extension,
    parse_subprotocol,
    parse_upgrade,
)

from syncws._frames.agreement import Agreement, accept_answer, accept_offers
from syncws._http import handshake
from syncws._http.headers import Headers

from .grammar import blanks, listed, quoted, token
from .harness import Difference, Finding, Harness, lines_of, must_be_equal, shortened

CONNECTION, UPGRADE, SUBPROTOCOLS, EXTENSIONS = range(4)

_THEIRS: dict[int, Callable[[str], Sequence[Any]]] = {
    CONNECTION: parse_connection,
    UPGRADE: parse_upgrade,
    SUBPROTOCOLS: parse_subprotocol,
    EXTENSIONS: parse_extension,
}

_NAMES = {CONNECTION: "Connection", UPGRADE: "Upgrade", SUBPROTOCOLS: "Sec-WebSocket-Protocol"}

#: Of a line with more, websockets is not asked for each beginning.
_MOST_COMMAS = 40

_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _ours(kind: int, line: str) -> Sequence[Any]:
    if kind == EXTENSIONS:
        return handshake.parse_extensions([line])
    if kind == UPGRADE:
        return [match[1] for match in handshake._elements(handshake._LISTED_PROTOCOL, line)]
    return handshake.parse_tokens([line])


class Lists(Harness):
    """Lists in headers."""

    name = "lists"
    most_seconds = 0.2
    most_bytes = 3000
    seeds = (
        b"\x00keep-alive, Upgrade",
        b"\x01websocket",
        b"\x01HTTP/2.0, websocket",
        b"\x02chat, v2.chat\nv3.chat",
        b"\x03permessage-deflate; client_max_window_bits, foo; a=b",
        b'\x03permessage-deflate; server_max_window_bits="10"; client_no_context_takeover\nbar',
    )
    words = (
        *(b"permessage-deflate", b"server_no_context_takeover", b"client_no_context_takeover", b"; "),
        *(b"server_max_window_bits=", b"client_max_window_bits=", b"client_max_window_bits", b'"', b"\\", b", ", b"\n"),
        *(b"websocket", b"Upgrade", b"/", b"=", b"=8", b"=15", b"\x00", b"\xe9", b"\x7f"),
    )
    differences: ClassVar = {
        "malformed": Difference(
            "refuse the whole header",
            "takes the elements before the malformed one; what follows it counts for nothing",
            "as gorilla: a browser's other extensions must not cost the connection",
            b"\x00Upgrade, a b, c",
        ),
        "quoted": Difference(
            "refuse the whole header",
            "takes a quoted value that is no token, and declines that offer",
            "RFC 6455 9.1: the value must be a token; what is agreed on depends on no other value than the known ones",
            b'\x03a; b="c d", e',
        ),
        "client window of 8": Difference(
            "refuse the answer",
            "agrees, and sends what it sends uncompressed",
            "RFC 7692 7.1.2.2: the server limits what the client may use; a client need not compress",
            b"\x03permessage-deflate; server_no_context_takeover; client_max_window_bits=8",
        ),
        "a server that keeps its context": Difference(
            "refuse an answer without server_no_context_takeover, which was asked for",
            "keeps a window for it",
            "Tornado drops parameters that have no value, and keeps its context",
            b"\x03permessage-deflate; client_no_context_takeover",
        ),
        "client window of 15": Difference(
            "leave it out of the answer where the client names no value",
            "answers client_max_window_bits=15",
            "RFC 7692 7.1.2.2: either is allowed, and 15 is what it is without",
            b"\x03permessage-deflate; client_max_window_bits",
        ),
    }

    def make(self, rng: Random) -> bytes:
        kind = rng.randrange(4)
        if kind == EXTENSIONS:
            lines = [listed(rng, _extension, 3) for _ in range(rng.choice((1, 1, 1, 2)))]
        elif kind == UPGRADE:
            lines = [listed(rng, lambda rng: token(rng) + (f"/{token(rng)}" if rng.random() < 0.4 else ""))]
        else:
            lines = [listed(rng, token) for _ in range(rng.choice((1, 1, 2)))]
        return bytes((kind,)) + "\n".join(lines).encode("latin-1")

    def check(self, data: bytes) -> Hashable:
        kind = (data[0] if data else 0) % 4
        lines = list(lines_of(data[1:]))
        found = [self._compare(kind, line) for line in lines]
        together = [each for line in found for each in line]
        if kind == EXTENSIONS:
            must_be_equal("lines together are other than each", handshake.parse_extensions(lines), together)
            self._negotiate(lines)
            return (kind, *(len(parameters) for _, parameters in together[:5]), str(accept_offers(together)))
        headers = Headers([(_NAMES[kind], line) for line in lines])
        if kind == UPGRADE:
            wanted = any(each.lower() == "websocket" for each in together)
            must_be_equal("switches to websocket", handshake.switches_to_websocket(headers), wanted)
        else:
            wanted = any(each.lower() == "upgrade" for each in together)
            must_be_equal("has the token", handshake.has_token(headers, _NAMES[kind], "upgrade"), wanted)
        return (kind, len(lines), len(together), wanted)

    def _compare(self, kind: int, line: str) -> Sequence[Any]:
        """What a line gives, which is what it gives in websockets."""
        ours = _ours(kind, line)
        try:
            theirs = list(_THEIRS[kind](line))
        except InvalidHeaderFormat:
            if self._is_odd(kind, ours) and self.differs("quoted"):
                return ours
            if not self.differs("malformed"):
                raise Finding("taken, and refused by websockets", f"{line!r}: {shortened(ours)}") from None
            if line.count(",") <= _MOST_COMMAS:
                must_be_equal("other than the good beginning", list(ours), self._beginning(kind, line))
            return ours
        must_be_equal("other than websockets", list(ours), theirs)
        if kind == EXTENSIONS and theirs:
            again = handshake.parse_extensions([build_extension(theirs)])
            must_be_equal("written and read again", again, theirs)
        return ours

    def _is_odd(self, kind: int, ours: Sequence[Any]) -> bool:
        """Whether some value is no token."""
        values = [value for _, parameters in ours for _, value in parameters] if kind == EXTENSIONS else []
        return any(value is not None and not (value and set(value) <= _TOKEN_CHARACTERS) for value in values)

    def _beginning(self, kind: int, line: str) -> Sequence[Any]:
        """What the longest beginning gives that ends at a comma, and that websockets takes."""
        places = [place for place, character in enumerate(line) if character == ","]
        for place in reversed(places):
            try:
                return list(_THEIRS[kind](line[:place].rstrip(" \t")))
            except InvalidHeaderFormat:
                continue
        return []

    def _negotiate(self, lines: list[str]) -> None:
        extensions = handshake.parse_extensions(lines)
        if self._is_odd(EXTENSIONS, extensions):
            extensions = [each for each in extensions if not self._is_odd(EXTENSIONS, [each])]
        self._compare_offers(extensions)
        if extensions:
            self._compare_answer(extensions)

    def _compare_offers(self, extensions: Any) -> None:
        """As a server, the first offer that can be served is, with the same windows."""
        ours = accept_offers(extensions)
        factory = ServerPerMessageDeflateFactory(True, True)
        for name, parameters in extensions:
            if name != "permessage-deflate":
                continue
            try:
                answer, theirs = factory.process_request_params(parameters, [])
            except NegotiationError:
                continue
            if ours is None:
                raise Finding("websockets takes an offer", f"{shortened(extensions)}: {answer}")
            must_be_equal("another window", ours.outbound_bits, theirs.local_max_window_bits)
            [(_, told)] = handshake.parse_extensions([ours.header])
            if self.differs("client window of 15") and ("client_max_window_bits", None) in parameters:
                told.remove(("client_max_window_bits", "15"))
            must_be_equal("another answer", sorted(map(str, told)), sorted(map(str, answer)))
            return
        if ours is not None:
            raise Finding("websockets takes no offer", f"{shortened(extensions)}: {ours}")

    def _compare_answer(self, extensions: Any) -> None:
        """As a client that offered what syncws offers, the answer is good or not."""
        factory = ClientPerMessageDeflateFactory(True, True, None, True)
        ours: Agreement | str
        try:
            ours = accept_answer(extensions) or "nothing"
        except ValueError as error:
            ours = str(error)
        name, parameters = extensions[0]
        try:
            if len(extensions) > 1 or name != "permessage-deflate":
                raise NegotiationError("another")
            theirs = factory.process_response_params(parameters, [])
        except NegotiationError:
            if not isinstance(ours, str) and not self._is_taken_on_purpose(ours):
                raise Finding("an answer that websockets refuses", f"{shortened(extensions)}: {ours}") from None
            return
        if isinstance(ours, str):
            raise Finding("an answer that websockets takes", f"{shortened(extensions)}: {ours}")
        must_be_equal("another window of an answer", ours.outbound_bits, theirs.local_max_window_bits)

    def _is_taken_on_purpose(self, ours: Agreement) -> bool:
        if ours.outbound_bits == 0 and self.differs("client window of 8"):
            return True
        return ours.peer == "keeps" and self.differs("a server that keeps its context")


_PARAMETERS = (
    *("server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits", "server_max_window_bits"),
)


def _extension(rng: Random) -> str:
    text = "permessage-deflate" if rng.random() < 0.75 else token(rng)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3, 4))):
        name = rng.choice(_PARAMETERS) if rng.random() < 0.9 else token(rng)
        text += f"{blanks(rng)};{blanks(rng)}{name}"
        if (name.endswith("bits") and rng.random() < 0.7) or rng.random() < 0.05:
            value = str(rng.randrange(7, 17)) if rng.random() < 0.8 else token(rng)
            text += f"{blanks(rng)}={blanks(rng)}{quoted(rng, value) if rng.random() < 0.2 else value}"
    return text
