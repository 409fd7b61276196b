"""The part of a Manager that speaks with its like in other processes, over a bus.

    Manager.broadcast                                    Manager's members
        |                                                      ^
        | Relay.broadcast                                      | Here.broadcast
        v                                                      |
    Outward: number, place in the queue              Inward: copies dropped, losses reported
        |                                                      ^
        | Backplane.publish                                    | Sink.received
        v                                                      |
    ----------------------- the bus: Redis, sockets, anything --------------------------

**What is promised.** Messages of one thread to one room arrive everywhere in their order. A message reaches a member at
most once. Each loss on the bus is in some `Gap`: who listens knows the last number of each sender, the sender tells of
what it did not send, and the bus tells when it was away.

**Threads.** A relay has one of its own, from its first use on (`pulse`), and those of its backplane. What they hand on,
because it may run code of the application, runs in short-lived threads, one thing after the other (`errands`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, TypedDict

from .._base.endings import end_with_process
from .._base.errands import Errands
from .._base.forks import begin_anew_in_child, this_process
from .._base.latelock import LateLock
from .._base.logs import logger
from .._bus.backplane import Backplane
from .._bus.memoryarchive import MemoryArchive
from .._frames.prepared import PreparedMessage
from ..errors import BINARY
from .claims import Claims
from .envelope import Kind
from .gaps import Gap, Gaps, say_no_thread, say_raised
from .health import BackplaneHealth
from .here import Here
from .interests import Interests
from .inward import Inward
from .names import ALL, id_channel, node_channel, room_channel, text_of
from .nodes import BEAT, Node, Nodes, beat_of
from .numbers import Incoming
from .outward import Outward, Published
from .pulse import LATE, SOON, Pulse
from .questions import Questions
from .surveys import Surveys

_logger = logger("syncws.relay")

#: Seconds for which a program that ends waits for the bus to take what was published.
AT_EXIT = 1.0

#: Closes and moves that may wait: others on the bus cause them, and on_close of the application may block.
MOST_DEEDS = 10_000

#: Seconds between two sweeps of channels.
SWEEP = 5.0


class RelayOptions(TypedDict):
    """What a Manager's options are to its relay; see `Manager`."""

    on_gap: Callable[[Gap], object] | None
    on_bus: Callable[[bool, str], object] | None
    join_timeout: float


