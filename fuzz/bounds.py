"""What an input may cost: CPU time, and memory that is not given back.

A machine under load makes nothing here fail: the time is that of this thread on a CPU, and what is over a bound once is
measured three times more and counts only if it is over it each time.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

#: Bytes that the process may grow by in a thousand inputs, again and again with the same ones.
GROWTH = 256 << 10

#: Bytes that one input may leave behind each time.
_LEFT = 64

#: Inputs that are looked at one by one.
_MOST_SUSPECTS = 100

_TIMES = 3
_REPEATS = 50

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of memory that the process has; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def takes_longer(call: Callable[[], object], seconds: float) -> bool:
    """Whether a call takes more CPU time than this, each of three times."""
    for _ in range(_TIMES):
        began = time.thread_time()
        call()
        if time.thread_time() - began <= seconds:
            return False
    return True


def leaves_memory(check: Callable[[bytes], object], data: bytes) -> bool:
    """Whether an input leaves something behind each time that it is checked, for good."""
    check(data)  # what is made once, and cached
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        return all(_left_by(check, data) > _REPEATS * _LEFT for _ in range(_TIMES))
    finally:
        if not tracing:
            tracemalloc.stop()


def _left_by(check: Callable[[bytes], object], data: bytes) -> int:
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(_REPEATS):
        check(data)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def growing(check: Callable[[bytes], object], inputs: Sequence[bytes]) -> bytes | None:
    """The first of the inputs that leaves memory behind, if the process grows with them each of three times.

    None: it does not. b"" where it grows and none alone does.
    """
    for _ in range(_TIMES):
        gc.collect()
        before = resident()
        for data in inputs:
            check(data)
        gc.collect()
        if resident() - before <= GROWTH * len(inputs) // 1000:
            return None
    return next((data for data in list(dict.fromkeys(inputs))[:_MOST_SUSPECTS] if leaves_memory(check, data)), b"")
