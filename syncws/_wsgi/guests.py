"""The connections of this process that are guests of another WSGI server: how many there may be, and how they end.

A connection takes a seat before its socket is taken. It gives the seat back when its handler has ended, or when it is
closed, if a view has it from `Upgrader.upgrade`. There are two limits: one for all guests, and one for those that hold
a thread of the server's pool, so that some threads are left for plain requests.

    admit()              a seat, or Full
    Seat.connected()     its connection exists
    Seat.leave_view()    the view is over, and its thread is free again; the connection still has to end
    Seat.leave()         the connection is over

**The end of the process.** Every peer is told 1001 before the interpreter stops (`shutdown`), or 1012 where another
process takes this one's place. While all guests are detached nothing else is needed: no view holds the server up. Views
that are under way do, so as long as there are any, a thread asks the server whether it wants to end.

**Processes that fork.** Nothing is made when this module is imported (gunicorn --preload, uWSGI): each process has a
registry of its own, made when its first connection comes. uWSGI runs no hooks of os.register_at_fork, so every use
compares the process's id.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable

from .._base.counters import breaches
from .._base.logs import logger
from .._conn.conn import Conn
from .._conn.farewell import farewell
from .._conn.ledger import Ledger
from .._conn.tally import Tally
from ..errors import CloseCode
from .stats import WsgiStats
from .taken import Taken

_log = logger("syncws.wsgi")

#: How many guests a process may have, where it is not said otherwise.
MAX_CONNECTIONS = 10_000

#: Seconds that the end of the process waits for peers and handlers.
EXIT_TIMEOUT = 2.0

#: Seconds over which many peers are told, at most.
_SPREAD = 1.0

#: Seconds between two looks at whether the server wants to end.
_LOOK = 0.25


class Full(Exception):
    """There is no seat; ``advice`` is for the log. ``is_limit``: a limit says so, which each client meets."""

    def __init__(self, message: str, advice: str, *, is_limit: bool = False) -> None:
        super().__init__(message)
        self.advice = advice
        self.is_limit = is_limit


class Seat:
    """One connection's place among the guests.

    Concurrency: every method is for any thread. The lock of Guests guards `in_view`. `thread` has no lock: a thread
    looks for its own number in it, and finds what it has written there itself; to others an older value means the same.
    """

    __slots__ = ("_conn", "_guests", "_has_left", "_tally", "in_view", "is_borrowed", "server", "thread")

    def __init__(self, guests: Guests, in_view: bool, server: str = "") -> None:
        self._guests = guests
        #: Whose guest it is, and whether it was to hold a thread of that server.
        self.server, self.is_borrowed = server, in_view
        # What is counted of the connection, and whether the seat was given back. Neither has a lock: see `connected`.
        self._tally: Tally | None = None
        self._has_left = False
        self._conn: weakref.ref[Conn] | None = None
        self.in_view = in_view
        #: The thread that runs its handler, as threading.get_ident() has it.
        self.thread: int | None = threading.get_ident() if in_view else None

    @property
    def conn(self) -> Conn | None:
        """The connection, once there is one. The reference is weak, so that the collector may have it."""
        return None if self._conn is None else self._conn()

    def connected(self, conn: Conn) -> None:
        """Note the connection. If the process is ending, its peer is told at once."""
        # In this order: `shutdown` shuts the door and then tells the connections that it finds in their seats, so that
        # either it finds this one, or this one finds the door shut.
        self._conn = weakref.ref(conn)
        # First the one, and then a look at the other; `leave` does so the other way round. A connection may be lost,
        # and its seat given back, before this, and would be counted as one that is ending for ever.
        self._tally = self._guests.ledger.opened(conn)
        if self._has_left:
            self._guests.ledger.left(self._tally)
        self._guests._tell_latecomer(conn)

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
        """Give the server's thread back; the seat is kept until the connection has ended."""
        self._guests._leave_view(self)

    def leave(self) -> None:
        """Give the seat back. Idempotent."""
        self._guests._leave(self)
        self._has_left = True
        self._guests.ledger.left(self._tally)


