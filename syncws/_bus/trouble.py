"""What is wrong with a bus: for its health, and for the log, where what only an administrator can mend is told."""

from __future__ import annotations

import threading
import time

from .._base.logs import logger

_log = logger("syncws.backplane")

#: Seconds between two lines of the log.
_TELL_EVERY = 60.0


class Trouble:
    """Why each part of a backplane does not work, if it does not, and since when all of them do, or one does not.

    Any thread; `_lock` is a leaf and guards every field.

    Args:
        where: what the parts are connected to, for the log.
        part: which one is missing at first.
    """

    def __init__(self, where: str, part: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._reasons = {part: "it is not connected yet"}
        self._since = time.time()
        self._tell_after = 0.0  # of time.monotonic()

    def begins(self, part: str, reason: str, *, denied: bool) -> None:
        """A part does not work. reason: one line; denied: the server refuses this user, which a retry will not mend."""
        with self._lock:
            if not self._reasons:
                self._since = time.time()
            self._reasons[part] = reason
        if denied:
            self.tell(reason)

    def tell(self, reason: str) -> None:
        """Log what only an administrator can mend; once a minute, whatever it is."""
        now = time.monotonic()
        with self._lock:
            if now < self._tell_after:
                return
            self._tell_after = now + _TELL_EVERY
        _log.error("%s refuses what the backplane asks of it, which goes on trying: %s", self._where, reason)

    def over(self) -> None:
        """The bus is there: what any part found wrong before is forgotten, until it finds it again."""
        with self._lock:
            if self._reasons:
                self._reasons.clear()
                self._since = time.time()

    def ends(self, part: str) -> None:
        """A part works."""
        with self._lock:
            if self._reasons.pop(part, None) is not None and not self._reasons:
                self._since = time.time()

    @property
    def state(self) -> tuple[bool, float, str | None]:
        """(all work, since when: of time.time(), why not)."""
        with self._lock:
            told = dict.fromkeys(self._reasons.values())  # each once, in order
            return not told, self._since, "; ".join(told) or None
