"""A client that comes back: an object to iterate, which gives a fresh connection in each turn.

    for conn in syncws.reconnect("wss://example.com/feed"):
        try:
            for message in conn:
                handle(message)
        except syncws.ConnectionClosed:
            pass  # the next turn connects again

How long it waits is decided in one place, `Backoff`; whether another attempt is made in another, `heals`, unless the
caller decides; and what the log says of it in a third, `Outage`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Unpack

from .._base.callables import check_callable, check_done, check_plain, undecided
from .._base.forks import begin_anew_in_child
from .._base.options import check_integer, check_seconds, check_timeout
from .._base.owners import takes_options
from .._conn.conn import Conn
from .._http.headers import HeaderSource
from .._http.url import parse_server_url
from .._net.attempt import Attempt, Stopped
from .._net.drain import drain
from ..errors import ConcurrencyError, HandshakeError
from .backoff import Backoff, retry_after
from .dialer import Dialer, DialerKeywords
from .healing import heals
from .outage import Outage

#: Seconds that the peer has to answer our close once the loop is stopped.
_CLOSE_TIMEOUT_WHEN_STOPPED = 1.0

#: Errors of an attempt that may be followed by another one. Not an ImportError, ValueError or TypeError.
_FAILURES = (OSError, HandshakeError)


class Reconnector:
    """Gives a fresh connection in each turn of a loop; made by `reconnect`, which has the arguments.

    A turn begins by closing the connection of the turn before (1000), if it is still open. So ``continue`` closes it;
    ``break``, or an exception that leaves the loop, leaves it open, for the caller to close. A further loop over the
    same object closes it too, and begins with a fresh one.

    Concurrency: one thread at a time iterates; `stop` is for any thread, at any time.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        headers: HeaderSource | Callable[[], HeaderSource | None] | None,
        dialer: Dialer,
        *,
        give_up: Callable[[Exception], bool | None] | None,
        min_delay: float,
        max_delay: float,
        reset_after: float,
        attempts: int | None,
        timeout: float | None,
    ) -> None:
        self._where = "the URL of a callable" if callable(url) else str(parse_server_url(url))  # for the log
        self._url = url
        self._headers = headers
        self._dialer = dialer
        self._timeout = timeout
        self._attempts = attempts
        self._give_up = give_up
        self._backoff = Backoff(min_delay, max_delay, reset_after)
        self._outage = Outage()
        self._renewing = False  # the last attempt was answered 401, and this one brings what the callables give anew
        # Written by stop() alone, and never set back. Read without a lock, which is safe: a thread looks at it again
        # after each step that stop() may have been too early to see.
        self._stopped = False
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is no attempt and no connection: so it begins, and so it is in the child of a fork, where they are the
        parent's.
        """
        self._turn = threading.Lock()  # held by the one thread inside __next__
        # The wait between two attempts is a wait for an item. An Event would not do: stop() may be called by a signal
        # handler that interrupts this very wait, and would wait for the Event's own lock.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # nothing is called while it is held
        self._attempt: Attempt | None = None  # guarded by _lock
        self._conn: Conn | None = None  # guarded by _lock; the one that was given out last
        self._closing = False  # guarded by _lock; a turn is over, and the answer to its close is waited for

    def __iter__(self) -> Iterator[Conn]:
        return self

    def __next__(self) -> Conn:
        """Close the last connection, and connect again, with as many attempts as it takes.

        Raises:
            StopIteration: `stop` was called.
            HandshakeError, OSError: the error of an attempt, as `Dialer.dial` raises it: one that does not heal by
                itself, one for which ``give_up`` said so, or the last of ``attempts`` in a row.
            ImportError, ValueError, TypeError: as `Dialer.dial` raises them, about what one of the callables gave, or
                about python-socks.
            ConcurrencyError: another thread is inside this call.

        What a callable raises is raised unchanged, except an OSError, which counts as a failed attempt. After an error
        the next call makes a further attempt.
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
        """End the loop: there is no further turn, and the connection of this one is closed (1000). Idempotent.

        Any thread may call it, and so may signal handlers. It does not wait. A thread that waits for the next attempt,
        or that is connecting, is woken at once. A thread that waits for the answer to a turn's close waits for a second
        at most. A thread that reads the connection finds its end as soon as the peer has answered the close, and at the
        latest after close_timeout. A connection that was kept by a ``break`` is closed too.

        Raises RuntimeError if the system has no thread left for it; the loop ends then with its turn.
        """
        self._stopped = True
        self._wakes.put(None)
        # In a thread of its own: a signal handler has interrupted the main thread anywhere, maybe inside the connection
        # with one of its locks held, and must not wait for a lock that only that thread can release.
        threading.Thread(target=self._end_what_is_under_way, name="syncws-stop", daemon=True).start()

    def _end_what_is_under_way(self) -> None:
        with self._lock:
            attempt, conn, closing = self._attempt, self._conn, self._closing
        if attempt is not None:
            attempt.stop()
        if closing and conn is not None:
            # Wakes the thread that waits for the peer's answer.
            drain.call_at(time.monotonic() + _CLOSE_TIMEOUT_WHEN_STOPPED, conn.close_now)
        elif conn is not None:
            conn.close(timeout=0)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def __repr__(self) -> str:
        return f"<Reconnector {self._where}{' stopped' if self.stopped else ''}>"

    def _wait(self, seconds: float) -> bool:
        """Wait until the next attempt is due; False if there is to be none."""
        if seconds > 0 and not self._stopped:
            with suppress(queue.Empty):
                self._wakes.get(timeout=seconds)
        return not self._stopped

    def _end_turn(self) -> None:
        """Close the connection that was given out last, if there is one, and wait for the peer's answer."""
        with self._lock:
            conn = self._conn
            self._closing = True
        if conn is not None:
            self._backoff.connection_over()
            conn.close(timeout=_CLOSE_TIMEOUT_WHEN_STOPPED if self.stopped else None)
        with self._lock:
            self._conn, self._closing = None, False

    def _try_once(self) -> Conn | None:
        """Make one attempt: its connection, or None after a failure. Raises the error if it was the last one."""
        attempt = Attempt(self._dialer.handshake_timeout if self._timeout is None else self._timeout)
        with self._lock:
            self._attempt = attempt
        if self._stopped:  # stop() may have come before it could see the attempt
            return None
        try:
            url = self._url() if callable(self._url) else self._url
            check_done("url", url)
            self._where = str(parse_server_url(url))
            headers = self._headers() if callable(self._headers) else self._headers
            check_done("headers", headers, may_yield=True)
            conn = self._dialer.dial_within(attempt, url, headers)
        except Stopped:
            return None
        except _FAILURES as error:
            if not self._goes_on_after(error):
                raise
            return None
        finally:
            with self._lock:
                self._attempt = None
        return self._give_out(conn)

    def _give_out(self, conn: Conn) -> Conn | None:
        with self._lock:
            self._conn = conn
        self._backoff.connection_made()
        self._outage.over(self._where)
        self._renewing = False
        if self._stopped:  # stop() may have come before it could see the connection
            self._end_turn()
            return None
        return conn

    def _goes_on_after(self, error: OSError | HandshakeError) -> bool:
        """Whether another attempt follows a failed one; the delay before it is set then."""
        self._backoff.attempt_failed(retry_after(error))
        renews = self._renews_after(error)
        if self._attempts is not None and self._backoff.failures >= self._attempts:
            return False
        given_up = None if self._give_up is None else self._give_up(error)
        if mistake := undecided(given_up):
            raise TypeError(f"give_up decides nothing: {mistake}") from error
        if given_up is None:
            given_up = not (renews or heals(error))
        if given_up:
            return False
        if renews:
            self._backoff.next_delay()  # no wait
            self._outage.renewing(self._where, error)
        else:
            self._outage.failed(self._where, error, self._backoff.delay)
        return True

    def _renews_after(self, error: OSError | HandshakeError) -> bool:
        """Whether the server wants other credentials, and a callable may have them: once after each such answer."""
        wanted = isinstance(error, HandshakeError) and error.status == HTTPStatus.UNAUTHORIZED
        self._renewing = wanted and not self._renewing and (callable(self._headers) or callable(self._url))
        return self._renewing


