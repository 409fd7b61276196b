"""One thread per process that sees to it that no answer is kept for longer than a millisecond (see `batch`).

It is in one of three states:

| state | what it does | who has something kept |
|---|---|---|
| absent | - | starts it |
| at work | twice a millisecond it sends what is kept, of all who have asked | leaves a note |
| resting | waits for a second, and ends | rings the bell |

So a program that keeps nothing has no such thread, and one that was busy has it for a second more.

A handler that computes in Python holds the GIL for a switch interval, five milliseconds, before this thread gets it. So
while it is at work that interval is half a millisecond, in a process of few threads. Not of many: each one that waits
for the GIL looks so often whether it has waited for long enough, and 64 of them would take a good part of a core. There
`batch` alone sees to it: a handler that has computed lately has nothing kept.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from enum import Enum
from typing import Protocol

from .._base.forks import begin_anew_in_child
from .._base.logs import logger

_logger = logger("syncws.conn")

#: Seconds between two looks: half of what is promised, as the thread may have to wait for the GIL and for a core.
PERIOD = 0.0005

#: Looks in vain before it rests.
LINGER = 40

#: Seconds of rest after which the thread ends.
IDLE = 1.0

#: Python's switch interval while it is at work, in seconds.
_SWITCH = 0.0005
_FEW = 16

_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


class _State(Enum):
    """The lines of the table above."""

    ABSENT = "absent"
    AT_WORK = "at work"
    RESTING = "resting"


class Keeper(Protocol):
    """What may have something kept."""

    def send_kept(self) -> None:
        """Send it, if it was not sent meanwhile. Must not wait, nor run the application's code."""


class Courier:
    """Has what is kept sent in time.

    Concurrency: every method is for any thread, whatever locks it holds. `_lock` is a leaf that guards everything,
    Python's switch interval included as far as this object changes it.
    """

    _usual = 0.0  # the switch interval before; 0: as it was

    def __init__(self) -> None:
        self.begin_anew()
        begin_anew_in_child(self)
        # The thread is a daemon, so that it holds up no exit. What was sent just before the exit leaves all the same.
        atexit.register(self.deliver)

    def begin_anew(self) -> None:
        """Nothing is kept, as in the child of a fork."""
        self._lock = threading.Lock()
        with self._lock:
            self._relax()  # in a child the courier may have been at work
        self._state = _State.ABSENT
        self._thread: object | None = None  # the mark of the thread; one that finds another ends
        self._keepers: list[Keeper] = []
        self._bell = threading.Event()

    def look_after(self, keeper: Keeper) -> bool:
        """Call keeper.send_kept() within a millisecond, once. False: there is no thread to be had for it."""
        with self._lock:
            self._keepers.append(keeper)
            state, self._state = self._state, _State.AT_WORK
            if state is not _State.AT_WORK:
                self._hurry()
        if state is _State.RESTING:
            self._bell.set()
        return state is not _State.ABSENT or self._start()

    def deliver(self) -> bool:
        """Send what is kept now; whether anybody had asked for that."""
        with self._lock:
            keepers, self._keepers = self._keepers, []
        for each in keepers:
            try:
                each.send_kept()
            except Exception:
                _logger.exception("internal error while sending what was kept")
        return bool(keepers)

    def _start(self) -> bool:
        mark = self._thread = object()  # by the one who has left ABSENT
        try:
            threading.Thread(target=self._run, args=(mark,), name="syncws-courier", daemon=True).start()
        except BaseException as error:  # an interrupt may leave a thread that has begun: it finds another mark
            with self._lock:
                self._state, self._thread = _State.ABSENT, None
                self._relax()
            self.deliver()  # also for who came after this one, and relied on it
            if not isinstance(error, RuntimeError):
                raise
            return False
        return True

    def _run(self, mark: object) -> None:
        in_vain = 0
        while self._thread is mark:
            time.sleep(PERIOD)
            in_vain = 0 if self.deliver() else in_vain + 1
            if in_vain >= LINGER:
                if not self._rest():
                    return
                in_vain = 0

    def _rest(self) -> bool:
        """Wait for somebody to ring; False: this thread ends."""
        with self._lock:
            if self._keepers:
                return True
            self._state = _State.RESTING
            self._bell.clear()
            self._relax()
        self._bell.wait(IDLE)
        with self._lock:  # the state, not the bell: whoever was about to ring as the wait ended has changed it before
            if self._state is _State.RESTING:
                self._state = _State.ABSENT
                return False
            return True

    def _hurry(self) -> None:
        assert self._lock.locked()
        usual = sys.getswitchinterval()
        if _HAS_GIL and usual > _SWITCH and threading.active_count() <= _FEW:
            sys.setswitchinterval(_SWITCH)
            self._usual = usual

    def _relax(self) -> None:
        """Put the switch interval back, unless the application has set another one meanwhile."""
        assert self._lock.locked()
        if self._usual and abs(sys.getswitchinterval() - _SWITCH) < 1e-6:
            sys.setswitchinterval(self._usual)
        self._usual = 0.0


courier = Courier()
