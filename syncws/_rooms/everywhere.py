"""The members of all processes: who is there, and messages whose arrival is confirmed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .._base.options import check_integer, check_wait
from .._frames.prepared import prepare
from .._relay.nodes import Node
from .._relay.questions import Replies
from .._relay.relay import Relay
from .._relay.surveys import Count, Surveys
from ..errors import CloseCode
from .arguments import check_close, check_one_room
from .here import MembersHere
from .member import Member, Message


@dataclass(frozen=True)
class Ids:
    """Who is there; immutable.

    Attributes:
        ids: each once, those of this process first.
        truncated: whether there are more.
        nodes: how many processes answered, this one included.
        missing: the names of the processes that did not answer in time: see `Manager.everywhere`.
        complete: whether none is missing, and the bus was there to ask.
    """

    ids: list[Any]
    truncated: bool = False
    nodes: int = 1
    missing: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class MemberRecord:
    """One connection, in this process or in another; immutable.

    Attributes:
        id: what it is known by.
        node: the name of its process: see `Node`; "" without a backplane.
        age: seconds since it was registered.
        idle: seconds since its last message, if it is in `Manager.run`; else the same as age.
    """

    id: Hashable
    node: str
    age: float
    idle: float


@dataclass(frozen=True)
class Members:
    """Which connections there are; immutable.

    Attributes:
        members: those of this process first.
        truncated: whether there are more.
        nodes: how many processes answered, this one included.
        missing: the names of the processes that did not answer in time: see `Manager.everywhere`.
        complete: whether none is missing, and the bus was there to ask.
    """

    members: list[MemberRecord]
    truncated: bool = False
    nodes: int = 1
    missing: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Sent:
    """Which connections took a message; immutable.

    Attributes:
        connections: how many took it: it was written, or waits in a send queue.
        nodes: how many processes answered, this one included.
        missing: the names of the processes that did not answer in time: their connections may have got it.
        complete: whether none is missing, and the bus was there to ask.
    """

    connections: int
    nodes: int = 1
    missing: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Closed:
    """How many connections were closed; immutable.

    Attributes:
        connections: how many there were.
        nodes: how many processes answered, this one included.
        missing: the names of the processes that did not answer in time: they may close theirs yet.
        complete: whether none is missing, and the bus was there to ask.
    """

    connections: int
    nodes: int = 1
    missing: tuple[str, ...] = ()
    complete: bool = True


class Everywhere:
    """Asks the Managers of all processes on one bus, and waits for their answers; made by `Manager.everywhere`.

    Any thread may call any method. A part is a result: who does not answer within timeout seconds is ``missing``, and
    nothing is raised for it. A process that ends while it is asked is neither waited for nor missing. What is asked is
    how it is now; nothing is stored, so nobody is there who is not. Without a backplane it answers for this process
    alone, so that code is the same for one process and for many.

    While the bus is lost nobody is asked, and all are missing at once. So it is in a thread of the bus, such as one in
    a handler of the log: it would wait for itself. The very first question of a process waits half a second
    more, until it knows of the others.

    Every method raises TypeError or ValueError for an argument that is wrong, and with a backplane for a room or id
    that is not str, int or a tuple of these; then nothing has been asked, sent or closed.
    """

    def __init__(self, here: MembersHere, relay: Relay | None, *, is_many: bool) -> None:
        self._here = here
        self._relay = relay
        self._is_many = is_many  # an id may have several connections

    def count(self, room: Hashable = None, timeout: float = 1.0) -> Count:
        """How many connections there are in a room, by default in all.

        Waits for answers at most timeout seconds. Raises as `Everywhere`.
        """
        check_one_room(room)
        check_wait("timeout", timeout)
        surveys = self._asking()
        replies = self._none() if surveys is None else surveys.count(room, timeout)
        return Count(self._here.count(room) + sum(replies.answers.values()), *_of(replies))

    def ids(self, room: Hashable = None, limit: int = 1000, timeout: float = 1.0) -> Ids:
        """Who is in a room; by default who is there at all.

        Args:
            room: which room.
            limit: how many ids at most; an answer that one message of the bus cannot hold is truncated too.
            timeout: seconds to wait for the answers.

        Raises as `Everywhere`.
        """
        check_one_room(room)
        check_wait("timeout", timeout)
        check_integer("limit", limit, 1)
        surveys = self._asking()
        replies = self._none() if surveys is None else surveys.ids(room, limit, timeout)
        found = dict.fromkeys(self._here.ids(room))
        for answer in replies.answers.values():
            found |= dict.fromkeys(answer.items)
        ids, more = _cut(found, limit)
        return Ids(ids, more or any(each.truncated for each in replies.answers.values()), *_of(replies))

    def members(self, room: Hashable = None, limit: int = 1000, timeout: float = 1.0) -> Members:
        """Which connections there are in a room, by default all: an id, its process, its age.

        The arguments are those of `ids`. Raises as `Everywhere`.
        """
        check_one_room(room)
        check_wait("timeout", timeout)
        check_integer("limit", limit, 1)
        surveys = self._asking()
        replies = self._none() if surveys is None else surveys.members(room, limit, timeout)
        node = "" if self._relay is None else self._relay.node
        found = [MemberRecord(id, node, age, idle) for id, age, idle in self._here.members(room)]
        for name, answer in replies.answers.items():
            found += [MemberRecord(id, name, age, idle) for id, age, idle in answer.items]
        members, more = _cut(found, limit)
        return Members(members, more or any(each.truncated for each in replies.answers.values()), *_of(replies))

    def send(self, id: Hashable, message: Message, *, text: bool | None = None, timeout: float = 1.0) -> Sent:
        """Send to one id, wherever it is, and say how many connections took it: `Manager.send`, confirmed.

        Args:
            id: to whom.
            message: str as TEXT, bytes as BINARY, or a `PreparedMessage` of either kind.
            text: True to send bytes as TEXT, False to send a str as BINARY: see `Conn.send`.
            timeout: seconds to wait for the other processes to confirm it.

        Raises as `Everywhere`, and for a message that cannot be sent.
        """
        check_wait("timeout", timeout)
        prepared = prepare(message, text=text)
        members = self._here.find(id)
        surveys = self._asking_for(id, members)
        if surveys is not None:
            surveys.check_send(id, prepared)  # before anybody here gets it
        taken = sum(self._here.send(each, prepared) for each in members)
        replies = self._nobody_for(id, members) if surveys is None else surveys.send(id, prepared, timeout)
        return Sent(taken + sum(replies.answers.values()), *_of(replies))

    def close(
        self, id: Hashable, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "", *, timeout: float = 1.0
    ) -> Closed:
        """Close one id, wherever it is, and say how many connections there were: `Manager.close`, confirmed.

        Who answers has called on_close of members that were registered; that of members in `run` may be under way.
        Returns a `Closed`.

        Args:
            id: who is closed.
            code: the close code, one that may be sent (RFC 6455 section 7.4).
            reason: said to the peer; 123 bytes of UTF-8 at most.
            timeout: seconds to wait for the other processes to confirm it.

        Raises as `Everywhere`, and for a code or reason that may not be sent.
        """
        check_wait("timeout", timeout)
        check_close(code, reason)
        members = self._here.find(id)
        surveys = self._asking_for(id, members)
        replies = self._nobody_for(id, members) if surveys is None else surveys.close(id, int(code), reason, timeout)
        closed = sum(self._here.close(each, code, reason) for each in members)
        return Closed(closed + sum(replies.answers.values()), *_of(replies))

    def nodes(self) -> list[Node]:
        """The processes that are alive, this one first, by what each tells every three seconds. It waits for nobody.

        One that says goodbye is out at once, one that vanishes after three times that at the latest.
        """
        if self._relay is not None:
            return self._relay.known_nodes()
        host, connections, rooms = socket.gethostname(), self._here.count(None), len(self._here.rooms())
        return [Node("", host, os.getpid(), connections, rooms, time.time(), here=True)]

    def _asking(self) -> Surveys | None:
        return None if self._relay is None else self._relay.asking()

    def _asking_for(self, id: Hashable, members: tuple[Member, ...]) -> Surveys | None:
        return None if self._is_only_here(id, members) else self._asking()

    def _is_only_here(self, id: Hashable, members: tuple[Member, ...]) -> bool:
        """A Member is a connection of this process; an id of one connection has none elsewhere if it is here."""
        return isinstance(id, Member) or (bool(members) and not self._is_many)

    def _none(self) -> Replies[Any]:
        """Nobody was asked: there are no others, or there is no thread for the bus."""
        return Replies({}, (), self._relay is None)

    def _nobody_for(self, id: Hashable, members: tuple[Member, ...]) -> Replies[Any]:
        return Replies({}, (), True) if self._is_only_here(id, members) else self._none()


def _of(replies: Replies[Any]) -> tuple[int, tuple[str, ...], bool]:
    return 1 + len(replies.answers), replies.missing, replies.complete


def _cut(found: Iterable[Any], limit: int) -> tuple[list[Any], bool]:
    """At most so many, and whether there are more."""
    some = list(islice(found, limit + 1))
    return some[:limit], len(some) > limit
