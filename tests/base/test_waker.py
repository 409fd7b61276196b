"""waker.py: a wake-up is never lost, never waits, and never reaches another process."""

from __future__ import annotations

import os
import select
import socket
import threading

from syncws._base.waker import Waker
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


class WakerTests(LeakChecks):
    def test_wake(self) -> None:
        """wait ends when woken, also by an earlier wake, once; any number of wakes never waits."""
        waker = Waker()
        for _ in range(100_000):
            waker.wake()
        while True:  # more bytes than one look takes
            waker.wait(0)
            if not _is_readable(waker):
                break
        woken = Task(waker.wait, 2 * PATIENCE)
        waker.wake()
        woken.result()
        waker.close()

    def test_wake_after_close(self) -> None:
        """A wake after the end is of no consequence, and neither is a second close."""
        waker = Waker()
        waker.close()
        waker.wake()
        waker.close()

    def test_after_a_fork(self) -> None:
        """In the child of a fork it wakes nobody but the child, whoever held its lock when it was forked."""
        waker = Waker()
        parents = [socket.socket(fileno=os.dup(fd)) for fd in (waker.fileno(), waker.write_fd)]
        holder = threading.Thread(target=waker._lock.acquire)
        holder.start()
        holder.join()
        waker.begin_anew()
        waker.wake()
        self.assertTrue(_is_readable(waker))
        self.assertFalse(select.select(parents[:1], [], [], 0)[0])
        waker.close()
        for sock in parents:
            sock.close()


def _is_readable(waker: Waker) -> bool:
    return bool(select.select([waker], [], [], 0)[0])
