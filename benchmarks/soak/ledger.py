"""What became of every message: the books of one site, and the rules by which a message may be missing.

A *stream* is what one connection sends to its room, numbered 1, 2, 3 and so on. Each *receiver* is a connection that is
in the room. A message is due to a receiver if its broadcast began after the receiver's join was over, and
before its connection ended, by the clock that all processes of a machine share (CLOCK_MONOTONIC; the server says when a
broadcast began, and when a join was over). What is due is received once and in
order, or it is missing; and each missing message needs one of these reasons, and no other is taken:

* **refused**: `Manager.broadcast` gave 0 in a room where the sender itself is a member, so the bus has not taken it,
  and the sender was told.
* **ended**: the receiver's connection has ended, and the message comes after the last one that it received of this
  stream. Two things bound that. If the sender was told that the broadcast was over before the receiver sent a mark to
  the same process, and the mark was answered, then the message had to come before that answer: it is not explained.
  And nothing is explained that was broadcast more than `PATIENCE` before the end.
* **gap**: another process broadcast it, or it went by way of the bus, and a process that the receiver was connected to
  has reported a `Gap` of that room, or of all, and of that process, or of any. A gap with a number explains so many
  messages and no more, in all streams of that process and room together; one without a number explains what was
  broadcast between the instants that it names, `SLACK` more on both sides.
* **dropped**: the receiver's queue drops what is too much, by its own wish, and the server says how many it dropped: as
  many as are missing, messages to this connection alone included, not one more or less. Of a connection that has ended,
  at most so many as the server said at its end.
* **cut**: the sender's connection was killed with its process while a broadcast was under way, so some got the message
  and others did not: the last message of the stream that anybody saw, if the sender was not told that it was over.

A copy, a message out of order, and one that was never sent have no explanation. What a sender sent has another account:
what it was told is over ("acknowledged") was broadcast; what it was not told is explained only by the end of its
connection.

The books are closed once in a round (`Books.settle`), when nobody sends: what was found right is forgotten, so they
take as much memory after a day as after a minute.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

#: Seconds by which anything may be late, and no more, on a machine that has other things to do: tens of them.
PATIENCE = 240.0

#: Seconds around the instants that a gap names: between two beats of a process nobody knows when it was cut off.
SLACK = 5.0

#: Findings of one kind that are told in full.
MOST_FINDINGS = 20

REASONS = ("refused", "ended", "gap", "dropped", "cut")

Range = tuple[int, int]


@dataclasses.dataclass
class Stream:
    """What one connection sends.

    Attributes:
        process: the server process that it is connected to; "" while nobody knows.
        sent: how many; None: nobody knows, as the program that sent was killed.
        acknowledged: the last one of which the sender was told that its broadcast is over.
        seen: the last one that anybody has received.
        base: all up to it are settled.
        began: when the broadcast of each began, of those not settled.
        over: when the sender was told that it was over.
        refused: those that the bus did not take.
        ended: when the connection ended; None: it is open.
    """

    name: str
    room: str
    process: str = ""
    sent: int | None = 0
    acknowledged: int = 0
    seen: int = 0
    base: int = 0
    began: dict[int, float] = dataclasses.field(default_factory=dict)
    over: dict[int, float] = dataclasses.field(default_factory=dict)
    refused: set[int] = dataclasses.field(default_factory=set)
    ended: float | None = None
    lossy: bool = False  # acknowledgements may be dropped

    @property
    def known(self) -> int:
        """All up to it were broadcast for certain."""
        return max(self.acknowledged, self.seen)


@dataclasses.dataclass
class Hearing:
    """What a receiver has of a stream: from first to last, except the holes."""

    first: int
    last: int
    holes: list[Range] = dataclasses.field(default_factory=list)
    written_off: list[Range] = dataclasses.field(default_factory=list)  # holes of the round before, for a reason


@dataclasses.dataclass
class Receiver:
    """A connection that is in a room.

    Attributes:
        process: the server process; `processes` are those of all connections that this one has continued.
        since: when its join was over.
        drops: its queue drops what is too much.
        proved: when it sent the last mark that was answered.
        direct, direct_lost: the last number of what is sent to it alone, and how many of those are missing.
        dropped: what the server says that it has dropped of the connection's queue.
        dropped_before: how many of them were found in earlier rounds.
        ended: when the connection ended; None: it is open.
    """

    name: str
    room: str
    process: str
    since: float
    drops: bool = False
    processes: set[str] = dataclasses.field(default_factory=set)
    proved: float = 0.0
    direct: int = 0
    direct_lost: int = 0
    dropped: int = 0
    dropped_before: int = 0
    ended: float | None = None
    hearings: dict[str, Hearing] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.processes.add(self.process)


@dataclasses.dataclass
class Loss:
    """A gap that a process has reported.

    Attributes:
        process: where.
        room: None: all.
        origin: the process whose messages are missing; None: any.
        missed: how many; None: unknown.
        began, ended: between which instants they were sent.
    """

    process: str
    room: str | None
    origin: str | None
    missed: int | None
    began: float
    ended: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that has no explanation."""

    kind: str
    story: str


