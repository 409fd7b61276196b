"""The connections of this process that live inside other WSGI servers: how many there may be, and how they end.

A seat is taken for each connection before its socket is, and given back when its handler has ended (or, after an
`Upgrader.upgrade` in a view, when it is closed). There are two limits: one for all, and one for those that hold a
thread of the server's pool, so that some threads are left for plain requests.

At the end of the process every peer is told 1001 before the interpreter stops (`shutdown`). Under gunicorn that needs
no hook while all connections are detached: no view is under way that could hold the worker up. Views that are under way
do hold it, so as long as there are any a thread watches whether the worker wants to go.

Nothing is made when this module is imported: a process that forks (gunicorn --preload, uWSGI) has one registry for each
child, made when its first connection comes. uWSGI runs no hooks of os.register_at_fork, so the process is asked for.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from .._conn.conn import Conn
from .._conn.farewell import farewell
from ..errors import CloseCode
from .taken import Taken

_log = logging.getLogger("syncws.wsgi")

#: Seconds that the end of the process waits for peers and handlers.
EXIT_TIMEOUT = 2.0

#: Seconds over which many peers are told, at most.
_SPREAD = 1.0

#: Seconds between two looks at whether gunicorn's worker wants to go.
_WATCH = 0.25


class Full(Exception):
    """There is no seat; ``advice`` is for the log."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class Seat:
    """One connection's place in the registry.

    Concurrency: every method is for any thread.
    """

    __slots__ = ("_conn", "_hosted", "in_view", "thread")

    def __init__(self, hosted: Hosted, in_view: bool) -> None:
        self._hosted = hosted
        self._conn: weakref.ref[Conn] | None = None
        self.in_view = in_view
        #: The thread that runs its handler, as threading.get_ident() has it.
        self.thread: int | None = threading.get_ident() if in_view else None

    @property
    def conn(self) -> Conn | None:
        """The connection, once there is one. Held weakly: nobody else may be left to close it."""
        return None if self._conn is None else self._conn()

    def seat(self, conn: Conn) -> None:
        """The connection is there; it is closed at once if the process is about to end."""
        self._conn = weakref.ref(conn)
        self._hosted._tell_latecomer(conn)

    def start_close(self, code: int, reason: str) -> None:
        """Tell the peer to go, if there is a connection already."""
        conn = self.conn
        if conn is not None:
            conn._start_close(code, reason)

    def cut(self) -> None:
        """End the connection at once, if there is one."""
        conn = self.conn
        if conn is not None:
            conn.close_now()

    def leave_view(self) -> None:
        """The view is over, and its thread free; what is left is to end the connection."""
        self._hosted._leave_view(self)

    def leave(self) -> None:
        """Give the seat back. Idempotent."""
        self._hosted._leave(self)


