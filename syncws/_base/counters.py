"""Counts of what happens in this process: how often each limit was breached."""

from __future__ import annotations

import os

from .latelock import LateLock


class Counters:
    """Counts by name.

    Concurrency: every method may be called from any thread; `_lock` is a leaf and guards `_counts`. The child of a fork
    begins at nothing.
    """

    def __init__(self) -> None:
        self._lock = LateLock()
        self._counts: dict[str, int] = {}
        if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
            os.register_at_fork(after_in_child=self._counts.clear)

    def add(self, name: str) -> None:
        """Count one more. The name is one of ours, such as an option's: names that a peer chose would have no end."""
        with self._lock.made:
            self._counts[name] = self._counts.get(name, 0) + 1

    def snapshot(self) -> dict[str, int]:
        """The counts as they are now; a name that never happened is absent."""
        with self._lock.made:
            return dict(self._counts)


#: How often each limit was breached in this process, by the name of the option that sets it.
breaches = Counters()