class Books:
    """The account of one site. Any thread may tell it anything; `_lock` guards all fields.

    Args:
        site: its name, for stories.
        faults: which faults were on between two instants, for stories.
        by_bus: whether what is sent in a room goes by way of the bus even to members of the same process.
    """

    def __init__(
        self,
        site: str,
        faults: Callable[[float, float], str] = lambda began, ended: "",
        by_bus: Callable[[str], bool] = lambda room: False,
    ) -> None:
        self.site = site
        self._faults = faults
        self._by_bus = by_bus
        self._lock = threading.Lock()
        self.streams: dict[str, Stream] = {}
        self.receivers: dict[str, Receiver] = {}
        self.losses: list[Loss] = []
        self.killed: set[str] = set()
        self.findings: list[Finding] = []
        self.unexplained = 0
        self.totals: collections.Counter[str] = collections.Counter()

    # What senders tell

    def open_stream(self, name: str, room: str, process: str = "", *, known: bool = True, lossy: bool = False) -> None:
        """A connection may send from now on. known: how much it sends will be told. lossy: its queue drops."""
        with self._lock:
            stream = self.streams.setdefault(name, Stream(name, room))
            stream.process = process or stream.process
            stream.sent = 0 if known else None
            stream.lossy = lossy

    def sends(self, name: str) -> int:
        """A connection is about to send its next message; its number."""
        with self._lock:
            stream = self.streams[name]
            assert stream.sent is not None
            stream.sent += 1
            self.totals["sent"] += 1
            return stream.sent

    def acknowledge(self, name: str, number: int, began: float, *, taken: bool = True) -> None:
        """The sender was told that the broadcast of a message is over, which began then; taken: by anybody."""
        with self._lock:
            stream = self.streams[name]
            if number != stream.acknowledged + 1 and not (stream.lossy and number > stream.acknowledged):
                self._find(
                    "order", f"{name} was told that {number:,} is over, and {stream.acknowledged:,} was before it"
                )
                return
            self.totals["acknowledged"] += number - stream.acknowledged
            stream.acknowledged = number
            stream.began[number] = began
            stream.over[number] = time.monotonic()
            if not taken:
                stream.refused.add(number)

    def acknowledge_all(self, name: str, number: int) -> None:
        """A mark was answered that was sent after this message: all up to it are over. Of a queue that drops."""
        with self._lock:
            stream = self.streams[name]
            if number > stream.acknowledged:
                self.totals["acknowledged"] += number - stream.acknowledged
                stream.acknowledged = number

    def end_stream(self, name: str) -> None:
        """The connection is over."""
        with self._lock:
            stream = self.streams.get(name)
            if stream is not None and stream.ended is None:
                stream.ended = time.monotonic()

    # What receivers tell

    def open_receiver(self, name: str, room: str, process: str, since: float, *, drops: bool = False) -> None:
        """A connection is in a room, and gets all whose broadcast begins after that instant."""
        with self._lock:
            self.receivers[name] = Receiver(name, room, process, since, drops)

    def continue_receiver(self, name: str, before: str, process: str) -> bool:
        """A connection was sent all that the one before has missed, and goes on where that one ended.

        False: nothing is known of the one before any more.
        """
        with self._lock:
            receiver = self.receivers.pop(before, None)
            if receiver is None:
                return False
            receiver.name, receiver.process, receiver.ended, receiver.direct = name, process, None, 0
            receiver.processes.add(process)
            receiver.proved = receiver.dropped = receiver.dropped_before = receiver.direct_lost = 0
            self.receivers[name] = receiver
            return True

    def receive(self, name: str, stream_name: str, number: int, began: float) -> None:
        """A message of a stream has come, whose broadcast began then."""
        with self._lock:
            receiver = self.receivers[name]
            stream = self.streams.get(stream_name)
            self.totals["received"] += 1
            if stream is None:
                stream = self.streams[stream_name] = Stream(stream_name, receiver.room, sent=None)
            if stream.sent is not None and number > stream.sent:
                self._find("forged", f"{name} received {stream_name} {number:,}, of which {stream.sent:,} were sent")
            if stream.room != receiver.room:
                self._find("room", f"{name} in {receiver.room} received {stream_name} {number:,} of {stream.room}")
            if number > stream.base:
                stream.began.setdefault(number, began)
            stream.seen = max(stream.seen, number)
            hearing = receiver.hearings.get(stream_name)
            if hearing is None:
                receiver.hearings[stream_name] = Hearing(number, number)
                return
            if number <= hearing.last:
                if lies_in(number, hearing.written_off):
                    self.totals["late"] += 1
                    return
                self._find(
                    "order" if lies_in(number, hearing.holes) else "copy",
                    f"{name} received {stream_name} {number:,} after {hearing.last:,}"
                    f"{self._when(began, time.monotonic())}",
                )
                return
            if number > hearing.last + 1:
                hearing.holes.append((hearing.last + 1, number - 1))
            hearing.last = number

    def direct(self, name: str, number: int) -> None:
        """A message to this connection alone has come."""
        with self._lock:
            receiver = self.receivers[name]
            if number <= receiver.direct:
                self._find("copy", f"{name} received {number:,} of its own after {receiver.direct:,}")
                return
            receiver.direct_lost += number - receiver.direct - 1
            receiver.direct = number

    def mark(self, name: str, sent: float, dropped: int) -> None:
        """A mark that was sent then was answered: so many messages were dropped before."""
        with self._lock:
            receiver = self.receivers[name]
            receiver.proved = max(receiver.proved, sent)
            receiver.dropped = dropped

    def end_receiver(self, name: str) -> None:
        """The connection is over."""
        with self._lock:
            receiver = self.receivers.get(name)
            if receiver is not None and receiver.ended is None:
                receiver.ended = time.monotonic()

    # What servers tell

    def gap(self, loss: Loss) -> None:
        """A process has reported a gap."""
        with self._lock:
            self.losses.append(loss)
            self.totals["gaps"] += 1

    def dropped(self, name: str, count: int) -> None:
        """A connection has ended, whose queue has dropped so many."""
        with self._lock:
            receiver = self.receivers.get(name)
            if receiver is not None:
                receiver.dropped = max(receiver.dropped, count)

    def kill(self, process: str) -> None:
        """A server process was killed, or has ended by itself in the middle of its work."""
        with self._lock:
            self.killed.add(process)

    def find(self, kind: str, story: str) -> None:
        """Something else was found that has no explanation."""
        with self._lock:
            self._find(kind, story)

    # The end of a round

    def unsettled(self) -> list[str]:
        """What has no explanation as of now, a line each; [] if all is settled. Nobody may send meanwhile."""
        with self._lock:
            lines = [
                f"{stream.name} sent {stream.sent - stream.acknowledged:,} that nobody acknowledged"
                for stream in self.streams.values()
                if stream.ended is None and stream.sent is not None and stream.acknowledged < stream.sent
            ]
            for receiver in self.receivers.values():
                lines += [story for _, story in self._judge(receiver, collections.Counter())]
            return lines

    def settle(self) -> int:
        """Close the books of a round: what has no explanation is found, all else forgotten. How many were found."""
        with self._lock:
            before = self.unexplained
            for stream in self.streams.values():
                if stream.ended is None and stream.sent is not None and stream.acknowledged < stream.sent:
                    self._find(
                        "unacknowledged",
                        f"{stream.name} is open, sent {stream.sent:,}, and was told of {stream.acknowledged:,}",
                    )
                    stream.acknowledged = stream.sent
                elif stream.ended is not None and stream.sent is not None:
                    self.totals["unsaid"] += stream.sent - stream.acknowledged
            for receiver in self.receivers.values():
                for kind, story in self._judge(receiver, self.totals):
                    self._find(kind, story)
            self._forget()
            return self.unexplained - before

    def _forget(self) -> None:
        self.receivers = {name: each for name, each in self.receivers.items() if each.ended is None}
        # One that has ended stays for a further round: a message that is late is no new stream.
        self.streams = {
            name: each for name, each in self.streams.items() if each.ended is None or each.base < each.known
        }
        for stream in self.streams.values():
            stream.base = stream.known
            stream.began.clear()
            stream.over.clear()
            stream.refused.clear()
        for receiver in self.receivers.values():
            receiver.hearings = {name: each for name, each in receiver.hearings.items() if name in self.streams}
            receiver.processes = {receiver.process}
            for name, hearing in receiver.hearings.items():
                base = self.streams[name].base
                hearing.written_off = [*hearing.holes, (hearing.last + 1, base)]
                hearing.holes = []
                hearing.last = max(hearing.last, base)
        self.losses.clear()
        self.killed.clear()

    def _judge(self, receiver: Receiver, totals: collections.Counter[str]) -> Iterator[tuple[str, str]]:
        """(kind, story) of what is missing without a reason; adds what is right to the totals."""
        by_origin: dict[str, list[tuple[Stream, Range]]] = {}
        missing_in_all = receiver.direct_lost
        for stream in self.streams.values():
            if stream.room != receiver.room:
                continue
            due, missing = self._missing(receiver, stream)
            totals["due"] += due
            lost = 0
            for first, last in missing:
                lost += last - first + 1
                for kind, part in self._explain(receiver, stream, (first, last)):
                    if kind:
                        totals[kind] += part[1] - part[0] + 1
                    else:
                        by_origin.setdefault(stream.process, []).append((stream, part))
            totals["got"] += due - lost
        for origin, parts in by_origin.items():
            count = sum(last - first + 1 for _, (first, last) in parts)
            allowed = self._numbered(receiver, origin)
            if not receiver.drops and count <= allowed:
                totals["gap"] += count
                continue
            missing_in_all += count
            if receiver.drops:
                continue
            for stream, part in parts:
                yield "lost", self._story(receiver, stream, part)
        if receiver.drops:
            found = missing_in_all
            told = receiver.dropped - receiver.dropped_before
            if found == told or (receiver.ended is not None and found <= told):
                totals["dropped"] += found - receiver.direct_lost
                totals["dropped direct"] += receiver.direct_lost
            else:
                yield (
                    "dropped",
                    f"of {receiver.name} {found:,} are missing, and {told:,} were dropped"
                    f"{self._when(receiver.since, receiver.ended or time.monotonic())}",
                )
            if totals is self.totals:
                receiver.dropped_before, receiver.direct_lost = receiver.dropped, 0
        elif receiver.direct_lost or (receiver.dropped and receiver.ended is None):
            yield (
                "dropped",
                f"{receiver.name} lacks {receiver.direct_lost:,} of its own, and {receiver.dropped:,} were dropped, "
                "though its queue drops nothing",
            )

    def _missing(self, receiver: Receiver, stream: Stream) -> tuple[int, list[Range]]:
        """How many messages of a stream are due to a receiver, and which of them it lacks."""
        first = self._first_due(receiver, stream)
        last = stream.known
        if receiver.ended is not None:  # what began later is not for this one
            while last >= first and self._began(stream, last) > receiver.ended:
                last -= 1
        if first > last:
            return 0, []
        hearing = receiver.hearings.get(stream.name)
        if hearing is None:
            return last - first + 1, [(first, last)]
        missing = [(first, hearing.first - 1), *hearing.holes, (hearing.last + 1, last)]
        cut = [(max(begin, first), min(end, last)) for begin, end in missing]
        return last - first + 1, [(begin, end) for begin, end in cut if begin <= end]

    def _first_due(self, receiver: Receiver, stream: Stream) -> int:
        """The number of the first message that is not settled and that began after the receiver's join."""
        numbers = sorted(stream.began)
        place = bisect.bisect_right(numbers, receiver.since, key=stream.began.__getitem__)
        return max(stream.base + 1, numbers[place] if place < len(numbers) else stream.known + 1)

    def _explain(self, receiver: Receiver, stream: Stream, missing: Range) -> Iterator[tuple[str, Range]]:
        """(reason, part) of a range of missing messages; "" where none of those that stand alone explains it."""
        first, last = missing
        for number in range(first, last + 1):
            yield self._reason(receiver, stream, number, last), (number, number)

    def _reason(self, receiver: Receiver, stream: Stream, number: int, last: int) -> str:
        if number in stream.refused:
            return "refused"
        hearing = receiver.hearings.get(stream.name)
        is_tail = hearing is None or number > hearing.last
        began = self._began(stream, number)
        if receiver.ended is not None and is_tail and began > receiver.ended - PATIENCE:
            over = stream.over.get(number)
            told = over is not None and over < receiver.proved
            if not (told and stream.process == receiver.process and not self._by_bus(stream.room)):
                return "ended"
        if self._is_in_gap(receiver, stream, began):
            return "gap"
        if (
            stream.ended is not None
            and number == stream.seen
            and number > stream.acknowledged
            and stream.process in self.killed
        ):
            return "cut"
        return ""

    def _began(self, stream: Stream, number: int) -> float:
        """When a broadcast began; where nobody knows, when the one before it did."""
        while number > stream.base and number not in stream.began:
            number -= 1
        return stream.began.get(number, 0.0)

    def _losses(self, receiver: Receiver, origin: str) -> Iterator[Loss]:
        for loss in self.losses:
            if (
                loss.process in receiver.processes
                and loss.room in (None, receiver.room)
                and loss.origin in (None, origin)
            ):
                yield loss

    def _is_in_gap(self, receiver: Receiver, stream: Stream, began: float) -> bool:
        if stream.process in receiver.processes and len(receiver.processes) == 1 and not self._by_bus(stream.room):
            return False  # it went by no bus
        return any(
            loss.missed is None and loss.began - SLACK <= began <= loss.ended + SLACK
            for loss in self._losses(receiver, stream.process)
        )

    def _numbered(self, receiver: Receiver, origin: str) -> int:
        return sum(loss.missed or 0 for loss in self._losses(receiver, origin))

    # Stories

    def _find(self, kind: str, story: str) -> None:
        self.unexplained += 1
        self.totals["unexplained"] += 1
        if sum(each.kind == kind for each in self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(kind, f"{self.site}: {story}"))

    def _story(self, receiver: Receiver, stream: Stream, part: Range) -> str:
        first, last = part
        began = self._began(stream, first)
        hearing = receiver.hearings.get(stream.name)
        had = "none of them" if hearing is None else f"{hearing.first:,} to {hearing.last:,}"
        state = "open" if receiver.ended is None else f"ended {receiver.ended - began:.1f} s after that"
        return (
            f"{receiver.name} ({receiver.process}, {state}) lacks {stream.name} {first:,}"
            f"{f' to {last:,}' if last > first else ''} ({stream.process}, acknowledged {stream.acknowledged:,}, "
            f"seen {stream.seen:,}); it has {had}{self._when(began, began)}"
        )

    def _when(self, began: float, ended: float) -> str:
        return f"; at {began:.3f}, {self._faults(began - SLACK, ended + SLACK) or 'no fault was on'}"


def lies_in(number: int, ranges: list[Range]) -> bool:
    """Whether a number is in one of these."""
    return any(first <= number <= last for first, last in ranges)
