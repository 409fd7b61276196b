"""A wake-up for a thread that waits in select: one byte through a socket pair."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Waker:
    """Wakes a loop that waits in select: a socket pair, since a select waits for nothing else on every system.

    Concurrency: `wake` and `close` are for any thread, and for a signal handler in the middle of either: hence the lock
    is reentrant. It keeps `wake` from writing to a descriptor that was closed and is another file by then. `wait` is
    for the loop.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards "not closed"; the send under it never waits
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that can be read once the loop is to wake."""
        return self._reader.fileno()

    @property
    def write_fd(self) -> int:
        """The descriptor that a byte is written to; for signal.set_wakeup_fd."""
        return self._writer.fileno()

    def wake(self) -> None:
        """End the wait under way, or the next one. Never waits, never raises."""
        with self._lock, suppress(OSError):  # full: awake already; closed: nobody is waiting
            self._writer.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until woken, but no longer than this, and take what woke it."""
        self._reader.settimeout(seconds)
        with suppress(TimeoutError, BlockingIOError):
            self._reader.recv(4096)

    def close(self) -> None:
        """Give both descriptors back; a `wake` after that does nothing. Idempotent."""
        with self._lock:
            self._reader.close()
            self._writer.close()

    def begin_anew(self) -> None:
        """In the child of a fork: have a pair and a lock of its own.

        Those of the parent would wake the parent, and one of its threads may have held the lock.
        """
        self._reader.close()
        self._writer.close()
        self.__init__()  # type: ignore[misc]
