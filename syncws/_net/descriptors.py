"""How many descriptors this process may open, and those that are kept for the application.

A connection is a descriptor, and so is each file that the application opens. The system gives the lowest number that is
free. So the number of a new socket tells how many are in use, whoever has opened them: nothing has to be counted.
"""

from __future__ import annotations

import os
from contextlib import suppress

try:
    import resource
except ImportError:  # pragma: no cover - Windows, where sockets are no descriptors
    resource = None  # type: ignore[assignment]

#: At least and at most so many descriptors are kept for the application, its log and a 503; of a small limit a quarter.
_LEAST, MOST_RESERVED, _SHARE = 32, 256, 4

#: What macOS allows where its hard limit is infinite (setrlimit(2)).
_OPEN_MAX = 10240


def raise_limit(wanted: int | None) -> int | None:
    """Let this process open so many descriptors, or as many as it may; None: as many as it may.

    How many it may open now; None where there is no limit. The limit is never lowered.
    """
    if resource is None:  # pragma: no cover - Windows
        return None
    infinite = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == infinite:
        return None
    most = hard if wanted is None else wanted if hard == infinite else min(wanted, hard)
    for goal in (most, _OPEN_MAX):  # macOS refuses more than the latter where its hard limit is infinite
        if goal != infinite and goal <= soft:
            break
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            return None if goal == infinite else goal
    return soft


def reserve(limit: int) -> int:
    """How many descriptors of so many are kept for the application."""
    return min(max(_LEAST, limit // 16), MOST_RESERVED, limit // _SHARE)


def in_use() -> int:
    """How many descriptors this process has: the lowest number that is free, which is less if there are gaps."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(descriptor)
    return descriptor
