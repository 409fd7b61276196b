"""A server: listen, accept, one thread per connection, HTTP beside WebSocket, and an orderly end. `Server` is its face.

    Server.serve_forever      the accept loop, in the caller's thread (or start(), in one of its own)
      Acceptor.run            accepts; enters each connection into the roster, and starts its thread
        Connection.run        serves it there, from the TLS handshake to its end
    Server.shutdown           stop accepting, then Roster.farewell: 1001 to everybody, wait, cut
    Server.drain              before that, Roster.tell_in_turn: 1012 to one after another

With workers=N the process in which serve_forever is called accepts nothing: it forks N others that do all of the above
(`_work`), and ends them.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, Unpack

from .._base.callables import check_callable, check_done
from .._base.logs import logger
from .._base.options import check_wait
from .._base.owners import takes_options
from .._base.waker import Waker
from .._conn.conn import Conn
from .._conn.farewell import CUT_GRACE
from .._http.request import Request
from .._http.response import Response
from .._net.address import Address, say_peer
from .._net.notice import notify
from ..errors import CloseCode, ConcurrencyError
from .acceptor import Acceptor
from .connection import Connection
from .cores import Pin
from .gateway import Application, Gateway
from .options import Handler, ServeKeywords, ServerOptions, check_takes_one
from .roster import Roster
from .signals import noting_signals
from .stats import ServerStats
from .upgrader import Upgrader
from .views import chosen_upgrader
from .workers import Parent, Share, Workers

_log = logger("syncws.server")

#: Seconds more that the process of a worker gets to end, on a machine that is busy, before it is killed.
_WORKER_GRACE = 2.0


@takes_options
class Server:
    """Serves HTTP and WebSocket, with one thread per connection.

    Concurrency: every method may be called from any thread. The handler, or the WSGI application, runs in its
    connection's thread, several at the same time for several connections.

    Leaving a ``with Server(...) as server:`` block shuts it down.

    Args:
        handler: called with each Request. It returns a Response, or upgrades the request and returns None when it is
            done with the connection, which the server then closes: 1000, or 1011 if the handler raised. None if there
            is a wsgi_app.
        host: a name or address to listen on; "" for every IPv4 address, "::" for every IPv6 address, None for both.
        port: 0 lets the system choose one; see ``port``.
        unix_path: listen on a Unix socket of this path instead. A socket file that nobody listens on is replaced;
            the file is removed at the end.
        ssl_context: serve TLS with it (``ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)`` and a certificate).
        listener: a socket that already listens, instead of host and port (see `inherited_listener`, a test); it is the
            server's from now on, which closes it. None for host and port.
        max_connections: how many at once, plain HTTP and handshakes included; one more is answered with 503. None for
            no limit.
        max_connections_per_address: how many of one client's address at once; one more is answered with 503. An
            address is one of IPv4, or a /64 of IPv6. None for no limit. Behind a proxy give client_address too, or all
            are the proxy's.
        client_address: ``client_address(request)``, the address that a request counts for, where a proxy tells it in a
            header; None for a request that is not counted. It runs in the connection's thread, before the handler.
        max_handshakes: how many at once whose first request head has not come yet; one more is answered with 503. None
            for a quarter of max_connections, at least 64.
        health_path: answer GET requests for this path with 200 without asking the handler, also while the server is
            full: a liveness probe. None for no such path.
        ready_path: the same, but 503 while there is no room for one more connection: a readiness probe.
        handshake_timeout: seconds from accepting a connection until its TLS handshake and its first request head must
            be complete. None for no limit.
        keep_alive_timeout: seconds that a plain HTTP connection may take until its next request head is complete.
        max_head_size: bytes that the head of a request may have; more is answered with 431.
        max_headers: header lines that the head may have.
        allowed_hosts: the hosts that a request may be for (its Host header): ``"localhost"``, ``"app.example.com"``,
            ``"*.example.com"``, an address; with a port if only that one is meant. Others are answered with 421, except
            at health_path and ready_path. None for any. It is for servers that only their place in the network
            protects, against DNS rebinding.
        shutdown_timeout: seconds that `shutdown` waits for handlers if it is not told otherwise.
        drain_seconds: seconds over which the first SIGTERM has `serve_forever` `drain`; the second one ends that at
            once. None: the first one is a `shutdown`. SIGINT always is.
        workers: processes that serve (POSIX). If there are to be several, `serve_forever` forks them, and replaces
            those that die. Each has connections of its own, up to max_connections. They share what was made before,
            such as this object. A Manager that was made before reaches the members of all of them, by a directory of
            sockets that is removed at the end. None of them runs what is registered with atexit.
        pin: what is kept on one core (Linux; macOS and Windows cannot). None: each of several workers on a core of its
            own, if there are as many as cores that this process may use, Python has its GIL, and there is no CPU quota;
            False: nothing. True or "workers": each process that serves, whatever their number; the number of a core:
            this process, on that core, until it serves no more. "connections": the threads of connections alone, while
            the process has all cores. "auto": these, while they fight over the GIL and it pays; where that could harm
            it does nothing, and logs why. What a handler starts is not kept: a process from its beginning, a thread
            half a second later.
        wsgi_app: host this WSGI application (PEP 3333) instead of a handler. Its WebSocket views are those of
            `syncws.wsgi`, of `Upgrader.serve` and of the frameworks' glue (`syncws.flask`, ...).
        max_body_size: bytes that the body of a request to a wsgi_app may have; more is answered with 413. None for no
            limit.
        body_timeout: seconds for which the client may send nothing while the application reads the body. On the whole
            it gets as many, and a second more for each 500 bytes. After that the answer is 408. None for no limit.
        answer_timeout: seconds for which sending the application's answer may wait for the client, all together, and a
            second more for each 500 bytes that it takes; then the connection is cut. What the application makes slowly
            does not count. Whoever takes nothing for 60 seconds is cut in any case. None for no further limit.

    Raises:
        OSError: the address cannot be bound.
        ValueError, TypeError: an option is wrong.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        host: str | None = "127.0.0.1",
        port: int = 8080,
        *,
        unix_path: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        listener: socket.socket | None = None,
        max_connections: int | None = 10_000,
        max_connections_per_address: int | None = None,
        client_address: Callable[[Request], str | None] | None = None,
        max_handshakes: int | None = None,
        health_path: str | None = None,
        ready_path: str | None = None,
        handshake_timeout: float | None = 10.0,
        keep_alive_timeout: float | None = 5.0,
        max_head_size: int = 16384,
        max_headers: int = 128,
        allowed_hosts: Sequence[str] | None = None,
        shutdown_timeout: float = 10.0,
        drain_seconds: float | None = None,
        workers: int = 1,
        pin: Pin = None,
        wsgi_app: Application | None = None,
        max_body_size: int | None = 1 << 30,
        body_timeout: float | None = 30.0,
        answer_timeout: float | None = 10.0,
    ) -> None:
        self._options = ServerOptions(
            handler=handler,
            unix_path=unix_path,
            ssl_context=ssl_context,
            listener=listener,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            client_address=client_address,
            max_handshakes=max_handshakes,
            health_path=health_path,
            ready_path=ready_path,
            handshake_timeout=handshake_timeout,
            keep_alive_timeout=keep_alive_timeout,
            max_head_size=max_head_size,
            max_headers=max_headers,
            allowed_hosts=allowed_hosts,
            shutdown_timeout=shutdown_timeout,
            drain_seconds=drain_seconds,
            workers=workers,
            pin=pin,
            wsgi_app=wsgi_app,
            max_body_size=max_body_size,
            body_timeout=body_timeout,
            answer_timeout=answer_timeout,
        )
        gateway = None
        if wsgi_app is not None:
            gateway = Gateway(
                wsgi_app,
                max_body_size=max_body_size,
                body_timeout=body_timeout,
                answer_timeout=answer_timeout,
            )
        self._roster = Roster(max_connections, of_one=max_connections_per_address, handshakes=max_handshakes)
        self._process: int | None = None  # in which it serves, or has served; set with `_serving`
        self._serving: threading.Thread | None = None  # who runs the accept loop; guarded by Roster.lock
        self._workers = Workers(workers, self._work, pin=pin) if workers > 1 else None
        # A supervisor was told that this is ready. Without a lock: a bool, which is set before there is an end to tell.
        self._supervised = False
        # For the thread of `serve_forever`, after a signal or an order of the parent:
        self._ending_signal: signal.Signals | None = None  # it ended the loop
        self._has_heeded = False  # the first SIGTERM has begun a drain
        self._ordered_end: float | None = None  # of the latest order to drain that was seen
        self._drainer: threading.Thread | None = None  # it drains
        self._drain_deadline: float | None = None  # of a parent whose workers drain: it waits no longer for them
        self._waker = Waker()
        try:
            self._acceptor = Acceptor(host, port, self._options, self._roster, gateway, self._waker)
        except BaseException as exc:
            self._waker.close()
            if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE and unix_path is None:
                exc.add_note("another program listens there: `ss -ltnp` says which; port=0 takes a free port")
            raise

    @property
    def address(self) -> Address:
        """Where the server listens: ``(host, port)``, longer for IPv6, or the path of a Unix socket."""
        return self._acceptor.address

    @property
    def port(self) -> int:
        """The port it listens on, also where the system chose one. AttributeError where there is only a Unix socket."""
        address = self.address
        if isinstance(address, str):
            raise AttributeError(f"this server listens on a Unix socket, which has no port: {address!r}")
        return address[1]

    def __repr__(self) -> str:
        with self._roster.lock:
            return f"<Server {say_peer(self.address)} {self._state()}, {len(self._roster)} connections>"

    def _state(self) -> str:
        if self._roster.closing:
            return "closed"
        return "draining" if self._roster.draining else "serving" if self._serving else "bound"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    # What is known of it

    def stats(self) -> ServerStats:
        """What it has seen so far, in this process. For any thread, at any time; never raises.

        Each of several workers counts for itself, and their parent nothing: docs/metrics.md says how to see all of
        them. No message pays for it, except for one addition: the connections are asked now, one after the other, while
        messages may flow, with a call of the system for the bytes of each.
        """
        connections = self._roster.everybody()
        return ServerStats(
            **self._roster.ledger.traffic(),
            connections=len(connections),
            handlers=sum(isinstance(each, Connection) and each.is_handled for each in connections),
            requests=self._roster.ledger.requests(),
        )

    def connections(self) -> list[Conn]:
        """The WebSockets that are open now, in the order they came; `Conn.stats` tells what each has seen.

        In this process, as `stats`. The list is the caller's own. For any thread.
        """
        return self._roster.ledger.conns()

    # Serving

    def serve_forever(self) -> None:
        """Serve until `shutdown`, which SIGTERM and SIGINT call if this is the main thread, or `drain` is over.

        After a signal it returns once the shutdown is complete. The signals' previous handlers are back before the
        shutdown waits for anybody, so a second Ctrl-C interrupts the wait as it would any other. While it drains, after
        a SIGTERM and with drain_seconds, another signal is a shutdown. After a shutdown it returns at once: a server
        does not start again.

        In the main thread it tells a supervisor that waits for it (systemd's Type=notify) when the server is ready, and
        when and for how long it stops.

        With workers they serve, and this process watches over them. It should have no other threads when they are
        forked.

        Raises:
            ConcurrencyError: another thread is serving.
            OSError: the listener failed for good; nothing listens any more, and the connections go on.
        """
        thread = threading.current_thread()
        try:
            if not self._begin_serving(thread):
                return
            self._acceptor.prepare_descriptors()
        except BaseException as error:
            self._give_up_serving(thread, error)
            raise
        run = self._acceptor.run if self._workers is None else partial(self._run_workers, self._workers)

        def loop(over: Callable[[], bool]) -> None:
            self._say_listening()  # a signal from here on is an orderly end
            self._say_ready()
            run(over)

        try:
            signalled = self._serve_noting_signals(loop)
            if self._ending_signal is not None:
                _log.info("%s: shutting down", self._ending_signal.name)
            if signalled or self._roster.draining:
                self.shutdown()
            self._join_drainer()
        except BaseException:  # a second Ctrl-C, or what another signal's handler raises: as if this were all there is
            if self._workers is not None:
                self._workers.stop(deadline=0.0, grace=0.0)
            raise

    def _serve_noting_signals(
        self, loop: Callable[[Callable[[], bool]], None], parent: Parent | None = None
    ) -> list[signal.Signals]:
        """Run a loop until it is over, by a shutdown or by the signals that this returns."""
        signalled: list[signal.Signals] = []
        try:
            with noting_signals(self._waker, signalled):
                loop(lambda: self._roster.closing or self._must_end(signalled, parent))
        finally:
            self._end_serving()
        return signalled

    def _must_end(self, signalled: list[signal.Signals], parent: Parent | None) -> bool:
        """Whether signals end the loop. Where drain_seconds are given the first SIGTERM does not: it drains.

        Neither does an order to drain of a worker's parent. Asked by the loop itself, outside the signals' handlers.
        """
        # It stays there: a sooner one that comes just now must not be taken away unseen.
        if parent is not None and (end := parent.drain_end) not in (None, self._ordered_end):
            self._ordered_end = end
            self._acceptor.all_drain = True
            if not self._drain_beside(end):
                return True
        if not signalled:
            return False
        seconds = self._options.drain_seconds
        is_ordered_to_end = parent is not None and parent.deadline is not None
        if seconds is None or signalled != [signal.SIGTERM] or is_ordered_to_end:
            self._ending_signal = signalled[-1]
            return True
        if not self._has_heeded:
            self._has_heeded = True
            _log.info("SIGTERM: draining for %g s", seconds)
            return not self._drain_beside(time.monotonic() + seconds)
        return self._drain_deadline is not None and time.monotonic() >= self._drain_deadline

    def _drain_beside(self, end: float) -> bool:
        """Drain by an instant, beside the loop whose thread calls this; False if that cannot be.

        The parent of workers has no thread for it, as it may be about to fork: its loop watches over them, and sees
        when all have ended, or `_drain_deadline` has come.
        """
        if self._workers is not None:
            self._drain_deadline = end + self._options.shutdown_timeout
            self._say_stopping(self._drain_deadline - time.monotonic())
            self._workers.drain(end, self._waker)
            return True
        if self._roster.draining:
            self._roster.drain(end)
            return True
        drainer = threading.Thread(target=self._drain_until, args=(end,), name="syncws-drainer", daemon=True)
        self._roster.drain(end)  # here: the loop is to know it at once
        try:
            drainer.start()
        except RuntimeError as exc:
            _log.error("no thread to drain with (%s): shutting down", exc)
            return False
        self._drainer = drainer
        return True

    def _join_drainer(self) -> None:
        if self._drainer is not None:
            self._drainer.join()

    def _run_workers(self, workers: Workers, over: Callable[[], bool]) -> None:
        """Watch over the workers until it is over. When they drain, the listener is theirs to keep or to let go."""

        def let_go() -> None:
            self._acceptor.all_drain = True
            if not self._acceptor.stays:
                self._acceptor.stop_listening()

        workers.run(self._waker, over, let_go)

    def _work(self, parent: Parent, share: Share) -> None:
        """A worker, from its fork on: serve, until a signal or a shutdown."""
        # A thread of the parent may have held these locks when it forked.
        self._process = os.getpid()
        self._roster.begin_anew()
        self._waker.begin_anew()
        self._acceptor.leave_socket_file()
        self._workers = None  # they are the parent's to end
        self._supervised = False  # so is the service
        self._roster.begin_sharing(share)

        def loop(over: Callable[[], bool]) -> None:
            parent.let_signals_come()
            parent.wake = self._waker.wake  # an order that came before is found by the loop's first look
            self._acceptor.run(over)

        try:
            self._serve_noting_signals(loop, parent)
        finally:  # also when the listener failed for good: its connections are told
            self._roster.end_sharing()
            deadline = parent.deadline
            self.shutdown(None if deadline is None else max(0.0, deadline - time.monotonic()))
            self._join_drainer()

    def start(self) -> None:
        """Serve from a thread of its own, and return; the thread ends with `shutdown`. Does nothing after one.

        Raises ConcurrencyError if a thread is serving already, and RuntimeError if none can be started, or if there
        are workers: those are forked by `serve_forever` only.
        """
        if self._workers is not None:
            raise RuntimeError("workers are forked from a program without threads: call serve_forever, not start")
        thread = threading.Thread(target=self._serve_in_thread, name="syncws-accept", daemon=True)
        try:
            if not self._begin_serving(thread):
                return
            self._acceptor.prepare_descriptors()
            self._say_listening()
            thread.start()
        except BaseException as error:
            self._give_up_serving(thread, error)
            raise

    def _serve_in_thread(self) -> None:
        try:
            self._acceptor.run(lambda: self._roster.closing)
        except OSError:
            _log.exception("the listener failed; the server has stopped accepting connections")
        finally:
            self._end_serving()

    def _say_listening(self) -> None:
        """It is ready: whoever connects from now on is served."""
        address = self.address
        scheme = "http" if self._options.ssl_context is None else "https"
        where = (
            f"{scheme}://{say_peer(address)}" if isinstance(address, tuple) else f"the Unix socket {say_peer(address)}"
        )
        workers = f" ({self._options.workers} workers)" if self._workers is not None else ""
        _log.info("listening on %s%s", where, workers)

    def _say_ready(self) -> None:
        """Tell the supervisor: whoever serves in the main thread is the service."""
        if threading.current_thread() is threading.main_thread():
            self._supervised = notify("READY=1")

    def _say_stopping(self, seconds: float) -> None:
        """Tell the supervisor, if it was told that this is ready, and how long it takes: it would not wait so long."""
        if self._supervised:
            seconds = min(seconds, threading.TIMEOUT_MAX) + 2 * CUT_GRACE + _WORKER_GRACE
            microseconds = round(seconds * 1e6)
            notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={microseconds}")

    def _begin_serving(self, thread: threading.Thread) -> bool:
        """Claim the accept loop for a thread; False if the server is shut down."""
        if self._is_inherited:
            raise ConcurrencyError(f"this server serves in process {self._process}, which has forked this one")
        with self._roster.lock:
            if self._serving is not None:
                raise ConcurrencyError("this server is already serving, in thread " + self._serving.name)
            if not self._roster.closing:
                self._serving, self._process = thread, os.getpid()
            return not self._roster.closing

    def _give_up_serving(self, thread: threading.Thread, error: BaseException) -> None:
        """A thread was to serve, and this came instead: a shutdown is not to wait for it."""
        if self._serving is thread and not isinstance(error, ConcurrencyError):  # else it serves, and was asked again
            self._end_serving()

    def _end_serving(self) -> None:
        # By the thread that waited on it: a closed listener wakes nobody, and its number may be another's already.
        self._acceptor.stop_listening()
        with self._roster.lock:
            if self._roster.closing:
                self._waker.close()
            self._serving = None
            self._roster.changed.notify_all()

    # The end

    def drain(self, seconds: float, timeout: float | None = None) -> int:
        """Let the server run empty, for a restart: peers are told 1012 one after another, evenly over some seconds.

        From its beginning ready_path answers 503, and nobody new is served: a listener that was given to the server is
        closed, as another process has it, too; so is its own, unless it has a health_path or ready_path. Then it is
        kept for these, and all else gets 503. What is open goes on: WebSockets until each is told to go, at an instant
        drawn at random in its part of the time, and requests until they are answered. It returns when nobody is left.
        Those that are left after the seconds, and a timeout for their handlers, are cut, as by `shutdown`; as after
        that, the server is closed.

        For any thread, any number of them: the soonest end counts, and each returns once all is over. A `shutdown`
        meanwhile ends it at once, with 1001 for whom was not told. After a shutdown it is one. Called by a handler, it
        does not wait for that handler. In a worker it is the end of that worker, and another takes its place; in the
        parent it is for all workers, and none is replaced.

        Args:
            seconds: over which the peers are told; 0: all at once.
            timeout: seconds to wait for handlers after that; None for the server's shutdown_timeout.

        Returns:
            As `shutdown`.
        """
        timeout = self._options.shutdown_timeout if timeout is None else timeout
        check_wait("seconds", seconds)
        check_wait("timeout", timeout)
        return self._drain_until(time.monotonic() + seconds, timeout)

    def _drain_until(self, end: float, timeout: float | None = None) -> int:
        timeout = self._options.shutdown_timeout if timeout is None else timeout
        if not self._is_inherited:
            self._say_stopping(end - time.monotonic() + timeout)
            if self._workers is not None:
                self._workers.drain(end, self._waker)
                self._wait_for_loop(end + timeout)
            else:
                count = self._roster.drain(end)
                _log.info("draining: %d WebSockets are told to go within %.1f s", count, end - time.monotonic())
                self._waker.wake()
                self._roster.tell_in_turn(lambda each: each.start_close(CloseCode.SERVICE_RESTART, ""))
        return self._shut_down(timeout, CloseCode.SERVICE_RESTART)

    def _wait_for_loop(self, deadline: float) -> None:
        """Wait until the parent's loop is over, which it is when its workers have ended, or until a deadline."""
        with self._roster.lock:
            if self._serving is not threading.current_thread():
                seconds = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
                self._roster.changed.wait_for(lambda: self._serving is None or self._roster.closing, seconds)

    def shutdown(self, timeout: float | None = None) -> int:
        """Stop accepting, tell every WebSocket peer 1001, wait for the handlers, then cut what is left.

        Idempotent, and for any thread. Called by a handler, it does not wait for that handler, nor cut it, nor count
        it. Plain HTTP connections without a request are cut at once. A peer that takes nothing delays it no longer
        than the timeout. In a worker it is the end of that worker, and another takes its place.

        Args:
            timeout: seconds to wait for handlers; None for the server's shutdown_timeout.

        Returns:
            How many handlers are still running although their connections were cut: they are stuck in something that
            is not the connection. Their threads are daemons, so they do not keep the process alive. With workers: how
            many of these had to be killed.

        Raises TypeError or ValueError for a timeout that is no number of seconds: nothing has ended then.

        In the child of a fork of the process that serves, the connections and their threads are the parent's: it
        closes the child's copy of the listener, and returns 0.
        """
        timeout = self._options.shutdown_timeout if timeout is None else timeout
        check_wait("timeout", timeout)
        return self._shut_down(timeout, CloseCode.GOING_AWAY)

    def _shut_down(self, timeout: float, code: int) -> int:
        """`shutdown`, whose peers are told this code; or another, if that was said before."""
        if self._is_inherited:
            self._acceptor.let_go()
            return 0
        deadline = time.monotonic() + timeout
        code = self._roster.close(code)  # first: who enters after the peers were told would not be told
        # Then, without a system call: under a flood each of those that follow may take a second.
        rest = self._roster.announce(code, "")
        try:
            self._say_stopping(timeout)
            self._stop_listening()
            if self._workers is not None:
                return self._workers.stop(deadline, CUT_GRACE + _WORKER_GRACE)
            return self._roster.farewell(code, "", deadline, rest)
        finally:
            rest.end()

    @property
    def _is_inherited(self) -> bool:
        """Whether this is the child of a fork, and another process serves."""
        return self._process is not None and self._process != os.getpid()

    def _stop_listening(self) -> None:
        """Return once the listener is closed (unless this thread is the accept loop: then as soon as it goes on)."""
        self._waker.wake()
        with self._roster.lock:
            if self._serving is threading.current_thread():
                return
            self._roster.changed.wait_for(lambda: self._serving is None)
        # Nobody serves and nobody will: what is left to close is ours.
        self._acceptor.stop_listening()
        self._waker.close()


