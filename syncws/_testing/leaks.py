"""What a test leaves behind: threads, descriptors, connections, exceptions that nobody saw."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import unittest
from typing import Any

from .._base.advice import advisor
from .._conn import courier
from .._net import drain
from .waiting import await_


class Before:
    """The threads and descriptors that there were when it was made; it tells which have come since.

    Concurrency: for one thread.
    """

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = open_descriptors()

    def threads(self) -> list[threading.Thread]:
        """The threads that have come since, and run."""
        return [thread for thread in threading.enumerate() if thread not in self._threads]

    def descriptors(self) -> set[tuple[str, str]]:
        """The descriptors that have come since, and what each is open on; empty where the system does not tell."""
        return open_descriptors() - self._descriptors


class LeakChecks(unittest.TestCase):
    """Fails a test that leaves a thread, a socket or another descriptor, or an exception that nobody saw.

    Whatever a test starts must be gone when its cleanups have run; it has ``grace`` seconds to end by itself.
    Descriptors are checked where /proc tells them (Linux). Inherit from it; a setUp of your own calls super().setUp().
    """

    grace = 5.0
    _has_frozen = False

    def setUp(self) -> None:
        """Note what is there before the test."""
        super().setUp()
        # These threads end by themselves after a second of rest. Shorter, so that no test waits for them.
        self.addCleanup(setattr, drain, "IDLE", drain.IDLE)
        self.addCleanup(setattr, courier, "IDLE", courier.IDLE)
        drain.IDLE = courier.IDLE = 0.02
        advisor.begin_anew()  # else what one test has heard within the last minute is not a WARNING in the next
        gc.collect()
        if not LeakChecks._has_frozen:
            LeakChecks._has_frozen = True
            gc.freeze()  # collections leave out what is there before the first test, and so are faster
        self._leaks_before = Before()
        self._unraised: list[str] = []
        previous, sys.unraisablehook = sys.unraisablehook, self._note_unraisable
        thread_hook, threading.excepthook = threading.excepthook, self._note_thread
        self.addCleanup(setattr, threading, "excepthook", thread_hook)
        self.addCleanup(setattr, sys, "unraisablehook", previous)
        # Registered here, before every cleanup of the test itself, and so run after them; the hooks are removed later.
        self.addCleanup(self._check_nothing_left)

    def _note_unraisable(self, unraisable: Any) -> None:
        self._unraised.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    def _note_thread(self, arguments: Any) -> None:
        if arguments.exc_type is SystemExit:  # it ends a thread without an error; the standard hook ignores it too
            return
        self._unraised.append(f"{arguments.exc_value!r} in {arguments.thread!r}")

    def _check_nothing_left(self) -> None:
        gc.collect()
        self.assertEqual(self._unraised, [], "exceptions nobody saw")
        await_(lambda: not self._left_threads(), self.grace)
        self.assertEqual(self._left_threads(), [], "threads left behind")
        await_(lambda: not self._leaks_before.descriptors(), self.grace)
        self.assertEqual(self._leaks_before.descriptors(), set(), "descriptors left behind")

    def _left_threads(self) -> list[threading.Thread]:
        return self._leaks_before.threads()


def open_descriptors() -> set[tuple[str, str]]:
    """The descriptors of this process, and what each is open on; empty where the system does not tell.

    Without those on libraries of the system: libffi keeps itself open for good, from the first callback in C on.
    """
    found: set[tuple[str, str]] = set()
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            target = os.readlink(f"/proc/self/fd/{name}")
            if "/lib" not in target or ".so" not in target:
                found.add((name, target))
    return found
