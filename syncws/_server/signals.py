"""SIGTERM and SIGINT while a server serves: they are noted, and its loop looks at them when it is woken.

The handler does no more than that: it may run between any two bytecodes of the main thread. The wake-up descriptor is
for a signal that another thread receives: it interrupts no wait of the main thread, which has to be awake for the
handler to run.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .._base.waker import Waker
from .workers import ENDING


@contextmanager
def noting_signals(waker: Waker, noted: list[signal.Signals]) -> Iterator[None]:
    """While this lasts, SIGTERM and SIGINT are noted in the list, and wake the loop; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(signal.Signals(number))
        waker.wake()

    wakeup_fd = signal.set_wakeup_fd(waker.write_fd, warn_on_full_buffer=False)
    previous = {}
    try:
        for number in ENDING:  # inside: a Ctrl-C that comes before the last one raises here
            previous[number] = signal.signal(number, note)
        yield
    finally:
        for number, handler in previous.items():
            # None: installed from C, which Python can neither see nor bring back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(wakeup_fd)
