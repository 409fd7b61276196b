"""`RingBackplane`: several buses as one, each of which carries its share of the channels: for more than one can bear.

    RingBackplane                 every channel has its bus, by its name
      a backplane on each server  does what it does alone

A channel's bus is the one whose number and the channel's name have the highest hash: so every process finds the same
one, and where one more bus is appended only the channels move that are its own from then on.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from .._base.forks import begin_anew_in_child
from .._base.printable import printable_repr
from .backplane import Backplane, BusHealth, Outlet, Sink
from .history import Archive, History, Past

_NOT_STARTED = "it was not started"


class RingBackplane:
    """Several backplanes as one: each room, id and process has its channel on one of them, by its name.

        servers = ["redis://one:6379/0", "redis://two:6379/0", "redis://three:6379/0"]
        manager = syncws.Manager(backplane=syncws.RingBackplane([syncws.RedisBackplane(url) for url in servers]))

    It is for more messages than one server carries: what it costs is a connection more for each process and server. It
    makes nothing safer: it is up only while all are up, and where one is lost the rooms on it are. The others' messages
    go on. To add a server, append it, and start all processes anew: while old and new ones are there, messages for the
    rooms that move do not reach all.

    Concurrency: any thread may call any method. In the child of a fork it begins anew, as its backplanes do.

    Args:
        backplanes: the same kind for each server, in the same order in all processes. They belong to the ring.

    Raises:
        TypeError: one is no backplane.
        ValueError: there is none, one is there twice, or they differ in what they do or remember.
    """

    def __init__(self, backplanes: Iterable[Backplane]) -> None:
        self._parts = tuple(backplanes)
        for each in self._parts:
            if isinstance(each, type) or not hasattr(each, "outlet"):
                raise TypeError(f"backplanes has backplanes, not {printable_repr(each, 80)}")
        if not self._parts:
            raise ValueError("a ring takes at least one backplane")
        if len(set(map(id, self._parts))) < len(self._parts):
            raise ValueError("the same backplane is there twice: make one for each server")
        if len({(each.addressed, each.echoes) for each in self._parts}) > 1:
            raise ValueError("the backplanes of a ring are of one kind")
        archives = [each.archive for each in self._parts if each.archive is not None]
        if archives and (len(archives) < len(self._parts) or any(a.history != archives[0].history for a in archives)):
            raise ValueError("the backplanes of a ring have the same history, or none")
        self._archive = RingArchive(archives) if archives else None
        self._turn = threading.Lock()  # one thread at a time starts or closes
        self._round: Round | None = None  # while it is started. Replaced under _turn, read without it: one reference
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"<RingBackplane of {', '.join(map(repr, self._parts))}>"

    def begin_anew(self) -> None:
        """In the child of a fork: it is not started."""
        self._turn = threading.Lock()
        self._round = None

    def _part(self, channel: str) -> Backplane:
        return self._parts[place(channel, len(self._parts))]

    def _by_part(self, channels: Iterable[str]) -> list[tuple[Backplane, list[str]]]:
        found: dict[int, list[str]] = {}
        for channel in channels:
            found.setdefault(place(channel, len(self._parts)), []).append(channel)
        return [(self._parts[number], names) for number, names in found.items()]

    @property
    def addressed(self) -> bool:
        """As its backplanes."""
        return self._parts[0].addressed

    @property
    def echoes(self) -> bool:
        """As its backplanes."""
        return self._parts[0].echoes

    @property
    def max_message(self) -> int:
        """The smallest of its backplanes'."""
        return min(each.max_message for each in self._parts)

    @property
    def archive(self) -> Archive | None:
        """Where the history of each channel is kept: on its bus."""
        return self._archive

    def start(self, sink: Sink, node: str) -> None:
        """Start all; see `Backplane.start`. Raises what one of them raises: those before it are closed again."""
        with self._turn:
            if self._round is not None:
                return
            begun = Round(sink, len(self._parts))
            try:
                for number, each in enumerate(self._parts):
                    each.start(PartSink(begun, number), node)
            except BaseException:
                begun.end()
                for each in self._parts:
                    each.close(0.0)
                raise
            self._round = begun

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        """Queue a message on the channel's bus; see `Backplane.publish`."""
        return self._part(channel).publish(channel, data, keep=keep)

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """Subscribe to each on its bus; see `Backplane.subscribe`."""
        groups = self._by_part(channels)
        # All are asked before one is waited for.
        missing = [(part, names) for part, names in groups if not part.subscribe(names, 0.0)]
        until = time.monotonic() + timeout
        return all(part.subscribe(names, max(0.0, until - time.monotonic())) for part, names in missing)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Let go of channels, each on its bus; see `Backplane.unsubscribe`."""
        for part, names in self._by_part(channels):
            part.unsubscribe(names)

    def flush(self, timeout: float) -> bool:
        """Wait until all have taken everything; see `Backplane.flush`."""
        until = time.monotonic() + timeout
        return all(each.flush(max(0.0, until - time.monotonic())) for each in self._parts)

    def health(self) -> BusHealth:
        """The health of all as one: up if all are, the oldest proof, the longest lag, and the sums."""
        all_healths = [each.health() for each in self._parts]
        sums = {
            name: sum(getattr(each, name) for each in all_healths)
            for name in ("queued_messages", "queued_bytes", "published", "received", "dropped_out", "reconnects")
        }
        down = [each for each in all_healths if not each.up]
        since = [each.since for each in down or all_healths if each.since is not None]
        proofs = [each.last_proof for each in all_healths if each.last_proof is not None]
        return BusHealth(
            up=not down,
            since=(min if down else max)(since, default=None),
            error=next((each.error for each in down if each.error is not None), _NOT_STARTED if down else None),
            last_proof=min(proofs) if len(proofs) == len(all_healths) else None,
            lag=max((each.lag for each in all_healths if each.lag is not None), default=None),
            **sums,
        )

    def close(self, timeout: float) -> None:
        """Flush and end all; see `Backplane.close`."""
        with self._turn:
            begun, self._round = self._round, None
        if begun is None:
            return
        until = time.monotonic() + timeout
        self.flush(timeout)
        begun.end()
        for each in self._parts:
            each.close(max(0.0, until - time.monotonic()))

    def outlet(self) -> RingOutlet:
        """A way out on each; see `Backplane.outlet`."""
        return RingOutlet([each.outlet() for each in self._parts])


class Round:
    """What a ring tells its sink between a start and a close: whether all buses are there.

    Any thread may report. `_lock` guards every field. The sink is told under no lock, by one thread at a time, in the
    order in which it was reported: who reports while another tells leaves it to that one.
    """

    def __init__(self, sink: Sink, count: int) -> None:
        self.sink = sink
        self._lock = threading.Lock()
        self._count = count
        self._there: set[int] = set()  # the buses that are up
        self._is_up: bool | None = None  # what was told last; None: nothing
        self._was_up = False  # whether it was ever told
        self._lost: str | None = None  # why a bus was lost that had been there before the ring was up at all
        self._to_tell: deque[Callable[[], None]] = deque()
        self._telling = False
        self._ended = False
        self._proven = math.inf  # until when nothing was missed on those that came back since the last `up`

    def up(self, number: int, proven: float) -> None:
        """A bus is there: the ring is, with the last of them."""
        with self._lock:
            self._there.add(number)
            self._proven = min(self._proven, proven)
            if len(self._there) == self._count and not self._is_up:
                proven, self._proven, self._is_up = self._proven, math.inf, True
                self._to_tell.append(functools.partial(self.sink.up, proven))
                if self._lost is not None:  # nothing is missed before the first time: so that was it, and this is not
                    self._to_tell.append(functools.partial(self.sink.down, self._lost))
                    self._to_tell.append(functools.partial(self.sink.up, proven))
                self._was_up, self._lost = True, None
        self._tell()

    def down(self, number: int, reason: str) -> None:
        """A bus is lost, and so is the ring."""
        with self._lock:
            if number in self._there and not self._was_up:
                self._lost = reason
            self._there.discard(number)
            if self._is_up is not False:
                self._is_up = False
                self._to_tell.append(functools.partial(self.sink.down, reason))
        self._tell()

    def end(self) -> None:
        """Tell nothing any more."""
        with self._lock:
            self._ended = True
            self._to_tell.clear()

    @property
    def is_over(self) -> bool:
        """Whether nothing is told any more; without the lock: one attribute, and it may change at once anyway."""
        return self._ended

    def _tell(self) -> None:
        with self._lock:
            if self._telling:
                return
            self._telling = True
        while (told := self._next()) is not None:
            told()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._to_tell and not self._ended:
                return self._to_tell.popleft()
            self._telling = False
            return None


class PartSink:
    """What one backplane of a ring tells: messages go on as they are, and its state is one of several."""

    def __init__(self, begun: Round, number: int) -> None:
        self._round = begun
        self._number = number

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        """See `Sink.received`."""
        if not self._round.is_over:
            self._round.sink.received(channel, data, position)

    def down(self, reason: str) -> None:
        """See `Sink.down`."""
        self._round.down(self._number, reason)

    def up(self, proven: float) -> None:
        """See `Sink.up`."""
        self._round.up(self._number, proven)

    def dropped(self, counts: Mapping[str, int]) -> None:
        """See `Sink.dropped`."""
        self._round.sink.dropped(counts)

    def vanished(self, node: str) -> None:
        """See `Sink.vanished`. Each bus that sees its processes tells it; the sink hears it as often."""
        self._round.sink.vanished(node)


class RingOutlet:
    """A way out on each bus of a ring. One thread at a time."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = outlets

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        """Send each on its bus, in order there; see `Outlet.send`. If one fails, those before it were sent."""
        until = time.monotonic() + timeout
        by_part: dict[int, list[tuple[str, bytes]]] = {}
        for channel, data in messages:
            by_part.setdefault(place(channel, len(self._outlets)), []).append((channel, data))
        for number, some in by_part.items():
            self._outlets[number].send(some, max(0.001, until - time.monotonic()), keep=keep)

    def close(self) -> None:
        """Let go of all connections."""
        for each in self._outlets:
            each.close()


class RingArchive:
    """The history of channels, each on its bus. Any thread."""

    def __init__(self, archives: Sequence[Archive]) -> None:
        self._archives = archives

    @property
    def history(self) -> History:
        """The same on all."""
        return self._archives[0].history

    def read(self, channel: str, since: str | None, timeout: float) -> Past:
        """See `Archive.read`."""
        return self._archives[place(channel, len(self._archives))].read(channel, since, timeout)

    def is_after(self, position: str, other: str) -> bool:
        """See `Archive.is_after`: two positions of one channel say it by themselves, on any of one kind."""
        return self._archives[0].is_after(position, other)


@functools.lru_cache(maxsize=65_536)
def place(channel: str, count: int) -> int:
    """The number of the bus of a channel, of so many: the same in every process and every version."""
    name = channel.encode(errors="surrogatepass")
    return max(range(count), key=lambda number: hashlib.blake2b(b"%d:%b" % (number, name), digest_size=8).digest())