class Relay:
    """What one Manager tells its like in other processes, and hears from them.

    Any thread may call any method. Before its first use, and in the child of a fork, it has no thread and no
    descriptor. `_lock` guards the start and the end; the parts have locks of their own.

    Args:
        backplane: the bus; it belongs to this relay.
        here: the members of this process.
        on_gap, on_bus: of the application, see `Manager`.
        join_timeout: seconds for which who joins a room that is new to this process waits for the bus.
        ledger: what this process keeps of what it hears, for rooms that remember; None: nothing.
    """

    def __init__(
        self,
        backplane: Backplane,
        here: Here,
        *,
        on_gap: Callable[[Gap], object] | None = None,
        on_bus: Callable[[bool, str], object] | None = None,
        join_timeout: float = 1.0,
        ledger: MemoryArchive | None = None,
    ) -> None:
        self.backplane = backplane
        self.ledger = ledger
        self._here = here
        self._on_gap = on_gap
        self._on_bus = on_bus
        self._join_timeout = join_timeout
        # Made at its first use: threads begin and are waited for under it, and a lock from before gevent patched this
        # process would then stop every greenlet.
        self._lock = LateLock()
        self.begin_anew()
        begin_anew_in_child(self)
        end_with_process(self)

    def begin_anew(self) -> None:
        """Nothing was said or heard, as in the child of a fork: it is a process of its own, with a boot of its own."""
        self.boot = os.urandom(8)
        self.gaps = Gaps(self._on_gap, self._on_bus, "syncws-on-gap")
        self.deeds = Errands("syncws-deeds", say_no_thread, say_raised, MOST_DEEDS)
        self.nodes = Nodes()
        self.incoming = Incoming()
        self.interests = Interests(self.backplane)
        self.outward = Outward(self.backplane, self.boot)
        # Optional attributes of a bus: see `Backplane`.
        tells_ends, one_host = (getattr(self.backplane, name, False) for name in ("tells_ends", "one_host"))
        self._inward = Inward(self._here, self.boot, self, tells_ends=tells_ends)
        self.questions = Questions(self.outward, self.nodes, self._inward)
        self.claims = Claims(
            *(self._inward, self._here, self.boot, self.outward, self.questions, self.deeds),
            in_one_order=self.backplane.echoes,
            one_host=one_host,
        )
        self.surveys = Surveys(self._here, self.outward, self.questions, self.claims, self.deeds)
        self._pulse = Pulse(self._look)
        self._beat_at = self._sweep_at = 0.0  # monotonic instants; the pulse's own
        # Written by the pulse and by the threads of the bus; without a lock, as a beat too many does no harm.
        self._greeted_at, self._owes_greeting = 0.0, False
        # True once the bus and the thread were started. Guarded by _lock; read without it, as it is one attribute, and
        # who reads an old False takes the lock to look again. Last: what it stands for was made before.
        self._began = False
        self._process = this_process()

    @property
    def _own(self) -> list[str]:
        """The channels of this process, whoever is here."""
        return [ALL, node_channel(self.node)]

    @property
    def node(self) -> str:
        """The name of this process on the bus."""
        return self.boot.hex()

    # To others

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable] = ()) -> bool:
        """A broadcast for the members elsewhere; whether the queue of the bus took it.

        exclude: ids. Raises TypeError for a room or id that has no text, ValueError for a message that is too large.
        """
        extra = None if not exclude else {"exclude": [text_of(id, "an id") for id in exclude]}
        if room is None:
            return self._send(Kind.ALL, ALL, "", extra, message)
        target = text_of(room)
        return self._send(Kind.ROOM, room_channel(target), target, extra, message)

    def broadcast_kept(
        self, room: Hashable, message: PreparedMessage, ids: Collection[Hashable], conns: Collection[str]
    ) -> Published:
        """A broadcast to a room that remembers, after `begin`: it waits for no start and no end. Raises as `broadcast`.

        ids: who does not get it. conns: the ids of connections here that do not either.
        """
        extra: dict[str, Any] = {"exclude": [text_of(id, "an id") for id in ids]} if ids else {}
        if conns:
            extra["conns"] = list(conns)
        target = text_of(room)
        binary = message.message_type is BINARY
        return self.outward.number(
            Kind.ROOM, room_channel(target), target, extra or None, message.payload, binary=binary, keep=True
        )

    def hears(self, room: Hashable) -> bool:
        """Whether what others broadcast to a room arrives from now on."""
        return self._began and self.backplane.subscribe([room_channel(text_of(room))], 0.0)

    def send(self, id: Hashable, message: PreparedMessage) -> bool:
        """A message for the members of an id elsewhere; as `broadcast`."""
        target = text_of(id, "an id")
        return self._send(Kind.ID, id_channel(target), target, None, message)

    def do(self, deed: str, id: Hashable, **details: Any) -> bool:
        """Have the members of an id elsewhere closed, or moved; as `broadcast`."""
        target = text_of(id, "an id")
        return self.begin() and self.outward.publish(Kind.DO, id_channel(target), target, {"do": deed, **details})

    def _send(
        self, kind: Kind, channel: str, target: str, extra: dict[str, Any] | None, message: PreparedMessage
    ) -> bool:
        binary = message.message_type is BINARY
        return self.begin() and self.outward.publish(kind, channel, target, extra, message.payload, binary=binary)

    # Members come

    @contextlib.contextmanager
    def joining(self, rooms: Iterable[Hashable] = (), id: Hashable = None) -> Iterator[None]:
        """Listen to what is for these rooms and this id; members are put into them inside the block.

        Waits for the bus, for at most join_timeout, and goes on without it: then a Gap tells when it listens.
        Raises as `broadcast`.
        """
        channels = [room_channel(text_of(room)) for room in rooms]
        if id is not None:
            channels.append(id_channel(text_of(id, "an id")))
        if not self.begin():
            yield
            return
        with self.interests.pinned(channels, self._join_timeout):
            yield

    @contextlib.contextmanager
    def claiming(self, id: Hashable, *, rejects: bool) -> Iterator[Callable[[Hashable], None]]:
        """A member of an id is put in inside the block, and handed to what this gives: others of its id are to go.

        rejects: it is to go itself, as others of its id are there. Then this waits for the answers of the other
        processes, for at most join_timeout, and raises DuplicateIdError before the block.
        """
        if not self.begin():
            yield lambda member: None
        elif rejects:
            with self.claims.requested(id, self._join_timeout):
                yield lambda member: None
        else:
            yield lambda member: self.claims.claim(id, member)

    # Others are asked

    def asking(self) -> Surveys | None:
        """What asks the other processes; None if there is no thread for the bus."""
        return self.surveys if self.begin() else None

    # Its life

    def begin(self) -> bool:
        """Start the bus and the pulse, at the first use in this process; False if there is no thread for them."""
        if self._began and self._process == this_process():
            return True
        with self._lock.made:
            if self._process != this_process():  # of a fork that Python does not know of, such as one of uWSGI's
                self._begin_anew_unasked()
            if self._began:
                return True
            try:
                if self.ledger is not None:  # first: what is heard is kept
                    self.ledger.begin(self.boot)
                self.backplane.start(self._inward, self.node)
                self.interests.keep(self._own)
                with self.interests.pinned(self._needed(), 0.0):  # of members who were here before `end`
                    pass
                self._pulse.begin()  # after that: it repeats claims, whose answers come on channels of ids
            except (RuntimeError, OSError) as error:  # no thread; no descriptor
                self.backplane.close(0.0)
                failure = error
            else:
                self._began = True
                return True
        # Without the lock: a handler of the log may broadcast.
        _logger.error("no thread or descriptor for the bus (%s); trying again with the next message", failure)
        return False

    def _begin_anew_unasked(self) -> None:
        """What the hook of a fork would have done, for all that is this relay's alone."""
        for each in (self.backplane, self.backplane.archive, self.ledger):
            if (begin_anew := getattr(each, "begin_anew", None)) is not None:
                begin_anew()
        self.begin_anew()

    def end(self, timeout: float) -> None:
        """Have the bus take what was published, at most timeout seconds; say goodbye, and let go of all threads.

        The next use begins anew, as another process to the others.
        """
        until = time.monotonic() + timeout
        with self._lock.made:
            if not self._began:
                return
            self._pulse.end(timeout)
            if self.outward.tell_at_the_end():  # else nobody says goodbye: by that the others know of a loss
                self.outward.say(Kind.LEAVE, ALL)
            self.backplane.close(max(0.0, until - time.monotonic()))
            claims, outward = self.claims, self.outward
            self.begin_anew()
            self.claims.take_over(claims)
            self.outward.take_over(outward)

    def end_with_process(self) -> None:
        """The program ends: what was published leaves, and the others hear a goodbye."""
        self.end(AT_EXIT)

    # What time asks for

    def beat(self, *, is_new: bool = False) -> None:
        """Tell all others that this process is alive, and up to which number it has spoken to all.

        is_new: it listens from now on, and knows nobody: who hears that answers with a beat.
        """
        said = beat_of(self._here.count(None), len(self._here.rooms())) | {"hears": self._inward.hears}
        if self.ledger is not None:
            said["began"] = self.ledger.began
        self.outward.say(Kind.BEAT, ALL, said | {"new": True} if is_new else said, marks=True)

    def greet(self) -> None:
        """Tell one that is new of this process: at once, or soon, with all that are new in the same moment.

        Where the bus comes back all of n processes are new to all others, and each beat goes to n.
        """
        now = time.monotonic()
        if now < self._greeted_at + SOON:
            self._owes_greeting = True
            self._pulse.wake()
            return
        self._greeted_at = now
        self.beat()

    def _look(self, stopped: float) -> bool:
        now = time.monotonic()
        if stopped:
            # Beats that came meanwhile are still to be read: nobody is taken for dead by the clock alone.
            self.nodes.postpone(stopped)
        if self._inward.is_lost:
            self.nodes.listen_again()
        if now >= self._beat_at:
            is_new, self._beat_at = not self._beat_at, now + BEAT
            if is_new:  # once the answers can be heard
                self.backplane.subscribe(self._own, self._join_timeout)
            self.beat(is_new=is_new)
        if self._owes_greeting and now >= self._greeted_at + SOON:
            self._owes_greeting = False  # before the beat: one that is new only now is owed another one
            self._greeted_at = now
            self.beat()
        for channel, since in self.interests.effective().items():
            self._inward.effective(channel, time.time() - (now - since))
        if not self._inward.is_lost:
            self.claims.look()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP
            self._sweep()
        held_up = time.monotonic() - now
        if held_up > LATE:  # stopped in the midst of this, or made to wait by the bus
            self.nodes.postpone(held_up)
        for boot in self.nodes.late():
            self._inward.silent(boot)
        return self.outward.tell_of_losses() or self._owes_greeting

    def _sweep(self) -> None:
        self.interests.sweep(self._needed, self.incoming.forget_channels)
        # This process is no other one: what it keeps comes back to it by the bus, and so its numbers are known here.
        boots, spoke = self.incoming.boots() - {self.boot}, self.incoming.take_spoken()
        for boot in self.nodes.forgettable(boots, spoke):
            self.incoming.forget_boot(boot)

    def _needed(self) -> set[str]:
        rooms = {room_channel(text_of(room)) for room in self._here.rooms()}
        return rooms | {id_channel(text_of(id, "an id")) for id in self._here.names()}

    # Who is there

    def known_nodes(self) -> list[Node]:
        """This process, and the others that are alive."""
        said = beat_of(self._here.count(None), len(self._here.rooms()))
        here = Node(self.node, said["host"], said["pid"], said["connections"], said["rooms"], time.time(), here=True)
        return [here, *self.nodes.alive().values()]

    def health(self) -> BackplaneHealth:
        """How the bus is, and what was seen of it."""
        return BackplaneHealth.of(
            self.backplane.health(),
            nodes=1 + len(self.nodes.alive()),
            gaps=self.gaps.count,
            missed=self.gaps.missed,
            not_queued=self.outward.dropped,
            counts=self._inward.counts,
        )
