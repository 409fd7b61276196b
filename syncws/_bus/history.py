"""What a room is to remember (`History`), and what a store of it must do (`Archive`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .._base.callables import check_callable


@dataclass(frozen=True)
class History:
    """Which rooms remember their last messages, how many, and for how long; immutable.

    Args:
        size: messages that a room remembers.
        ttl: seconds for which it does, from the last message on.
        rooms: ``rooms(room)``, whether that room remembers; None: every room does. It is called for each broadcast, so
            it is quick, and always says the same of the same room, in every process.
        stamp: the key under which the position of a message is put into it, if the message is a JSON object in TEXT:
            ``{"text":"hi"}`` reaches members as ``{"position":"...","text":"hi"}``. None: messages are left as they
            are.
        memory: bytes of messages that a process remembers in all, where it remembers them itself; the rooms that were
            silent for longest forget first. On Redis, Redis decides.

    Raises TypeError or ValueError; the message names the option.
    """

    size: int = 100
    ttl: float = 300.0
    rooms: Callable[[Hashable], object] | None = None
    stamp: str | None = "position"
    memory: int = 64 << 20

    def __post_init__(self) -> None:
        for name in ("size", "memory"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} is at least 1, not {value!r}")
        if isinstance(self.ttl, bool) or not isinstance(self.ttl, int | float):
            raise TypeError(f"ttl is a number of seconds, not {self.ttl!r}")
        if not 0 < self.ttl < float("inf"):
            raise ValueError(f"ttl is a number of seconds above 0, not {self.ttl!r}")
        if self.rooms is not None:
            check_callable("rooms", self.rooms, "is a callable, or None")
        if not (self.stamp is None or isinstance(self.stamp, str)):
            raise TypeError(f"stamp is the key of a JSON object, or None, not {self.stamp!r}")

    def remembers(self, room: Hashable) -> bool:
        """Whether a room does. What ``rooms`` raises is raised."""
        return self.rooms is None or bool(self.rooms(room))


#: What a message between processes begins with; docs/redis-protocol.md has where its sender and number stand.
_VERSION, _SENDER, _NUMBER, _HEAD = b"\x01", slice(4, 12), slice(12, 20), 26

#: The flag of a number before which its sender knows of none.
_BEGINS = 4

#: What a message begins with that says that others were not sent, and the channels of rooms.
_LOST, _ROOM = b"\x01\x03", "r:"


class Numbered(NamedTuple):
    """Who sent a message, and its number on its channel: by it a copy is known, and that one before it is missing.

    Attributes:
        sender: 16 hexadecimal digits; "" for what has no number.
        number: from 1 on; 0 for what has none.
        begins: whether the sender knows of none before it.
    """

    sender: str
    number: int
    begins: bool

    @classmethod
    def of(cls, data: bytes) -> Numbered:
        """Those of a message."""
        if len(data) < _HEAD or data[:1] != _VERSION:
            return cls("", 0, False)
        number = int.from_bytes(data[_NUMBER])
        return cls(data[_SENDER].hex(), number, bool(data[2] & _BEGINS)) if number else cls("", 0, False)


def tells_of_loss(channel: str, data: bytes) -> bool:
    """Whether a message says that others to the same room were not sent: what is kept of it is not whole then."""
    return data[:2] == _LOST and channel.startswith(_ROOM)


class Entry(NamedTuple):
    """A message that was kept, and where it stands.

    Attributes:
        position: where it stands in the history of its channel.
        data: the message as it was published.
    """

    position: str
    data: bytes


@dataclass(frozen=True)
class Past:
    """What a channel remembers after a position.

    Attributes:
        position: where the channel's history stands now: what comes later is after it.
        entries: what was kept after the position that was asked for, oldest first; () if that is not known.
        recovered: whether entries are all that was published since then. False: something may be missing, as it was
            forgotten, or was not sent: then the number of a message is not the next one of its sender.
    """

    position: str
    entries: tuple[Entry, ...]
    recovered: bool


class Archive(Protocol):
    """Where the history of channels is kept. Any thread may call any method.

    A position is opaque text, which comes from here, goes to clients, and may come back altered: what cannot be read
    is a position that is not known.
    """

    @property
    def history(self) -> History:
        """What is remembered, and for how long."""
        ...

    def read(self, channel: str, since: str | None, timeout: float) -> Past:
        """What was kept on a channel after a position.

        Args:
            channel: the channel, as it was published on.
            since: the position; None: no entries, only where the channel stands.
            timeout: seconds that it may take.

        Raises BackplaneTimeout after timeout seconds, BackplaneError if the store refuses.
        """

    def is_after(self, position: str, other: str) -> bool:
        """Whether a message at position is not covered by the position other, of the same channel."""
