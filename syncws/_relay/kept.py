"""A broadcast to a room that remembers, as it was kept: the message, and who is not to get it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from .._frames.prepared import PreparedMessage
from ..errors import BINARY, TEXT
from .envelope import Envelope, decode
from .names import name_of
from .stamp import stamp


class Kept(NamedTuple):
    """A broadcast that was kept."""

    message: PreparedMessage
    ids: frozenset[Hashable]  # who does not get it
    conns: frozenset[str]  # ids of connections that do not get it; of the process that sent it

    def stamped(self, key: str | None, position: str) -> PreparedMessage:
        """The message with its position in it, if it has one and is an object of JSON."""
        message = self.message
        if key is None or not position or message.message_type is not TEXT:
            return message
        text = stamp(message.payload, key, position)
        return message if text is message.payload else PreparedMessage(TEXT, text.decode())


def kept_of(envelope: Envelope) -> Kept:
    """What an envelope says. Raises ValueError for what is no broadcast."""
    extra = envelope.extra or {}
    ids, conns = extra.get("exclude", []), extra.get("conns", [])
    if not isinstance(ids, list) or not isinstance(conns, list):
        raise ValueError("who is excluded is no list")
    if not all(isinstance(each, str) for each in (*ids, *conns)):
        raise ValueError("not the text of a name")
    kind = BINARY if envelope.binary else TEXT
    message = PreparedMessage(kind, envelope.body if envelope.binary else envelope.body.decode())
    return Kept(message, frozenset(map(name_of, ids)), frozenset(conns))


def kept_in(data: bytes) -> Kept | None:
    """What was kept; None for what can be read by no program of this version."""
    try:
        return kept_of(decode(data))
    except ValueError:
        return None
