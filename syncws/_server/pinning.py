"""What a server keeps on one core while it accepts: nothing, its process, or the threads of its connections.

    Pinning                   nothing
      ProcessPinning          every thread of the process
      ConnectionPinning       the threads of connections
        JudgedPinning         the same, while that pays: `judge` says whether it does

Whole workers are kept by `Workers`, before they serve.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from .._base.green import is_green
from .._base.logs import logger
from .cores import Pin, can_pin, choose_core, has_gil, is_unrestricted, kind_of, own_cores
from .crowd import Crowd
from .judge import WINDOW, Judge, Window
from .kept import KeptThreads, numbers_of_threads

_log = logger("syncws.server")


class Pinning:
    """Keeps nothing. A block in which a server accepts. For one thread at a time."""

    def target(self, run: Callable[[], None]) -> Callable[[], object]:
        """What the thread of a connection is to call, to run it."""
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class ProcessPinning(Pinning):
    """Keeps every thread of the process on a core, and those to come; after the block these are free.

    Args:
        core: its number; None for any.
    """

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._before: list[int] = []  # the cores that the process had; none while it is not kept

    def __enter__(self) -> Self:
        core = choose_core() if self._core is None else self._core
        if core is not None:
            before = own_cores()
            try:
                _keep_process(core)
            except OSError as exc:  # this program may no longer use that core
                _log.warning("this process cannot be kept on core %d: %s", core, exc)
            else:
                self._core, self._before = core, before
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._before:
            return
        for number in numbers_of_threads():
            with suppress(OSError):  # it has ended
                if os.sched_getaffinity(number) == {self._core}:  # else the program has put it elsewhere
                    os.sched_setaffinity(number, self._before)


def _keep_process(core: int) -> None:
    """Raises OSError where the core is not to be had; then no thread has moved."""
    os.sched_setaffinity(os.getpid(), {core})
    for number in numbers_of_threads():
        with suppress(OSError):  # it has ended
            os.sched_setaffinity(number, {core})


class ConnectionPinning(Pinning):
    """Keeps the threads of connections on a core, all the time.

    While the block lasts a thread of its own looks after what they start, and has them leave a core that others use.
    """

    def __init__(self) -> None:
        self._kept = KeptThreads()
        self._over = threading.Event()
        self._crowd = Crowd()

    def target(self, run: Callable[[], None]) -> Callable[[], object]:
        return lambda: self._kept.run(run)

    def __enter__(self) -> Self:
        self._begin()
        try:
            threading.Thread(target=self._watch, name="syncws-cores", daemon=True).start()
        except RuntimeError as exc:
            _log.error("no thread to look after cores (%s): connections are kept on none", exc)
            self._kept.keep(None)
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()

    def _begin(self) -> None:
        self._kept.keep(choose_core())

    # Its own thread

    def _watch(self) -> None:
        while not self._over.wait(WINDOW):
            self._look()
        self._kept.keep(None)

    def _look(self) -> None:
        self._kept.tend()
        self._leave_crowd()

    def _leave_crowd(self) -> bool:
        """Go to another core if others use this one; whether that was so."""
        core = self._kept.core
        better = None if core is None else self._crowd.look(time.monotonic(), core, own_cores(), time.process_time())
        if better is None:
            return False
        _log.info("core %d is used by others: connections are kept on core %d", core, better)
        self._kept.keep(better)
        return True


class JudgedPinning(ConnectionPinning):
    """Keeps the threads of connections on a core while they fight over the GIL, and that pays.

    Args:
        count_messages: how many messages have come and left.
    """

    def __init__(self, count_messages: Callable[[], int]) -> None:
        super().__init__()
        self._count_messages = count_messages
        self._judge = Judge()
        self._before = (0.0, 0.0, 0, 0)

    def _begin(self) -> None:
        self._before = self._now()

    def _look(self) -> None:
        self._kept.tend()
        before, self._before = self._before, self._now()
        seconds, cpu, waits, messages = (now - then for now, then in zip(self._before, before, strict=True))
        if self._leave_crowd():
            self._judge.begin_anew()
            return
        wanted = self._judge.look(Window(seconds, cpu, int(waits), int(messages)))
        if wanted == (self._kept.core is not None):
            return
        self._crowd.forget()
        self._kept.keep(choose_core() if wanted and is_unrestricted() else None)
        if wanted and self._kept.core is None:  # somebody has taken cores away
            self._judge.rest()

    def _now(self) -> tuple[float, float, int, int]:
        import resource  # which is there wherever threads can be kept on cores

        waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        return time.monotonic(), time.process_time(), waits, self._count_messages()


def choose_pinning(pin: Pin, workers: int, count_messages: Callable[[], int]) -> Pinning:
    """What a process that serves keeps on a core; a whole worker is kept already.

    count_messages: see `JudgedPinning`.
    """
    match kind_of(pin):
        case "workers" if workers == 1:
            return ProcessPinning(None)
        case "core":
            return ProcessPinning(int(pin or 0))
        case "connections" if is_green():
            _log.warning('pin="connections" does nothing: the threads of this process are greenlets')
        case "connections":
            return ConnectionPinning()
        case "auto":
            if (obstacle := _obstacle()) is None:
                return JudgedPinning(count_messages)
            _log.info('pin="auto" leaves all to the system: %s', obstacle)
    return Pinning()


def _obstacle() -> str | None:
    """Why it is not for this process to decide where its threads run; None if it is."""
    if not can_pin():
        return "it keeps no thread on a core"
    if is_green():
        return "the threads of this process are greenlets"
    if not has_gil():
        return "there is no GIL that they could fight over"
    if len(own_cores()) < 2:
        return "there is one core only"
    if not is_unrestricted():
        return "somebody has limited the cores of this process, or their time"
    return None
