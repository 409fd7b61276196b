"""The thread that tells an application of ends: who finds one may be a thread that must not run its code."""

from __future__ import annotations

import functools
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
        self._running: object | None = None  # the mark of the thread that will look at _waiting once more

    def hand_over(self, told: Iterable[EndCallback], end: End[ConnectionClosed]) -> None:
        """Let a thread call each with the end, soon."""
        with self._lock.made:
            self._waiting.extend((callback, end) for callback in told)
        self._start()

    def _start(self) -> None:
        """Start the thread, unless it runs or has nothing to do."""
        with self._lock.made:
            if self._running is not None or not self._waiting:
                return
            self._running = mark = object()
        try:
            threading.Thread(target=self._work, args=(mark,), name="syncws-on-end", daemon=True).start()
        except BaseException as error:  # an interrupt may leave a thread that has begun: it finds another mark
            with self._lock.made:
                if self._running is mark:
                    self._running = None
            if not isinstance(error, RuntimeError):
                raise
            if "interpreter shutdown" not in str(error):  # at the end of a program nobody is told any more
                # Told then, as the caller may hold a lock that a handler of the log would wait for.
                retry = functools.partial(self._start_again, error)
                drain.call_at(time.monotonic() + _RETRY, retry, quiet=True)

    def _start_again(self, error: RuntimeError) -> None:
        """For the drain's thread."""
        _logger.error("no thread to tell that connections are over (%s); trying again", error)
        self._start()

    def _work(self, mark: object) -> None:
        while (telling := self._next(mark)) is not None:
            callback, end = telling
            try:
                check_done("a callback", callback(end.exception()))
            except BaseException:  # SystemExit, say: there may be others to tell
                _logger.exception("%r, which is called at the end of a connection, raised", callback)
            del callback, telling  # what they know is not to live on while this thread does

    def _next(self, mark: object) -> tuple[EndCallback, End[ConnectionClosed]] | None:
        """The next one to call. None: there is none, or this is not the thread for it, which ends."""
        with self._lock.made:
            if self._running is not mark:
                return None
            if self._waiting:
                return self._waiting.popleft()
            # In the same step: what is handed over from now on starts another thread.
            self._running = None
            return None


callbacks = Callbacks()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=callbacks.begin_anew)
