"""Who is connected, as whom, in which rooms; and messages to one, to a room or to all, without waiting for anybody.

    manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))

    def chat(request):
        with upgrader.upgrade(request) as conn:
            manager.run(conn, id=request.query.get("user"), rooms=["lobby"])

**A member's life**, the same for `run` and `register`:

    _admit      it is in the registry: found, counted, told; whoever had its id may be out of it by that
    _open       on_open, once those whose place it took have had their on_close
      ...       on_message, of a member in run()
    _take_out   it is out of the registry, for a reason; only the first one to do so succeeds
    _settle     on_close, by the member's own thread if it has one, else by whoever took it out

**A broadcast** takes a snapshot, encodes once, and posts to each connection: what a slow peer does not take at once
waits in its connection's send queue, and what waits is one frame, shared by all. It runs no code of the application:
the on_close of a member that it finds lost is called by a short-lived thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .._base.options import ConnOptions, Overflow
from .._base.worker import in_worker
from .._conn.conn import Conn, post_to_all
from .._frames.payloads import format_close_message
from .._frames.prepared import PreparedMessage, json_text, prepare
from ..errors import (
    CloseCode,
    CloseError,
    CloseSentError,
    ConnectionClosed,
    DuplicateIdError,
    ReadTimeout,
    WriteTimeout,
    log_level,
)
from .heartbeat import Heartbeat

_logger = logging.getLogger("syncws.manager")

#: The close code of a connection whose id was taken by a newer one, and of one that came second.
REPLACED = 4001
REJECTED = 4002

#: Seconds that a newer connection waits for a callback of the one whose place it takes.
_PATIENCE = 10.0

_REPLACED = "replaced by a newer connection"

DUPLICATE_POLICIES = ("replace", "reject", "many")

Message = str | bytes | bytearray | memoryview | PreparedMessage


class Member:
    """One connection in a `Manager`, made by `Manager.register` and `Manager.run`.

    ``id`` and ``conn``; ``rooms``; ``data``: a dict for the application; ``opened_at`` and ``last_seen``: seconds since
    the epoch; the latter tells when its last message came, if it is in `Manager.run`.

    Any thread may use it. The manager's lock guards what changes, but for ``data``, which is the application's, and
    ``last_seen``, which one thread writes.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_dropped_before",
        "_error",
        "_manager",
        "_opened",
        "_out",
        "_replaced",
        "_rooms",
        "_running",
        "_settled",
        "_thread",
        "conn",
        "data",
        "id",
        "last_seen",
        "opened_at",
    )

    def __init__(self, manager: Manager, id: Hashable, conn: Conn, thread: int, running: bool) -> None:
        self.id = id
        self.conn = conn
        self.data: dict[Any, Any] = {}
        self.opened_at = self.last_seen = time.time()
        self._manager = manager
        self._rooms: set[Hashable] = set()
        self._dropped_before = conn.dropped
        self._running = running  # it is in run()
        self._replaced: tuple[Member, ...] = ()  # out of the registry for its sake, and yet to be closed
        self._before: tuple[Member, ...] = ()  # whose on_close comes before its on_open
        # The thread that is to call on_close, as it is inside on_open or run(). None: whoever takes it out.
        self._thread: int | None = thread
        self._opened = False  # on_open was called, so that on_close must be
        self._out = False  # of the registry
        self._error: BaseException | None = None  # why it is out
        self._settled: threading.Event | None = None  # made for those who wait for the end of its on_close

    @property
    def rooms(self) -> frozenset[Hashable]:
        """The rooms it is in, or was in when it was taken out."""
        with self._manager._lock:
            return frozenset(self._rooms)

    def send(self, message: Message) -> bool:
        """`Manager.send`, to this connection alone."""
        return self._manager.send(self, message)

    def send_json(self, value: Any) -> bool:
        """`Manager.send_json`, to this connection alone."""
        return self._manager.send_json(self, value)

    def join(self, room: Hashable) -> bool:
        """`Manager.join`, of this connection alone."""
        return self._manager.join(self, room)

    def leave(self, room: Hashable) -> bool:
        """`Manager.leave`, of this connection alone."""
        return self._manager.leave(self, room)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> bool:
        """`Manager.close`, of this connection alone."""
        return self._manager.close(self, code, reason) > 0

    def expect_settled(self) -> threading.Event:
        """Set once its on_close is over. The manager's lock is held."""
        self._settled = self._settled or threading.Event()
        return self._settled

    def __repr__(self) -> str:
        return f"<syncws.Member {self.id!r} {self.conn!r}>"


