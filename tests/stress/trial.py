"""What a stress program runs in: its rounds, its threads, and what it counts."""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.tasks import PATIENCE

#: Seconds after which a Python with the GIL hands it to another thread: a thousandth of the default.
SWITCH_INTERVAL = 5e-6


class Wrong(AssertionError):
    """A program has counted something else than it must."""


class Trial:
    """One run of a program.

    Concurrency: for the thread that runs the program; its threads give back what they have counted.

    Args:
        seconds: how long it goes on; the first round is always whole.
        seed: of what is drawn by chance.
        patience: seconds after which what should happen counts as never happening.
    """

    def __init__(self, seconds: float, seed: int | None = None, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._until = time.monotonic() + seconds

    def rounds(self) -> Iterator[int]:
        """The numbers of rounds, until the time is over."""
        number = 0
        while not number or time.monotonic() < self._until:
            yield number
            number += 1
            self.counts["rounds"] = number

    def together(self, *calls: Callable[[], Any]) -> list[Any]:
        """Run each call in a thread, all from the same moment on; what they return, in this order.

        Raises Wrong if one raises, or is still under way when the patience is over.
        """
        gate = threading.Barrier(len(calls))
        runs = [_Run(gate, call) for call in calls]
        for run in runs:
            run.start()
        until = time.monotonic() + self.patience
        failed = None
        while failed is None and any(run.is_alive() for run in runs) and time.monotonic() < until:
            for run in runs:
                run.join(0.05)
                if run.error is not None:  # the others may wait for what it will not do any more
                    failed = run
                    break
        for run in runs:
            if run.error is not None:
                raise Wrong(f"{run.what} raised {run.error!r}") from run.error
        stuck = [run for run in runs if run.is_alive()]
        if stuck:
            raise Wrong("still under way: " + "\n".join(map(_stack, stuck)))
        return [run.value for run in runs]

    def same(self, what: str, found: object, expected: object) -> None:
        """Raise Wrong unless both are equal."""
        if found != expected:
            raise Wrong(f"{what}: {_short(found)}, not {_short(expected)}")

    def comes(self, what: str, condition: Callable[..., bool], *arguments: Any) -> None:
        """Wait until a condition of these arguments holds; raise Wrong if it never does."""
        until = time.monotonic() + self.patience
        while not condition(*arguments):
            if time.monotonic() > until:
                raise Wrong(f"it never came to this: {what}")
            time.sleep(0.001)


class _Run(threading.Thread):
    """One of the threads that begin together."""

    def __init__(self, gate: threading.Barrier, call: Callable[[], Any]) -> None:
        super().__init__(name="stress", daemon=True)
        function = getattr(call, "func", call)  # of a partial
        self.what = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self.value: Any = None
        self.error: BaseException | None = None
        self._gate = gate
        self._call = call

    def run(self) -> None:
        try:
            self._gate.wait()
            self.value = self._call()
        except BaseException as error:
            self.error = error
        del self._call  # and with it what a round has made: whoever looks for leaks may find this thread's object


def _stack(run: _Run) -> str:
    """Where a thread is."""
    frame = sys._current_frames().get(run.ident or 0)
    where = "".join(traceback.format_stack(frame)) if frame is not None else ""
    return f"{run.what}\n{where}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}..."


@contextmanager
def switching() -> Iterator[None]:
    """Let threads take turns as often as that, for the length of the block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
