"""What rooms remember, for one Manager: who comes back gets what it missed, and then what is live; nothing twice.

    Manager.join(member, room, since=position)
        |  hold what is live for this member
        |  join: from now on everything that is live comes
        |  read what was kept since the position
        |  send that
        '  send what was held and is later; from now on it gets what is live as all others do

A message has its position when it is delivered. On a bus that keeps the history itself everything comes from the bus,
also to members of the process that sent it: so there is one order. Where each process keeps its own, `_turns` make
keeping a message and delivering it one step, so that members get a room's messages in the order of their positions.
"""

from __future__ import annotations

import enum
import os
import threading
from collections.abc import Callable, Collection, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .._base.advice import advisor
from .._base.forks import begin_anew_in_child
from .._base.logs import lines_later, logger
from .._bus.history import Archive, Past
from .._bus.memoryarchive import MemoryArchive
from .._frames.prepared import PreparedMessage
from .._relay.envelope import Envelope, Kind
from .._relay.kept import Kept, kept_in, kept_of
from .._relay.names import room_channel, text_of
from .._relay.outward import Published
from ..errors import BINARY, TEXT, BackplaneError, CloseCode, ConnectionClosed, WriteTimeout
from .member import Member
from .registry import Registry

_logger = logger("syncws.manager")

#: What may wait for a member while it is sent what it missed: as much as may wait for the bus.
_MOST_HELD, _MOST_HELD_BYTES = 10_000, 16 << 20

#: How many rooms may be delivered to at the same time.
_TURNS = 16


@dataclass(frozen=True)
class Recovered:
    """What a member got that came back to a room; immutable.

    Attributes:
        position: where the room's history stood: all up to there was sent, or was before the member's time. "" if it
            could not be read.
        messages: what was missed and has been sent to it, oldest first, as its peer got it: str or bytes.
        recovered: whether that is all that was broadcast to the room since the position that was asked for. False:
            nothing was sent, and the page should fetch what it shows anew.
    """

    position: str
    messages: tuple[str | bytes, ...]
    recovered: bool


class RelayLike(Protocol):
    """What is asked of a `Relay`."""

    def broadcast_kept(
        self, room: Hashable, message: PreparedMessage, ids: Collection[Hashable], conns: Collection[str]
    ) -> Published: ...
    def begin(self) -> bool: ...
    def hears(self, room: Hashable) -> bool: ...


class _State(enum.Enum):
    """What becomes of what is live, for a member that has come back."""

    HOLDING = "it is held, while the member is sent what it missed"
    SPOILED = "it was too much to be held, and is lost to the member, which will be closed"
    AFTER = "it is sent, unless it is among what was missed: on its way, the bus may be slower than the history"
    OVER = "it is sent"


class _Hold:
    """What is live for a member that comes back to a room. Any thread; `lock` guards all fields."""

    __slots__ = ("floor", "held", "lock", "size", "state")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state = _State.HOLDING
        self.held: list[tuple[str | None, PreparedMessage]] = []
        self.size = 0
        self.floor = ""  # the position up to which all was sent, from AFTER on

    def takes(self, position: str | None, message: PreparedMessage, archive: Archive) -> bool:
        """Whether a message is held, or dropped; False: it is to be sent as to all others."""
        with self.lock:
            if self.state is _State.HOLDING:
                self.held.append((position, message))
                self.size += len(message.payload)
                if len(self.held) > _MOST_HELD or self.size > _MOST_HELD_BYTES:
                    self.held.clear()
                    self.state = _State.SPOILED
            elif self.state is _State.AFTER and (position is None or archive.is_after(position, self.floor)):
                # The bus keeps the order: what was sent before will not come any more.
                self.state = _State.OVER
            return self.state is not _State.OVER


