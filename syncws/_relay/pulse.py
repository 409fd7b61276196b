"""The thread of a relay that does what time asks for: beats, losses to be told, channels to be let go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .._base.logs import logger

_logger = logger("syncws.relay")

#: Seconds between two looks while something is due soon.
SOON = 0.1

#: A look that comes later than that, in seconds, was late because this process was stopped.
LATE = 1.0


class Pulse:
    """Calls `look` again and again, in one thread: every second, or sooner if it says so.

    look(stopped): stopped is for how many seconds this process did not run, beyond what was asked for; it returns
    whether something is due soon. Any thread may begin and end it, and wake it. `_wake` is set for a look at once.
    """

    def __init__(self, look: Callable[[float], bool], every: float = 1.0) -> None:
        self._look = look
        self._every = every
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None  # written by the thread that begins it, before it runs
        self._ended = False

    def begin(self) -> None:
        """Start the thread. Raises RuntimeError if there is none to be had."""
        thread = threading.Thread(target=self._run, name="syncws-relay", daemon=True)
        thread.start()
        self._thread = thread

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def end(self, timeout: float) -> None:
        """Look no more; wait for the thread at most timeout seconds, unless this is it."""
        self._ended = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = 0.0
        while not self._ended:
            due = time.monotonic() + pause
            self._wake.wait(pause)
            self._wake.clear()
            if self._ended:
                return
            late = time.monotonic() - due
            try:
                soon = self._look(late if late > LATE else 0.0)
            except Exception:
                _logger.exception("the relay's regular work raised; it goes on")
                soon = False
            pause = SOON if soon else self._every