@takes_options
def serve(
    on_connection: Callable[[Conn], object],
    host: str | None = "127.0.0.1",
    port: int = 8080,
    *,
    upgrader: Upgrader | None = None,
    **options: Unpack[ServeKeywords],
) -> None:
    """Serve WebSocket connections until SIGTERM or SIGINT: every request is upgraded, whatever its path.

    What is not a WebSocket request gets the Upgrader's refusal.

    Args:
        on_connection: ``on_connection(conn)`` runs in the connection's own thread; the connection is closed when it
            returns (1000) or raises (1011).
        host, port: see `Server`.
        upgrader: decides who may connect, and how; None for ``Upgrader()``.
        options: Server's, except those of a wsgi_app.

    Raises:
        OSError: the address cannot be bound.
        ValueError, TypeError: an option is wrong.
    """
    for name in options.keys() & (Upgrader.names() - {"handshake_timeout", "allowed_hosts"}):  # which a Server has too
        raise TypeError(f"{name} is an Upgrader's: serve(..., upgrader=Upgrader({name}=...))")
    with Server(upgrading(on_connection, upgrader), host, port, **options) as server:
        server.serve_forever()


def upgrading(on_connection: Callable[[Conn], object], upgrader: Upgrader | None = None) -> Handler:
    """The handler of a `Server` that upgrades every request, and calls on_connection with the connection."""
    check_callable("on_connection", on_connection, "must be a callable that takes a Conn")
    check_takes_one("on_connection", on_connection, "a Conn")
    chosen = chosen_upgrader(upgrader)

    def handler(request: Request) -> Response | None:
        result = on_connection(chosen.upgrade(request))
        check_done("on_connection", result)
        return result if isinstance(result, Response) else None  # that comes too late, which the connection tells

    return handler
