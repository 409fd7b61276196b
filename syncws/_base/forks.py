"""Forks: which process this is, and what begins anew in the child of one.

A child has the parent's memory and descriptors, and none of its threads. So three rules hold for what threads use:

* What belongs to a connection is the parent's. A child closes its copies of descriptors, and says nothing to any peer.
* A lock that a thread of the parent held stays locked for ever: objects with locks get new ones.
* Whatever waits for a thread asks first whether this is still that thread's process.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

_process = os.getpid()


def this_process() -> int:
    """The id of this process, for who keeps it: each time the same object, as there may be thousands who do."""
    global _process
    if _process != os.getpid():  # any thread: each of several would store the same number
        _process = os.getpid()
    return _process


class BeginsAnew(Protocol):
    """What has threads or locks."""

    def begin_anew(self) -> None:
        """In the child of a fork: forget what was the parent's. No lock may be taken."""


_members: weakref.WeakSet[BeginsAnew] = weakref.WeakSet()


def begin_anew_in_child(member: BeginsAnew) -> None:
    """Have member.begin_anew() called in the child of each fork. It is referred to weakly."""
    _members.add(member)


def _after_fork() -> None:
    for member in tuple(_members):
        member.begin_anew()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
