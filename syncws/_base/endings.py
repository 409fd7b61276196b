"""What is said to others before this process ends: once, at each orderly end."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol


class EndsWithProcess(Protocol):
    """What has something to say before the process ends."""

    def end_with_process(self) -> None:
        """The process ends: say goodbye, and take no longer than a second."""


_members: weakref.WeakSet[EndsWithProcess] = weakref.WeakSet()


def end_with_process(member: EndsWithProcess) -> None:
    """Have member.end_with_process() called before this process ends, or a child that it forks. Referred to weakly."""
    _members.add(member)


def end_all() -> None:
    """Call them now: for a process that ends by os._exit, in which atexit calls nobody."""
    for member in tuple(_members):
        member.end_with_process()


atexit.register(end_all)
