"""One thread per process for what nobody waits for: sending what a full socket did not take, and ending closes.

A thread that posts to a slow peer does not wait; neither does one that starts a close. Both leave a callable here:

* `watch(fd, flush)`: call `flush` each time the socket behind fd can be written, until it returns True (done);
* `call_at(instant, call)`: call once, at an instant of time.monotonic(), unless cancelled.

The callables must not block and must run no code of the application. They may call back into this module.

The thread is in one of three states, which `Drain._tools` tells:

| state | `_tools` | a request |
|---|---|---|
| absent | None | makes tools and starts the thread with all the work there is |
| at work | those of the thread | is put on the list; a byte wakes the thread where it has to look again |
| ending | None; the thread closes those it had | as absent: the next thread has tools of its own |

It ends after a second without work, so that a program at rest has no such thread, a test suite leaks none, and a fork
inherits none. It is a daemon: it never holds up the exit of the interpreter.

Three facts explain what looks odd below:

* *File descriptors are numbers, and are used again.* `forget` takes effect before it returns, so a number that was
  forgotten and then closed is gone from the selector, also where a fork keeps the socket itself alive.
* *A flush may be asked for while it is just finding that it is done.* Each request is an object of its own, and only
  the one that was carried out is taken off the list.
* *There may be no thread or descriptor to be had.* Then the work stays, and the next request tries again, as does
  `go_on`, which each new connection calls.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

from .._base.logs import logger

_logger = logger("syncws.conn")

#: Seconds without work after which the thread ends.
IDLE = 1.0

Flush = Callable[[], bool]


class Timer:
    """A call that is due at an instant. `cancel` is for any thread, at any time."""

    __slots__ = ("_call", "instant")

    def __init__(self, instant: float, call: Callable[[], object]) -> None:
        self.instant = instant
        # Without a lock: one reference, which only ever becomes None. A cancel that comes while `fire` has taken it out
        # is too late, as one that comes while the call runs.
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not call, unless the call has already begun. What it holds on to is let go at once."""
        self._call = None

    @property
    def cancelled(self) -> bool:
        """Whether there is nothing left to call."""
        return self._call is None

    def fire(self) -> None:
        """Call, unless cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Drain:
    """Flushes sockets and fires timers from one thread of its own.

    Concurrency: every method may be called from any thread, whatever locks it holds. `_lock` is a leaf; the one I/O
    under it is the byte that wakes the thread, which never waits. It guards every field. The thread waits in its
    selector without it, while others register there: selectors allow that.
    """

    def __init__(self) -> None:
        self._watched: dict[int, tuple[Flush]] = {}
        self._timers: list[tuple[float, int, Timer]] = []  # a heap
        self._tickets = itertools.count()  # keeps equal instants in order
        # The thread's tools; None while there is no thread.
        self._tools: _Tools | None = None
        self._told = False  # that no thread could be started was logged
        self._untold: Exception | None = None  # or is to be; read without the lock, as a hint

    @property
    def _lock(self) -> threading.Lock:
        """Made when it is first needed: gunicorn's gevent worker may patch threading after this was imported, and a
        lock from before would stop every greenlet. Two threads get the same one: dict.setdefault is one step."""
        lock: threading.Lock | None = self.__dict__.get("_made_lock")
        return self.__dict__.setdefault("_made_lock", threading.Lock()) if lock is None else lock

    def watch(self, fd: int, flush: Flush) -> None:
        """Call flush when fd is writable or broken, again and again until it returns True.

        A later watch of the same fd takes its place. It logs nothing, since the caller may hold a lock that a
        handler of the log would wait for; `tell` is for when it was let go.
        """
        with self._lock:
            before = self._watched.get(fd)
            # A new tuple each time, even if it is watched already: a call that is under way now, and may just have
            # found that it is done, does not take this one off.
            self._watched[fd] = (flush,)
            if self._tools is None:
                self._start()
            elif before is None or before[0] != flush:
                self._register(self._tools, fd)
                self._tools.wake()  # not every selector sees fd in the wait that is under way: select() copies its list

    def tell(self) -> None:
        """Log that there is no thread to be had, if that is news. For who holds no lock: a handler of the log may send
        over a connection, and come here.
        """
        if self._untold is None:
            return
        with self._lock:
            trouble, self._untold = self._untold, None
        if trouble is not None:
            _logger.error("no thread to send what waits (%s); trying again with each message", trouble)

    def go_on(self) -> None:
        """Where no thread could be started for the work there is, try again."""
        if self._tools is not None:  # read without the lock: one reference, and a thread with work does not end
            return
        with self._lock:
            if self._tools is None and (self._watched or self._timers):
                self._start()
        self.tell()

    def forget(self, fd: int) -> None:
        """Stop watching fd; to be called before fd is closed. A call of its flush may still be under way.

        Nothing of fd is left when this returns, so its number may be closed, and be another socket's at once.
        """
        with self._lock:
            if self._watched.pop(fd, None) is not None and self._tools is not None:
                self._tools.unregister(fd)

    def call_at(self, instant: float, call: Callable[[], object], *, quiet: bool = False) -> Timer:
        """Call at an instant of time.monotonic(). quiet: it logs nothing, as `watch`."""
        timer = Timer(instant, call)
        with self._lock:
            self._add_timer(timer)
            if self._tools is None:
                self._start()
            elif self._timers[0][2] is timer:
                self._tools.wake()
        if not quiet:
            self.tell()
        return timer

    def _add_timer(self, timer: Timer) -> None:
        assert self._lock.locked()
        heapq.heappush(self._timers, (timer.instant, next(self._tickets), timer))

    def _register(self, tools: _Tools, fd: int) -> None:
        assert self._lock.locked()
        tools.unregister(fd)  # of a socket that was closed without `forget`
        try:
            tools.selector.register(fd, selectors.EVENT_WRITE)
        except (OSError, ValueError):  # not open, or nothing to wait for: its flush finds out and says so
            (flush,) = self._watched.pop(fd)
            self._add_timer(Timer(time.monotonic(), flush))

    def _start(self) -> None:
        """Start the thread with all the work there is. What prevented it is to be told, if that is news."""
        assert self._lock.locked()
        tools = None
        try:
            self._tools = tools = _Tools()
            for fd in tuple(self._watched):
                self._register(tools, fd)
            threading.Thread(target=self._run, args=(tools,), name="syncws-drain", daemon=True).start()
        except (OSError, RuntimeError) as error:  # no descriptor or no thread to be had
            self._tools = None
            if tools is not None:
                tools.close()
            # The end of the interpreter is no news: it closes every socket anyway.
            if not self._told and "interpreter shutdown" not in str(error):
                self._untold = error
            self._told = True
            return
        except BaseException:  # an interrupt, which may leave a thread that has begun: `_run` finds out
            self._tools = None
            if tools is not None:
                tools.close()
            raise
        self._told = False

    def _run(self, tools: _Tools) -> None:
        with contextlib.closing(tools):
            with self._lock:
                if self._tools is not tools:  # whoever started this thread was interrupted
                    return
            try:
                while self._work(tools):
                    pass
            finally:
                with self._lock:
                    if self._tools is tools:  # a defect in this module: the next request starts another thread
                        self._tools = None

    def _work(self, tools: _Tools) -> bool:
        """Wait for work and do it; False when the thread is to end."""
        # A request that comes between this look and the wait leaves its byte, so the wait ends at once.
        due, wait = self._due_timers(time.monotonic())
        for timer in due:
            _guarded(timer.fire)
        ready = tools.wait(0 if due else wait)
        if not ready and not due:
            return not self._may_end(tools)
        for fd in ready:
            self._flush(fd)
        return True

    def _flush(self, fd: int) -> None:
        with self._lock:
            request = self._watched.get(fd)
        if request is None or _guarded(request[0]) is False:  # None: forgotten meanwhile
            return
        with self._lock:
            if self._watched.get(fd) is request and self._tools is not None:  # not a later one: see `watch`
                del self._watched[fd]
                self._tools.unregister(fd)

    def _due_timers(self, now: float) -> tuple[list[Timer], float]:
        """Timers to fire, and the seconds until there is something to look at."""
        due = []
        with self._lock:
            while self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                if not timer.cancelled:  # else the thread would take it for work, and stay a second longer
                    due.append(timer)
            wait = min(IDLE, self._timers[0][0] - now) if self._timers else IDLE
        return due, wait

    def _may_end(self, tools: _Tools) -> bool:
        """After a wait without work: end, unless something is watched or due.

        Decided under the lock: a request that comes later finds no thread and starts one, so none is lost.
        """
        with self._lock:
            self._timers = [entry for entry in self._timers if not entry[2].cancelled]
            heapq.heapify(self._timers)
            if self._timers or self._watched:
                return False
            self._tools = None
            return True

    def begin_anew(self) -> None:
        """In the child of a fork, which has the parent's descriptors, and neither its thread nor its work."""
        if self._tools is not None:
            self._tools.close()
        self.__dict__.clear()
        self.__init__()  # type: ignore[misc]


