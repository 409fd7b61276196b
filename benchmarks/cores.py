"""Server and load on a core each, where the system can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def choose_cores() -> tuple[int | None, int | None]:
    """(of the server, of the load); None: not pinned, since there is but one core, or no way to."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (cores[0], cores[-1]) if len(cores) > 1 else (None, None)


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started in the block keeps to that core for good: a process inherits where its parent may run."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