@takes_options
def reconnect(
    url: str | Callable[[], str],
    headers: HeaderSource | Callable[[], HeaderSource | None] | None = None,
    *,
    min_delay: float = 1.0,
    max_delay: float = 60.0,
    reset_after: float = 10.0,
    attempts: int | None = None,
    give_up: Callable[[Exception], bool | None] | None = None,
    timeout: float | None = None,
    dialer: Dialer | None = None,
    **options: Unpack[DialerKeywords],
) -> Reconnector:
    """An object to iterate: each turn gives a fresh connection to url, however long it takes to get one.

    The first attempt is made at once. After a failed attempt the next one is made min_delay seconds later; after each
    further failure in a row the delay doubles, up to max_delay. Each delay is shortened by a random part of up to a
    half, so that clients which lost the same server do not come back together. After a connection there is a delay too:
    min_delay, if the connection lasted for reset_after seconds; otherwise it counts as one more failure. A Retry-After
    header of the server or the proxy is added to the delay, up to an hour.

    Another attempt follows what may heal by itself: an OSError, which is whatever the network does, except an untrusted
    certificate and TLS that does not fit; and the answers 408, 425, 429 and 5xx, except 501 and 505. Every other error
    of `Dialer.dial` is raised, such as that of a 404, of a redirect that is not followed, or of an answer that is no
    WebSocket's. After a 401 the next attempt is made at once if url or headers is a callable, which may give a token
    that has not expired; a second 401 in a row is raised.

    The first failure is logged as a WARNING (logger ``syncws.reconnect``), and then one in each minute of the outage;
    those between are DEBUG. The connection that ends it is INFO.

    Args:
        url: as for `Dialer.dial`; or a callable that returns one, which is called before each attempt: for a token in
            the query, or a server that is chosen each time. An OSError that it raises counts as a failed attempt, and
            that of urllib or requests is judged by its status; every other exception leaves the loop.
        headers: as for `Dialer.dial`; or a callable that returns them, called in the same way after that of url: for a
            token that expires.
        min_delay: seconds before the first repeated attempt.
        max_delay: seconds that a delay may grow to, without Retry-After.
        reset_after: seconds that a connection must have lasted for the delay to start again at min_delay.
        attempts: how many in a row may fail; the error of the last is raised then. None: any number.
        give_up: decides in place of the list above. It is called with the error of each failed attempt: True raises it,
            False makes another attempt whatever it was, and None leaves it to the list. What it raises leaves the loop.
        timeout: seconds for each attempt, in place of handshake_timeout.
        dialer: the Dialer that connects. Without it one is made of the options.
        options: those of `Dialer`, if no dialer is given.

    Returns:
        A `Reconnector`, which has connected to nothing yet. Its ``stop()`` ends the loop from any thread.

    Raises:
        ValueError, TypeError: an argument is invalid; no attempt has been made then. The headers that a callable
            returns, and its URL, are checked before each attempt, and the loop raises these errors.
    """
    if dialer is not None and options:
        raise TypeError(f"dialer and {', '.join(options)} exclude each other: give the options to the Dialer")
    if not (dialer is None or isinstance(dialer, Dialer)):
        raise TypeError(f"dialer must be a Dialer, not {dialer!r}")
    for name, value in (("min_delay", min_delay), ("max_delay", max_delay), ("reset_after", reset_after)):
        check_seconds(name, value)
    if max_delay < min_delay:
        raise ValueError(f"max_delay ({max_delay:g} s) is less than min_delay ({min_delay:g} s)")
    check_integer("attempts", attempts, 1, none="any number")
    check_timeout("timeout", timeout)
    if give_up is not None:
        check_callable("give_up", give_up, "must be a callable that takes an error, or None")
    if callable(url):
        check_plain("url", url)
    dialer = dialer or Dialer(**options)
    if callable(headers):
        check_plain("headers", headers, may_yield=True)
    else:
        headers = dialer.check_headers(headers)  # also because an iterator would be used up by the first attempt
    return Reconnector(
        url,
        headers,
        dialer,
        give_up=give_up,
        min_delay=min_delay,
        max_delay=max_delay,
        reset_after=reset_after,
        attempts=attempts,
        timeout=timeout,
    )
