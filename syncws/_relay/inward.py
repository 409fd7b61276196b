"""The way in: what comes from the bus is read, counted and handed to the members here; losses are found and told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from .._base.advice import advisor
from .._base.errands import Errands
from .._base.logs import logger
from .._bus.memoryarchive import MemoryArchive
from .claims import Claims
from .envelope import Envelope, Foreign, Kind, decode, message_of
from .gaps import Gaps
from .health import Counts
from .here import Here
from .interests import Interests
from .names import ALL, id_channel, name_of, room_channel
from .nodes import Nodes
from .numbers import JUMP, Incoming
from .outward import Outward
from .questions import Questions
from .surveys import Surveys

_logger = logger("syncws.relay")

#: Seconds: an age of a hundred years is none.
_OLDEST = 3e9


class RelayLike(Protocol):
    """What the way in asks of its Relay, whose module imports this one."""

    gaps: Gaps
    deeds: Errands
    nodes: Nodes
    incoming: Incoming
    interests: Interests
    outward: Outward
    questions: Questions
    claims: Claims
    surveys: Surveys
    ledger: MemoryArchive | None

    def beat(self, *, is_new: bool = False) -> None: ...
    def greet(self) -> None: ...


class Inward:
    """What a backplane tells, for one Relay: the `Sink` of the bus.

    The threads of the bus call it. It runs no code of the application and waits for nothing. `_lock` guards the fields
    that say so and is a leaf.
    """

    def __init__(self, here: Here, boot: bytes, relay: RelayLike, *, tells_ends: bool = False) -> None:
        self._here = here
        self._boot = boot
        self._relay = relay
        self._tells_ends = tells_ends  # the bus calls `vanished` by itself
        self._thread = threading.local()  # of each thread: whether it has brought a message
        self._lock = threading.Lock()
        # Guarded by _lock:
        self.counts = Counts()
        self._lost: str | None = None  # why the bus is lost; None while it is there
        self._was_up = False

    # The bus itself

    def down(self, reason: str) -> None:
        """The bus is lost: it is told once, until it is back."""
        with self._lock:
            told, self._lost = self._lost is not None, reason
        self._forget_all()
        if not told:
            self._relay.gaps.bus(False, reason)

    def up(self, proven: float) -> None:
        """The bus is there: what was sent since the last proof may be missing."""
        with self._lock:
            reason, self._lost = self._lost, None
            first, self._was_up = not self._was_up, True
        relay = self._relay
        relay.questions.met()
        self._forget_all()
        # Both, without `or`: after this answer nobody who joined meanwhile is told apart.
        unheard = relay.interests.forgive()
        relay.nodes.listen_again()
        if reason is not None:
            relay.gaps.bus(True, "all channels are listened to again")
        if not first or unheard:
            since = time.time() - (time.monotonic() - proven)
            relay.gaps.report(f"the bus was lost: {reason or 'not connected yet'}", missed=None, since=since)
            relay.claims.repeat()
        relay.beat(is_new=True)

    def _forget_all(self) -> None:
        """What was sent while the bus was not there did not come: no older position is good here."""
        if self._relay.ledger is not None:
            self._relay.ledger.lost_all()

    @property
    def hears(self) -> bool:
        """Whether everything that others publish arrives."""
        return self._was_up and self._lost is None  # without the lock: it is told to others, who get it later anyway

    @property
    def is_in_its_thread(self) -> bool:
        """Whether the thread that asks is one of the bus: it must not wait for what only it can bring."""
        return getattr(self._thread, "brings", False)

    @property
    def is_lost(self) -> bool:
        """Whether the bus is lost, as far as it has told."""
        return self._lost is not None  # without the lock: one attribute, and the answer may be old at once anyway

    def effective(self, channel: str, since: float) -> None:
        """A channel that somebody has joined is listened to only now, later than the join waited for."""
        room = name_of(channel[2:]) if channel.startswith("r:") else None
        self._relay.claims.repeat()
        self._relay.gaps.report("the bus was slow to let this process listen", missed=None, since=since, room=room)

    def dropped(self, counts: Mapping[str, int]) -> None:
        """The bus was away for too long, or too slow: who listens elsewhere is told, once that is possible."""
        self._relay.outward.lost(counts)
        self._relay.claims.repeat()
        advisor.warn(
            _logger,
            "dropped out",
            "",
            "%d messages were not sent to other processes, as the bus was away for too long or its queue was full",
            sum(counts.values()),
        )
        for channel, count in counts.items():
            try:
                self._tell_members_here(channel, count)
            except Exception:  # of `History.rooms`; the thread of the bus goes on
                _logger.exception("whether a room remembers is not known, as asking for it raised")

    def _tell_members_here(self, channel: str, count: int) -> None:
        """Where the bus keeps what rooms remember, their messages reach members here by the bus too, or not at all."""
        room = name_of(channel[2:]) if channel.startswith("r:") else None
        if room is not None and self._relay.ledger is None and self._here.remembers(room):
            self._relay.gaps.report(
                "messages of this process were not sent",
                missed=count,
                since=time.time(),
                room=room,
                node=self._boot.hex(),
            )

    def vanished(self, node: str) -> None:
        """A process has ended without a goodbye: what it had not sent is lost."""
        try:
            boot = bytes.fromhex(node)
        except ValueError:
            return
        if self._relay.ledger is not None:
            self._relay.ledger.gone(boot, goodbye=False)
        # Also where it has said that it leaves: what it lost after that it could not tell.
        seen = self._relay.nodes.vanish(boot)
        self._relay.questions.gone(boot)
        if seen is not None:
            self._relay.gaps.report("node vanished", missed=None, since=seen, node=node)

    def silent(self, boot: bytes) -> None:
        """The beats of a process are missing: on a bus that tells of ends itself it is busy or stopped, and no more."""
        if not self._tells_ends:
            self.vanished(boot.hex())
            return
        self._relay.nodes.leave(boot)
        self._relay.questions.gone(boot)

    # Messages

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        """Something came on a channel: it is dropped and counted, or taken."""
        if not self._relay.interests.has(channel) and not (self._relay.ledger and channel.startswith("r:")):
            return  # for others, on a bus where everything arrives; or let go of in this instant
        self._thread.brings = True
        try:
            self._take(channel, decode(data), data, position)
        except Foreign as error:
            self._count("foreign")
            advisor.warn(
                _logger,
                "foreign",
                "",
                "messages of another version of syncws come from the bus and are dropped (%s): give this version a "
                "prefix of its own, or upgrade all",
                error,
            )
        except (ValueError, TypeError):
            self._count("bad")
            _logger.debug("what is no envelope came from the bus", exc_info=True)
        except Exception:
            self._count("bad")
            _logger.exception("a message from the bus was dropped, as taking it raised")

    def _take(self, channel: str, envelope: Envelope, data: bytes, position: str | None) -> None:
        kind = envelope.kind
        if envelope.boot == self._boot and position is None:  # what is kept comes to all members from the bus
            self._count("echoes")
            if kind is Kind.LOST and envelope.number:  # told already: what this process itself could not send
                self._relay.incoming.lost(channel, self._boot, envelope.number)
            elif kind is Kind.CLAIM and not envelope.target:
                self._relay.claims.many_came_back(envelope)
            elif kind is Kind.CLAIM:
                self._relay.claims.came_back(_named(channel, id_channel, envelope), envelope.extra or {})
            return
        if self._relay.ledger is not None:
            self._note(self._relay.ledger, channel, envelope)
            if not self._relay.interests.has(channel):
                self._keep(channel, envelope, data)
                return
        if kind is Kind.LOST or kind is Kind.BEAT:
            self._hear_of_losses(channel, envelope)
        elif envelope.number and not self._is_new(channel, envelope):
            self._count("duplicates")
            return
        self._count("received")
        match kind:
            case Kind.ROOM:
                self._broadcast(_named(channel, room_channel, envelope), envelope, data, position)
            case Kind.ALL:
                self._broadcast(None, envelope, data, None)
            case Kind.ID:
                self._here.send(_named(channel, id_channel, envelope), message_of(envelope))
            case Kind.BEAT:
                said = envelope.extra or {}
                if self._relay.nodes.beat(envelope.boot, said) or said.get("new") is True:
                    self._relay.greet()  # so that the new one knows of this process at once
            case Kind.LEAVE:
                self._relay.nodes.leave(envelope.boot)
                self._relay.questions.gone(envelope.boot)
            case Kind.ASK:
                if not self._relay.surveys.answer(envelope):
                    self._warn_of_deeds()
            case Kind.ANSWER:
                self._relay.questions.answered(envelope)
            case Kind.CLAIM if envelope.target:
                self._relay.claims.heard(_named(channel, id_channel, envelope), envelope.boot, envelope.extra or {})
            case Kind.CLAIM:
                self._relay.claims.heard_many(envelope)
            case Kind.DO:
                self._do(_named(channel, id_channel, envelope), envelope.extra or {})

    def _broadcast(self, room: Any, envelope: Envelope, data: bytes, position: str | None) -> None:
        if position is not None or (self._relay.ledger is not None and self._here.remembers(room)):
            self._here.take(room, envelope, data, position, own=envelope.boot == self._boot)
            return
        excluded = [name_of_json(each) for each in _list(envelope.extra, "exclude")]
        self._here.broadcast(room, message_of(envelope), excluded)

    def _do(self, id: Any, what: Mapping[str, Any]) -> None:
        """Done by a thread that may wait, as on_close of a member is code of the application.

        It is done to those who are here now, and not to one of this id who comes while it waits its turn.
        """
        here = self._here
        members = here.find(id)
        deed: Callable[[Hashable], object]
        match what:
            case {"do": "close", "code": int(code), "reason": str(reason)}:
                deed = lambda member: here.close(member, code, reason)  # noqa: E731
            case {"do": "join", "room": room}:
                to_join = name_of_json(room)
                deed = lambda member: here.join(member, to_join)  # noqa: E731
            case {"do": "leave", "room": room}:
                to_leave = name_of_json(room)
                deed = lambda member: here.leave(member, to_leave)  # noqa: E731
            case _:
                raise ValueError("an unknown deed")
        if members and not self._relay.deeds.run(lambda: [deed(each) for each in members]):
            self._warn_of_deeds()

    def _warn_of_deeds(self) -> None:
        advisor.warn(_logger, "deeds", "", "other processes close and move more members here than on_close lets end")

    # What rooms remember, where each process does it by itself

    def _keep(self, channel: str, envelope: Envelope, data: bytes) -> None:
        """A broadcast to a room that nobody here is in: who comes back may be in it next."""
        if envelope.kind is Kind.ROOM and envelope.number:
            room = _named(channel, room_channel, envelope)
            if self._here.remembers(room):
                self._here.take(room, envelope, data, None, own=False)

    def _note(self, ledger: MemoryArchive, channel: str, envelope: Envelope) -> None:
        match envelope.kind:
            case Kind.LOST if channel.startswith("r:"):
                ledger.lost(channel, envelope.boot, envelope.number)
            case Kind.BEAT if (envelope.extra or {}).get("hears") is True:
                ledger.present(envelope.boot, (envelope.extra or {}).get("began"))
            case Kind.BEAT:
                ledger.met(envelope.boot, (envelope.extra or {}).get("began"))
            case Kind.LEAVE:
                ledger.gone(envelope.boot, goodbye=True)

    # Losses

    def _is_new(self, channel: str, envelope: Envelope) -> bool:
        came = self._relay.incoming.came(channel, envelope.boot, envelope.number, envelope.begins)
        if came.missed != 0:
            self._report(channel, envelope.boot, came.missed)
        return came.is_new

    def _hear_of_losses(self, channel: str, envelope: Envelope) -> None:
        """LOST and BEAT say up to which number all was sent."""
        if not envelope.number:
            return
        missed, since = self._relay.incoming.lost(channel, envelope.boot, envelope.number), None
        if missed is None:  # nothing came of that process on this channel before
            if envelope.kind is Kind.BEAT:
                return
            missed = self._missed_before(channel, envelope, envelope.number + 1)
            since = _began(envelope)
        elif envelope.kind is Kind.LOST:
            first = self._relay.incoming.take_heard_from(channel, envelope.boot)
            if first is not None:
                before = self._missed_before(channel, envelope, first)
                missed = None if before is None else missed + before
                since = None if before == 0 else _began(envelope)
        if missed != 0:
            self._report(channel, envelope.boot, None if missed is None or missed > JUMP else missed, since)

    def _missed_before(self, channel: str, mark: Envelope, number: int) -> int | None:
        """How many were sent before a number and did not come, where none before it did; None: nobody knows."""
        match mark.extra:
            case {"first": int(first), "age": int(age) | float(age), **rest} if (
                0 < first <= mark.number and 0 <= age < _OLDEST
            ):
                listened, lost = self._relay.interests.age(channel), rest.get("lost")
                if isinstance(lost, int | float) and listened < lost:
                    return 0  # all that is lost was sent before anybody here listened
                missed = max(number - first, 0)
                return missed if age < listened and missed <= JUMP else None
        raise ValueError("not the mark of a loss")

    def _report(self, channel: str, boot: bytes, missed: int | None, since: float | None = None) -> None:
        """since: an instant of time.time(), if that is known; None: since what came last on this channel."""
        came = self._relay.incoming.since(channel, boot)
        room = name_of(channel[2:]) if channel.startswith("r:") else None
        node = self._relay.nodes.alive().get(boot)
        self._relay.claims.repeat()  # one may have been among them
        if missed is None and channel == ALL:  # it may have been anything, in any room that remembers too
            self._forget_all()
        self._relay.gaps.report(
            "messages of another process were lost on the bus",
            missed=missed,
            since=since or came or (time.time() if node is None else node.seen),
            room=room,
            node=boot.hex(),
        )

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self.counts, name, getattr(self.counts, name) + 1)


def _named(channel: str, channel_of: Any, envelope: Envelope) -> Any:
    """The room or id that an envelope is for. Raises ValueError if it came on the channel of another."""
    if channel_of(envelope.target) != channel:
        raise ValueError("the target is not the channel's")
    return name_of(envelope.target)


def _began(mark: Envelope) -> float:
    """When the sender of a mark of a loss sent its first message there, an instant of time.time()."""
    return time.time() - float((mark.extra or {}).get("age", 0.0))


def _list(extra: Mapping[str, Any] | None, name: str) -> list[Any]:
    value = (extra or {}).get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return value


def name_of_json(text: object) -> Any:
    """The name whose text this is. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("not the text of a name")
    return name_of(text)
