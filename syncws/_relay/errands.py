"""Work that the threads of a bus hand on, since it may run code of the application: one thing after the other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .._base.forks import begin_anew_in_child

_logger = logging.getLogger("syncws.relay")

#: Errands that may wait: others on the bus cause them, and an application's callback may block.
MOST = 10_000


class Errands:
    """Runs what it is given, in order, in a thread of its own that ends when there is nothing left.

    Any thread may give it something. `_lock` guards both fields and is a leaf.
    """

    def __init__(self, thread_name: str) -> None:
        self._thread_name = thread_name
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is nothing to do, as in the child of a fork."""
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False  # there is a thread, which will look at _waiting once more

    def run(self, errand: Callable[[], object]) -> bool:
        """Have it called, soon; False if too many wait. Where no thread can be started, it is called with the next."""
        with self._lock:
            if len(self._waiting) >= MOST:
                return False
            self._waiting.append(errand)
            begin, self._running = not self._running, True
        if begin:
            self._begin()
        return True

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._work, name=self._thread_name, daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._running = False
            _logger.error("no thread for what came from the bus (%s); trying again with the next of it", error)

    def _work(self) -> None:
        while (errand := self._next()) is not None:
            try:
                errand()
            except BaseException:  # SystemExit, say: there may be others
                _logger.exception("what a callback raised is lost, as it was called for the bus")
            del errand  # which may hold on to a connection while there is nothing to do

    def _next(self) -> Callable[[], object] | None:
        """The next errand. None: there is none, and this thread ends."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            # In the same step: what is given from now on starts another thread.
            self._running = False
            return None
