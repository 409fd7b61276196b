"""How many connections there are, for a program that has none: it is one of the processes while it asks."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable

from .._bus.backplane import Backplane
from .._frames.prepared import PreparedMessage
from ..errors import BackplaneError, BackplaneTimeout
from .envelope import Envelope
from .names import text_of
from .relay import Relay
from .surveys import Count

#: Seconds that its end may take: saying goodbye.
_END = 1.0


def headcount(backplane: Backplane, room: Hashable, timeout: float) -> Count:
    """How many there are in a room, None: in all, in the processes that answer in timeout seconds.

    The backplane is started for it, with its threads, and closed after it. Raises TypeError or ValueError for what is
    no room, BackplaneTimeout if the bus was not there in time, BackplaneError if there is no thread for it.
    """
    if room is not None:
        text_of(room)
    relay = Relay(backplane, Nobody())
    until = time.monotonic() + timeout
    try:
        asking = relay.asking()
        if asking is None:
            raise BackplaneError("there is no thread to ask the bus with; nobody was asked")
        replies = asking.count(room, timeout)
        if not replies.complete and not replies.answers and not replies.missing:
            late = time.monotonic() >= until
            why = backplane.health().error or "it did not answer"
            raise (BackplaneTimeout if late else BackplaneError)(f"the bus was not there to ask: {why}")
    finally:
        relay.end(_END)
    answers = replies.answers
    return Count(sum(answers.values()), len(answers), replies.missing, replies.complete)


class Nobody:
    """A `Here` without members."""

    def find(self, id: Hashable) -> Collection[Hashable]:
        return ()

    def has(self, member: Hashable) -> bool:
        return False

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        return 0

    def remembers(self, room: Hashable) -> bool:
        return False

    def take(self, room: Hashable, envelope: Envelope, data: bytes, position: str | None, *, own: bool) -> None:
        pass

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        return 0

    def close(self, id: Hashable, code: int, reason: str) -> int:
        return 0

    def replace(self, member: Hashable) -> None:
        pass

    def join(self, id: Hashable, room: Hashable) -> bool:
        return False

    def leave(self, id: Hashable, room: Hashable) -> bool:
        return False

    def count(self, room: Hashable) -> int:
        return 0

    def ids(self, room: Hashable) -> list[Hashable]:
        return []

    def members(self, room: Hashable) -> Collection[tuple[Hashable, float, float]]:
        return ()

    def rooms(self) -> Collection[Hashable]:
        return ()

    def names(self) -> Collection[Hashable]:
        return ()
