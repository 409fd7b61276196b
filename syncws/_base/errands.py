"""Work that a thread hands on, as it must not wait for it: one thing after the other, in a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from .forks import begin_anew_in_child


class Errands:
    """Runs what it is given, in order, in a thread that ends when there is nothing left.

    Any thread may give it something. `_lock` guards both fields and is a leaf.

    Args:
        thread_name: of its thread.
        no_thread: ``no_thread(error)``, called where no thread can be started; it is tried again with the next errand.
        raised: ``raised()``, called inside the except block of an errand that raised, SystemExit too.
        most: errands that may wait; None: any number, as they are bounded by something else.
    """

    def __init__(
        self,
        thread_name: str,
        no_thread: Callable[[RuntimeError], object],
        raised: Callable[[], object],
        most: int | None = None,
    ) -> None:
        self._thread_name = thread_name
        self._no_thread = no_thread
        self._raised = raised
        self._most = most
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is nothing to do, as in the child of a fork."""
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._waiting: deque[Callable[[], object]] = deque()
        self._running: object | None = None  # the mark of the thread that will look at _waiting once more

    def run(self, errand: Callable[[], object]) -> bool:
        """Have it called, soon; False if too many wait."""
        with self._lock:
            is_full = self._most is not None and len(self._waiting) >= self._most
            if not is_full:
                self._waiting.append(errand)
        self.go_on()
        return not is_full

    def go_on(self) -> None:
        """Where no thread could be started for what waits, try again."""
        with self._lock:
            if self._running is not None or not self._waiting:
                return
            self._running = mark = object()
        self._begin(mark)

    def _begin(self, mark: object) -> None:
        try:
            threading.Thread(target=self._work, args=(mark,), name=self._thread_name, daemon=True).start()
        except BaseException as error:  # an interrupt may leave a thread that has begun: it finds another mark
            with self._lock:
                if self._running is mark:
                    self._running = None
            if not isinstance(error, RuntimeError):
                raise
            self._no_thread(error)

    def _work(self, mark: object) -> None:
        while (errand := self._next(mark)) is not None:
            try:
                errand()
            except BaseException:  # SystemExit, say: there may be others
                self._raised()
            del errand  # which may hold on to a connection while there is nothing to do

    def _next(self, mark: object) -> Callable[[], object] | None:
        """The next errand. None: there is none, or this is not the thread for it, which ends."""
        with self._lock:
            if self._running is not mark:
                return None
            if self._waiting:
                return self._waiting.popleft()
            # In the same step: what is given from now on starts another thread.
            self._running = None
            return None
