"""What a program has left behind: threads, descriptors, and objects of syncws."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from types import TracebackType

from syncws._base.advice import advisor
from syncws._base.unfinished import unfinished
from syncws._net import drain
from syncws._testing.leaks import Before

#: Seconds that what is left may take to end by itself.
_GRACE = 10.0


class Leaks:
    """Looks what was there when it was made, and what has come since.

    Concurrency: for one thread. Exceptions that no thread has caught are noted from any.
    """

    def __init__(self) -> None:
        drain.IDLE = 0.02  # the drain thread ends by itself after a second of rest
        self.unseen: list[str] = []
        sys.unraisablehook = lambda unraisable: self.unseen.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")
        threading.excepthook = lambda arguments: self.unseen.append(f"{arguments.exc_value!r} in {arguments.thread!r}")
        self._before = Before()
        self._objects = _objects()

    def found(self) -> list[str]:
        """What is there that was not, a line for each kind. Waits a while for it to go."""
        until = time.monotonic() + _GRACE
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(0.05)
        return left + [f"an exception that nobody saw: {each}" for each in self.unseen]

    def _left(self) -> list[str]:
        threads, descriptors = self._before.threads(), self._before.descriptors()
        left = [f"a thread: {each.name}" for each in threads]
        left += [f"a descriptor: {number}, {target}" for number, target in sorted(descriptors)]
        if left:
            return left
        more = _objects() - self._objects
        return [f"{count} of {name}" for name, count in more.items()]


def _objects() -> Counter[str]:
    """How many objects there are of each class of syncws, and tracebacks: those that the collector knows."""
    gc.collect()
    advisor.begin_anew()  # which keeps for a minute what it has said
    with unfinished._lock.made:  # which keeps entries of holders that are gone, until there are many
        unfinished._forget_the_gone()
    kinds = map(type, gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if kind is TracebackType or kind.__module__.startswith("syncws.")
    )
