"""What a `Manager` counts: the record that it hands out, and the messages that were dropped.

A connection drops messages while it is a member, and also afterwards: what waited in its send queue when it left may
still be sent, or be dropped with the connection. So the connection is remembered until its queue is empty.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .._conn.conn import Conn
from .member import Member


@dataclass(frozen=True)
class ManagerStats:
    """What a `Manager` has seen, at one moment; immutable.

    Attributes:
        members: connections that are registered now.
        rooms: rooms that somebody is in now.
        opened: members whose on_open has begun, or would have, if the manager has none.
        closed: those of them whose on_close is over, or would be.
        sent: messages that connections took, each counted once per connection.
        dropped: messages lost from full send queues, or with the queue of a connection that ended.
        queued_messages: messages that wait for slow members now.
        queued_bytes: their bytes, headers included; a broadcast counts once per connection that it waits for.
        joins: how often a member came into a room in which it was not.
        broadcasts: calls of `Manager.broadcast` and `broadcast_json` in this process.
        kicked: members that the manager closed: by `Manager.close` and `close_all`, also of another process, and as a
            newer connection took their id.
    """

    members: int
    rooms: int
    opened: int
    closed: int
    sent: int
    dropped: int
    queued_messages: int
    queued_bytes: int
    joins: int
    broadcasts: int
    kicked: int


class Drops:
    """Messages that the send queues of members have dropped, and those of connections that were members.

    ``lock`` is the registry's, and guards both fields: a member passes from the registry's count to this one in one
    step. A connection is asked what it has dropped without the lock, since that takes a lock of its own.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        # Guarded by _lock:
        self._total = 0  # dropped by members that have settled
        self._left: dict[Conn, int] = {}  # connections that left with messages in the queue: what was counted of each

    @property
    def total(self) -> int:
        """How many were dropped by members that have settled."""
        assert self._lock.locked()
        return self._total

    def begin(self, member: Member) -> None:
        """A connection is a member from now on: what it dropped before is counted here, the rest by the member."""
        assert self._lock.locked()
        counted = self._left.pop(member.conn, None)
        if counted is not None:
            self._total += member._dropped_before - counted

    def end(self, member: Member, dropped: int, queued: int) -> None:
        """A member has settled, whose connection has dropped so many messages in all, and still holds so many."""
        assert self._lock.locked()
        self._total += dropped - member._dropped_before
        if queued:
            self._left[member.conn] = dropped

    def look_again(self) -> None:
        """Count what connections have dropped since they left, and forget those whose queue is empty."""
        with self._lock:
            left = list(self._left.items())
        for conn, counted in left:
            queued, dropped = ask(conn)
            with self._lock:
                if self._left.get(conn) != counted:  # a member again, or looked at by another thread
                    continue
                self._total += dropped - counted
                if queued:
                    self._left[conn] = dropped
                else:
                    del self._left[conn]


def ask(conn: Conn) -> tuple[int, int]:
    """(messages in the send queue of a connection, messages that it has dropped)."""
    # In this order: what is dropped from the queue in between is counted as dropped, though it was in the queue too.
    # The other way round it would be in neither, and a connection with an empty queue is not asked again.
    queued = conn.queued[0]
    return queued, conn.dropped
