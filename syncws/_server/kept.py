"""Threads that are kept on one core, while the rest of the process keeps all of them.

On Linux a thread runs where its affinity says, and what it starts inherits that: threads, processes, and the pools that
libraries make when they are loaded, which also count the cores that they see. None of these is to be kept, so:

* A thread that is about to start a process or to load a module is let go for some seconds. An audit hook tells that,
  before it happens.
* A thread that one of them has started is found by `tend`, which is called several times a second, and let go.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from .._base.forks import begin_anew_in_child
from .._base.logs import logger
from .cores import own_cores

_log = logger("syncws.server")

#: What an audit hook is told before a process is started, or a module is loaded.
_LETS_GO = frozenset(
    {
        *("subprocess.Popen", "_posixsubprocess.fork_exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"),
        *("os.exec", "import", "ctypes.dlopen"),
    }
)

#: Seconds for which a thread is let go then: modules may take some to load.
_REST = 10.0


class KeptThreads:
    """Threads that work under `run`, and are kept on a core while that is wanted.

    Concurrency: every method is for any thread. `_lock` guards all fields. It is reentrant: an audit hook may find its
    own thread inside. The system is asked to move a thread while it is held: no thread ends meanwhile, so no number
    belongs to another one.
    """

    def __init__(self) -> None:
        self._core: int | None = None
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """In the child of a fork: the threads are the parent's."""
        self._lock = threading.RLock()
        self._threads: dict[int, int] = {}  # by threading.get_ident(): the number that the system has for it
        self._resting: dict[int, float] = {}  # those that were let go: until when, of time.monotonic()
        self._passed: set[int] = set()  # numbers of other threads that were looked at
        self._refused: tuple[int, OSError] | None = None  # a core that is not to be had, which is not logged yet

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def core(self) -> int | None:
        """The core on which they are kept; None for none. Without the lock: one reference."""
        return self._core

    def run(self, work: Callable[[], object]) -> None:
        """Work. The calling thread is one of them until that is done."""
        me = threading.get_ident()
        _kept_by[me] = self
        with self._lock:
            self._threads[me] = threading.get_native_id()
            self._place(me)
        self._say_refused()
        try:
            work()
        finally:
            with self._lock:
                self._threads.pop(me, None)  # in the child of a fork it is gone
                self._resting.pop(me, None)
            del _kept_by[me]

    def keep(self, core: int | None) -> None:
        """Keep all of them, and those to come, on this core; None: on none.

        Where the system refuses that is logged, and they run on any core. For one thread at a time.
        """
        if core is not None:
            _begin_listening()
        with self._lock:
            self._core = core
            self._passed.clear()
            threads = tuple(self._threads)
        for me in threads:  # the lock is let go after each: others begin and end
            with self._lock:
                if me in self._threads:
                    self._place(me)
        self._say_refused()

    def rest(self, me: int) -> None:
        """By the calling thread: it runs on any core for some seconds."""
        with self._lock:
            if self._core is not None and me in self._threads:
                self._resting[me] = time.monotonic() + _REST
                self._place(me)  # where it is not kept, which is never refused

    def tend(self) -> None:
        """Keep those again whose rest is over, and let go of threads that inherited the core."""
        if self._core is None:
            return
        now = time.monotonic()
        with self._lock:
            for me in [me for me, until in self._resting.items() if until <= now]:
                del self._resting[me]
                self._place(me)
        self._say_refused()
        numbers = numbers_of_threads()
        with self._lock:
            self._passed &= numbers
            news = numbers - self._passed - set(self._threads.values())
            self._passed |= news
            for number in news:
                with suppress(OSError):  # it has ended
                    if os.sched_getaffinity(number) == {self._core}:
                        os.sched_setaffinity(number, own_cores())

    def _place(self, me: int) -> None:
        """Have one of them run where it is to run. Under the lock."""
        core = None if me in self._resting else self._core
        try:
            os.sched_setaffinity(self._threads[me], own_cores() if core is None else (core,))
        except OSError as exc:  # the program may no longer use that core
            if core is not None:
                self._core, self._refused = None, (core, exc)

    def _say_refused(self) -> None:
        """Log that the system has refused a core, and let all threads run on any. Without the lock."""
        with self._lock:
            refused, self._refused = self._refused, None
        if refused is not None:
            _log.warning("connections cannot be kept on core %d: %s", *refused)
            self.keep(None)


#: Who may keep a thread, by threading.get_ident(). Each thread writes its own entry, in one step: no lock.
_kept_by: dict[int, KeptThreads] = {}

_is_listening = False


def _begin_listening() -> None:
    """From now on hear what is told to audit hooks. There is no way to stop: so not before it is needed."""
    global _is_listening
    if not _is_listening:  # of two threads that come at once both may add it, which does no harm
        _is_listening = True
        sys.addaudithook(_hear)


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event in _LETS_GO:
        me = threading.get_ident()
        kept = _kept_by.get(me)
        if kept is not None:
            kept.rest(me)


def numbers_of_threads() -> set[int]:
    """The numbers that the system has for the threads of this process, those of libraries among them."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:  # /proc is not mounted: those of Python
        return {thread.native_id for thread in threading.enumerate() if thread.native_id is not None}