@dataclass(frozen=True)
class ManagerStats:
    """What a `Manager` has seen.

    * ``members``, ``rooms``: how many there are;
    * ``opened``, ``closed``: how many members have had their on_open, and their on_close;
    * ``sent``: messages that connections took, each counted once per connection;
    * ``dropped``: messages lost from full send queues, or with the queue of a connection that ended;
    * ``queued_messages``, ``queued_bytes``: what waits for slow peers at this moment.
    """

    members: int
    rooms: int
    opened: int
    closed: int
    sent: int
    dropped: int
    queued_messages: int
    queued_bytes: int


class Manager:
    """Registers connections by id and by room, and sends to them without ever waiting for one.

    Every method is for any thread, also from inside a callback, but not for a signal handler. Callbacks run under no
    lock: those of a member in `run` in its own thread, one at a time; on_open of a registered one in the thread that
    registers it, its on_close in the one that takes it out, or, if a send found it lost, in a short-lived thread. Each
    on_open is followed by exactly one on_close, whatever fails. `_lock` guards everything here and is a leaf: nothing
    is called under it, but for the hash and equality of ids and rooms.

    Wherever an id is asked for, a `Member` does too, and means that one connection.

    Args:
        on_open: ``on_open(member)``, once it is in the registry; messages may reach it before.
        on_message: ``on_message(member, message)``, for each message of a member in `run`; str or bytes.
        on_close: ``on_close(member, error)``, once it is out of the registry. error is the connection's end (a
            CloseError with the peer's code, 1000 included), or what a callback raised; None if it was unregistered.
        duplicate: what happens when an id is there already. "replace": the older connection is taken out and closed
            (4001), its on_close is called before on_open of the newer (which waits for it, ten seconds at most: what
            comes then is said in the log). "reject": DuplicateIdError. "many": an id
            stands for all its connections.
        overflow, send_queue, send_queue_bytes: the send queue of each member, as in `ConnOptions`; None: as the
            connection has it.
        heartbeat: messages of members in `run` that are heartbeats, and how long one may be silent.

    What on_open or on_message raises is logged and closes that connection (1011); what on_close raises is logged.

    Raises:
        ValueError, TypeError: an option is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        on_open: Callable[[Member], object] | None = None,
        on_message: Callable[[Member, str | bytes], object] | None = None,
        on_close: Callable[[Member, BaseException | None], object] | None = None,
        duplicate: Literal["replace", "reject", "many"] = "replace",
        overflow: Overflow | None = None,
        send_queue: int | None = None,
        send_queue_bytes: int | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        for name, callback in (("on_open", on_open), ("on_message", on_message), ("on_close", on_close)):
            if not (callback is None or callable(callback)):
                raise TypeError(f"{name} is a callable, or None, not {callback!r}")
        if duplicate not in DUPLICATE_POLICIES:
            raise ValueError(f"duplicate is one of {', '.join(DUPLICATE_POLICIES)}, not {duplicate!r}")
        if not (heartbeat is None or isinstance(heartbeat, Heartbeat)):
            raise TypeError(f"heartbeat is a Heartbeat, or None, not {heartbeat!r}")
        ConnOptions(**_given(send_queue=send_queue, send_queue_bytes=send_queue_bytes, overflow=overflow))
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._duplicate = duplicate
        self._send_queue = send_queue
        self._send_queue_bytes = send_queue_bytes
        self._overflow = overflow
        self._heartbeat = heartbeat

        self._lock = threading.Lock()
        # Guarded by _lock:
        self._by_id: dict[Hashable, tuple[Member, ...]] = {}  # no empty tuple
        self._conns: dict[Conn, Member] = {}
        self._leaving: dict[Hashable, tuple[Member, ...]] = {}  # out, but their on_close is not over; no empty tuple
        self._everybody = _Group()
        self._rooms: dict[Hashable, _Group] = {}  # no empty group
        self._lost: deque[Member] = deque()  # out, and their on_close is for a thread to call
        self._settling = False  # there is such a thread
        self._trailing: list[tuple[Conn, int]] = []  # of members that were: more may be dropped than were counted
        self._opened = self._closed = self._sent = self._dropped = 0
        self._told = False  # guarded by _lock: that other processes have connections too

    # Members come and go

    def run(self, conn: Conn, id: Hashable = None, rooms: Iterable[Hashable] = ()) -> None:
        """Register a connection, read it until its end, unregister it; returns once all that is done.

        Whatever ends it is handed to on_close, not raised: the peer's close, its faults, what a callback raised (this
        was logged), a heartbeat that was missed, `close` and `unregister`. The connection is closed then. A duplicate
        that is rejected is closed with 4002, and has no callbacks.

        Args:
            conn: a connection that no other thread reads.
            id: what it is known by; any hashable but a Member. By default ``conn.id``.
            rooms: those it joins at once.

        Raises TypeError for arguments that cannot be.
        """
        try:
            member = self._admit(conn, id, rooms, running=True)
        except DuplicateIdError as duplicate:
            _logger.info("%r: %s", conn, duplicate)
            conn.close(REJECTED, "this id is connected already")
            return
        error: BaseException | None = None
        try:
            if self._open(member):
                self._read(member)
        except Exception as failure:
            error = self._explain(member, failure)
        except BaseException as failure:
            error = failure
            conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
            raise
        finally:
            self._take_out(member, error)
            del error  # whose traceback knows this frame
            self._settle(member)
            conn.close()

    def register(
        self, conn: Conn, id: Hashable = None, rooms: Iterable[Hashable] = (), *, send_queue: int | None = None
    ) -> Member:
        """Register a connection that the application itself reads, and return its `Member`.

        It stays until `unregister`, until it is closed by the manager, or until a message finds it lost; so the thread
        that reads it unregisters it in the end, best by the Member, as a newer connection may have taken the id.

        Args:
            id, rooms: as for `run`.
            send_queue: messages that may wait for this one, in place of the manager's.

        Raises DuplicateIdError if the id is there and duplicates are rejected: the connection is as it was. TypeError
        and ValueError for arguments that cannot be.
        """
        member = self._admit(conn, id, rooms, running=False, send_queue=send_queue)
        try:
            self._open(member)
        except Exception as failure:
            self._take_out(member, self._explain(member, failure))
        except BaseException as failure:  # nobody gets the Member, so nobody could unregister it
            self._take_out(member, failure)
            raise
        finally:
            with self._lock:
                out = member._out  # meanwhile, by somebody who left the rest to us
                if not out:
                    member._thread = None
            if out:
                self._settle(member)
        return member

    def unregister(self, id: Hashable) -> bool:
        """Take out a member, or all of an id; whether there was one. on_close gets None.

        A connection that is merely registered stays open and is the application's; one in `run` is closed (1000).
        """
        members = self.get_all(id)
        for member in members:
            if self._take_out(member, None):
                self._settle(member)
            if member._running:
                member.conn._dismiss(CloseCode.NORMAL_CLOSURE, "")
        return bool(members)

    # Who is there

    def get(self, id: Hashable) -> Member | None:
        """The member of an id, the newest if there are many; None if there is none."""
        members = self.get_all(id)
        return members[-1] if members else None

    def get_all(self, id: Hashable) -> tuple[Member, ...]:
        """The members of an id, oldest first."""
        with self._lock:
            return self._find(id)

    def ids(self) -> list[Hashable]:
        """The ids, each once, oldest first."""
        with self._lock:
            return list(self._by_id)

    def members(self, room: Hashable = None) -> list[Member]:
        """The members of a room, in the order they joined; by default all, in the order they came."""
        return list(self._snapshot(room))

    def count(self, room: Hashable = None) -> int:
        """How many connections there are in a room; by default in all."""
        with self._lock:
            group = self._everybody if room is None else self._rooms.get(room)
            return 0 if group is None else len(group.members)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Member]:
        """The members, as they are now, oldest first."""
        return iter(self.members())

    def __bool__(self) -> bool:
        return True  # an empty manager is a manager

    def __contains__(self, id: Hashable) -> bool:
        return bool(self.get_all(id))

    def stats(self) -> ManagerStats:
        """Counts, for a page or a log; taken one after the other while messages may flow."""
        self._count_trailing()
        with self._lock:
            members = self._everybody.snapshot()
            leaving = [member for members in self._leaving.values() for member in members]
            rooms, opened, closed = len(self._rooms), self._opened, self._closed
            sent, dropped = self._sent, self._dropped
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
        )

    def _count_trailing(self, returning: Conn | None = None) -> None:
        """Count what was dropped since; a connection that is a member again is counted as such from now on."""
        with self._lock:
            trailing, self._trailing = self._trailing, []
        more, waiting = 0, []
        for conn, counted in trailing:
            queued, total = conn.queued[0], conn.dropped
            more += total - counted
            if queued and conn is not returning:
                waiting.append((conn, total))
        with self._lock:
            self._dropped += more
            self._trailing += waiting

    # Rooms

    def join(self, id: Hashable, room: Hashable) -> bool:
        """Let a member into a room, which is made if need be; False if there is no such member."""
        _check_room(room)
        with self._lock:
            members = self._find(id)
            for member in members:
                self._join(member, room)
        return bool(members)

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """Let a member out of a room; whether it was in it. The last one out ends the room.

        A broadcast to the room that is under way in another thread may still reach it.
        """
        with self._lock:
            members = [member for member in self._find(id) if room in member._rooms]
            for member in members:
                self._forget(member, room)
                member._rooms.discard(room)
        return bool(members)

    def rooms(self, id: Hashable = None) -> frozenset[Hashable]:
        """The rooms of a member (of all connections of an id); by default all rooms that somebody is in."""
        with self._lock:
            if id is None:
                return frozenset(self._rooms)
            return frozenset().union(*(member._rooms for member in self._find(id)))

    # Messages

    def send(self, id: Hashable, message: Message) -> bool:
        """Send to one id, str as TEXT and bytes as BINARY, without waiting; whether a connection of it took it.

        Raises TypeError or ValueError for what cannot be sent.
        """
        prepared = prepare(message)
        return self._post(self.get_all(id), prepared) > 0

    def broadcast(self, message: Message, *, room: Hashable = None, exclude: Iterable[Hashable] = ()) -> int:
        """Send to everybody in a room, by default to all, without waiting for any; how many took the message.

        Encoded once (compressed once for each window size in use). exclude: ids, or Members, that do not get it.
        Messages of one thread arrive in their order. Raises TypeError or ValueError for what cannot be sent.
        """
        prepared = prepare(message, "broadcast_json")
        members = self._snapshot(room)
        if excluded := _excluded(exclude):
            members = tuple(each for each in members if each.id not in excluded and each not in excluded)
        return self._post(members, prepared)

    def send_json(self, id: Hashable, value: Any) -> bool:
        """`send`, of a value as JSON text. Raises TypeError or ValueError for a value that JSON cannot hold."""
        return self.send(id, json_text(value))

    def broadcast_json(self, value: Any, *, room: Hashable = None, exclude: Iterable[Hashable] = ()) -> int:
        """`broadcast`, of a value as JSON text. Raises TypeError or ValueError for a value that JSON cannot hold."""
        return self.broadcast(json_text(value), room=room, exclude=exclude)

    # Closing

    def close(self, id: Hashable, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> int:
        """Take out a member, or all of an id, begin the closing handshake, and return how many there were.

        Waits for no peer. What was sent before leaves first; nothing of the peer's is delivered any more. on_close gets
        a CloseError with this code; that of a registered member is called here. Raises ValueError or TypeError for a
        code or reason that may not be sent.
        """
        format_close_message(code, reason)
        return self._close(self.get_all(id), code, reason)

    def close_all(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> int:
        """`close`, of everybody who is there now: all are told before the first on_close is called."""
        format_close_message(code, reason)
        return self._close(self._snapshot(None), code, reason)

    # The registry

    def _find(self, id: Hashable) -> tuple[Member, ...]:
        """What an id, or a Member, stands for."""
        assert self._lock.locked()
        if not isinstance(id, Member):
            return self._by_id.get(id, ())
        return (id,) if id._manager is self and not id._out else ()

    def _snapshot(self, room: Hashable) -> tuple[Member, ...]:
        with self._lock:
            group = self._everybody if room is None else self._rooms.get(room)
            return () if group is None else group.snapshot()

    def _admit(
        self, conn: Conn, id: Hashable, rooms: Iterable[Hashable], *, running: bool, send_queue: int | None = None
    ) -> Member:
        """A new member, in the registry."""
        rooms = _check_arguments(conn, id, rooms)
        queue = _given(
            send_queue=self._send_queue if send_queue is None else send_queue,
            send_queue_bytes=self._send_queue_bytes,
            overflow=self._overflow,
        )
        ConnOptions(**queue)
        if in_worker():
            self._tell_of_workers()
        self._count_trailing(conn)
        member = Member(self, conn.id if id is None else id, conn, threading.get_ident(), running)
        with self._lock:
            same = self._by_id.get(member.id, ())
            known = self._conns.get(conn)
            rejected = bool(same) and self._duplicate == "reject"
            if known is None and not rejected:
                self._insert(member, same, rooms)
        if known is not None:
            raise ValueError(f"{conn!r} is registered already, as {known.id!r}: unregister it first")
        if rejected:
            raise DuplicateIdError(f"the id {member.id!r} is connected already")
        if queue:
            conn.set_send_queue(**queue)
        return member

    def _tell_of_workers(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            _logger.warning(
                "this is one of several workers, and its Manager knows the connections of this process only: a "
                "broadcast reaches no other worker's; use one worker where everybody is to reach everybody"
            )

    def _insert(self, member: Member, same: tuple[Member, ...], rooms: list[Hashable]) -> None:
        """Put a member where it belongs; same are those of its id."""
        assert self._lock.locked()
        if self._duplicate == "replace":
            member._replaced = same
            for older in same:
                self._remove(older, CloseError(REPLACED, _REPLACED))
        if self._duplicate != "many":
            member._before = self._leaving.get(member.id, ())  # not those to come, who wait for this one
        self._by_id[member.id] = (*self._by_id.get(member.id, ()), member)
        self._conns[member.conn] = member
        self._everybody.add(member)
        for room in rooms:
            self._join(member, room)

    def _open(self, member: Member) -> bool:
        """on_open, once those that had its id have had their on_close; False if it was taken out before that."""
        for older in member._replaced:
            older.conn._dismiss(REPLACED, _REPLACED)
            if older._thread is None:
                self._settle(older)
        self._await_settled(member._before)
        member._replaced = member._before = ()
        with self._lock:
            if member._out:
                return False
            member._opened = True
            self._opened += 1
        if self._on_open is not None:
            self._on_open(member)
        return True

    def _await_settled(self, members: tuple[Member, ...]) -> None:
        """Wait until their on_close is over; but not for one whose callback has brought us here."""
        until = time.monotonic() + _PATIENCE
        with self._lock:
            ours = [each for each in members if each in self._lost]  # no need to wait until their turn comes
            for older in ours:
                self._lost.remove(older)
            expected = [
                (each, each.expect_settled())
                for each in members
                # One that was taken out before its on_open has neither callback.
                if each not in ours and each in self._leaving.get(each.id, ()) and each._opened
                if each._thread != threading.get_ident()
            ]
        for older in ours:
            self._settle(older)
        for older, settled in expected:
            if not settled.wait(max(0.0, until - time.monotonic())):
                _logger.warning("%r: its callback does not end; going on with a newer connection", older)

    def _take_out(self, member: Member, error: BaseException | None) -> bool:
        """Remove a member; True if its on_close is the caller's to call: it was there, and has no thread of its own."""
        with self._lock:
            if member._out:
                return False
            self._remove(member, error)
            return member._thread is None

    def _remove(self, member: Member, error: BaseException | None) -> None:
        assert self._lock.locked()
        member._out = True
        member._error = error
        self._everybody.remove(member)
        for room in member._rooms:  # which it remembers
            self._forget(member, room)
        _discard(self._by_id, member)
        del self._conns[member.conn]
        self._leaving[member.id] = (*self._leaving.get(member.id, ()), member)

    def _join(self, member: Member, room: Hashable) -> None:
        assert self._lock.locked()
        self._rooms.setdefault(room, _Group()).add(member)
        member._rooms.add(room)

    def _forget(self, member: Member, room: Hashable) -> None:
        assert self._lock.locked()
        group = self._rooms[room]
        group.remove(member)
        if not group.members:
            del self._rooms[room]

    # The end of a member

    def _settle(self, member: Member) -> None:
        """on_close, by the one thread that is to call it."""
        member._thread = threading.get_ident()
        try:
            if member._opened and self._on_close is not None:
                self._on_close(member, member._error)
        except Exception:
            _logger.exception("%r: on_close raised", member)
        finally:
            conn = member.conn
            total = conn.dropped
            dropped, queued = total - member._dropped_before, conn.queued[0]
            with self._lock:
                self._closed += member._opened
                self._dropped += dropped
                if queued:  # it has not left yet, and may never
                    self._trailing.append((conn, total))
                _discard(self._leaving, member)
                member._error = None  # whose traceback may know the member
                if member._settled is not None:
                    member._settled.set()
            if dropped:
                _logger.info("%r: %d messages were dropped", member, dropped)

    def _lose(self, member: Member, end: ConnectionClosed | WriteTimeout) -> None:
        """A send found a member lost: take it out, and let a thread of its own call on_close."""
        if member.conn.end is None:
            if member._running and isinstance(end, ConnectionClosed):
                return  # lost for writing: what the peer said before is still to be read, its close too
            # A write was cut short: nothing can be said any more, not even a close.
            member.conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
        if not self._take_out(member, end):
            return
        with self._lock:
            self._lost.append(member)
            begin, self._settling = not self._settling, True
        if begin:
            self._start_settling()

    def _start_settling(self) -> None:
        try:
            threading.Thread(target=self._settle_lost, name="syncws-on-close", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._settling = False
            _logger.error("no thread to call on_close (%s); trying again with the next one", error)

    def _settle_lost(self) -> None:
        while True:
            with self._lock:
                if not self._lost:
                    self._settling = False
                    return
                member = self._lost.popleft()
            try:
                self._settle(member)
            except BaseException:  # SystemExit: there may be others to tell
                _logger.exception("%r: on_close raised", member)

    def _explain(self, member: Member, failure: Exception) -> Exception:
        """Log why a member ends, of what was raised for it by a read or a callback; what on_close is to get."""
        conn = member.conn
        if conn._is_own_end(failure):
            if conn.end is None:  # a callback ran into it by writing: what the peer said last is yet to be read
                conn.close()
            end = conn.end or failure
            assert isinstance(end, ConnectionClosed)
            _logger.log(log_level(end), "%r: %s", conn, end)
            return end
        if isinstance(failure, ReadTimeout | WriteTimeout):  # the peer was too slow for a callback
            _logger.info("%r: closing with 1011, as a callback let a timeout escape: %s", member, failure)
        else:
            _logger.error("%r: closing with 1011, as a callback raised", member, exc_info=failure)
        conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
        return failure

    def _close(self, members: tuple[Member, ...], code: int, reason: str) -> int:
        mine = []
        for member in members:
            if self._take_out(member, CloseError(code, reason)):
                mine.append(member)
            if member._running:
                member.conn._dismiss(code, reason)
            else:
                member.conn.close(code, reason, timeout=0)
        for member in mine:  # once all have been told
            self._settle(member)
        return len(members)

    # A member's thread

    def _read(self, member: Member) -> None:
        """Deliver messages until the end, which is raised."""
        conn, heartbeat, on_message = member.conn, self._heartbeat, self._on_message
        timeout = None if heartbeat is None else heartbeat.timeout
        while True:
            try:
                message = conn.receive(timeout)
            except ReadTimeout:
                conn._dismiss(CloseCode.POLICY_VIOLATION, "no message came in time")
                continue  # to that end, which is raised
            if member._out:
                return
            member.last_seen = time.time()
            if heartbeat is not None and heartbeat.matches(message):
                answer = heartbeat.answer(message)
                if answer is not None:
                    self._post((member,), prepare(answer))
            elif on_message is not None:
                on_message(member, message)

    # Sending

    def _post(self, members: tuple[Member, ...], prepared: PreparedMessage) -> int:
        """Post to each; how many took it."""
        left = set(post_to_all([member.conn for member in members], prepared))
        taken = len(members) - len(left)
        if left:
            taken += sum(self._post_to_one(member, prepared) for member in members if member.conn in left)
        with self._lock:
            self._sent += taken
        return taken

    def _post_to_one(self, member: Member, prepared: PreparedMessage) -> bool:
        try:
            if member.conn.send_nowait(prepared):
                return True
            if member.conn.end is not None:
                self._lose(member, member.conn.end)
        except CloseSentError:
            pass  # this side is closing it: its end is near, and will be told
        except (ConnectionClosed, WriteTimeout) as end:
            self._lose(member, end)
        return False


class _Group:
    """Members in order, and a snapshot of them, made anew only after a change. Guarded by the manager's lock."""

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


def _given(**options: Any) -> dict[str, Any]:
    """The options that are to be changed: None leaves one as the connection has it."""
    return {name: value for name, value in options.items() if value is not None}


def _discard(members: dict[Hashable, tuple[Member, ...]], member: Member) -> None:
    """Take a member out of a dict of tuples, and the tuple, once it is empty."""
    others = tuple(each for each in members[member.id] if each is not member)
    if others:
        members[member.id] = others
    else:
        del members[member.id]


def _excluded(exclude: Iterable[Hashable]) -> frozenset[Hashable]:
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        raise TypeError(f"exclude is a list of ids or Members, such as [member], not {exclude!r}")
    return frozenset(exclude)


def _check_room(room: Hashable) -> None:
    if room is None:
        raise TypeError("a room is any hashable but None, which stands for everybody")
    hash(room)


def _check_arguments(conn: Conn, id: Hashable, rooms: Iterable[Hashable]) -> list[Hashable]:
    """The rooms; TypeError for what cannot be registered."""
    if not isinstance(conn, Conn):
        raise TypeError(f"conn is a syncws.Conn, not {conn!r}")
    if isinstance(id, Member):
        raise TypeError("id is what a member is known by, not a Member")
    hash(id)
    if isinstance(rooms, str | bytes) or not isinstance(rooms, Iterable):
        raise TypeError(f"rooms is a list of rooms, such as [{rooms!r}], not {rooms!r}")
    rooms = list(rooms)
    for room in rooms:
        _check_room(room)
    return rooms
