"""What was freed is given back to the system, where the C library would keep it.

glibc gives each group of threads a heap of its own, and returns only the end of one. What a connection frees lies
between what others hold: of 130 KiB that context takeover takes for each of 60 connections, 105 KiB stayed with the
process when all had let it go, and 0 after malloc_trim (benchmarks/resource_probe.py, `let-go`). Other C libraries do
not have that function, or do not need it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from .._base.forks import begin_anew_in_child
from .drain import drain

#: Seconds in which more may be freed. It takes some 5 ms of the processor for each 100 MB that is given back, and less
#: than half of one for each 100 MB that the process has.
PAUSE = 2.0


class Heap:
    """Gives back what was freed, some time after it was.

    Concurrency: for any thread, without a lock: who reads an old `_is_planned` has it done once more, or with what is
    freed next.
    """

    def __init__(self) -> None:
        self._is_planned = False
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """In the child of a fork there is no timer."""
        self._is_planned = False

    def give_back_soon(self) -> None:
        """Much was freed just now. Never waits."""
        if not self._is_planned:
            self._is_planned = True
            drain.call_at(time.monotonic() + PAUSE, self._give_back)

    def _give_back(self) -> None:
        self._is_planned = False  # first: what is freed from here on is given back the next time
        trim = trimmer()
        if trim is not None:
            trim(0)


@functools.cache
def trimmer() -> Callable[[int], int] | None:
    """glibc's malloc_trim; None where the C library has none."""
    try:
        import ctypes  # not at the top: most processes never need it

        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError, TypeError):  # TypeError: on Windows None is no library
        return None
    return trim


heap = Heap()
