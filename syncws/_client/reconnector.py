"""A client that comes back: an object to iterate, which gives a fresh connection each turn.

    for conn in syncws.reconnect("wss://example.com/feed"):
        try:
            for message in conn:
                handle(message)
        except syncws.ConnectionClosed:
            pass  # the next turn connects again

How long it waits is decided in one place, `_Backoff`; whether it is worth trying again in one more, `_will_not_heal`.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Unpack

from .._base.options import check_timeout
from .._conn.conn import Conn
from .._http.headers import Headers, HeaderSource
from .._http.url import parse_server_url
from .._net.attempt import Attempt, Stopped
from .._net.drain import drain
from ..errors import BadHandshakeError, ConcurrencyError, HandshakeError, ProxyError
from .dialer import Dialer, DialerKeywords

_log = logging.getLogger("syncws.reconnector")

#: Refusals that may be over the next time: too slow, too early, too many (RFC 9110, 8470 and 6585).
_PASSING = (408, 425, 429)

#: No server makes us wait longer than this, whatever its Retry-After says.
_LONGEST_RETRY_AFTER = 3600.0

#: Seconds for the peer to answer our close once the loop is stopped.
_FAREWELL = 1.0

#: What ends an attempt and not the program. An ImportError, a ValueError or a TypeError will be the same next time.
_FAILURES = (OSError, HandshakeError)


class Reconnector:
    """Gives a fresh connection each turn of a loop; made by `reconnect`.

    One thread at a time iterates; `stop` is for any thread, at any time.

    A turn begins with the end of the last one: its connection is closed (1000), if it is still open. So ``continue``
    closes it; ``break``, or an exception that leaves the loop, leaves it open, and it is the caller's. A loop begun
    anew goes on with a connection of its own.
    """

    def __init__(
        self,
        url: str,
        headers: HeaderSource | Callable[[], HeaderSource | None] | None,
        dialer: Dialer,
        *,
        min_delay: float,
        max_delay: float,
        reset_after: float,
        attempts: int | None,
        timeout: float | None,
    ) -> None:
        self._server = parse_server_url(url)
        self._url = url
        self._headers = headers
        self._dialer = dialer
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = _Backoff(min_delay, max_delay, reset_after)
        self._turn = threading.Lock()  # of the one thread inside __next__
        self._stopped = False  # never goes back
        # Who waits between two attempts waits for an item. An Event would do, but for a stop() in a signal handler,
        # which may run in the middle of that very wait.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # nothing is called while it is held
        self._attempt: Attempt | None = None  # guarded by _lock
        self._conn: Conn | None = None  # guarded by _lock; given out last
        self._ending = False  # guarded by _lock; a turn ends, so its connection's close is waited for

    def __iter__(self) -> Iterator[Conn]:
        return self

    def __next__(self) -> Conn:
        """Close the last connection, and connect again, as often as it takes.

        Raises StopIteration after `stop`; the last attempt's error (as `Dialer.dial` raises it) if it will not heal, or
        if it was the last of ``attempts`` in a row; ConcurrencyError if another thread is in here.
        """
        if not self._turn.acquire(blocking=False):
            raise ConcurrencyError("another thread is waiting for the next connection of this object")
        try:
            self._end_turn()
            while self._wait(self._backoff.next_delay()):
                conn = self._try_once()
                if conn is not None:
                    return conn
            raise StopIteration
        finally:
            self._turn.release()

    def stop(self) -> None:
        """End the loop: no further turn, and the connection of this one is closed (1000). Idempotent.

        For any thread, and for signal handlers. Does not wait: a thread that waits here, or that is connecting, is
        woken at once; one that waits for the answer to a turn's close waits for a second at most; one that reads the
        connection finds its end as soon as the peer has answered the close, at the latest after close_timeout. Also a
        connection that was given out before a ``break`` is closed.

        Raises RuntimeError if the system has no thread to spare for it; the loop ends then with its turn.
        """
        self._stopped = True
        self._wakes.put(None)
        # By a thread of its own: a signal handler has interrupted the main thread anywhere, maybe inside the connection
        # with one of its locks held, and must not wait for what only that thread can let go.
        threading.Thread(target=self._end, name="syncws-stop", daemon=True).start()

    def _end(self) -> None:
        with self._lock:
            attempt, conn, ending = self._attempt, self._conn, self._ending
        if attempt is not None:
            attempt.stop()
        if ending and conn is not None:
            drain.call_at(time.monotonic() + _FAREWELL, conn.close_now)  # which wakes who waits for the answer
        elif conn is not None:
            conn.close(timeout=0)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def __repr__(self) -> str:
        return f"<Reconnector {self._server}{' stopped' if self.stopped else ''}>"

    def _wait(self, seconds: float) -> bool:
        """Wait until the next attempt is due; False if there is to be none."""
        if seconds > 0 and not self._stopped:
            with suppress(queue.Empty):
                self._wakes.get(timeout=seconds)
        return not self._stopped

    def _end_turn(self) -> None:
        with self._lock:
            conn = self._conn
            self._ending = True
        if conn is not None:
            self._backoff.over()
            conn.close(timeout=_FAREWELL if self.stopped else None)
        with self._lock:
            self._conn, self._ending = None, False

    def _try_once(self) -> Conn | None:
        """One attempt: a connection, or None if it is worth another one; raises what is not, and what was the last."""
        attempt = Attempt(self._dialer.handshake_timeout if self._timeout is None else self._timeout)
        with self._lock:
            self._attempt = attempt
        if self._stopped:  # stop() may have come before it could see the attempt
            return None
        try:
            headers = self._headers() if callable(self._headers) else self._headers
            conn = self._dialer.dial_within(attempt, self._url, headers)
        except Stopped:
            return None
        except _FAILURES as error:
            self._failed(error)
            return None
        finally:
            with self._lock:
                self._attempt = None
        return self._give_out(conn)

    def _give_out(self, conn: Conn) -> Conn | None:
        with self._lock:
            self._conn = conn
        self._backoff.connected()
        if self._stopped:  # stop() may have come before it could see the connection
            self._end_turn()
            return None
        return conn

    def _failed(self, error: OSError | HandshakeError) -> None:
        self._backoff.failed(_retry_after(error))
        enough = self._attempts is not None and self._backoff.failures >= self._attempts
        if enough or _will_not_heal(error):
            raise error
        _log.info("%s: %s; the next attempt is in %.1f s", self._server, error, self._backoff.delay)


def reconnect(
    url: str,
    headers: HeaderSource | Callable[[], HeaderSource | None] | None = None,
    *,
    min_delay: float = 1.0,
    max_delay: float = 60.0,
    reset_after: float = 10.0,
    attempts: int | None = None,
    timeout: float | None = None,
    dialer: Dialer | None = None,
    **options: Unpack[DialerKeywords],
) -> Reconnector:
    """An object to iterate: each turn gives a fresh connection to url, however long it takes to get one.

    The first attempt is made at once. A failed one is followed by another after min_delay seconds, the next by one
    after twice as long, and so on up to max_delay; each delay is shortened by a random part of up to a half, so that
    clients which lost the same server do not come back together. After a connection the first attempt comes after a
    delay too: min_delay, if it lasted for reset_after seconds, else as after one more failure. A Retry-After of the
    server or the proxy is waited for, up to an hour.

    An answer of 4xx will not heal and is raised, but for 408, 425 and 429. Everything else that `Dialer.dial` raises
    for a fault of the server or of the network is logged (logger ``syncws.reconnector``, INFO) and tried again.

    Args:
        url, headers: as for `Dialer.dial`. headers may be a callable, which is asked for each attempt: for a token that
            expires. What it raises leaves the loop, unless it is an OSError, which counts as a failed attempt.
        min_delay, max_delay, reset_after: seconds, see above.
        attempts: how many in a row may fail; the error of the last is raised then. None: any number.
        timeout: seconds for each attempt, in place of handshake_timeout.
        dialer: what connects; or give the options of one.

    Raises:
        ValueError, TypeError: an argument is wrong; nothing has been tried then. (What a callable gives as headers is
            checked in its turn.)
    """
    if dialer is not None and options:
        raise TypeError(f"dialer and {', '.join(options)} exclude each other: give the options to the Dialer")
    if not (dialer is None or isinstance(dialer, Dialer)):
        raise TypeError(f"dialer must be a Dialer, not {dialer!r}")
    for name, value in (("min_delay", min_delay), ("max_delay", max_delay), ("reset_after", reset_after)):
        if value is None:
            raise TypeError(f"{name} is a number of seconds, not None")
        check_timeout(name, value)
    if max_delay < min_delay:
        raise ValueError(f"max_delay ({max_delay:g} s) is less than min_delay ({min_delay:g} s)")
    if not (attempts is None or (isinstance(attempts, int) and attempts >= 1)):
        raise ValueError(f"attempts must be an integer of at least 1, or None for any number, not {attempts!r}")
    check_timeout("timeout", timeout)
    dialer = dialer or Dialer(**options)
    if not callable(headers):
        headers = dialer.check_headers(headers)  # also because an iterator would be used up by the first attempt
    return Reconnector(
        url,
        headers,
        dialer,
        min_delay=min_delay,
        max_delay=max_delay,
        reset_after=reset_after,
        attempts=attempts,
        timeout=timeout,
    )


class _Backoff:
    """How long to wait before the next attempt. For one thread."""

    def __init__(self, min_delay: float, max_delay: float, reset_after: float) -> None:
        self._min_delay = min_delay
        self._max_delay = max_delay
        self._reset_after = reset_after
        self._connected_at: float | None = None
        self._setbacks = 0  # since the last connection that lasted: what the delay grows with
        self.failures = 0  # attempts in a row that gave no connection
        self.delay = 0.0

    def next_delay(self) -> float:
        """The delay, which counts once."""
        delay, self.delay = self.delay, 0.0
        return delay

    def connected(self) -> None:
        self._connected_at = time.monotonic()
        self.failures = 0

    def over(self) -> None:
        """The connection is over: after one that lasted everything begins anew."""
        assert self._connected_at is not None
        lasted = time.monotonic() - self._connected_at >= self._reset_after
        self._setbacks = 0 if lasted else self._setbacks + 1
        self._wait()

    def failed(self, at_least: float) -> None:
        self.failures += 1
        self._setbacks += 1
        self._wait()
        self.delay += at_least

    def _wait(self) -> None:
        doublings = min(max(self._setbacks - 1, 0), 64)  # 2.0 ** 1024 is an OverflowError
        self.delay = min(self._max_delay, self._min_delay * 2.0**doublings) * random.uniform(0.5, 1)


def _will_not_heal(error: Exception) -> bool:
    """Whether the server, or the proxy, will say the same the next time."""
    if not isinstance(error, HandshakeError):
        return False
    return 400 <= error.status <= 499 and error.status not in _PASSING


def _retry_after(error: Exception) -> float:
    """Seconds that the answer asks us to wait (RFC 9110 section 10.2.3): a number, or a date; 0 if it does not."""
    match error:
        case BadHandshakeError(response=response) if response is not None:
            value = response.headers.get("Retry-After", "")
        case ProxyError(headers=Headers() as headers):
            value = headers.get("Retry-After", "")
        case _:
            return 0.0
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
