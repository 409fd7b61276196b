"""One dial under way: one time limit for all its steps, and a way for another thread to stop it.

The steps are a name lookup, connecting, a proxy, TLS and HTTP. Each wait in them is ended early in one of three ways: a
lookup and a connect by what `connector` waits with, a transport by being cut. `Attempt.interruptible` says which.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from .._base.counters import breaches


class Stopped(Exception):
    """The attempt was stopped by another thread. It never leaves the library."""


class Attempt:
    """One dial under way: how long it may take, and how another thread stops it.

    Concurrency: `stop` and `stopped` are for any thread, all else for the one that dials. `_lock` is held while what
    wakes the dialing thread is called, which takes one leaf lock and never waits.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        #: An instant of time.monotonic(), or None for no limit.
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self._lock = threading.Lock()
        # Guarded by _lock, and read without it: it never goes back, and a look that comes too early for it is made up
        # for by the wake-up, after which the thread that dials looks again.
        self._stopped = False
        self._wake: Callable[[], object] | None = None  # guarded by _lock; wakes the thread that dials

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Wake the thread that dials, which raises Stopped; if none is waiting, it will not wait again. Idempotent."""
        with self._lock:
            self._stopped = True  # before the wake-up: the thread that wakes looks at it
            # Under the lock, so that what it wakes is not closed meanwhile: first `interruptible` has to end.
            if self._wake is not None:
                self._wake()

    def remaining(self, doing: str) -> float | None:
        """Seconds that are left, more than 0; None for no limit. Raises Stopped; TimeoutError that names the step."""
        if self._stopped:
            raise Stopped
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            breaches.add("handshake_timeout")
            raise TimeoutError(f"{doing}: not done within {self._timeout:g} s (handshake_timeout)")
        return left

    @contextlib.contextmanager
    def interruptible(self, wake: Callable[[], object]) -> Iterator[None]:
        """While this lasts `stop` calls wake, which must not wait. Raises Stopped if `stop` came before."""
        try:
            with self._lock:  # one step: a `stop` comes either before the look, or after wake is there to be called
                if self._stopped:
                    raise Stopped
                self._wake = wake
            yield
        finally:
            with self._lock:
                self._wake = None
