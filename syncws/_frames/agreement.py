"""What two sides agree on about compression (RFC 7692 section 7.1): permessage-deflate and its four parameters.

| parameter | in an offer | in an answer |
|---|---|---|
| server_no_context_takeover | the client wants the server to forget | the server will |
| client_no_context_takeover | the client says that it will forget | the server wants it to, or has heard that it will |
| server_max_window_bits | the client wants a window no larger | the server's will be no larger |
| client_max_window_bits | the server may limit the client's window; a number: it will be no larger anyway | the limit |

What one side does then is its own `Agreement`. **A peer that keeps its context is understood, told to or not**: Tornado
drops parameters that have no value. Its server answers without server_no_context_takeover: then a `Window` is kept for
it. Its client passes over client_no_context_takeover: so a server that has told it so, unasked, keeps a `Window` on
trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .compressor import Compressor
from .window import LARGEST, Window

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
_FORGET = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS = ("server_max_window_bits", "client_max_window_bits")
_IN_OFFER = {**_IN_ANSWER, "client_max_window_bits": {None: 15, **_BITS}}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a side wants of compression, before the other side is asked."""

    #: Whether each side may keep its context from message to message.
    takeover: bool = False
    #: Base 2 logarithm of the largest window, this side's and the one that it has for the other, 9 to 15.
    bits: int = LARGEST
    #: zlib's memLevel of a compressor that is kept, 1 to 9.
    memory: int = 8


@dataclass(frozen=True)
class Agreement:
    """What both sides agreed on; immutable."""

    #: Base 2 logarithm of the window this side compresses with, 9 to 15; 0: this side sends uncompressed.
    outbound_bits: int
    #: A server answers the handshake with this Sec-WebSocket-Extensions value; empty on a client.
    header: str = ""
    #: Whether this side keeps its context from message to message.
    takeover: bool = False
    #: Whether the peer keeps its context; "unsure": it was told not to, unasked, and may not have understood.
    peer: Literal["forgets", "keeps", "unsure"] = "forgets"
    #: Base 2 logarithm of the window that the peer compresses with, 9 to 15.
    inbound_bits: int = LARGEST
    #: zlib's memLevel of this side's compressor, where it is kept.
    memory: int = 8

    def compressor(self, level: int) -> Compressor | None:
        """A compressor to be kept from message to message, if this side keeps its context."""
        return Compressor(level, self.outbound_bits, self.memory) if self.takeover and self.outbound_bits else None

    def window(self) -> Window | None:
        """A window for what the peer's messages may refer back to, if one is needed."""
        if self.peer == "forgets":
            return None
        return Window(self.inbound_bits, on_trial=self.peer == "unsure")


def accept_offers(offers: Extensions, terms: Terms = Terms()) -> Agreement | None:
    """What a server makes of a client's Sec-WebSocket-Extensions: the first offer it can serve, or None.

    Without takeover the answer always has both no_context_takeover parameters (RFC 7692 allows a server to demand them
    unasked); with it, those that the client offered. It says the server's window where the client asked for one, or
    where it is smaller than the largest, and the client's only where that was offered. Declined is an offer with an
    unknown, repeated or malformed parameter, or of server_max_window_bits=8, which zlib cannot do; gorilla ignores all
    parameters. Never raises.
    """
    for name, parameters in offers:
        if name != _NAME:
            continue
        try:
            offered = _read(parameters, _IN_OFFER)
        except ValueError:
            continue
        ours = min(offered.get("server_max_window_bits", LARGEST), terms.bits)
        if ours == 8:
            continue
        theirs = min(offered.get("client_max_window_bits", LARGEST), terms.bits)
        forget = [key for key in _FORGET if key in offered or not terms.takeover]
        # In the client's order.
        windows = {key: ours if key == "server_max_window_bits" else theirs for key in offered if key in _WINDOWS}
        if ours < LARGEST:
            windows.setdefault("server_max_window_bits", ours)
        told = [*forget, *(f"{key}={bits}" for key, bits in windows.items())]
        return Agreement(
            ours,
            "; ".join([_NAME, *told]),
            takeover="server_no_context_takeover" not in forget,
            peer=_peer(promised="client_no_context_takeover" in offered, told=not terms.takeover),
            # A client that was not asked about its window has the largest. zlib's smallest is 9.
            inbound_bits=max(theirs, 9) if "client_max_window_bits" in offered else LARGEST,
            memory=terms.memory,
        )
    return None


def _peer(*, promised: bool, told: bool) -> Literal["forgets", "keeps", "unsure"]:
    """What a server's client does with its context, if it has promised to forget it, or was told to."""
    if promised:
        return "forgets"
    return "unsure" if told else "keeps"


def offer(terms: Terms = Terms()) -> str:
    """What a client offers: that the server may limit the client's window; whether contexts are kept, and how large."""
    told = [] if terms.takeover else list(_FORGET)
    if terms.bits < LARGEST:
        told += [f"server_max_window_bits={terms.bits}", f"client_max_window_bits={terms.bits}"]
    else:
        told.append("client_max_window_bits")
    return "; ".join([_NAME, *told])


def accept_answer(answer: Extensions, terms: Terms = Terms()) -> Agreement | None:
    """What a client that sent offer(terms) makes of the server's Sec-WebSocket-Extensions; None: no compression.

    Raises ValueError, which says why, if the answer is not one to that offer (RFC 6455 section 4.1 and RFC 7692
    section 7.1 have the client fail the connection then): another extension, more than one, an unknown, repeated or
    malformed parameter, or a larger window than was asked for. Both no_context_takeover may be missing: this side may
    forget its context unasked, and a server that does not promise to forget its own is understood (Tornado drops what
    has no value). With client_max_window_bits=8 this side sends uncompressed.
    """
    if not answer:
        return None
    if len(answer) > 1:
        raise ValueError(f"the server agreed to {len(answer)} extensions; one was offered")
    name, parameters = answer[0]
    if name != _NAME:
        raise ValueError(f"the server agreed to the extension {name!r:.100}, which was not offered")
    agreed = _read(parameters, _IN_ANSWER)
    theirs = agreed.get("server_max_window_bits", LARGEST)
    if theirs > terms.bits:
        raise ValueError(
            f"the server agreed to {_NAME} without server_max_window_bits={terms.bits}, which was asked for; "
            f"max_window_bits={LARGEST} asks for nothing"
        )
    ours = min(agreed.get("client_max_window_bits", LARGEST), terms.bits)
    return Agreement(
        ours if ours > 8 else 0,
        takeover=terms.takeover and "client_no_context_takeover" not in agreed,
        peer="forgets" if "server_no_context_takeover" in agreed else "keeps",
        inbound_bits=max(theirs, 9),
        memory=terms.memory,
    )


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