class _Tools:
    """What one drain thread waits with: a selector, and a pair of sockets whose byte ends the wait."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self.selector = opened.enter_context(selectors.DefaultSelector())
            self._awake, self._waker = map(opened.enter_context, socket.socketpair())
            self._awake.setblocking(False)
            self._waker.setblocking(False)
            self.selector.register(self._awake, selectors.EVENT_READ)
            self._opened = opened.pop_all()

    def wake(self) -> None:
        """End the wait under way, or the next one. Under `Drain._lock`, so the pair is open."""
        with contextlib.suppress(OSError):  # a full pipe has woken it already
            self._waker.send(b"\0")

    def wait(self, seconds: float) -> list[int]:
        """Wait at most that long; the watched descriptors that are ready, and -1 for having been woken."""
        ready = []
        for key, _ in self.selector.select(seconds):
            if key.fileobj is self._awake:
                with contextlib.suppress(OSError):
                    self._awake.recv(4096)
                ready.append(-1)
            else:
                ready.append(key.fd)
        return ready

    def unregister(self, fd: int) -> None:
        """Take fd out of the selector, if it is in."""
        with contextlib.suppress(KeyError, ValueError, OSError):
            self.selector.unregister(fd)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # after a fork some systems' selectors are closed already
            self._opened.close()


def _guarded(call: Callable[[], object]) -> object:
    """Run a callable of a connection. An exception is a defect of this library, and must not stop the others' work."""
    try:
        return call()
    except Exception:
        _logger.exception("internal error while sending what waits")
        return None


drain = Drain()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=drain.begin_anew)