class Hosted:
    """Who is connected, in this process.

    Concurrency: every method is for any thread. `_changed` guards everything here; nobody is called while it is held.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seats: set[Seat] = set()
        self._views: dict[int, Seat] = {}  # those of the seats that are in a view, by its thread
        self._closing: tuple[int, str] | None = None  # code and reason, while peers are told to go
        self._for_good = False  # that they are
        self._has_ended = False
        self._watching = False
        self._worker: Any = None  # gunicorn's
        self._reloads = False  # set by gunicorn's reloader
        self._warned = False

    def admit(self, taken: Taken, *, in_view: bool, limit: int | None) -> Seat:
        """Take a seat. Raises Full."""
        if in_view:
            self._clear_abandoned()
        most_in_view = _view_limit(taken.pool)
        with self._changed:
            if self._closing is not None:
                raise Full("this process is about to end", "it tells its WebSocket peers to go")
            if limit is not None and len(self._seats) >= limit:
                raise Full(f"all {limit} WebSocket connections are taken", "max_connections is the limit")
            if in_view and most_in_view is not None and len(self._views) >= most_in_view:
                raise Full(
                    f"{len(self._views)} of the {taken.pool} threads of {taken.server} serve WebSocket connections",
                    "the rest is left for plain requests: give it more threads, or let connections be detached",
                )
            seat = Seat(self, in_view)
            self._seats.add(seat)
            if seat.thread is not None:
                self._views[seat.thread] = seat
            if self._worker is None and taken.worker is not None:
                self._worker = taken.worker
                self._watch_reloads(taken.worker)
            start_watch = in_view and taken.is_ending is not None and not self._watching
            self._watching |= start_watch
            warn, self._warned = in_view and taken.pool == 1 and not self._warned, self._warned or in_view
        if warn:
            _log.warning(
                "%s serves one request at a time, and this connection is served in its view: nothing else is served "
                "until it ends",
                taken.server,
            )
        if start_watch:
            assert taken.is_ending is not None
            self._start_watch(taken.is_ending)
        return seat

    def _clear_abandoned(self) -> None:
        """A view that this thread was in before is over: it has raised, or returned, and not closed its connection."""
        with self._changed:
            seat = self._views.get(threading.get_ident())
        if seat is None:
            return
        seat.cut()
        seat.leave()

    def _leave_view(self, seat: Seat) -> None:
        with self._changed:
            if seat.in_view and seat.thread is not None:
                self._views.pop(seat.thread, None)
            seat.in_view, seat.thread = False, None
            self._changed.notify_all()

    def _leave(self, seat: Seat) -> None:
        with self._changed:
            if seat in self._seats:
                self._seats.discard(seat)
                self._leave_view(seat)

    def __len__(self) -> int:
        with self._changed:
            return len(self._seats)

    def _tell_latecomer(self, conn: Conn) -> None:
        with self._changed:
            closing = self._closing
        if closing is not None:  # shutdown has told everybody, and this one was not there yet
            conn._start_close(*closing)

    # The end

    def shutdown(self, code: int, reason: str, timeout: float, *, for_good: bool = False) -> int:
        """Close every connection, wait for the handlers, cut what is left; how many handlers still run."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = (code, reason)
            self._for_good |= for_good
        try:
            spread = min(_SPREAD, timeout / 2)
            return farewell(self._seats, self._changed, code, reason, deadline=deadline, spread=spread)
        finally:
            with self._changed:
                if not self._for_good:
                    self._closing = None

    def at_exit(self) -> None:
        """The interpreter is about to stop. It says so more than once."""
        with self._changed:
            if self._has_ended or not self._seats:
                return
            self._has_ended = True
        left = self._end_process()
        if left:
            _log.warning("the process ends while %d WebSocket handlers are still running", left)

    def _watch_reloads(self, worker: Any) -> None:
        """Note when gunicorn's reloader has seen a changed file: it then ends the worker, and no hook says why."""
        reloader: Any = getattr(worker, "reloader", None)
        callback = getattr(reloader, "_callback", None)
        if callback is None:
            return

        def changed(file: str) -> None:
            self._reloads = True
            callback(file)

        reloader._callback = changed

    def _end_process(self) -> int:
        code = CloseCode.SERVICE_RESTART if self._reloads or _retires(self._worker) else CloseCode.GOING_AWAY
        return self.shutdown(code, "", EXIT_TIMEOUT, for_good=True)

    # Views under way: their server waits for them when it ends, gunicorn's worker and cheroot

    def _start_watch(self, is_ending: Callable[[], bool]) -> None:
        try:
            threading.Thread(target=self._watch, args=(is_ending,), name="syncws-wsgi-watch", daemon=True).start()
        except RuntimeError as exc:
            with self._changed:
                self._watching = False
            _log.error("no thread to watch the server (%s): peers will not be told when it ends", exc)

    def _watch(self, is_ending: Callable[[], bool]) -> None:
        """While views are under way: once the server wants to go, tell the peers of all connections."""
        while not is_ending():
            if type(self._worker).__name__ == "SyncWorker":
                self._worker.notify()  # else gunicorn takes a view that lasts for one that hangs, and kills it
            with self._changed:
                self._changed.wait_for(lambda: not self._views, _WATCH)
                if not self._views:
                    self._watching = False
                    return
        self._end_process()
        with self._changed:
            self._watching = False


def _view_limit(pool: int | None) -> int | None:
    """How many connections may hold threads of a pool: an eighth of it, one at least, is left for plain requests."""
    if pool is None:
        return None
    return max(1, pool - max(1, pool // 8))


def _retires(worker: Any) -> bool:
    """Whether gunicorn's worker ends by itself, to be replaced, as it has served its --max-requests."""
    return bool(getattr(worker, "nr", 0) >= getattr(worker, "max_requests", sys.maxsize))


# One registry for each process

_current: tuple[int, Hosted] | None = None
_making = threading.Lock()


def hosted() -> Hosted:
    """The registry of this process."""
    global _current
    current = _current
    if current is not None and current[0] == os.getpid():
        return current[1]
    with _making:
        if _current is None or _current[0] != os.getpid():
            _prepare_process()
            _current = (os.getpid(), Hosted())
        return _current[1]


def _prepare_process() -> None:
    # Before the interpreter waits for the threads of pools, which atexit's own functions are called after. It is what
    # concurrent.futures uses, and private: to be told before, one has to register after it.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        try:
            import concurrent.futures.thread  # noqa: F401

            register(_at_exit, os.getpid())
        except RuntimeError:  # the interpreter is stopping
            pass
    # Where those are not called (eventlet), and after a fork that was told of none.
    atexit.register(_at_exit, os.getpid())


def _at_exit(pid: int) -> None:
    current = _current
    if current is not None and current[0] == pid == os.getpid():
        current[1].at_exit()


def _begin_anew() -> None:
    """In the child of a fork: another thread may have held the lock."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
