"""The memory that unfinished messages take, of all connections of this process together."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .latelock import LateLock


class Holder(Protocol):
    """What holds an unfinished message: the reading half of a connection. It can be weakly referred to."""

    def give_up(self) -> None:
        """End the connection, since its unfinished message is the largest and there is no room. Must not wait."""


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
        # By the holder's id(), which is another's once the holder is gone: its entry goes when that one has an entry,
        # or when it is found in the way.
        self._entries: dict[int, tuple[weakref.ref[Holder], int]] = {}
        if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
            os.register_at_fork(after_in_child=self._begin_anew)

    @property
    def total(self) -> int:
        """Bytes held now, by all."""
        with self._lock:
            return self._total

    def hold(self, holder: Holder, size: int) -> Holder | None:
        """Say that holder now holds size bytes, 0 for none. Returns who is to be given up, and counts it no more.

        The caller does that, as no lock of this is held then; it may be the holder itself.
        """
        limit = self.limit
        with self._lock:
            self._set(id(holder), weakref.ref(holder), size)
            if limit is None or self._total <= limit:
                return None
            self._forget_the_gone()
            return self._take_largest() if self._total > limit else None

    def _set(self, key: int, ref: weakref.ref[Holder], size: int) -> None:
        before = self._entries.pop(key, None)
        self._total += size - (0 if before is None else before[1])
        if size:
            self._entries[key] = ref, size

    def _forget_the_gone(self) -> None:
        for key, (ref, _) in list(self._entries.items()):
            if ref() is None:
                self._set(key, ref, 0)

    def _take_largest(self) -> Holder | None:
        """Looks at every holder, which a peer pays for with a connection."""
        key, (ref, _) = max(self._entries.items(), key=lambda entry: entry[1][1])
        self._set(key, ref, 0)
        return ref()

    def _begin_anew(self) -> None:
        self._entries.clear()
        self._total = 0


#: What the unfinished messages of this process take. 256 MiB are a quarter of what a small server has.
unfinished = Unfinished(256 << 20)
