"""The history of channels in the memory of each process: for a bus that keeps none, and for a process alone.

Each process keeps what it hears, in the order in which it hears it, and that order may be another one elsewhere. So a
position says of each sender up to which number its messages are covered; whoever reads it gives what is not:

    <channel>-<when>-<span>-<sender><number>.<sender><number>!.<sender><number>~

`channel` is a hash of the channel's name; `when` is in microseconds of time.monotonic(), which is one clock for all
processes of a host, and `span` is for how many of them the process that made it has heard everything; a sender is 8
characters of its name; numbers are hexadecimal. "!" says that the sender is gone and that nothing more of it is to
come, "~" that it may not be there: it was heard, or it beats, and that is all. Every process that is there is named,
also one that has said nothing.

**Senders that do not beat**, such as Publishers, of which there may be a new one for each message, are named as long as
there are few. Of many, none is: the position ends with ".*", and begins its senders with the process that made it. That
process knows by its own clock what the position covers. Another one recovers nothing if one of them has spoken lately,
as nobody knows whether the position covers that.

**What is recovered** is all that was published after a position, or it is not called so. It takes that

* this process was there when the position was made: it is named, and without a mark;
* of each sender everything after its number is here: `_Sender.base` is the last number that is not, as it was
  forgotten, or never came. A sender that has no number said nothing in that span, and what came before is covered;
* nothing that the position covers is still on its way here: that is waited for;
* the position names everybody who began before this process heard everything: such a one may have spoken before it
  knew of this process, and who does not name it may have heard that later;
* no sender has ended without a goodbye, and taken with it what had reached others.

**When a process is there.** It beats once everything that others publish reaches it. For who hears that it is there
once all others have beaten since: what they published before, and it cannot know of, has come by then.

**What is forgotten.** Positions are good for twice the ttl. Those that are made name who was heard of in the last
three, and what they may name is remembered for six. In between, a sender that a position does not name was silent for
so long that the position covers it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import NamedTuple

from .._base.forks import begin_anew_in_child
from .history import Entry, History, Past

#: In ttls; see the top of this module. `_LEAST` is for ttls so short that a message takes longer than they last.
_GOOD, _SILENT, _NAMED, _KEPT = 2.0, 2.5, 3.0, 6.0
_LEAST = 10.0  # seconds that are added to what is named and kept

#: A number that is below the last one by more is no copy: the last one was forged, and the sender is here.
_FAR = 10_000_000

#: Bytes that a message takes beside its own and those of its position.
_COST = 400

#: Characters that a position may have: more than those of a hundred processes.
_LONGEST = 4096

#: How many senders that do not beat are named in a position at most.
_MOST_OUTSIDE = 32

_POSITION = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-((?:[A-Za-z0-9_-]{8}[0-9a-f]{1,16}[!~]?\.)*[A-Za-z0-9_-]{8}[0-9a-f]{1,16}[!~]?)(\.\*)?"
)


class _Covered(NamedTuple):
    """What a position says of one sender."""

    number: int
    is_final: bool  # nothing more of it is to come
    is_there: bool


_NOTHING = _Covered(0, False, False)


class _Position(NamedTuple):
    when: int  # microseconds
    since: int
    senders: Mapping[str, _Covered]
    maker: str | None  # the process that made it, by whose clock it covers who is not named; None: everybody is named


class _Kept(NamedTuple):
    sender: str
    number: int
    came: int  # microseconds
    entry: Entry

    @property
    def cost(self) -> int:
        return len(self.entry.data) + len(self.entry.position) + _COST


class _Sender:
    """What came of one process on one channel."""

    __slots__ = ("base", "base_came", "heard", "last")

    def __init__(self, base: int, heard: float, came: int) -> None:
        self.base = base  # the last number that is not here; all above it are, up to `last`
        self.base_came = came  # when that came, or was missed: microseconds
        self.last = base
        self.heard = heard  # when its last message came


class _Log:
    """What is known of one channel."""

    __slots__ = ("entries", "senders", "used")

    def __init__(self, now: float) -> None:
        self.senders: dict[str, _Sender] = {}
        self.entries: deque[_Kept] = deque()
        self.used = now  # when it was made, or its last message came


class MemoryArchive:
    """An `Archive` in memory, which its process fills itself, from its first moment on.

    Any thread. `_lock` guards everything and is a leaf; reads wait for what is on its way.

    Args:
        history: what is kept.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Nothing was heard, as in the child of a fork: what the parent remembers is not followed here."""
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._reset("")

    def _reset(self, here: str) -> None:
        # Guarded by _lock:
        self._here = here  # this process; "": it has no name yet
        # Microseconds: when it got its name; from when on everything was heard; the newest position.
        self._began = self._since = self._stamped = 0
        self._there: dict[str, set[str]] = {}  # the others, each with those that are to beat before it is named
        self._gone: dict[str, tuple[float, bool]] = {}  # when one ended, and whether it said goodbye
        self._elders: set[str] = set()  # who began before this process heard everything
        self._logs: OrderedDict[str, _Log] = OrderedDict()  # the one that was used longest ago first
        self._filled: OrderedDict[str, _Log] = OrderedDict()  # those with entries, in the same order
        self._bytes = 0

    @property
    def history(self) -> History:
        return self._history

    # What is heard

    def begin(self, boot: bytes) -> None:
        """This process has this name from now on, and has heard nothing yet. Without effect if that is its name."""
        with self._lock:
            if self._here != (name := _name(boot)):
                self._reset(name)
                self._began = self._since = self._stamp()

    @property
    def began(self) -> int:
        """When this process began, for the others: microseconds."""
        return self._began  # without the lock: set before this process is on the bus

    def append(self, channel: str, boot: bytes, number: int, data: bytes, *, begins: bool = False) -> str | None:
        """Keep a message of a process; its position, or None for a copy of one that came before.

        number: of that process on this channel. begins: that process knows of none before it.
        """
        with self._lock:
            return self._append(channel, _name(boot), number, data, begins=begins)

    def append_own(self, channel: str, data: bytes) -> str:
        """Keep a message of this process, where numbers serve nothing else; its position."""
        with self._lock:
            log = self._logs.get(channel)
            of = None if log is None else log.senders.get(self._here)
            return self._append(channel, self._here, 1 if of is None else of.last + 1, data, begins=True) or ""

    def lost(self, channel: str, boot: bytes, number: int) -> None:
        """What a process sent on a channel up to this number has come, or never will."""
        sender, now = _name(boot), time.monotonic()
        with self._lock:
            log = self._log(channel, now)
            of = log.senders.get(sender) or self._new_sender(log, sender, 0, now)
            if number > of.last:
                of.base = of.last = number
                of.base_came, of.heard = self._stamp(), now
                self._use(channel, log, now)
                self._came.notify_all()

    def lost_all(self) -> None:
        """Anything may have been published that did not come: no position from before is good here."""
        with self._lock:
            self._since = self._stamp()
            self._logs.clear()
            self._filled.clear()
            self._bytes = 0
            self._came.notify_all()

    def met(self, boot: bytes, began: object = None) -> None:
        """Another process beats, whether everything reaches it or not. began: what its `began` says, as it came."""
        with self._lock:
            self._meet(_name(boot), began)

    def present(self, boot: bytes, began: object = None) -> None:
        """Another process beats: everything reaches it. began: as in `met`."""
        name = _name(boot)
        with self._lock:
            self._meet(name, began)
            if name not in self._there:
                self._there[name] = self._there.keys() - {name}
            self._gone.pop(name, None)
            self._heard_out(name)

    def gone(self, boot: bytes, *, goodbye: bool) -> None:
        """Another process has ended, and nothing more of it comes. goodbye: it had told everybody everything."""
        name = _name(boot)
        with self._lock:
            self._there.pop(name, None)
            self._heard_out(name)
            if goodbye:
                self._gone.setdefault(name, (time.monotonic(), True))
            else:
                self._gone[name] = (time.monotonic(), False)
            self._came.notify_all()

    # What was heard

    def read(self, channel: str, since: str | None, timeout: float) -> Past:
        """As `Archive.read`. Waits, at most timeout seconds, for what a position covers and has not come yet.

        If it does not come, or if it is not known whether everything is here, the past is not recovered: no error.
        """
        asked = _parse(since, channel)
        with self._lock:
            if asked is not None:
                self._came.wait_for(lambda: not self._is_coming(channel, asked), timeout)
            now = time.monotonic()
            log = self._log(channel, now)
            self._tidy(now)
            if asked is None or (covered := self._covered(log, asked, now)) is None:
                return Past(self._position(channel, log, now), (), False)
            missed = [kept for kept in log.entries if _is_missed(kept, asked, covered)]
            return self._past(channel, self._numbers(log, now), asked, missed)

    def is_after(self, position: str, other: str) -> bool:
        """As `Archive.is_after`, for positions that this process has made: it makes each later than the one before."""
        one, two = _parse(position), _parse(other)
        return one is None or two is None or one.when > two.when

    # Under the lock

    def _append(self, channel: str, sender: str, number: int, data: bytes, *, begins: bool) -> str | None:
        assert self._lock.locked()
        now = time.monotonic()
        self._tidy(now)  # first: a room that has forgotten does not remember because somebody speaks again
        log = self._log(channel, now)
        of = log.senders.get(sender)
        if of is None:
            of = self._new_sender(log, sender, 0 if begins else number - 1, now)
        elif of.last - number > _FAR:
            self._forget_all(channel, log)  # whose numbers are above
            of = self._new_sender(log, sender, number - 1, now)
        elif number <= of.last:
            return None
        elif number != of.last + 1:
            of.base, of.base_came = number - 1, self._stamp()
        of.last, of.heard = number, now
        self._use(channel, log, now)
        kept = _Kept(sender, number, self._stamp(), Entry(self._position(channel, log, now), data))
        log.entries.append(kept)
        self._filled[channel] = log
        self._filled.move_to_end(channel)
        self._bytes += kept.cost
        if len(log.entries) > self._history.size:
            self._forget_oldest(channel, log)
        self._forget_most()
        self._came.notify_all()
        return kept.entry.position

    def _stamp(self) -> int:
        assert self._lock.locked()
        self._stamped = max(self._stamped + 1, time.monotonic_ns() // 1000)
        return self._stamped

    def _log(self, channel: str, now: float) -> _Log:
        assert self._lock.locked()
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = _Log(now)
        return log

    def _use(self, channel: str, log: _Log, now: float) -> None:
        assert self._lock.locked()
        log.used = now
        self._logs.move_to_end(channel)

    def _new_sender(self, log: _Log, name: str, base: int, now: float) -> _Sender:
        assert self._lock.locked()
        forgotten = now - self._span(_KEPT)
        for old in [old for old, of in log.senders.items() if of.heard < forgotten and of.base == of.last]:
            del log.senders[old]
        of = log.senders[name] = _Sender(base, now, self._stamp())
        return of

    def _meet(self, name: str, began: object) -> None:
        assert self._lock.locked()
        if isinstance(began, int) and began <= self._since:
            self._elders.add(name)

    def _heard_out(self, name: str) -> None:
        """What this process published until now has come: it says so, or it is gone."""
        assert self._lock.locked()
        for others in self._there.values():
            others.discard(name)

    def _span(self, ttls: float) -> float:
        return ttls * self._history.ttl + _LEAST * (ttls - _GOOD)

    def _past(self, channel: str, numbers: dict[str, int], asked: _Position, missed: list[_Kept]) -> Past:
        """What was missed, each with a position that covers what the position covers, and what comes before it here.

        Its own position would not do: it may have come here before something that the position covers. But it does if
        that was said by the clock of this process. It has none ("") if it cannot be said.
        """
        assert self._lock.locked()
        for name, told in asked.senders.items():
            if told.number > numbers.get(name, 0):  # the last of one that is gone, which did not reach this process
                numbers[name] = told.number
        for kept in reversed(missed):
            numbers[kept.sender] = kept.number - 1
        entries = []
        for kept in missed:
            numbers[kept.sender] = kept.number
            came = kept.came if asked.maker == self._here else None
            entries.append(Entry(self._format(channel, numbers, came), kept.entry.data))
        return Past(self._format(channel, numbers), tuple(entries), True)

    def _position(self, channel: str, log: _Log, now: float) -> str:
        """After all that is here."""
        return self._format(channel, self._numbers(log, now))

    def _numbers(self, log: _Log, now: float) -> dict[str, int]:
        """What is here of each: who is there, who was heard of lately, and who has ended lately."""
        assert self._lock.locked()
        lately = now - self._span(_NAMED)
        last = {self._here: 0}
        last |= {name: of.last for name, of in log.senders.items() if of.heard >= lately or name == self._here}
        for name in self._there:
            last.setdefault(name, 0)
        for name, (when, _) in self._gone.items():
            if when >= lately:
                last.setdefault(name, 0)
        return last

    def _format(self, channel: str, numbers: Mapping[str, int], came: int | None = 0) -> str:
        """A position that covers these numbers; "" if there is none.

        came: where not everybody can be named, when the last came here that it covers, if that is how it is to be said;
        0: just now; None: it cannot be said so.
        """
        when, rest = self._stamp(), ""
        if len(numbers) > _MOST_OUTSIDE and len(numbers.keys() - (inside := self._inside())) > _MOST_OUTSIDE:
            if came is None:
                return ""
            numbers, when, rest = {name: numbers[name] for name in numbers if name in inside}, came or when, ".*"
        senders = ".".join([f"{name}{number:x}{self._mark(name)}" for name, number in numbers.items()])
        position = f"{_hash(channel)}-{when:x}-{when - self._since:x}-{senders}{rest}"
        return position if len(position) <= _LONGEST else ""

    def _inside(self) -> set[str]:
        """The processes that are named in each position, however many there are."""
        return {self._here, *self._there, *self._gone}

    def _mark(self, name: str) -> str:
        if name in self._gone:
            return "!"
        return "" if name == self._here or self._there.get(name) == set() else "~"

    def _is_coming(self, channel: str, asked: _Position) -> bool:
        """Whether something that a position covers is still on its way here."""
        assert self._lock.locked()
        log = self._logs.get(channel)
        for name, told in asked.senders.items():
            # One of this process too: it may have reached another one, and is just being kept here.
            if (name in self._there or name == self._here) and not told.is_final:
                of = None if log is None else log.senders.get(name)
                if told.number > (0 if of is None else of.last):
                    return True
        return False

    def _covered(self, log: _Log, asked: _Position, now: float) -> dict[str, int] | None:
        """Up to which number a position covers each sender; None if what came after it may not be here."""
        assert self._lock.locked()
        told_of = asked.senders
        oldest = max(self._since, int((now - self._span(_GOOD)) * 1e6))
        if not told_of.get(self._here, _NOTHING).is_there or not oldest <= asked.when <= self._stamp():
            return None
        covered = {}
        silent = now - self._span(_SILENT)
        by_clock: dict[str, int] = {}
        if asked.maker == self._here:
            by_clock = {kept.sender: kept.number for kept in log.entries if kept.came <= asked.when}
        for name, of in log.senders.items():
            if asked.maker is not None and name not in told_of:
                if asked.maker == self._here and (not of.base or of.base_came <= asked.when):  # 0: nothing is missing
                    covered[name] = by_clock.get(name, of.base)
                elif of.heard >= silent:
                    return None
                continue
            told = told_of.get(name, _NOTHING)
            if not told.number and of.heard < silent:
                continue
            if told.number < of.base and (told.number or of.base_came >= asked.since):
                return None
            covered[name] = told.number
        for name, told in told_of.items():
            known = log.senders.get(name)
            if told.number > (0 if known is None else known.last) and not told.is_final:
                return None
        for name in self._elders - told_of.keys():
            if name not in self._gone or self._gone[name][0] >= silent:
                return None
        for name, (when, goodbye) in self._gone.items():
            if not goodbye and when >= silent and not told_of.get(name, _NOTHING).is_final:
                return None
        return covered

    def _tidy(self, now: float) -> None:
        """Forget what is too old, from the channel on that was used longest ago."""
        assert self._lock.locked()
        forgotten = now - self._span(_KEPT)
        while self._logs:
            channel, log = next(iter(self._logs.items()))
            if log.used >= forgotten:
                break
            self._forget_all(channel, log)
            del self._logs[channel]
        if self._gone:
            for name in [name for name, end in self._gone.items() if end[0] < forgotten]:
                del self._gone[name]
                self._elders.discard(name)
        while self._filled:
            channel, log = next(iter(self._filled.items()))
            if log.used < now - self._history.ttl:
                self._forget_all(channel, log)
            else:
                break

    def _forget_most(self) -> None:
        """Keep to the memory: the channels that were silent for longest forget first."""
        assert self._lock.locked()
        while self._bytes > self._history.memory:
            self._forget_oldest(*next(iter(self._filled.items())))

    def _forget_all(self, channel: str, log: _Log) -> None:
        while log.entries:
            self._forget_oldest(channel, log)

    def _forget_oldest(self, channel: str, log: _Log) -> None:
        assert self._lock.locked()
        kept = log.entries.popleft()
        self._bytes -= kept.cost
        of = log.senders[kept.sender]
        if kept.number > of.base:
            of.base, of.base_came = kept.number, kept.came
        if not log.entries:
            del self._filled[channel]


def _is_missed(kept: _Kept, asked: _Position, covered: Mapping[str, int]) -> bool:
    """Whether a position does not cover a message, by what it says of each sender."""
    number = covered.get(kept.sender)
    return number is not None and kept.number > number and (number > 0 or kept.came >= asked.since)


def _name(boot: bytes) -> str:
    return base64.urlsafe_b64encode(boot[:6].ljust(6, b"\0")).decode()


def _hash(channel: str) -> str:
    return hashlib.blake2s(channel.encode(), digest_size=4).hexdigest()


def _parse(position: object, channel: str | None = None) -> _Position | None:
    """The parts of a position, of that channel if one is named; None for what is none."""
    if not isinstance(position, str) or len(position) > _LONGEST:
        return None
    match = _POSITION.fullmatch(position)
    if match is None or (channel is not None and match[1] != _hash(channel)):
        return None
    when = int(match[2], 16)
    parts = match[4].split(".")
    senders = {part[:8]: _covered(part) for part in parts}
    maker = parts[0][:8] if match[5] else None
    return None if len(senders) < len(parts) else _Position(when, when - int(match[3], 16), senders, maker)


def _covered(part: str) -> _Covered:
    return _Covered(int(part[8:].rstrip("!~"), 16), part.endswith("!"), part[-1] not in "!~")
