"""The members of this process, as the relay asks for them: it tells what comes from other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator

from .._frames.payloads import format_close_message
from .._frames.prepared import PreparedMessage
from .._relay.envelope import Envelope
from .._relay.kept import kept_of
from .member import Member
from .recall import Recall
from .registry import Registry

#: The close code of a connection whose id was taken by a newer one, and what it is told.
REPLACED = 4001
REPLACED_REASON = "replaced by a newer connection"

Post = Callable[[tuple[Member, ...], PreparedMessage], int]
Close = Callable[[tuple[Member, ...], int, str], int]
Join = Callable[[Hashable, Hashable], bool]


class MembersHere:
    """The `Here` of a Manager's relay: what the Manager does, without telling the other processes. Any thread."""

    def __init__(self, registry: Registry, post: Post, close: Close, join: Join, recall: Recall | None = None) -> None:
        self._registry = registry
        self._post = post
        self._close = close
        self._join = join
        self._recall = recall

    def find(self, id: Hashable) -> tuple[Member, ...]:
        """The members of an id; a Member stands for itself while it is in."""
        return self._registry.find(id)

    def has(self, member: Hashable) -> bool:
        """Whether a member is in."""
        return bool(self._registry.find(member))

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        """To the members of a room, None: to all, except for those of these ids; how many took it."""
        members = self._registry.members(room)
        if exclude:
            members = tuple(each for each in members if each.id not in exclude)
        return self._post(members, message)

    def remembers(self, room: Hashable) -> bool:
        """Whether a room remembers what is broadcast to it."""
        return self._recall is not None and self._recall.remembers(room)

    def take(self, room: Hashable, envelope: Envelope, data: bytes, position: str | None, *, own: bool) -> None:
        """A broadcast to a room that remembers, for its members. Raises ValueError for what cannot be read."""
        if self._recall is not None:
            self._recall.take(room, envelope, data, position, own=own)
            return
        # The bus has kept it for others: a process is about to get a history, or to lose it.
        kept = kept_of(envelope)
        self.broadcast(room, kept.message, kept.ids)

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        """To the members of an id; how many took it."""
        return self._post(self._registry.find(id), message)

    def close(self, id: Hashable, code: int, reason: str) -> int:
        """Close the members of an id; how many there were. Raises ValueError for what may not be sent."""
        format_close_message(code, reason)  # first: who is taken out is closed
        return self._close(self._registry.find(id), code, reason)

    def replace(self, member: Hashable) -> int:
        """Close a member, as one of its id is connected to another process."""
        return self._close(self._registry.find(member), REPLACED, REPLACED_REASON)

    def join(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id into a room; whether there was one."""
        return self._join(id, room)

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id out of a room; whether one was in it."""
        return (self._registry if self._recall is None else self._recall).leave(id, room)

    def count(self, room: Hashable) -> int:
        """How many members there are in a room; None: in all."""
        return self._registry.count(room)

    def ids(self, room: Hashable) -> list[Hashable]:
        """The ids of the members of a room, each once; None: of all."""
        return list(dict.fromkeys(member.id for member in self._registry.members(room)))

    def members(self, room: Hashable) -> Iterator[tuple[Hashable, float, float]]:
        """The members of a room, None: all: (id, seconds since it was registered, seconds since its last message)."""
        now = time.time()
        return ((each.id, each.age, max(0.0, now - each.last_seen)) for each in self._registry.members(room))

    def rooms(self) -> frozenset[Hashable]:
        """The rooms that somebody is in."""
        return self._registry.rooms()

    def names(self) -> list[Hashable]:
        """The ids that the application gave; not those of members that are known by their connection's id."""
        return self._registry.names()
