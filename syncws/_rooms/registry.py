"""Who is there, as whom, in which rooms; and the steps of a member's life, each taken by all threads or by one.

It calls nobody back and reads and writes no connection: that is the manager's.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Literal, NamedTuple

from .._base.forks import begin_anew_in_child
from .._base.printable import printable_repr
from ..errors import DuplicateIdError
from .member import Closer, Member, State
from .stats import Drops, ManagerStats, ask

DUPLICATE_POLICIES = ("replace", "reject", "many")


class Predecessors(NamedTuple):
    """Members of the same id that were there before a new one."""

    replaced: tuple[Member, ...]  # taken out for its sake; their connections are yet to be closed
    leaving: tuple[Member, ...]  # whose on_close is to be over before its on_open; the replaced ones among them


class Registry:
    """The members of a `Manager`, by id, by connection and by room.

    Every method is for any thread, and is one step: `lock` guards everything here and the life of each member. It is a
    leaf: nothing is called while it is held, except for the hash and equality of ids and rooms.
    """

    def __init__(self, duplicate: Literal["replace", "reject", "many"]) -> None:
        self._duplicate = duplicate
        self.is_many = duplicate == "many"  # an id may have several connections
        self.is_exclusive = duplicate == "reject"  # an id that is there may not come a second time
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is nobody, as in the child of a fork, where connections and threads are the parent's."""
        self.lock = threading.Lock()
        self.drops = Drops(self.lock)
        # Guarded by lock:
        self._by_id: dict[Hashable, tuple[Member, ...]] = {}  # no empty tuple
        self._by_conn: dict[object, Member] = {}
        self._leaving: dict[Hashable, tuple[Member, ...]] = {}  # out, and not settled; no empty tuple
        self._everybody = _Group()
        self._rooms: dict[Hashable, _Group] = {}  # no empty group
        self._opened = self._closed = 0  # members that have had on_open, and on_close
        self.sent = 0  # messages, once per connection that took them
        self._joins = self._broadcasts = self._kicked = 0

    # Who is there

    def find(self, id: Hashable) -> tuple[Member, ...]:
        """The members that an id stands for, oldest first; a Member stands for itself while it is in."""
        with self.lock:
            return self._find(id)

    def _find(self, id: Hashable) -> tuple[Member, ...]:
        assert self.lock.locked()
        if not isinstance(id, Member):
            return self._by_id.get(id, ())
        return (id,) if self._by_conn.get(id.conn) is id else ()

    def ids(self) -> list[Hashable]:
        """The ids, each once, oldest first."""
        with self.lock:
            return list(self._by_id)

    def names(self) -> list[Hashable]:
        """The ids that the application gave, each once; not those of members that have their connection's."""
        with self.lock:
            return [id for id, members in self._by_id.items() if any(id != each.conn.id for each in members)]

    def members(self, room: Hashable = None) -> tuple[Member, ...]:
        """The members of a room, in the order they joined; by default all, in the order they came."""
        with self.lock:
            group = self._everybody if room is None else self._rooms.get(room)
            return () if group is None else group.snapshot()

    def count(self, room: Hashable = None) -> int:
        """How many members there are in a room; by default in all."""
        with self.lock:
            group = self._everybody if room is None else self._rooms.get(room)
            return 0 if group is None else len(group.members)

    def stats(self) -> ManagerStats:
        """What was counted. The connections are asked one after the other, while messages may flow."""
        self.drops.look_again()
        with self.lock:
            members = self._everybody.snapshot()
            leaving = [member for each in self._leaving.values() for member in each]
            rooms, opened, closed = len(self._rooms), self._opened, self._closed
            sent, dropped = self.sent, self.drops.total
            joins, broadcasts, kicked = self._joins, self._broadcasts, self._kicked
        queued = [member.conn.queued for member in members]
        return ManagerStats(
            members=len(members),
            rooms=rooms,
            opened=opened,
            closed=closed,
            sent=sent,
            dropped=dropped + sum(each.conn.dropped - each._dropped_before for each in (*members, *leaving)),
            queued_messages=sum(messages for messages, _ in queued),
            queued_bytes=sum(size for _, size in queued),
            joins=joins,
            broadcasts=broadcasts,
            kicked=kicked,
        )

    def count_broadcast(self) -> None:
        """Somebody here broadcasts."""
        with self.lock:
            self._broadcasts += 1

    # Rooms

    def join(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id into a room, which is made if it is not there; whether there was one."""
        with self.lock:
            members = self._find(id)
            for member in members:
                self._join(member, room)
        return bool(members)

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """Let the members of an id out of a room, which ends with its last member; whether one was in it."""
        with self.lock:
            members = [member for member in self._find(id) if room in member._rooms]
            for member in members:
                self._leave(member, room)
                member._rooms.discard(room)
        return bool(members)

    def rooms(self, id: Hashable = None) -> frozenset[Hashable]:
        """The rooms of the members of an id; by default all rooms that somebody is in."""
        with self.lock:
            if id is None:
                return frozenset(self._rooms)
            return frozenset().union(*(member._rooms for member in self._find(id)))

    def _join(self, member: Member, room: Hashable) -> None:
        assert self.lock.locked()
        self._joins += room not in member._rooms
        self._rooms.setdefault(room, _Group()).add(member)
        member._rooms.add(room)

    def _leave(self, member: Member, room: Hashable) -> None:
        """Out of the room's group; the member's own set is the caller's."""
        assert self.lock.locked()
        group = self._rooms[room]
        group.remove(member)
        if not group.members:
            del self._rooms[room]

    # A member's life

    def admit(self, member: Member, rooms: Iterable[Hashable], replaced: BaseException) -> Predecessors:
        """Put a new member in; those of its id are taken out if the policy says so, with that error for their on_close.

        Raises DuplicateIdError if the policy rejects it, ValueError if its connection is a member already: nothing has
        changed then.
        """
        with self.lock:
            same = self._by_id.get(member.id, ())
            known = self._by_conn.get(member.conn)
            rejected = bool(same) and self._duplicate == "reject"
            if known is None and not rejected:
                return self._insert(member, same, rooms, replaced)
        if known is not None:
            raise ValueError(
                f"{member.conn!r} is registered already, as {printable_repr(known.id)}: unregister it first"
            )
        raise DuplicateIdError(f"the id {printable_repr(member.id)} is connected already")

    def _insert(
        self, member: Member, same: tuple[Member, ...], rooms: Iterable[Hashable], replaced: BaseException
    ) -> Predecessors:
        assert self.lock.locked()
        if self._duplicate != "replace":
            same = ()
        for older in same:
            self._remove(older, replaced)
        self._kicked += len(same)
        # As of now: those that come later wait for this one.
        leaving = () if self._duplicate == "many" else self._leaving.get(member.id, ())
        self._by_id[member.id] = (*self._by_id.get(member.id, ()), member)
        self._by_conn[member.conn] = member
        self._everybody.add(member)
        for room in rooms:
            self._join(member, room)
        self.drops.begin(member)
        return Predecessors(same, leaving)

    def _is_inherited(self, member: Member) -> bool:
        """Whether this is the child of a fork, and the member the parent's."""
        return member._lock is not self.lock

    def open(self, member: Member) -> bool:
        """on_open is next; False if the member was taken out before, and never has one."""
        if self._is_inherited(member):
            return False
        with self.lock:
            opens = member._open()
            self._opened += opens
            return opens

    def take_out(self, member: Member, error: BaseException | None) -> None:
        """Remove a member, unless it is out: then the first reason stays. error: for on_close."""
        with self.lock:
            if not self._is_inherited(member) and member._is_in:
                self._remove(member, error)

    def kick(self, member: Member, error: BaseException) -> None:
        """As `take_out`, of one that the manager closes."""
        with self.lock:
            if not self._is_inherited(member) and member._is_in:
                self._remove(member, error)
                self._kicked += 1

    def take_out_lost(self, member: Member, error: BaseException) -> bool:
        """Remove a member that a send found lost, unless it is out; whether its on_close is for the settler to call."""
        with self.lock:
            if self._is_inherited(member) or not member._is_in:
                return False
            self._remove(member, error, lost=True)
            return member._closer is Closer.SETTLER

    def _remove(self, member: Member, error: BaseException | None, *, lost: bool = False) -> None:
        assert self.lock.locked()
        member._leave_registry(error, lost=lost)
        self._everybody.remove(member)
        for room in member._rooms:  # which it remembers
            self._leave(member, room)
        _discard(self._by_id, member)
        del self._by_conn[member.conn]
        self._leaving[member.id] = (*self._leaving.get(member.id, ()), member)

    def end_run(self, member: Member, error: BaseException | None) -> None:
        """The thread in run() is done with its member, which is out: on_close is for this thread to call."""
        if self._is_inherited(member):
            return
        with self.lock:
            # In one step: a thread that took the member out in between would call its on_close.
            if member._is_in:
                self._remove(member, error)
            member._leave_thread()

    def end_register(self, member: Member) -> None:
        """The thread in register() is done with its member: if it is in, on_close is for whoever takes it out."""
        if self._is_inherited(member):
            return
        with self.lock:
            member._leave_thread()

    def claim(self, member: Member) -> bool:
        """Whether this thread is to call on_close of a member that is out: of all that ask one gets True, once."""
        with self.lock:
            return not self._is_inherited(member) and member._claim()

    def expect_settled(self, members: Iterable[Member]) -> list[tuple[Member, threading.Event]]:
        """Those whose on_close another thread has yet to end, each with what is set once it is over."""
        with self.lock:
            expected = [(member, member._expect_settled()) for member in members]
        return [(member, settled) for member, settled in expected if settled is not None]

    def settle(self, member: Member) -> int:
        """on_close is over: the registry forgets the member. Returns how many of its messages were dropped."""
        queued, dropped = ask(member.conn)
        with self.lock:
            self._closed += member._state is State.OUT
            self.drops.end(member, dropped, queued)
            _discard(self._leaving, member)
            member._settle()
            settled = member._settled
        if settled is not None:
            settled.set()
        return dropped - member._dropped_before


class _Group:
    """Members in order, and a snapshot of them, made anew only after a change. The registry's lock guards it."""

    __slots__ = ("_snapshot", "members")

    def __init__(self) -> None:
        self.members: dict[Member, None] = {}
        self._snapshot: tuple[Member, ...] | None = ()

    def add(self, member: Member) -> None:
        self.members[member] = None
        self._snapshot = None

    def remove(self, member: Member) -> None:
        del self.members[member]
        self._snapshot = None

    def snapshot(self) -> tuple[Member, ...]:
        if self._snapshot is None:
            self._snapshot = tuple(self.members)
        return self._snapshot


def _discard(members: dict[Hashable, tuple[Member, ...]], member: Member) -> None:
    """Take a member out of a dict of tuples, and the tuple, once it is empty."""
    others = tuple(each for each in members[member.id] if each is not member)
    if others:
        members[member.id] = others
    else:
        del members[member.id]
