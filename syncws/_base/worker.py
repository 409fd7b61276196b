"""Whether this process is one of several workers that serve the same port, and where those of a `Server` meet.

The workers of a `Server` are told right after the fork, before they have a second thread. Those of another server are
told by it, in the environ of a request.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Protocol

_is_worker = False
_meeting_place: str | None = None


class MeetsWorkers(Protocol):
    """What has its like in the other workers."""

    def meet_workers(self, directory: str) -> None:
        """This process has become a worker, whose like all know this directory, and nobody else does."""


_members: weakref.WeakSet[MeetsWorkers] = weakref.WeakSet()
_numbers = itertools.count(1)


def in_worker() -> bool:
    """Whether this process is one of several workers, each with connections of its own.

    For any thread, without a lock: it becomes True once, before anything is served.
    """
    return _is_worker


def become_worker(directory: str | None = None) -> None:
    """Make the answer yes, for good. To be called by the new process, before it has a second thread.

    Args:
        directory: where the workers meet: private to them, and kept while there are any. None: nowhere.
    """
    global _is_worker, _meeting_place
    _is_worker, _meeting_place = True, directory
    if directory is not None:
        for member in tuple(_members):
            member.meet_workers(directory)


def note_workers() -> None:
    """Another server says that it has several processes, of which this is one. Any thread, as often as it says so."""
    global _is_worker
    _is_worker = True


def meeting_place() -> str | None:
    """The directory in which the workers of this server meet; None where there is none."""
    return _meeting_place


def meet_in_worker(member: MeetsWorkers) -> int:
    """Have member.meet_workers called in each worker that this process forks. It is referred to weakly.

    Returns its number: what was made before the fork has the same one in all workers, and no two have one.
    """
    _members.add(member)
    return next(_numbers)