class Guests:
    """Who is connected, in this process.

    Concurrency: every method is for any thread. `_lock` guards every field; nobody is called while it is held.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._seats: set[Seat] = set()
        #: What is counted; it has a lock of its own.
        self.ledger = Ledger()
        self._views: dict[int, Seat] = {}  # the seats of views under way, by thread
        # The door is shut while this is set: newcomers are refused, and one that has a seat and no connection yet is
        # told this code and reason when the connection is there.
        self._closing: tuple[int, str] | None = None
        self._shutdowns = 0  # so many keep the door shut; that of the process's end does so for good
        self._has_exited = False  # `at_exit` was called, and there was somebody to tell
        self._is_watched = False  # a thread asks the server whether it wants to end
        self._is_replaced: Callable[[], bool] | None = None  # of the first server that can tell; a process has one
        self._has_warned = False  # that a view holds the server's only thread

    def admit(self, taken: Taken, *, in_view: bool, limit: int | None) -> Seat:
        """Take a seat for a connection that is about to be taken from its server. Raises Full.

        in_view: whether the handler will hold this thread, which is the server's. limit: how many guests there may be.
        """
        if in_view:
            self._end_previous_view()
        with self._lock:
            self._check_room(taken, in_view, limit)
            seat = Seat(self, in_view, taken.server)
            self._seats.add(seat)
            if seat.thread is not None:
                self._views[seat.thread] = seat
            self._is_replaced = self._is_replaced or taken.is_replaced
        if in_view:
            self._warn_of_a_single_thread(taken)
            self._watch_views(taken)
        return seat

    def _check_room(self, taken: Taken, in_view: bool, limit: int | None) -> None:
        """Raise Full where one more connection is too many. Under the lock."""
        if self._closing is not None:
            raise Full("this process is about to end", "it tells its WebSocket peers to go")
        if limit is not None and len(self._seats) >= limit:
            breaches.add("max_connections")
            message = f"all {limit} WebSocket connections are taken"
            raise Full(message, "max_connections is the limit (of Flask: SYNCWS_MAX_CONNECTIONS)", is_limit=True)
        most_in_view = _view_limit(taken.pool)
        if in_view and most_in_view is not None and len(self._views) >= most_in_view:
            breaches.add("views")
            raise Full(
                f"{len(self._views)} of the {taken.pool} threads of {taken.server} serve WebSocket connections",
                "the rest is left for plain requests: give it more threads, or let connections be detached",
                is_limit=True,
            )

    def _warn_of_a_single_thread(self, taken: Taken) -> None:
        """Say once what a view costs that holds the only thread there is."""
        if taken.pool != 1:
            return
        with self._lock:
            has_warned, self._has_warned = self._has_warned, True
        if not has_warned:
            _log.warning(
                "%s serves one request at a time, and this connection is served in its view: nothing else is served "
                "until it ends",
                taken.server,
            )

    def _end_previous_view(self) -> None:
        """End what this thread's previous view has left open: that view has returned, or raised, without closing it."""
        with self._lock:
            seat = self._views.get(threading.get_ident())
        if seat is not None:
            seat.cut()
            seat.leave()

    def _leave_view(self, seat: Seat) -> None:
        with self._lock:
            if seat.in_view and seat.thread is not None:
                self._views.pop(seat.thread, None)
            seat.in_view, seat.thread = False, None
            self._changed.notify_all()

    def _leave(self, seat: Seat) -> None:
        with self._lock:
            if seat in self._seats:
                self._seats.discard(seat)
                self._leave_view(seat)

    def __len__(self) -> int:
        with self._lock:
            return len(self._seats)

    def stats(self) -> WsgiStats:
        """What they have seen."""
        with self._lock:
            seats = list(self._seats)
        return WsgiStats(
            **self.ledger.traffic(),
            detached=dict(Counter(seat.server for seat in seats if not seat.is_borrowed)),
            borrowed=dict(Counter(seat.server for seat in seats if seat.is_borrowed)),
        )

    # The end

    def shutdown(
        self, code: int, reason: str, timeout: float, *, spread: float | None = None, for_good: bool = False
    ) -> int:
        """Close every connection, wait for the handlers, cut what is left; how many handlers still run.

        Newcomers are refused meanwhile; for_good: from now on.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closing = (code, reason)
            self._shutdowns += 1
        try:
            if spread is None:
                spread = min(_SPREAD, timeout / 2)
            return farewell(self._seats, self._lock, self._changed, code, reason, deadline=deadline, spread=spread)
        finally:
            with self._lock:
                self._shutdowns -= not for_good
                if self._shutdowns == 0:
                    self._closing = None

    def _tell_latecomer(self, conn: Conn) -> None:
        """Tell the peer of a connection that came to its seat after `shutdown` had told everybody."""
        with self._lock:
            closing = self._closing
        if closing is not None:
            conn._start_close(*closing)

    def at_exit(self) -> None:
        """Tell every peer that the process ends, and wait for the handlers. Does so once: it is called by two hooks."""
        with self._lock:
            if self._has_exited or not self._seats:
                return
            self._has_exited = True
        left = self._end_process()
        if left:
            _log.warning("the process ends while %d WebSocket handlers are still running", left)

    def _end_process(self) -> int:
        with self._lock:
            is_replaced = self._is_replaced
        restarts = is_replaced is not None and is_replaced()
        code = CloseCode.SERVICE_RESTART if restarts else CloseCode.GOING_AWAY
        return self.shutdown(code, "", EXIT_TIMEOUT, for_good=True)

    # Views under way: a server that waits for them when it ends would wait in vain

    def _watch_views(self, taken: Taken) -> None:
        """Have a thread look after the server while views are under way, where the server can tell or be told."""
        if taken.is_ending is None and taken.say_alive is None:
            return
        with self._lock:
            is_watched, self._is_watched = self._is_watched, True
        if is_watched:
            return
        asking = (taken.is_ending or _never, taken.say_alive or _nothing)
        try:
            threading.Thread(target=self._watch, args=asking, name="syncws-wsgi-watch", daemon=True).start()
        except RuntimeError as exc:
            with self._lock:
                self._is_watched = False
            _log.error("no thread to watch the server (%s): peers will not be told when it ends", exc)

    def _watch(self, is_ending: Callable[[], bool], say_alive: Callable[[], object]) -> None:
        """Until no view is under way; if the server wants to end before, tell the peers of all guests."""
        try:
            while not is_ending():
                say_alive()
                with self._lock:
                    self._changed.wait_for(lambda: not self._views, _LOOK)
                    if not self._views:
                        # Under the same lock as the look: a view that comes now finds nobody watching, and starts
                        # another.
                        self._is_watched = False
                        return
            self._end_process()
        except Exception:  # of a server that another package has taught us; the next view is watched again
            _log.exception("whether the server ends is not known, as asking it raised")
        with self._lock:
            self._is_watched = False


def _view_limit(pool: int | None) -> int | None:
    """How many connections may hold threads of a pool: an eighth of it, one at least, is left for plain requests."""
    if pool is None:
        return None
    return max(1, pool - max(1, pool // 8))


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


# One registry for each process

_current: tuple[int, Guests] | None = None  # the process's id, and its guests; replaced, never changed
_making = threading.Lock()


def guests() -> Guests:
    """The guests of this process."""
    global _current
    current = _current  # without the lock: a tuple that is there is whole
    if current is not None and current[0] == os.getpid():
        return current[1]
    with _making:
        if _current is None or _current[0] != os.getpid():
            _prepare_process()
            _current = (os.getpid(), Guests())
        return _current[1]


def _prepare_process() -> None:
    """Have `_at_exit` called when the interpreter stops."""
    # `threading._register_atexit` is private. What is registered there is called before the interpreter waits for the
    # threads of pools, and what is registered with atexit only after that. The latest is called first, and must be
    # ours: concurrent.futures, which joins its threads in such a call, is imported before.
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        try:
            import concurrent.futures.thread  # noqa: F401

            register(_at_exit, os.getpid())
        except RuntimeError:  # the interpreter is stopping
            pass
    # Under eventlet, and after some forks, those calls are not made.
    atexit.register(_at_exit, os.getpid())


def _at_exit(pid: int) -> None:
    current = _current
    if current is not None and current[0] == pid == os.getpid():
        current[1].at_exit()


def _replace_lock() -> None:
    """In the child of a fork: another thread of the parent may have held the lock."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)
