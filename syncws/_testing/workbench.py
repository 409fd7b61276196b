"""What the fixtures for pytest do: servers, clients and pairs for one test, which are all gone at its end."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, Unpack, get_args

from .._base.copies import copy_of
from .._base.options import ConnKeywords
from .._client.dialer import Dialer, DialerKeywords
from .._conn import courier
from .._conn.conn import Conn
from .._http.headers import HeaderSource
from .._net import drain
from .._server.gateway import Application
from .._server.options import ServeKeywords
from .._server.server import Server
from .._server.upgrader import Upgrader
from .browsers import with_cookies
from .frames import Peer
from .leaks import Before
from .pairs import PairKeywords, pair, peer
from .serving import LiveServer, say_goodbye, serving
from .views import connect
from .waiting import await_

#: What a test may not leave behind: what is of syncws, or every thread and descriptor, or nothing is looked for.
Leaks = Literal["own", "all", "off"]

#: Seconds that what is ending has to end, at most; fewer if the test's timeout is shorter.
_GRACE = 5.0

#: Threads that end by themselves after a second of rest.
_RESTING = frozenset({"syncws-drain", "syncws-courier"})


class Workbench:
    """What one test has made with the fixtures; leaving its block ends all of it, and looks for what was left behind.

    Args:
        timeout: seconds after which the reads and writes of a test's connections raise ReadTimeout and WriteTimeout,
            counted from when the connection was made; and what handlers have to end at the end.
        leaks: see `Leaks`.

    Concurrency: for one thread, the test's.

    Raises:
        ValueError, TypeError: an argument is invalid.
    """

    def __init__(self, *, timeout: float = 10.0, leaks: Leaks = "own") -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
        if leaks not in get_args(Leaks):
            raise ValueError(f"leaks is one of {', '.join(get_args(Leaks))}, not {leaks!r}")
        self._timeout = timeout
        self._leaks = leaks
        self._stack = contextlib.ExitStack()
        self._servers: list[LiveServer] = []
        #: Of handlers, whose threads append them; read once the handlers have ended. Copies, with the tracebacks: these
        #: are for this thread to raise, and the server drops those of its own.
        self.failures: list[AssertionError] = []

    def __enter__(self) -> Self:
        self._stack.callback(setattr, drain, "IDLE", drain.IDLE)
        self._stack.callback(setattr, courier, "IDLE", courier.IDLE)
        drain.IDLE = courier.IDLE = 0.02  # no test waits for threads that would end by themselves after a second
        if self._leaks != "off":
            self._before = Before()
            self._conns_before = _open_conns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the clients, then the servers.

        Raises AssertionError, in one sentence, for a handler that is still running and for what was left behind; and
        the error of a handler in which an assertion failed.
        """
        __tracebackhide__ = True  # of pytest: what is shown is where the handler failed
        try:
            self._stack.close()
        finally:
            if self.failures:  # first: a handler that fails may be what the rest comes from
                raise self.failures[0]
        if self._leaks != "off":
            self._check_nothing_left()

    # What the fixtures give

    def serve(
        self,
        what: Callable[[Conn], object] | Server | None = None,
        *,
        wsgi_app: Application | None = None,
        upgrader: Upgrader | None = None,
        **options: Unpack[ServeKeywords],
    ) -> LiveServer:
        """``ws_server``: see `serving`. An assertion that fails in what fails the test."""
        if callable(what) and not isinstance(what, Server):
            what = self._noting_failures(what)
        live = self._stack.enter_context(
            serving(what, wsgi_app=wsgi_app, upgrader=upgrader, timeout=self._timeout, **options)
        )
        self._servers.append(live)
        return live

    def dial(
        self,
        where: str = "/",
        headers: HeaderSource | None = None,
        *,
        browser: object = None,
        **dialer_options: Unpack[DialerKeywords],
    ) -> Conn:
        """``ws_client``: a connection to a URL, or to a path of the one server of this test; see `LiveServer.dial`."""
        if not isinstance(where, str):
            raise TypeError(f'where is a URL, or a path of the server of this test, such as "/echo", not {where!r}')
        if where.startswith("/"):
            if len(self._servers) != 1:
                raise ValueError(
                    f"this test has {len(self._servers)} servers: give a whole URL, such as server.url + {where!r}"
                )
            return self._within(self._servers[0].dial(where, headers, browser=browser, **dialer_options))
        options: DialerKeywords = {"proxy": None, **dialer_options}
        conn = self._within(Dialer(**options).dial(where, with_cookies(headers, browser, "/")))
        self._stack.callback(say_goodbye, conn)
        return conn

    def pair(self, **options: Unpack[PairKeywords]) -> tuple[Conn, Conn]:
        """``ws_pair``: (server, client), two connections that talk to each other; see `pair`."""
        server, client = self._stack.enter_context(pair(**options))
        return self._within(server), self._within(client)

    def peer(
        self,
        *,
        client: bool = False,
        compression: bool = False,
        context_takeover: bool = False,
        buffer: int | None = None,
        **options: Unpack[ConnKeywords],
    ) -> tuple[Conn, Peer]:
        """``ws_peer``: a connection and its raw other end; see `peer`."""
        conn, raw = self._stack.enter_context(
            peer(client=client, compression=compression, context_takeover=context_takeover, buffer=buffer, **options)
        )
        return self._within(conn), raw

    def connect(
        self,
        app: Application,
        path: str = "/",
        headers: HeaderSource | None = None,
        *,
        browser: object = None,
        **dialer_options: Unpack[DialerKeywords],
    ) -> Conn:
        """``ws_app``: a connection to a WebSocket view of a WSGI application, without a port; see `connect`."""
        return self._within(
            self._stack.enter_context(connect(app, path, headers=headers, browser=browser, **dialer_options))
        )

    def _within(self, conn: Conn) -> Conn:
        deadline = time.monotonic() + self._timeout
        conn.set_read_deadline(deadline)
        conn.set_write_deadline(deadline)
        return conn

    # Its end

    def _noting_failures(self, handler: Callable[[Conn], object]) -> Callable[[Conn], object]:
        def noting(conn: Conn) -> object:
            try:
                return handler(conn)
            except AssertionError as failure:
                self.failures.append(copy_of(failure).with_traceback(failure.__traceback__))
                raise

        return noting

    def _check_nothing_left(self) -> None:
        await_(lambda: not self._left(), min(self._timeout, _GRACE))
        left = self._left()
        if left:
            raise AssertionError(
                f"the test has left behind {', '.join(left)}: close what it opens, and end what it starts"
            )

    def _left(self) -> list[str]:
        own = self._leaks == "own"
        threads = [each for each in self._before.threads() if not own or _is_ours(each.name)]
        found = [f"the thread {each.name}" for each in threads]
        if _open_conns() - self._conns_before:
            gc.collect()  # those that nobody holds are freed
            found += [f"an open connection, {conn!r}" for conn in _open_conns() - self._conns_before]
        if not own and not found:  # a thread's descriptors are told with it
            found += [f"the descriptor {number} ({what})" for number, what in sorted(self._before.descriptors())]
        return found


def _is_ours(name: str) -> bool:
    return name.startswith("syncws-") and name not in _RESTING


def _open_conns() -> set[Conn]:
    """The connections of this process that nobody has closed, nor lost."""
    return {each for each in gc.get_objects() if type(each) is Conn and not each.closed}
