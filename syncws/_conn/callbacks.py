"""The thread that tells an application of ends: who finds one may be a thread that must not run its code."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from .._base.callables import check_done
from .._base.latelock import LateLock
from .._base.logs import logger
from .._net.drain import drain
from ..errors import ConnectionClosed
from .states import End

_logger = logger("syncws.conn")

#: Called with the end of a connection.
EndCallback = Callable[[ConnectionClosed], object]

#: Seconds until a thread is asked for again, where none was to be had.
_RETRY = 1.0


class Callbacks:
    """Tells ends, one after the other, in a thread that ends when there is none left.

    Any thread may hand one over, also one that must not wait. `_lock` guards both fields and is a leaf.
    """

    def __init__(self) -> None:
        self._lock = LateLock()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nothing: at first, and in the child of a fork, where the thread and the connections are its parent's."""
        self._waiting: deque[tuple[EndCallback, End[ConnectionClosed]]] = deque()
        self._running = False  # there is a thread, which will look at _waiting once more

    def hand_over(self, told: Iterable[EndCallback], end: End[ConnectionClosed]) -> None:
        """Let a thread call each with the end, soon."""
        with self._lock.made:
            self._waiting.extend((callback, end) for callback in told)
        self._start()

    def _start(self) -> None:
        """Start the thread, unless it runs or has nothing to do."""
        with self._lock.made:
            if self._running or not self._waiting:
                return
            self._running = True
        try:
            threading.Thread(target=self._work, name="syncws-on-end", daemon=True).start()
        except RuntimeError as error:
            with self._lock.made:
                self._running = False
            if "interpreter shutdown" not in str(error):  # at the end of a program nobody is told any more
                _logger.error("no thread to tell that connections are over (%s); trying again in a second", error)
                drain.call_at(time.monotonic() + _RETRY, self._start)

    def _work(self) -> None:
        while (telling := self._next()) is not None:
            callback, end = telling
            try:
                check_done("a callback", callback(end.exception()))
            except BaseException:  # SystemExit, say: there may be others to tell
                _logger.exception("%r, which is called at the end of a connection, raised", callback)
            del callback, telling  # what they know is not to live on while this thread does

    def _next(self) -> tuple[EndCallback, End[ConnectionClosed]] | None:
        """The next one to call. None: there is none, and this thread ends."""
        with self._lock.made:
            if self._waiting:
                return self._waiting.popleft()
            # In the same step: what is handed over from now on starts another thread.
            self._running = False
            return None


callbacks = Callbacks()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=callbacks.begin_anew)
