"""A conversation with a server: one connection, or several one after the other.

    connect     the first connection, in the caller's thread: it raises why there is none
    start       a thread reads from now on, and tells a Listener what comes
    send        from any thread
    close       the end, from any thread

Whether another connection follows is the library's `Reconnector`'s to say. Without --reconnect it makes one attempt,
and another one only when it is asked for.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..._base.copies import copy_of
from ..._client.dialer import Dialer
from ..._client.reconnector import reconnect
from ..._conn.conn import Conn
from ..._http.headers import Headers
from ...errors import ConnectionClosed, HandshakeError
from ..command import CommandError
from .endings import NORMAL, REFUSED, status_of
from .record import Direction, Recorder
from .refusals import say_refusal

#: Seconds that the peer has to answer our close; and after Ctrl-C, when a person waits for it.
CLOSE_TIMEOUT = 5.0
CLOSE_TIMEOUT_AFTER_INTERRUPT = 1.0

#: Seconds before the first attempt to connect again; and without --reconnect, where a person has asked for it.
_DELAY = 1.0
_AT_ONCE = 0.01


#: What a dial raises.
_FAILURES = (OSError, HandshakeError, ImportError, ValueError, TypeError)


class Listener(Protocol):
    """Whom a session tells what happens: its reading thread calls, one call at a time, and waits for its return.

    A BrokenPipeError from `received` says that nobody listens any more, and ends the session in order.
    """

    def opened(self, conn: Conn) -> None:
        """A connection is open, the first one or another."""

    def received(self, message: str | bytes) -> None:
        """A message has come."""

    def pinged(self, data: bytes) -> None:
        """A ping has come; it is answered already."""

    def ponged(self, data: bytes, latency: float | None) -> None:
        """A pong has come; latency, in seconds, if it answers the latest ping that was asked for."""

    def closed(self, end: ConnectionClosed) -> None:
        """A connection is over."""

    def noted(self, text: str) -> None:
        """Something else is to be said."""

    def over(self) -> None:
        """There is no further connection: the last call."""


@dataclass(frozen=True)
class Plan:
    """Where a session connects to, and how.

    `reconnects`: again after each end, until the server refuses for good. `ping`: seconds from one ping to the next,
    None for none but those of the keepalive.
    """

    url: str
    headers: Headers
    dialer: Dialer
    reconnects: bool = False
    ping: float | None = None


def dial(plan: Plan) -> Conn:
    """One connection of a plan, and no other. Raises CommandError, which says why there is none."""
    try:
        return plan.dialer.dial(plan.url, plan.headers)
    except _FAILURES as error:
        raise CommandError(say_refusal(error, plan.headers), REFUSED) from None


class Session:
    """A conversation. Any thread may call any method, `connect` and `start` once, in this order.

    A thread of its own reads, and it alone calls the listener. `_lock` guards what begins with an underscore and
    changes; no call of the listener and no I/O is made while it is held.
    """

    def __init__(self, plan: Plan, listener: Listener, recorder: Recorder | None = None) -> None:
        self._plan = plan
        self._listener = listener
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._recorder = recorder
        self._conn: Conn | None = None  # the one that is open
        self._asked: bytes | None = None  # what the latest ping has that was asked for
        self._number = 0  # of pings that were asked for
        self._again = False  # another connection is asked for
        self._over = False
        self._status = NORMAL
        self._failure: CommandError | None = None
        self._conns = reconnect(
            plan.url,
            plan.headers,
            dialer=plan.dialer,
            attempts=None if plan.reconnects else 1,
            min_delay=_DELAY if plan.reconnects else _AT_ONCE,
        )
        self._reader = threading.Thread(target=self._run, name="syncws-connect", daemon=True)

    # For any thread

    def connect(self) -> float:
        """Make the first connection. Returns how many seconds that took; raises CommandError, which says why not."""
        began = time.monotonic()
        conn = self._dial()
        if conn is None:
            raise CommandError("interrupted while it was connecting", REFUSED)
        self._set(conn)
        return time.monotonic() - began

    def start(self) -> None:
        """Read from now on. What came meanwhile is read first."""
        self._reader.start()
        if self._plan.ping is not None:
            threading.Thread(target=self._ping, name="syncws-connect-ping", daemon=True).start()

    @property
    def conn(self) -> Conn | None:
        """The connection that is open just now."""
        with self._lock:
            return self._conn

    @property
    def is_over(self) -> bool:
        """Whether there is no further connection."""
        with self._lock:
            return self._over

    @property
    def status(self) -> int:
        """The exit status by the last connection's end. Raises the CommandError of a reconnect that failed."""
        with self._lock:
            if self._failure is not None:
                raise copy_of(self._failure)  # the thread that reads has raised it
            return self._status

    def send(self, message: str | bytes) -> bool:
        """Send a message, and wait until it has left; while there is no connection, for the next one.

        False if there is none any more. A message whose sending failed as its connection ended is sent again, and may
        arrive twice; one that had left before may be lost.
        """
        conn = self._other_than(None)
        self._record("out", message)
        while conn is not None:
            try:
                conn.send(message)
            except ConnectionClosed:
                conn = self._other_than(conn)
            else:
                return True
        return False

    def send_soon(self, message: str | bytes) -> str:
        """Send a message without waiting. Returns why it was not sent; "" if it was."""
        conn = self.conn
        if conn is None:
            return "not sent: there is no connection just now"
        self._record("out", message)
        try:
            if conn.send_nowait(message):
                return ""
        except (ConnectionClosed, ValueError) as error:
            return f"not sent: {error}"
        count, size = conn.queued
        return f"not sent: the peer takes nothing; {count} messages of {size:,} bytes wait for it"

    def ping(self, data: bytes = b"") -> str:
        """Ask for a pong, whose latency is told. Returns why that is impossible; "" if it was sent."""
        with self._lock:
            conn, self._number = self._conn, self._number + 1
            self._asked = data = data or str(self._number).encode()
        if conn is None:
            return "no ping: there is no connection just now"
        try:
            conn.ping(data)
        except (ConnectionClosed, ValueError) as error:
            return f"no ping: {error}"
        return ""

    def record(self, recorder: Recorder | None) -> Recorder | None:
        """Record from now on, or not. Returns the recorder of before, to be closed."""
        with self._lock:
            before, self._recorder, conn = self._recorder, recorder, self._conn
        if recorder is not None and conn is not None:
            recorder.handshake(self._plan.url, conn)
        return before

    def reconnect(self) -> None:
        """Close the connection, and make another one."""
        with self._lock:
            self._again, conn = True, self._conn
        if conn is not None:
            conn.close(timeout=0)

    def close(self, code: int, reason: str, timeout: float = CLOSE_TIMEOUT, *, lines_left: bool = True) -> None:
        """Close, and wait for the peer's answer and for what came before it, at most timeout seconds.

        lines_left: then wait until the listener has taken all of that, however long it takes.
        """
        with self._lock:
            self._again, conn = False, self._conn
        if conn is not None:
            conn.close(code, reason, timeout)
        self._conns.stop()
        if self._reader.ident is not None:  # else it was interrupted before its start
            self._reader.join(None if lines_left else timeout)

    def close_soon(self, code: int, reason: str) -> None:
        """Close without waiting: the listener is told of the end."""
        with self._lock:
            self._again, conn = False, self._conn
        if conn is not None:
            conn.close(code, reason, timeout=0)
        self._conns.stop()  # after the close, whose code would be 1000 else

    # In the thread that reads

    def _run(self) -> None:
        conn = self.conn
        try:
            while conn is not None:
                self._converse(conn)
                if not self._goes_on():
                    break
                conn = self._dial()
                if conn is not None:
                    self._set(conn)
        except BrokenPipeError:  # nobody listens any more
            if conn is not None:
                conn.close(timeout=0)
        except CommandError as error:
            with self._lock:
                self._failure = error
        with self._lock:
            self._over, self._conn = True, None
            self._changed.notify_all()
        self._listener.over()
        if conn is not None:
            conn.close()  # it is over; this waits a moment for the server to end TCP, and closes the descriptor

    def _converse(self, conn: Conn) -> None:
        self._write_record(functools.partial(Recorder.handshake, url=self._plan.url, conn=conn))
        self._listener.opened(conn)
        try:
            while True:
                message = conn.read_message()[1]
                self._record("in", message)
                self._listener.received(message)
        except ConnectionClosed as end:
            with self._lock:
                self._conn = None
                self._status = status_of(end)
            self._write_record(functools.partial(Recorder.end, end=end))
            self._listener.closed(end)

    def _goes_on(self) -> bool:
        with self._lock:
            again, self._again = self._again, False
        return again or (self._plan.reconnects and not self._conns.stopped)

    def _dial(self) -> Conn | None:
        """The next connection; None once the session was closed."""
        try:
            conn = next(self._conns, None)
        except _FAILURES as error:
            raise CommandError(say_refusal(error, self._plan.headers), REFUSED) from None
        if conn is not None:
            answer_ping = conn.ping_handler

            def pinged(data: bytes) -> None:
                answer_ping(data)
                self._listener.pinged(data)

            conn.set_ping_handler(pinged)
            conn.set_pong_handler(lambda data: self._ponged(conn, data))
        return conn

    def _ponged(self, conn: Conn, data: bytes) -> None:
        with self._lock:
            asked = self._asked == data
            if asked:
                self._asked = None
        self._listener.ponged(data, conn.latency if asked else None)

    def _set(self, conn: Conn) -> None:
        with self._lock:
            self._conn = conn
            self._changed.notify_all()

    def _other_than(self, conn: Conn | None) -> Conn | None:
        """Wait for a connection that is not this one; None if there is none any more."""
        with self._lock:
            self._changed.wait_for(lambda: self._over or self._conn not in (None, conn))
            return None if self._over else self._conn

    # The recording, from any thread

    def _record(self, direction: Direction, message: str | bytes) -> None:
        self._write_record(functools.partial(Recorder.message, direction=direction, data=message))

    def _write_record(self, write: Callable[[Recorder], None]) -> None:
        with self._lock:
            recorder = self._recorder
        if recorder is None:
            return
        try:
            write(recorder)
        except OSError as error:
            self.record(None)
            recorder.close()
            self._listener.noted(f"{recorder.path} is not written any more: {error.strerror}")

    # In the thread of the pings

    def _ping(self) -> None:
        while not self._wait_over(self._plan.ping):
            self.ping()

    def _wait_over(self, seconds: float | None) -> bool:
        with self._lock:
            return self._changed.wait_for(lambda: self._over, seconds)
