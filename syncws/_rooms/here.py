"""The members of this process, as the relay asks for them: it tells what comes from other processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from .._frames.prepared import PreparedMessage
from .member import Member
from .registry import Registry

Post = Callable[[tuple[Member, ...], PreparedMessage], int]
Close = Callable[[tuple[Member, ...], int, str], int]
Join = Callable[[Hashable, Hashable], bool]


class MembersHere:
    """The `Here` of a Manager's relay: what the Manager does, without telling the other processes. Any thread."""

    def __init__(self, registry: Registry, post: Post, close: Close, join: Join) -> None:
        self._registry = registry
        self._post = post
        self._close = close
        self._join = join

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        """To the members of a room, None: to all, except for those of these ids; how many took it."""
        members = self._registry.members(room)
        if exclude:
            members = tuple(each for each in members if each.id not in exclude)
        return self._post(members, message)

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        """To the members of an id; how many took it."""
        return self._post(self._registry.find(id), message)

    def close(self, id: Hashable, code: int, reason: str) -> int:
        """Close the members of an id; how many there were. Raises ValueError for what may not be sent."""
        return self._close(self._registry.find(id), code, reason)

    def join(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id into a room; whether there was one."""
        return self._join(id, room)

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id out of a room; whether one was in it."""
        return self._registry.leave(id, room)

    def count(self, room: Hashable) -> int:
        """How many members there are in a room; None: in all."""
        return self._registry.count(room)

    def ids(self, room: Hashable) -> list[Hashable]:
        """The ids of the members of a room, each once; None: of all."""
        return list(dict.fromkeys(member.id for member in self._registry.members(room)))

    def rooms(self) -> frozenset[Hashable]:
        """The rooms that somebody is in."""
        return self._registry.rooms()

    def names(self) -> list[Hashable]:
        """The ids that the application gave; not those of members that are known by their connection's id."""
        return self._registry.names()
