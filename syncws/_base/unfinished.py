"""The memory that unfinished messages take, of all connections of this process together; and what nobody has read yet.

What has come while nobody reads is no fault of the peer's: it counts, but nobody has to go for it. Where it is too much
no more is received, and TCP makes the peers wait.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from typing import Protocol

from .latelock import LateLock

#: Seconds between two searches for holders that are gone, where there is little room.
_SEARCH = 1.0


class Holder(Protocol):
    """What holds an unfinished message: the reading half of a connection. It can be weakly referred to."""

    def give_up(self) -> None:
        """End the connection, since its unfinished message is the largest and there is no room. Must not wait."""


#: Entries that are kept without asking whether their holders are gone.
_FEW = 64


class _Entry:
    """What one holder holds: bytes of an unfinished message, and bytes that nobody has read yet."""

    __slots__ = ("ref", "size", "unread")

    def __init__(self, holder: Holder) -> None:
        self.ref = weakref.ref(holder)
        self.size = self.unread = 0


class Unfinished:
    """Who holds how much, and who has to go when it is too much.

    Only a message that a read has left unfinished is told of here: one that comes in one piece costs nothing.

    Concurrency: every method may be called from any thread; `_lock` is a leaf and guards every field. `limit` is one
    reference, set and read without it. The child of a fork begins at nothing.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._lock = LateLock()
        self._total = 0
        # By the holder's id(), which is another's once the holder is gone. An entry is kept for the holder's next
        # message; those of holders that are gone are cleared out when there are twice as many entries as last time.
        self._entries: dict[int, _Entry] = {}
        self._most_entries = _FEW
        self._searched = 0.0  # when gone holders were last looked for, as there was little room
        if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
            os.register_at_fork(after_in_child=self._begin_anew)

    @property
    def total(self) -> int:
        """Bytes held now, by all."""
        with self._lock.made:
            return self._total

    @property
    def room(self) -> int:
        """How many bytes may be received that nobody has asked for yet: up to three quarters of the limit in all.

        The rest is for messages that somebody reads.
        """
        limit = self.limit
        if limit is None:
            return sys.maxsize
        most = limit // 4 * 3
        if self._total >= most:  # one int, read without the lock: mostly it is far below
            self._search()
        return most - self._total

    def _search(self) -> None:
        """Count those no longer that are gone; not again and again, as there may be many who ask for room."""
        with self._lock.made:
            now = time.monotonic()
            if now - self._searched >= _SEARCH:
                self._searched = now
                self._forget_the_gone()

    def keep(self, holder: Holder, size: int, unread: int) -> None:
        """Say that holder has size bytes of an unfinished message, and so many that nobody has read yet."""
        with self._lock.made:
            entry = self._entries.get(id(holder))
            if entry is None or entry.ref() is not holder:
                entry = self._enter(holder)
            self._total += size + unread - entry.size - entry.unread
            entry.size, entry.unread = size, unread

    def hold(self, holder: Holder, size: int) -> Holder | None:
        """Say that holder now holds size bytes, 0 for none. Returns who is to be given up, and counts it no more.

        The caller does that, as no lock of this is held then; it may be the holder itself.
        """
        limit = self.limit
        with self._lock.made:
            entry = self._entries.get(id(holder))
            if entry is None or entry.ref() is not holder:
                entry = self._enter(holder)
            self._total += size - entry.size - entry.unread
            entry.size, entry.unread = size, 0
            if limit is None or self._total <= limit:
                return None
            self._forget_the_gone()
            return self._take_largest() if self._total > limit else None

    def _enter(self, holder: Holder) -> _Entry:
        if len(self._entries) >= self._most_entries:
            self._forget_the_gone()
            self._most_entries = max(_FEW, 2 * len(self._entries))
        gone = self._entries.get(id(holder))
        if gone is not None:
            self._total -= gone.size + gone.unread
        entry = self._entries[id(holder)] = _Entry(holder)
        return entry

    def _forget_the_gone(self) -> None:
        for key, entry in list(self._entries.items()):
            if entry.ref() is None:
                self._total -= entry.size + entry.unread
                del self._entries[key]

    def _take_largest(self) -> Holder | None:
        """Looks at every holder, which a peer pays for with a connection. Of an unfinished message, that is."""
        largest = max(self._entries.values(), key=lambda entry: entry.size)
        if not largest.size:
            return None
        self._total -= largest.size + largest.unread
        largest.size = largest.unread = 0
        return largest.ref()

    def _begin_anew(self) -> None:
        self._entries.clear()
        self._most_entries = _FEW
        self._total = 0


#: What the unfinished messages of this process take. 256 MiB are a quarter of what a small server has.
unfinished = Unfinished(256 << 20)
