"""A thread whose start waits for nobody.

`threading.Thread.start` waits until the new thread has told that it runs. So the accept loop, which starts a thread for
each connection, would give the GIL away and get it back for each of them; and each thread would keep the Event by which
it has told that, a kilobyte, for as long as it lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class PromptThread(threading.Thread):
    """A daemon thread, known to `threading` as any other; when `start` returns it may not have begun yet.

    Concurrency: as threading.Thread.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        # An attribute of Thread's own, in every Python up to 3.14. Where it has another name the start waits as usual.
        self._started = _Mark()

    def run(self) -> None:
        """Work. (That of Thread calls in a way that costs the stack 700 bytes for as long as the thread lives.)"""
        self._work()


class _Mark:
    """What `Thread` asks of its Event: a flag, and nobody waits for it.

    Concurrency: the new thread sets it, once; whoever misses that has come before it.
    """

    __slots__ = ("_is_set",)

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def _at_fork_reinit(self) -> None:
        """There is no lock to be made anew in the child."""
