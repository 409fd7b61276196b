"""What a `Relay` asks of the Manager that it belongs to: the members of this process."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Protocol

from .._frames.prepared import PreparedMessage
from .envelope import Envelope


class Here(Protocol):
    """The members of this process. Any thread; nothing of it waits for a peer, or for the bus.

    `close`, `replace`, `join` and `leave` may call code of the application, and so are called by a thread that may wait
    for it. The others call none, except for
    `History.rooms`.
    """

    def find(self, id: Hashable) -> Collection[Hashable]:
        """The members of an id: each stands for itself wherever an id is asked for, as long as it is in."""

    def has(self, member: Hashable) -> bool:
        """Whether a member is in."""

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        """To the members of a room, None: to all, except for those of these ids; how many took it."""

    def remembers(self, room: Hashable) -> bool:
        """Whether a room remembers what is broadcast to it."""

    def take(self, room: Hashable, envelope: Envelope, data: bytes, position: str | None, *, own: bool) -> None:
        """A broadcast to a room that remembers. data: the envelope as it came. position: where the bus has kept it.

        own: this process has sent it. Raises ValueError for what cannot be read.
        """

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        """To the members of an id; how many took it."""

    def close(self, id: Hashable, code: int, reason: str) -> int:
        """Close the members of an id; how many there were."""

    def replace(self, member: Hashable) -> object:
        """Close a member, as one of its id is connected to another process."""

    def join(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id into a room; whether there was one."""

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id out of a room; whether one was in it."""

    def count(self, room: Hashable) -> int:
        """How many members there are in a room; None: in all."""

    def ids(self, room: Hashable) -> list[Hashable]:
        """The ids of the members of a room, each once; None: of all."""

    def members(self, room: Hashable) -> Iterable[tuple[Hashable, float, float]]:
        """The members of a room, None: all: (id, seconds since it was registered, seconds since its last message)."""

    def rooms(self) -> Collection[Hashable]:
        """The rooms that somebody is in."""

    def names(self) -> Collection[Hashable]:
        """The ids that the application gave; not those of members that are known by their connection's id."""
