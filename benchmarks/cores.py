"""Server and load on a core each, where the system can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def choose_cores() -> tuple[int | None, int | None]:
    """The cores (of the server, of the load); None: not pinned, as there is only one core, or the system cannot pin."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (cores[0], cores[-1]) if len(cores) > 1 else (None, None)


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes that are started in the block stay on that core: a process inherits the cores of its parent."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
