"""Whether a process's cores are used or fought over: a verdict from numbers that the system has anyway.

Threads that hand the GIL to one another run for some microseconds between two waits, whatever the number of cores, and
gain from being kept on one. Threads that compute without the GIL, or for long, wait seldom. So *processor time for each
wait* tells the two apart; it costs one call of the system.

It does not prove that keeping them helps, on this machine, with these handlers. So the first seconds are a trial: the
messages of each second, and the processor time for each, are compared with those before. Unless it has paid, the
threads are free again, and are left alone for a while.

    FREE      looks for a fight; after `_PATIENCE` windows of one: TRIAL
    TRIAL     kept; after as many windows it has paid: KEPT; or not: RESTING
    KEPT      until the cores are used (RESTING), there is little to do, or it is time to look anew (FREE)
    RESTING   free, for a time that doubles with each trial in vain
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Seconds of a window.
WINDOW = 0.5

#: Windows that are alike before anything is done.
_PATIENCE = 3

#: Processor seconds for each wait: below the first they are fought over, above the second they are used.
_FIGHT = 40e-6
_USE = 100e-6

#: Shares of one core: with less than the first it is not worth while, below the second there is nothing to gain.
_BUSY = 0.6
_IDLE = 0.2

#: What has to come of a trial: so many of the messages before, each for at most so much of the processor time before.
_RATE = 0.95
_COST = 0.85

#: Windows of rest after a trial in vain, at first and at most.
_REST = 120
_LONGEST_REST = 7200

#: Windows after which it is time to look anew.
_LONGEST_KEPT = 1200


class State(Enum):
    FREE = "free"
    TRIAL = "trial"
    KEPT = "kept"
    RESTING = "resting"


@dataclass(frozen=True)
class Window:
    """What a process has done in a window: seconds, processor seconds, how often its threads waited, messages."""

    seconds: float
    cpu: float
    waits: int
    messages: int

    @property
    def is_fought_over(self) -> bool:
        """Whether its threads hand the GIL around, and do little else."""
        return self.cpu >= _BUSY * self.seconds and self.messages > 0 and self.cpu < _FIGHT * self.waits

    @property
    def is_used(self) -> bool:
        """Whether its threads compute for long, or without the GIL."""
        return self.cpu >= _BUSY * self.seconds and self.cpu > _USE * self.waits

    @property
    def is_idle(self) -> bool:
        return self.cpu < _IDLE * self.seconds

    def __add__(self, other: Window) -> Window:
        return Window(
            self.seconds + other.seconds,
            self.cpu + other.cpu,
            self.waits + other.waits,
            self.messages + other.messages,
        )


_NOTHING = Window(0.0, 0.0, 0, 0)


class Judge:
    """Says after each window whether the threads are to be kept on one core. For one thread."""

    def __init__(self) -> None:
        self.state = State.FREE
        self._alike = 0  # windows that call for another state, one after the other
        self._windows = 0  # in this state
        self._before = _NOTHING  # the sum of those windows, before a trial
        self._during = _NOTHING  # of those in it
        self._length = _REST // 2  # windows of rest; doubled when one begins

    @property
    def wants_kept(self) -> bool:
        return self.state in (State.TRIAL, State.KEPT)

    def look(self, window: Window) -> bool:
        """Take a window into account. Whether the threads are to be kept from now on."""
        self._windows += 1
        match self.state:
            case State.FREE:
                self._look_for_fight(window)
            case State.TRIAL:
                self._try(window)
            case State.KEPT:
                self._look_after(window)
            case State.RESTING:
                if self._windows >= self._length:
                    self._enter(State.FREE)
        return self.wants_kept

    def begin_anew(self) -> None:
        """They are kept on another core: a trial tells nothing of that yet."""
        if self.state is State.TRIAL:
            self._during = _NOTHING
            self._enter(State.TRIAL)

    def rest(self) -> None:
        """A trial was in vain: the next one is a while away, and longer with each."""
        self._enter(State.RESTING)
        self._length = min(2 * self._length, _LONGEST_REST)

    def _look_for_fight(self, window: Window) -> None:
        if not window.is_fought_over:
            self._alike, self._before = 0, _NOTHING
            return
        self._alike += 1
        self._before = window if self._alike == 1 else self._before + window
        if self._alike == _PATIENCE:
            self._during = _NOTHING
            self._enter(State.TRIAL)

    def _try(self, window: Window) -> None:
        if self._windows == 1:  # the threads have just moved
            return
        self._during += window
        if self._windows <= _PATIENCE:
            return
        if self._has_paid():
            self._length = _REST // 2
            self._enter(State.KEPT)
        else:
            self.rest()

    def _has_paid(self) -> bool:
        before, during = self._before, self._during
        if not during.messages or during.cpu / during.messages > _COST * before.cpu / before.messages:
            return False
        return during.messages / during.seconds >= _RATE * before.messages / before.seconds

    def _look_after(self, window: Window) -> None:
        self._alike = self._alike + 1 if window.is_used or window.is_idle else 0
        if self._alike == _PATIENCE:
            self._enter(State.RESTING if window.is_used else State.FREE)
        elif self._windows >= _LONGEST_KEPT:
            self._enter(State.FREE)

    def _enter(self, state: State) -> None:
        self.state, self._alike, self._windows = state, 0, 0
