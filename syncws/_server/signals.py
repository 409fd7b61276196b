"""SIGTERM and SIGINT while a server serves: they are noted, and its loop looks at them when it is woken.

The handler does no more than that: it may run between any two bytecodes of the main thread. The wake-up descriptor is
for a signal that another thread receives: it interrupts no wait of the main thread, which has to be awake for the
handler to run.

A process that a handler forks (`multiprocessing` with fork) has none of this: there a signal does what it did before.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .._base.forks import begin_anew_in_child
from .._base.waker import Waker
from .workers import ENDING


@contextmanager
def noting_signals(waker: Waker, noted: list[signal.Signals]) -> Iterator[None]:
    """While this lasts, SIGTERM and SIGINT are noted in the list, and wake the loop; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    noting = _Noting(waker, noted)
    try:
        noting.begin()
        yield
    finally:
        noting.end()


class _Noting:
    """What is done with signals for a while, and what was done with them before.

    Concurrency: for the main thread alone, which in the child of a fork is the only one.
    """

    def __init__(self, waker: Waker, noted: list[signal.Signals]) -> None:
        self._waker = waker
        self._noted = noted
        self._process = os.getpid()
        self._wakeup_fd: int | None = None  # the one before; None: it is in place
        self._previous: dict[signal.Signals, Any] = {}
        begin_anew_in_child(self)

    def begin(self) -> None:
        """Note signals from now on. An interrupt in the middle raises here; `end` is to follow in any case."""
        self._wakeup_fd = signal.set_wakeup_fd(self._waker.write_fd, warn_on_full_buffer=False)
        for number in ENDING:
            self._previous[number] = signal.signal(number, self._note)

    def end(self) -> None:
        """Bring back what there was before. Idempotent: in a child that goes on with this, it was done at the fork."""
        while self._previous:
            number, handler = self._previous.popitem()
            # None: installed from C, which Python can neither see nor bring back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        wakeup_fd, self._wakeup_fd = self._wakeup_fd, None
        if wakeup_fd is not None:
            signal.set_wakeup_fd(wakeup_fd)

    def begin_anew(self) -> None:
        """In the child of a fork: its signals are no concern of the parent's, whose loop they would wake."""
        self.end()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # forked by a host that calls nothing in the child, as uWSGI by default
            self.end()
            signal.raise_signal(number)
            return
        self._noted.append(signal.Signals(number))
        self._waker.wake()