class Recall:
    """The rooms that remember.

    Any thread. `_lock` guards `_holds`; of each hold, its own. `_turns` are held while members are posted to, which
    waits for nobody; what is logged meanwhile is told afterwards.

    Args:
        archive: where what was broadcast is kept.
        registry: the members of this process.
        post: sends one message to members, without waiting.
        close: closes members.
    """

    def __init__(
        self,
        archive: Archive,
        registry: Registry,
        post: Callable[[tuple[Member, ...], PreparedMessage], int],
        close: Callable[[tuple[Member, ...], int, str], int],
    ) -> None:
        self._archive = archive
        self._registry = registry
        self._post = post
        self._close = close
        #: The archive, if it is this process that fills it.
        self.ledger = archive if isinstance(archive, MemoryArchive) else None
        self._key = archive.history.stamp
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Nobody is joining, as in the child of a fork."""
        self._lock = threading.Lock()
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))
        # Changed under _lock. Read without it, one key at a time, which is one step: most of the time it is empty.
        self._holds: dict[Hashable, dict[Member, _Hold]] = {}  # by room; no empty dict
        self._boot = os.urandom(8)

    def remembers(self, room: Hashable) -> bool:
        """Whether a room remembers. What the application's `History.rooms` raises is raised."""
        return room is not None and self._archive.history.remembers(room)

    # Out

    def broadcast(
        self, room: Hashable, message: PreparedMessage, excluded: Collection[Hashable], relay: RelayLike | None
    ) -> int:
        """A broadcast to a room that remembers; how many here took it, or will get it from the bus.

        Raises as `Manager.broadcast`.
        """
        ids = frozenset(each for each in excluded if not isinstance(each, Member))
        conns = frozenset(each.conn.id for each in excluded if isinstance(each, Member))
        text = text_of(room)
        # Before its turn: it waits for an end, which waits for the threads of the bus, and they wait for their turn.
        is_begun = relay is not None and relay.begin()
        if self.ledger is None:
            assert relay is not None
            queued = is_begun and relay.broadcast_kept(room, message, ids, conns).queued
            return len(self._members(room, Kept(message, ids, conns), own=True)) if queued else 0
        channel = room_channel(text)
        with lines_later, self._turn(channel):
            may_be_kept = relay is None or is_begun
            position = self._keep(channel, room, message, ids, conns, relay) if may_be_kept else None
            return self._deliver(room, Kept(message, ids, conns), position, own=True)

    def _keep(
        self,
        channel: str,
        room: Hashable,
        message: PreparedMessage,
        ids: Collection[Hashable],
        conns: Collection[str],
        relay: RelayLike | None,
    ) -> str | None:
        """Publish a message and keep it; its position."""
        ledger = self.ledger
        assert ledger is not None
        if relay is not None:
            published = relay.broadcast_kept(room, message, ids, conns)
            envelope = published.envelope
            return ledger.append(channel, envelope.boot, envelope.number, published.data, begins=envelope.begins)
        self._begin(None)
        extra = {"exclude": [text_of(id, "an id") for id in ids]} if ids else None
        binary = message.message_type is BINARY
        data = Envelope(Kind.ROOM, self._boot, 0, text_of(room), extra, message.payload, binary).encode()
        return ledger.append_own(channel, data)

    # In

    def take(self, room: Hashable, envelope: Envelope, data: bytes, position: str | None, *, own: bool) -> None:
        """A broadcast to a room that remembers came from the bus, with its position if the bus has kept it.

        Raises ValueError for what cannot be read.
        """
        kept = kept_of(envelope)
        if position is not None or self.ledger is None:
            self._deliver(room, kept, position, own=own)
            return
        channel = room_channel(text_of(room))
        with lines_later, self._turn(channel):
            position = self.ledger.append(channel, envelope.boot, envelope.number, data, begins=envelope.begins)
            if position is not None:
                self._deliver(room, kept, position, own=own)

    def _deliver(self, room: Hashable, kept: Kept, position: str | None, *, own: bool) -> int:
        members = self._members(room, kept, own=own)
        message = kept.message if position is None else kept.stamped(self._key, position)
        holds = self._holds.get(room)
        if holds is None:
            return self._post(members, message)
        live, over = [], []
        for member in members:
            hold = holds.get(member)
            if hold is None or not hold.takes(position, message, self._archive):
                live.append(member)
                if hold is not None:
                    over.append((member, hold))
        for member, hold in over:
            self._forget(room, member, hold)
        return self._post(tuple(live), message) + len(members) - len(live)

    def _members(self, room: Hashable, kept: Kept, *, own: bool) -> tuple[Member, ...]:
        members = self._registry.members(room)
        if kept.ids or (own and kept.conns):
            members = tuple(each for each in members if _gets(each, kept, own=own))
        return members

    def _turn(self, channel: str) -> threading.Lock:
        return self._turns[hash(channel) % _TURNS]

    # Who comes back

    def join(
        self,
        member: Member,
        room: Hashable,
        since: str | None,
        timeout: float,
        joining: AbstractContextManager[Any],
        relay: RelayLike | None,
    ) -> Recovered:
        """Let a member into a room, send it what it missed, and from then on what is live. See `Manager.join`.

        joining: inside, the bus lets this process listen to the room. timeout: seconds for reading.
        """
        hold = _Hold()
        with self._lock:
            # Before it is in the room: what is delivered from then on is held.
            self._holds.setdefault(room, {})[member] = hold
        past = Past("", (), False)
        try:
            with joining:
                joined = self._registry.join(member, room)
                if joined:
                    # After it is in the room: what is not read here is delivered, and held.
                    past = self._read(room, since, timeout, relay)
            return Recovered(past.position, self._send(member, past), past.recovered)
        finally:
            self._release(member, room, hold, past)

    def position(self, room: Hashable, timeout: float, relay: RelayLike | None) -> str:
        """Where the history of a room stands. Raises as `Archive.read`."""
        self._begin(relay)
        return self._archive.read(room_channel(text_of(room)), None, timeout).position

    def _begin(self, relay: RelayLike | None) -> None:
        """This process has a name, which positions tell."""
        if relay is not None:
            relay.begin()
        elif self.ledger is not None:
            self.ledger.begin(self._boot)

    def _read(self, room: Hashable, since: str | None, timeout: float, relay: RelayLike | None) -> Past:
        self._begin(relay)
        try:
            past = self._archive.read(room_channel(text_of(room)), since, timeout)
        except BackplaneError as error:
            advisor.warn(_logger, "history", "", "who came back to a room did not get what it had missed: %s", error)
            return Past("", (), False)
        if relay is not None and not relay.hears(room):  # what was sent since it was read does not come
            return Past(past.position, (), False)
        return past

    def _send(self, member: Member, past: Past) -> tuple[str | bytes, ...]:
        """What was missed, waiting for the peer: it may be more than a send queue holds."""
        messages = []
        for entry in past.entries:
            kept = kept_in(entry.data)
            if kept is None or member.id in kept.ids:
                continue
            message = kept.stamped(self._key, entry.position)
            try:
                member.conn.write_prepared(message)
            except (ConnectionClosed, WriteTimeout):
                break  # it is found lost when what was held is sent
            messages.append(message.payload.decode() if message.message_type is TEXT else message.payload)
        return tuple(messages)

    def _release(self, member: Member, room: Hashable, hold: _Hold, past: Past) -> None:
        if self.ledger is not None:
            with self._turn(room_channel(text_of(room))):
                pass  # what was kept before it was read has been delivered by now, and is held
        # Under its lock until all is sent: what is delivered meanwhile waits for its place after that.
        with lines_later, hold.lock:
            for position, message in hold.held:
                # What was read was sent; if that was nothing, all that came since the member joined is sent.
                if position is None or not past.recovered or self._archive.is_after(position, past.position):
                    self._post((member,), message)
            spoiled = hold.state is _State.SPOILED
            hold.held.clear()
            is_over = self.ledger is not None or not past.recovered
            hold.state, hold.floor = (_State.OVER if is_over else _State.AFTER), past.position
        if is_over:
            self._forget(room, member, hold)  # last: who finds no hold sends at once
        if spoiled:
            self._close((member,), CloseCode.TRY_AGAIN_LATER, "too slow for what it missed")

    def leave(self, id: Hashable, room: Hashable) -> bool:
        """As `Registry.leave`; what was to be told apart for who leaves is forgotten."""
        holds = self._holds.get(room)
        # Those of before: one that comes back meanwhile has another.
        before = () if holds is None else [(member, holds.get(member)) for member in self._registry.find(id)]
        was_in = self._registry.leave(id, room)
        for member, hold in before:
            if hold is not None:
                self._forget(room, member, hold)
        return was_in

    def forget(self, member: Member, rooms: Collection[Hashable]) -> None:
        """A member is out, which was in these rooms."""
        if self._holds:
            for room in rooms:
                self._forget(room, member, None)

    def _forget(self, room: Hashable, member: Member, hold: _Hold | None) -> None:
        """Let go of a hold, or of any that a member has in a room."""
        with self._lock:
            holds = self._holds.get(room)
            if holds is not None and hold in (None, holds.get(member)):
                holds.pop(member, None)
                if not holds:
                    del self._holds[room]


def _gets(member: Member, kept: Kept, *, own: bool) -> bool:
    return member.id not in kept.ids and not (own and member.conn.id in kept.conns)
