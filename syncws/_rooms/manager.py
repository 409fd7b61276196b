"""Messages to one, to a room or to all, without waiting for anybody; and the life of each member, from end to end.

    manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))

    def chat(request):
        with upgrader.upgrade(request) as conn:
            manager.run(conn, rooms=["lobby"])

**A member's life**, the same for `run` and `register`; its states are at the top of `member`:

    _admit      it is in the registry: found, counted, sent to; an older one of its id may be out from now on
    _see_out    older ones of its id are closed, and have had their on_close
    _open       on_open
    _read       on_message for each message, in run() only, until the end
    take_out    it is out of the registry, for a reason: the first one stays
    _settle     on_close, called by the one thread that claims it

**A broadcast** takes a snapshot, encodes once, and posts to each connection: what a slow peer does not take at once
waits in its connection's send queue, and what waits is one frame, shared by all. It runs no code of the application:
the on_close of a member that it finds lost is called by the settler's thread.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import EllipsisType
from typing import Any, Literal, overload

from .._base.callables import check_callable, check_done
from .._base.copies import copy_of
from .._base.counters import breaches
from .._base.logs import logger
from .._base.options import ConnOptions, Overflow
from .._base.owners import explains_options, takes_options
from .._base.printable import printable_repr
from .._base.worker import in_worker, meet_in_worker, meeting_place
from .._bus.backplane import Backplane
from .._bus.history import History
from .._bus.local import LocalBackplane
from .._conn.conn import Conn, post_to_all
from .._conn.farewell import Rest
from .._frames.prepared import PreparedMessage, json_text, prepare
from .._relay.gaps import Gap
from .._relay.health import BackplaneHealth
from .._relay.names import text_of
from .._relay.relay import Relay, RelayOptions
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
from .arguments import (
    check_backplane,
    check_close,
    check_data,
    check_exclude,
    check_history,
    check_join_timeout,
    check_member,
    check_name,
    check_one_room,
    check_room,
    given,
    place_of,
)
from .everywhere import Everywhere
from .heartbeat import Heartbeat
from .here import REPLACED, REPLACED_REASON, MembersHere
from .member import Member, Message, State
from .recall import Recall, Recovered
from .registry import DUPLICATE_POLICIES, Predecessors, Registry
from .settler import Settler
from .stats import ManagerStats

_logger = logger("syncws.manager")

#: The close code of a connection whose id is taken, if the second one is rejected.
REJECTED = 4002

#: Seconds that a newer connection waits for the callbacks of those whose place it takes, all together.
_PATIENCE = 10.0


@takes_options
class Manager:
    """Registers connections by id and by room, and sends to them without ever waiting for one.

    Any thread may call any method at any time, also from inside a callback, but not from a signal handler. Callbacks
    run under no lock. on_open, on_message and on_close of a member in `run` are called by the thread in `run`, one
    after the other. on_open of a registered member is called by the thread that registers it; its on_close by the
    thread that unregisters, closes or replaces it, or by a short-lived thread if a send found it lost. Each on_open is
    followed by exactly one on_close, whatever fails; a member that is taken out before its on_open has neither.

    Wherever an id is asked for, a `Member` does too, and means that one connection while it is registered.

    Args:
        on_open: ``on_open(member)``, once it is in the registry; messages may reach it before.
        on_message: ``on_message(member, message)``, for each message of a member in `run`; str or bytes.
        on_close: ``on_close(member, error)``, once it is out of the registry. error is the connection's end (a
            CloseError with the peer's code, 1000 included), or what a callback raised; None if it was unregistered.
        duplicate: what happens when an id is there already. "replace": the older connection is taken out and closed
            (4001), and its on_close is over before on_open of the newer begins; only a callback that takes longer than
            ten seconds is not waited for, and the log says so. "reject": the newer one is refused. "many": an id stands
            for all its connections. With a backplane this holds over all processes, in which an older connection of
            another process is closed soon after on_open of the newer, which does not wait for it; and "reject" waits
            for the answers of the other processes, at most join_timeout, and accepts without them.
        overflow, send_queue, send_queue_bytes: the send queue of each member, as in `ConnOptions`; None: as the
            connection has it.
        heartbeat: messages of members in `run` that are heartbeats, and how long one may be silent.
        name: of its like in the other workers of a `Server(workers=N)`, which are joined with it. A Manager that was
            made before the workers were forked is joined without one, one that a worker makes itself is not.
        backplane: joins this Manager with its like in other processes, which have a backplane on the same bus:
            `LocalBackplane`, `RedisBackplane`, or one of your own. Then `broadcast`, `send`, `close`, `join` and
            `leave` reach the members of all of them, rooms and ids are str, int or tuples of these, and `everywhere`
            asks all. What only looks (`get`, `ids`, `members`, `count`, `stats`) is about this process. None: in the
            workers of a `Server` a `LocalBackplane` between them (see name), elsewhere this process alone.
        on_gap: ``on_gap(gap)``, messages of other processes did not reach the members here, or may not have: see
            `Gap`. It is the place to have members fetch what they missed.
        on_bus: ``on_bus(up, reason)``, the bus was lost (False), or is back. Both are called by a thread of their own.
        join_timeout: seconds for which who joins a room that is new to this process waits until the bus lets it listen.
            It goes on without, and a Gap tells when it listens. And those for which `join` with ``since`` waits to read
            what a room remembers.
        history: rooms remember their last messages, for members that come back: see `join`. In the memory of each
            process: of one alone, or over a `LocalBackplane`; RedisBackplane has a ``history`` of its own.

    What on_open or on_message raises is logged, and closes that connection (1011); what on_close raises is logged.

    Raises:
        TypeError, ValueError: an option is wrong; the message names it.
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
        name: str | None = None,
        backplane: Backplane | None = None,
        on_gap: Callable[[Gap], object] | None = None,
        on_bus: Callable[[bool, str], object] | None = None,
        join_timeout: float = 1.0,
        history: History | None = None,
    ) -> None:
        callbacks = {"on_open": on_open, "on_message": on_message, "on_close": on_close}
        for option, callback in {**callbacks, "on_gap": on_gap, "on_bus": on_bus}.items():
            if callback is not None:
                check_callable(option, callback, "is a callable, or None")
        if duplicate not in DUPLICATE_POLICIES:
            raise ValueError(f"duplicate is one of {', '.join(DUPLICATE_POLICIES)}, not {duplicate!r}")
        if not (heartbeat is None or isinstance(heartbeat, Heartbeat)):
            raise TypeError(f"heartbeat is a Heartbeat, or None, not {heartbeat!r}")
        self._queue_options = given(send_queue=send_queue, send_queue_bytes=send_queue_bytes, overflow=overflow)
        ConnOptions(**self._queue_options)
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._heartbeat = heartbeat
        self._registry = Registry(duplicate)
        self._settler = Settler()
        self._warned_of_workers = False  # guarded by the registry's lock
        self._join_timeout = join_timeout
        self._relay: Relay | None = None
        self._relay_options: RelayOptions = {"on_gap": on_gap, "on_bus": on_bus, "join_timeout": join_timeout}
        self._name = check_name(name)
        check_join_timeout(join_timeout)
        if backplane is not None:
            check_backplane(backplane)
        archive = check_history(history, backplane)
        self._recall = None if archive is None else Recall(archive, self._registry, self._post, self._close)
        if backplane is not None:
            self._join(backplane)
            return
        self._number = meet_in_worker(self)
        if name is not None and (directory := meeting_place()) is not None:
            self.meet_workers(directory)

    def _join(self, backplane: Backplane) -> None:
        """Be joined with its like in other processes. Before the first member comes."""
        ledger = None if self._recall is None else self._recall.ledger
        self._relay = Relay(backplane, self._members_here(), **self._relay_options, ledger=ledger)

    def meet_workers(self, directory: str) -> None:
        """In a new worker of a `Server`, which calls this: join with its like in the other workers, in a directory.

        That is the Manager of the same name, or else the one that was made as the same one before the fork. A guess
        would let private messages reach another Manager.
        """
        if self._relay is None:
            self._join(LocalBackplane(os.path.join(directory, place_of(self._name, self._number))))

    # Members come and go

    @explains_options
    def run(
        self,
        conn: Conn,
        id: Hashable = None,
        rooms: Iterable[Hashable] = (),
        *,
        data: Mapping[Any, Any] | None = None,
    ) -> None:
        """Register a connection, read it until its end, unregister it; returns once all that is done.

        Whatever ends it is handed to on_close, not raised: the peer's close, its faults, what a callback raised (this
        was logged), a heartbeat that was missed, `close` and `unregister`. The connection is closed then. A duplicate
        that is rejected is closed with 4002, and has no callbacks.

        Args:
            conn: a connection that no other thread reads.
            id: what it is known by; any hashable except a Member. By default ``conn.id``.
            rooms: those it joins at once.
            data: what ``member.data`` begins with, before on_open: a dict of its own with these items.

        Raises:
            TypeError: an argument is of the wrong kind; the connection is as it was.
            ValueError: the connection is registered already, and stays so.
            BaseException: what is no Exception (KeyboardInterrupt, SystemExit) and was raised in this thread. The
                member is out and has had its on_close, and the connection is closed.
        """
        try:
            member, predecessors = self._admit(conn, id, rooms, data, in_run=True)
        except DuplicateIdError as duplicate:
            _logger.info("%r: %s", conn, duplicate)
            conn.close(REJECTED, "this id is connected already")
            return
        error: BaseException | None = None
        try:
            self._see_out(predecessors)
            del predecessors  # who would be kept as long as this one is read
            if self._open(member):
                self._read(member)
        except Exception as failure:
            error = self._log_end(member, failure)
        except BaseException as failure:
            error = failure
            conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
            raise
        finally:
            self._registry.end_run(member, error)
            del error  # whose traceback knows this frame
            self._settle(member)
            conn.close()  # last: it may wait for the peer, and a newer connection waits for on_close

    @explains_options
    def register(
        self,
        conn: Conn,
        id: Hashable = None,
        rooms: Iterable[Hashable] = (),
        *,
        data: Mapping[Any, Any] | None = None,
        send_queue: int | None = None,
    ) -> Member:
        """Register a connection that the application itself reads, and return its `Member`.

        It stays until `unregister`, until it is closed by the manager, or until a message finds it lost; so the thread
        that reads it unregisters it in the end, best by the Member, as a newer connection may have taken the id. If
        on_open raises, this is logged, the connection is closed (1011), and the Member that is returned is out.

        Args:
            conn: a connection.
            id: what it is known by; any hashable except a Member. By default ``conn.id``.
            rooms: those it joins at once.
            data: what ``member.data`` begins with: a dict of its own with these items.
            send_queue: messages that may wait for this one, in place of the manager's.

        Raises:
            DuplicateIdError: the id is there, with a backplane in any process, and duplicates are rejected; the
                connection is as it was.
            TypeError, ValueError: an argument is wrong, or the connection is registered already; nothing has changed.
            BaseException: what is no Exception (KeyboardInterrupt, SystemExit) and was raised in this thread. The
                member is out and has had its on_close; the connection stays open.
        """
        member, predecessors = self._admit(conn, id, rooms, data, in_run=False, send_queue=send_queue)
        try:
            self._see_out(predecessors)
            self._open(member)
        except Exception as failure:
            self._registry.take_out(member, self._log_end(member, failure))
        except BaseException as failure:  # nobody gets the Member, so nobody could unregister it
            self._registry.take_out(member, failure)
            raise
        finally:
            self._registry.end_register(member)
            self._settle(member)  # if it is out by now
        return member

    def unregister(self, id: Hashable) -> bool:
        """Take out a member, or all of an id; whether there was one. on_close gets None.

        A connection that is merely registered stays open and is the application's; its on_close is over on return. One
        in `run` is closed (1000), and the thread in `run` calls its on_close.
        """
        members = self._registry.find(id)
        for member in members:
            # Before the close, which wakes the thread in run(): that would take it out with the end that it finds.
            self._registry.take_out(member, None)
            if member._in_run:
                member.conn._end_without_peer(CloseCode.NORMAL_CLOSURE, "")
        self._settle_all(members)
        return bool(members)

    # Who is there

    def get(self, id: Hashable) -> Member | None:
        """The member of an id, the newest if there are many; None if there is none."""
        members = self._registry.find(id)
        return members[-1] if members else None

    def get_all(self, id: Hashable) -> tuple[Member, ...]:
        """The members of an id, oldest first; () if there is none."""
        return self._registry.find(id)

    def ids(self, room: Hashable = None) -> list[Hashable]:
        """The ids in a room, each once, in the order they joined; by default all, oldest first.

        Raises TypeError for a room that cannot be hashed.
        """
        if room is None:
            return self._registry.ids()
        return list(dict.fromkeys(member.id for member in self.members(room)))

    def members(self, room: Hashable = None) -> list[Member]:
        """The members of a room, in the order they joined; by default all, in the order they came.

        Raises TypeError for a room that cannot be hashed.
        """
        check_one_room(room)
        return list(self._registry.members(room))

    def count(self, room: Hashable = None) -> int:
        """How many connections there are in a room; by default in all.

        Raises TypeError for a room that cannot be hashed.
        """
        check_one_room(room)
        return self._registry.count(room)

    def __len__(self) -> int:
        """How many connections there are."""
        return self._registry.count()

    def __iter__(self) -> Iterator[Member]:
        """The members, as they are now, oldest first."""
        return iter(self._registry.members())

    def __bool__(self) -> bool:
        """True: an empty manager is a manager."""
        return True

    def __contains__(self, id: Hashable) -> bool:
        """Whether there is a member of that id."""
        return bool(self._registry.find(id))

    def stats(self) -> ManagerStats:
        """The counts, for a page or a log; taken one after the other while messages may flow."""
        return self._registry.stats()

    # Rooms

    @overload
    def join(self, id: Hashable, room: Hashable, *, local: bool = False) -> bool: ...

    @overload
    def join(self, id: Hashable, room: Hashable, *, since: str | None) -> Recovered: ...

    def join(
        self, id: Hashable, room: Hashable, *, local: bool = False, since: str | EllipsisType | None = ...
    ) -> bool | Recovered:
        """Let a member, or all of an id, into a room, which is made if it is not there; whether there was a member.

        With a backplane members of the id in other processes join it too, soon, unless local is True; then True also
        says that they were told.

        With ``since``, for a member that comes back to a room that remembers: it is sent what it missed, in order and
        each message once, then what is broadcast from now on. So the room is not among those that it was registered
        with: on_open is the place. It waits for the history, at most join_timeout, and for the member's peer to take
        what it missed.

        Args:
            id: who; with since a Member, or an id of one connection.
            room: where to.
            local: True for this process only.
            since: the position of the last message that the peer has, which may come from the peer as it is: whatever
                it is, it is no error. None: it has none, and is only told where the room stands.

        Returns: with since, `Recovered`, which says whether that was all; of nobody if there is no such member.

        Raises:
            TypeError: room is None, cannot be hashed, or with a backplane or since is not str, int or a tuple of these.
            ValueError: with since, the member is in the room already, or the room does not remember.
        In both cases nobody has joined.
        """
        check_room(room)
        if since is not ...:
            return self._join_again(id, room, since)
        joined = self._join_here(id, room)
        relay = self._relay_for(id, joined, local)
        return (relay is not None and relay.do("join", id, room=text_of(room))) or joined

    def _join_again(self, id: Hashable, room: Hashable, since: str | None) -> Recovered:
        text_of(room)
        if self._recall is None or not self._recall.remembers(room):
            raise ValueError(
                f"{printable_repr(room, 80)} does not remember: give the Manager or its backplane a history"
            )
        member = self.get(id)
        if member is None:
            return Recovered("", (), False)
        if room in member.rooms:
            raise ValueError(
                f"{member!r} is in {printable_repr(room, 80)} already: join it with since alone, in on_open"
            )
        joining = contextlib.nullcontext() if self._relay is None else self._relay.joining([room])
        return self._recall.join(member, room, since, self._join_timeout, joining, self._relay)

    def position(self, room: Hashable) -> str:
        """Where the history of a room stands: what is broadcast from now on is after that.

        It waits for a history on Redis, at most join_timeout.

        Raises:
            TypeError, ValueError: as `join` with since.
            BackplaneError: the history cannot be read; BackplaneTimeout: not in time.
        """
        check_room(room)
        text_of(room)
        if self._recall is None or not self._recall.remembers(room):
            raise ValueError(
                f"{printable_repr(room, 80)} does not remember: give the Manager or its backplane a history"
            )
        return self._recall.position(room, self._join_timeout, self._relay)

    def _join_here(self, id: Hashable, room: Hashable) -> bool:
        if self._relay is None:
            return self._registry.join(id, room)
        text_of(room)
        if not self._registry.find(id):
            return False
        with self._relay.joining([room]):
            return self._registry.join(id, room)

    def leave(self, id: Hashable, room: Hashable, *, local: bool = False) -> bool:
        """Let a member, or all of an id, out of a room; whether one was in it. The last one out ends the room.

        A broadcast to the room that is under way in another thread may still reach it. With a backplane members of the
        id in other processes leave it too, soon; then True also says that they were told.

        Args:
            id: who: an id, or a Member.
            room: where from.
            local: True for this process only.

        Raises TypeError for a room that cannot be hashed, or with a backplane is not str, int or a tuple of these.
        """
        check_one_room(room)
        left = (self._registry if self._recall is None else self._recall).leave(id, room)
        relay = self._relay_for(id, left, local)
        return (relay is not None and relay.do("leave", id, room=text_of(room))) or left

    def rooms(self, id: Hashable = None) -> frozenset[Hashable]:
        """The rooms of a member (of all connections of an id); by default all rooms that somebody is in."""
        return self._registry.rooms(id)

    # Other processes

    @property
    def everywhere(self) -> Everywhere:
        """What asks all processes, and waits for answers: `count`, `ids`, `members`, `send`, `close`, `nodes`.

        Who does not answer in time is ``missing`` from the result. Without a backplane it is about this process alone.
        """
        return Everywhere(self._members_here(), self._relay, is_many=self._registry.is_many)

    def _members_here(self) -> MembersHere:
        return MembersHere(self._registry, self._post, self._close, self._join_here, self._recall)

    def backplane_health(self) -> BackplaneHealth | None:
        """How the bus is, and what was seen of it; None without a backplane."""
        return None if self._relay is None else self._relay.health()

    def end(self, timeout: float = 5.0) -> None:
        """Have the bus take what was published, at most timeout seconds, and say goodbye to the other processes.

        After it there is neither a thread nor a descriptor of the backplane. Members stay, and the next message begins
        anew. A program that ends does it by itself, for at most a second. Without a backplane it does nothing.
        """
        if self._relay is not None:
            self._relay.end(timeout)

    def _relay_for(self, id: Hashable, here: bool, local: bool) -> Relay | None:
        """The relay, if what is for an id goes to other processes too.

        A Member is a connection of this process. An id of one connection has none elsewhere if it is here.
        """
        if local or isinstance(id, Member) or (here and not self._registry.is_many):
            return None
        return self._relay

    # Messages

    def send(self, id: Hashable, message: Message, *, text: bool | None = None, local: bool = False) -> bool:
        """Send to one id, str as TEXT and bytes as BINARY, without waiting; whether a connection of it took it.

        text says which, whatever the message is given as: see `Conn.send`. A connection takes a message that is sent,
        or that waits in its send queue. With a backplane the message goes to other processes too, unless local is True;
        then True also says that the bus has queued it, whether somebody there has that id or not: `everywhere.send`
        asks. Raises TypeError or ValueError for what cannot be sent; never an error of a connection or of the bus.
        """
        prepared = prepare(message, text=text)
        members = self._registry.find(id)
        # To the bus first: so members here and elsewhere get it at about the same time.
        relay = self._relay_for(id, bool(members), local)
        queued = relay is not None and relay.send(id, prepared)
        if len(members) == 1 and not isinstance(message, PreparedMessage):
            return self._post_own(members[0], prepared) or queued
        return self._post(members, prepared) > 0 or queued

    @explains_options
    def broadcast(
        self,
        message: Message,
        *,
        room: Hashable = None,
        exclude: Iterable[Hashable] = (),
        text: bool | None = None,
        local: bool = False,
    ) -> int:
        """Send to everybody in a room, by default to all, without waiting for any; how many here took the message.

        Encoded once (compressed once for each window size in use). Messages of one thread arrive in their order. Calls
        no callback: on_close of a member that is found lost is called by another thread. With a backplane it goes to
        the members in all processes, and is lost only with a `Gap`.

        Args:
            message: str as TEXT, bytes as BINARY, or a `PreparedMessage` of either kind.
            room: who gets it; None: everybody.
            exclude: ids, or Members, that do not get it.
            text: True to send bytes as TEXT, False to send a str as BINARY: see `Conn.send`.
            local: True for the members of this process only.

        Raises TypeError or ValueError for what cannot be sent, before anybody gets it; never an error of a connection
        or of the bus.
        """
        prepared = prepare(message, "broadcast_json", text)
        excluded = check_exclude(exclude)
        self._registry.count_broadcast()
        try:
            if self._recall is not None and not local and self._recall.remembers(room):
                return self._recall.broadcast(room, prepared, excluded, self._relay)
            if self._relay is not None and not local:  # first: members here and elsewhere get it at about the same time
                self._relay.broadcast(room, prepared, [each for each in excluded if not isinstance(each, Member)])
            members = self._registry.members(room)
        except TypeError:
            check_one_room(room)  # here, so that a broadcast does not pay for it
            raise
        if excluded:
            members = tuple(each for each in members if each.id not in excluded and each not in excluded)
        return self._post(members, prepared)

    def send_json(self, id: Hashable, value: Any, *, local: bool = False) -> bool:
        """`send`, of a value as JSON text, to an id; local as there.

        Raises TypeError or ValueError for a value that JSON cannot hold: nothing is sent then.
        """
        return self.send(id, json_text(value), local=local)

    @explains_options
    def broadcast_json(
        self, value: Any, *, room: Hashable = None, exclude: Iterable[Hashable] = (), local: bool = False
    ) -> int:
        """`broadcast`, of a value as JSON text; room, exclude and local as there.

        Raises TypeError or ValueError for a value that JSON cannot hold: nobody gets anything then.
        """
        return self.broadcast(json_text(value), room=room, exclude=exclude, local=local)

    # Closing

    def close(
        self, id: Hashable, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "", *, local: bool = False
    ) -> int:
        """Take out a member, or all of an id, begin the closing handshake, and return how many there were here.

        Waits for no peer. What was sent before leaves first; nothing of the peer's is delivered any more. on_close gets
        a CloseError with this code; that of a registered member is over on return.

        Args:
            id: who is closed.
            code: the close code, one that may be sent (RFC 6455 section 7.4).
            reason: said to the peer; 123 bytes of UTF-8 at most.
            local: True for this process only; else with a backplane those in other processes are closed too, soon.

        Raises ValueError or TypeError for a code or reason that may not be sent: nobody is closed then.
        """
        check_close(code, reason)
        members = self._registry.find(id)
        relay = self._relay_for(id, bool(members), local)
        if relay is not None:
            relay.do("close", id, code=int(code), reason=reason)
        return self._close(members, code, reason)

    def close_all(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> int:
        """`close`, of everybody who is here now: all are told before the first on_close is called.

        With a backplane those in other processes stay. code and reason are as of `close`, and so is what it raises.
        """
        check_close(code, reason, "close_all(")
        return self._close(self._registry.members(), code, reason)

    def _close(self, members: tuple[Member, ...], code: int, reason: str) -> int:
        for member in members:
            # Before the close, which wakes the thread that reads it: that would take it out for a reason of its own.
            self._registry.kick(member, CloseError(code, reason))
        with Rest([member.conn for member in members], code, reason):
            for member in members:
                if member._in_run:
                    member.conn._end_without_peer(code, reason)
                else:
                    member.conn._start_close(code, reason)
                    member.conn.close(code, reason, timeout=0)
        self._settle_all(members)  # once all have been told
        return len(members)

    # A member's life

    def _admit(
        self,
        conn: Conn,
        id: Hashable,
        rooms: Iterable[Hashable],
        data: Mapping[Any, Any] | None,
        *,
        in_run: bool,
        send_queue: int | None = None,
    ) -> tuple[Member, Predecessors]:
        """A new member, in the registry, and those that had its id before. Raises as `register`."""
        if self._relay is None:
            return self._admit_here(conn, id, rooms, data, in_run=in_run, send_queue=send_queue)
        rooms = check_member(conn, id, rooms)
        with self._relay.joining(rooms, id):
            if id is None or self._registry.is_many:
                return self._admit_here(conn, id, rooms, data, in_run=in_run, send_queue=send_queue)
            with self._relay.claiming(id, rejects=self._registry.is_exclusive) as claim:
                admitted = self._admit_here(conn, id, rooms, data, in_run=in_run, send_queue=send_queue)
                claim(admitted[0])
                return admitted

    def _admit_here(
        self,
        conn: Conn,
        id: Hashable,
        rooms: Iterable[Hashable],
        data: Mapping[Any, Any] | None,
        *,
        in_run: bool,
        send_queue: int | None,
    ) -> tuple[Member, Predecessors]:
        rooms = check_member(conn, id, rooms)
        begins_with = check_data(data)
        queue = self._queue_options if send_queue is None else {**self._queue_options, "send_queue": send_queue}
        ConnOptions(**queue)
        if self._relay is None and in_worker():
            self._warn_of_workers()
        self._registry.drops.look_again()
        member = Member(self, self._registry.lock, conn.id if id is None else id, conn, in_run=in_run, data=begins_with)
        predecessors = self._registry.admit(member, rooms, CloseError(REPLACED, REPLACED_REASON))
        if queue:
            conn.set_send_queue(**queue)
        return member, predecessors

    def _warn_of_workers(self) -> None:
        with self._registry.lock:
            warned, self._warned_of_workers = self._warned_of_workers, True
        if not warned:
            _logger.warning(
                "this is one of several workers, and its Manager knows the connections of this process only: a "
                "broadcast reaches no other worker's; %s",
                "give it a backplane: Manager(backplane=syncws.LocalBackplane(path))"
                if meeting_place() is None
                else "make it before the workers are forked, or give it a name: Manager(name=...)",
            )

    def _see_out(self, predecessors: Predecessors) -> None:
        """Close those that were replaced, and wait until all that had the id have had their on_close.

        It waits for no callback that is under way further up in this very thread.
        """
        until = time.monotonic() + _PATIENCE
        for older in predecessors.replaced:
            older.conn._end_without_peer(REPLACED, REPLACED_REASON)
        # After the close, which on_close may look at. Those that this thread replaced, and lost ones before their turn.
        self._settle_all(predecessors.leaving)
        for older, settled in self._registry.expect_settled(predecessors.leaving):
            if not settled.wait(max(0.0, until - time.monotonic())):
                _logger.warning("%r: its callback does not end; going on with a newer connection", older)

    def _open(self, member: Member) -> bool:
        """on_open; False, and no callback, for a member that was taken out before."""
        if not self._registry.open(member):
            return False
        if self._on_open is not None:
            check_done("on_open", self._on_open(member))
        return True

    def _read(self, member: Member) -> None:
        """on_message for each message, until the connection's end, which is raised, or until the member is out."""
        conn, heartbeat, on_message, is_open = member.conn, self._heartbeat, self._on_message, State.OPEN
        timeout = None if heartbeat is None else heartbeat.timeout
        while True:
            try:
                message = conn.receive(timeout)
            except ReadTimeout as late:
                if not conn._is_own(late):  # of another connection, in a handler of control frames
                    raise
                if heartbeat is not None:  # else it was a read deadline of the application's
                    breaches.add("heartbeat")
                conn._end_without_peer(CloseCode.POLICY_VIOLATION, "no message came in time")
                continue  # to that end, which is raised
            # After the read, during which the member may have been taken out: then nothing is delivered any more.
            # Without the lock: one look at one attribute, and a member that is out is never OPEN again.
            if member._state is not is_open:
                return
            member.last_seen = time.time()
            if heartbeat is not None and heartbeat.matches(message):
                answer = heartbeat.answer(message)
                if answer is not None:
                    self._post((member,), prepare(answer))
            elif on_message is not None:
                result = on_message(member, message)
                if result is not None:
                    check_done("on_message", result)

    def _log_end(self, member: Member, failure: Exception) -> Exception:
        """Log why a member ends, when a read or a callback raised that; what on_close is to get of it."""
        conn = member.conn
        if conn._is_own_end(failure):
            if not conn.closed:  # a callback ran into it by writing: what the peer said last is yet to be read
                conn.close()
            end = conn.end or failure
            assert isinstance(end, ConnectionClosed)
            _logger.log(log_level(end), "%r: %s", conn, end)
            return end
        if conn._is_own(failure):  # a timeout: the peer was too slow for a callback
            _logger.info("%r: closing with 1011, as a callback let a timeout escape: %s", member, failure)
        else:
            _logger.error("%r: closing with 1011, as a callback raised", member, exc_info=failure)
        conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
        return failure

    def _settle(self, member: Member) -> None:
        """on_close of a member that is out, unless another thread is to call it, or has called it."""
        if not self._registry.claim(member):
            return
        if self._relay is not None:
            self._relay.claims.release(member.id, member)
        # Without the lock: once a member is claimed, only the thread that claimed it changes it.
        try:
            if member._state is State.OUT and self._on_close is not None:
                check_done("on_close", self._on_close(member, member._error))
        except Exception:
            _logger.exception("%r: on_close raised", member)
        finally:
            if self._recall is not None:
                self._recall.forget(member, member.rooms)
            dropped = self._registry.settle(member)
            if dropped:
                _logger.info("%r: %d messages were dropped", member, dropped)

    def _settle_all(self, members: Iterable[Member]) -> None:
        """`_settle` each, whatever is raised; then raise the first of what is no Exception (SystemExit, Ctrl-C)."""
        first: BaseException | None = None
        for member in members:
            try:
                self._settle(member)
            except BaseException as failure:
                first = first or failure
        if first is not None:
            raise first

    # Sending

    def _post(self, members: tuple[Member, ...], prepared: PreparedMessage) -> int:
        """Post to each; how many took it."""
        left = set(post_to_all([member.conn for member in members], prepared))
        taken = len(members) - len(left)
        if left:
            taken += sum(self._post_to_one(member, prepared) for member in members if member.conn in left)
        registry = self._registry
        with registry.lock:
            registry.sent += taken
        return taken

    def _post_own(self, member: Member, prepared: PreparedMessage) -> bool:
        """Post a message that is for one connection alone; whether it took it."""
        if not self._post_to_one(member, prepared, is_own=True):
            return False
        registry = self._registry
        with registry.lock:
            registry.sent += 1
        return True

    def _post_to_one(self, member: Member, prepared: PreparedMessage, *, is_own: bool = False) -> bool:
        try:
            if member.conn._post(prepared, is_own=is_own):
                return True
            end = member.conn.end
            if end is not None:
                self._take_out_lost(member, end)
        except CloseSentError:
            pass  # this side is closing it: its end is near, and will be told
        except (ConnectionClosed, WriteTimeout) as failure:
            self._take_out_lost(member, copy_of(failure))  # on_close gets it, which may raise it in another thread
        return False

    def _take_out_lost(self, member: Member, end: ConnectionClosed | WriteTimeout) -> None:
        """A send found a member lost: take it out, and let its own thread or the settler call on_close."""
        if not member.conn.closed:
            if member._in_run and isinstance(end, ConnectionClosed):
                return  # lost for writing: what the peer said before is still to be read, its close too
            # A write was cut short: nothing can be said any more, not even a close.
            member.conn.close(CloseCode.INTERNAL_SERVER_ERROR, timeout=0)
        if self._registry.take_out_lost(member, end):
            self._settler.hand_over(member, self._settle)
