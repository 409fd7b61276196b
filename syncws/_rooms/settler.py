"""The thread that calls on_close of members which a send found lost: a send calls no code of the application."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .._base.forks import begin_anew_in_child
from .member import Member

_logger = logging.getLogger("syncws.manager")


class Settler:
    """Settles members that are handed to it, one after the other, in a thread that ends when there is none left.

    Any thread may hand one over. `_lock` guards both fields and is a leaf.
    """

    def __init__(self) -> None:
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is nobody to settle, as in the child of a fork."""
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._lost: deque[Member] = deque()
        self._running = False  # there is a thread, which will look at _lost once more

    def hand_over(self, member: Member, settle: Callable[[Member], None]) -> None:
        """Let a thread call settle(member), soon; where none can be started it is done with the next member.

        settle is the same for all.
        """
        with self._lock:
            self._lost.append(member)
            begin, self._running = not self._running, True
        if not begin:
            return
        try:
            threading.Thread(target=self._work, args=(settle,), name="syncws-on-close", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._running = False
            _logger.error("no thread to call on_close (%s); trying again with the next one", error)

    def _work(self, settle: Callable[[Member], None]) -> None:
        while (member := self._next()) is not None:
            try:
                settle(member)
            except BaseException:  # SystemExit, say: there may be others to settle
                _logger.exception("%r: on_close raised", member)

    def _next(self) -> Member | None:
        """The next member. None: there is none, and this thread ends."""
        with self._lock:
            if self._lost:
                return self._lost.popleft()
            # In the same step: a member that is handed over from now on starts another thread.
            self._running = False
            return None
