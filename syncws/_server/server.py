"""A server: listen, accept, one thread per connection, HTTP beside WebSocket, and an orderly end.

    Server.serve_forever                  the accept loop, in the caller's thread (or start(), in one of its own)
      _accept_one                         accept(); what an error means stands in ACCEPT_ERRORS
        _admit                            register the connection, start its thread; or answer 503
    Server._run_connection                a connection's own thread, from here on
      _serve_connection                   TLS handshake and request head, under one deadline; keep-alive
        _answer                           the handler, and what its outcome means
          Upgrader.upgrade                (called by the handler) HTTP ends, a Conn begins
        host                            or a WSGI application, and the handler of its WebSocket view
    Server.shutdown                       stop accepting, 1001 to everybody, wait, cut

With workers=N the process that serve_forever is called in accepts nothing: it forks N others that do all of the above
(`_work`), and ends them.

Three rules:

* **The accept loop waits for nobody but the listener.** TLS, heads, handlers and refusals happen elsewhere or at once.
* **Nothing is done under the lock.** It guards who is connected and whether this is the end; whoever wants to act
  takes a snapshot, lets go and acts.
* **Every connection is either in the registry or closed,** at every instant: that is what makes shutdown complete.
"""

from __future__ import annotations

import itertools
import logging
import os
import selectors
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Self, Unpack

from .._base.options import check_wait
from .._base.waker import Waker
from .._conn.conn import Conn
from .._conn.farewell import CUT_GRACE, farewell
from .._conn.outcome import end_handled
from .._http.http11 import HTTPConnection
from .._http.request import BadRequest, Request
from .._http.response import Response
from .._net.address import Address, as_address, say_peer
from .._net.listener import ACCEPT_ERRORS, SocketFile, listen_tcp, listen_unix
from .._net.tls import TLSTransport
from .._net.transport import Transport
from ..errors import CloseCode, ConcurrencyError, HandshakeError
from .gateway import Application, Gateway
from .options import Handler, ServeKeywords, ServerOptions
from .upgrader import Upgrader
from .views import chosen_upgrader
from .workers import ENDING, Parent, Share, Workers

_log = logging.getLogger("syncws.server")

#: How long the accept loop rests when the process or the system is out of something (trio and Thousand Island: 100 ms).
_ACCEPT_PAUSE = 0.1

#: Seconds that one plain HTTP response may take to leave.
_RESPONSE_TIMEOUT = 60.0

#: Seconds for which a connection that this side ends is still read, lest unread bytes turn the end into a reset that
#: destroys the response on its way (RFC 9112 section 9.6).
_LINGER = 1.0

#: What the two commonest errors of a TLS handshake mean, as OpenSSL's own words do not tell.
_TLS_ADVICE = {
    "HTTP_REQUEST": ": the client speaks plain HTTP, and this server TLS (https:, wss:)",
    "NO_SHARED_CIPHER": ": has ssl_context a certificate (load_cert_chain)?",
}

#: Seconds for which a worker leaves a new connection to others that have fewer. For one that is idle this is long.
_HESITATION = 0.001

#: Seconds more that the process of a worker gets to end, on a machine that is busy, before it is killed.
_WORKER_GRACE = 2.0


class Server:
    """Serves HTTP and WebSocket, with one thread per connection.

    Concurrency: every method may be called from any thread. The handler, or the WSGI application, runs in its
    connection's thread, several at the same time for several connections.

    Leaving a ``with Server(...) as server:`` block shuts it down.

    Args:
        handler: called with each Request. It returns a Response, or upgrades the request and returns None when it is
            done with the connection, which the server then closes: 1000, or 1011 if the handler raised. None if there
            is a wsgi_app.
        host: a name or address to listen on; "" for every IPv4 address, "::" for every IPv6 address.
        port: 0 lets the system choose one; see ``port``.
        unix_path: listen on a Unix socket of this path instead. A socket file that nobody listens on is replaced;
            the file is removed at the end.
        ssl_context: serve TLS with it (``ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)`` and a certificate).
        listener: a socket that already listens, instead of host and port (systemd's socket activation, a test); it is
            the server's from now on, which closes it.
        max_connections: how many at once, plain HTTP and handshakes included; one more is answered with 503. None for
            no limit.
        handshake_timeout: seconds from accepting a connection until its TLS handshake and its first request head must
            be complete. None for no limit.
        keep_alive_timeout: seconds that a plain HTTP connection may take until its next request head is complete.
        max_head_size: bytes that a request's head may have; more is answered with 431.
        max_headers: header lines that it may have.
        shutdown_timeout: seconds that `shutdown` waits for handlers if it is not told otherwise.
        workers: processes that serve (POSIX). With more than one `serve_forever` forks them, and puts back those that
            die. Each has connections of its own, and a max_connections; what they share is made before, such as this
            object. None of them runs what is registered with atexit.
        pin: keep each of several workers on a core of its own. None: if there is one for each core that this process
            may use, with the GIL, and without a CPU quota.
        wsgi_app: host this WSGI application (PEP 3333) instead of a handler. Its WebSocket views are those of
            `syncws.wsgi`, of `Upgrader.serve` and of the frameworks' glue (`syncws.flask`, ...).
        max_body_size: bytes that the body of a request to a wsgi_app may have; more is answered with 413. None for no
            limit.
        body_timeout: seconds for which its client may send nothing while the application reads the body; and no more
            than that on the whole, but for a second for each 500 bytes; then the answer is 408. None for no limit.

    Raises:
        OSError: the address cannot be bound.
        ValueError, TypeError: an option is wrong.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        unix_path: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        listener: socket.socket | None = None,
        max_connections: int | None = 10_000,
        handshake_timeout: float | None = 10.0,
        keep_alive_timeout: float | None = 5.0,
        max_head_size: int = 16384,
        max_headers: int = 128,
        shutdown_timeout: float = 10.0,
        workers: int = 1,
        pin: bool | None = None,
        wsgi_app: Application | None = None,
        max_body_size: int | None = 1 << 30,
        body_timeout: float | None = 30.0,
    ) -> None:
        self._options = ServerOptions(
            handler=handler,
            unix_path=unix_path,
            ssl_context=ssl_context,
            listener=listener,
            max_connections=max_connections,
            handshake_timeout=handshake_timeout,
            keep_alive_timeout=keep_alive_timeout,
            max_head_size=max_head_size,
            max_headers=max_headers,
            shutdown_timeout=shutdown_timeout,
            workers=workers,
            pin=pin,
            wsgi_app=wsgi_app,
            max_body_size=max_body_size,
            body_timeout=body_timeout,
        )
        self._gateway: Gateway | None = None
        if wsgi_app is not None:
            self._gateway = Gateway(wsgi_app, max_body_size=max_body_size, body_timeout=body_timeout)
        self._numbers = itertools.count(1)
        self._crowded = False  # the accept loop's own: a shortage that was logged and is not over

        # Nothing but the waker's lock is taken, and nobody is called, while it is held. Reentrant, as an application's
        # own signal handler may call shutdown() while this very thread is inside.
        self._changed = threading.Condition(threading.RLock())
        self._connections: set[_Connection] = set()  # guarded by _changed
        self._closing = False  # guarded by _changed; never goes back
        self._serving: threading.Thread | None = None  # guarded by _changed; who runs the accept loop
        self._workers = Workers(workers, self._work, pin=pin) if workers > 1 else None
        self._share: Share | None = None  # guarded by _changed; in one of several workers, while it accepts

        self._socket_file: SocketFile | None = None
        if listener is not None:
            self._listener = listener
        elif unix_path is not None:
            self._listener = listen_unix(os.fspath(unix_path))
            self._socket_file = SocketFile(os.fspath(unix_path))
        else:
            self._listener = listen_tcp(host, port)
        try:
            # A client may be gone between select and accept, which would then wait for the next one.
            self._listener.setblocking(False)
            self._address = as_address(self._listener.getsockname())
            #: Of every connection; None where each has another.
            self._local_address = None if self._address[:1] in (("0.0.0.0",), ("::",)) else self._address
            self._waker = Waker()
        except BaseException:
            self._close_listener()
            raise

    @property
    def address(self) -> Address:
        """Where the server listens: ``(host, port)``, longer for IPv6, or the path of a Unix socket."""
        return self._address

    @property
    def port(self) -> int:
        """The port it listens on, also where the system chose one. AttributeError where there is only a Unix socket."""
        if isinstance(self._address, str):
            raise AttributeError(f"this server listens on a Unix socket, which has no port: {self._address!r}")
        return self._address[1]

    def __repr__(self) -> str:
        with self._changed:
            state = "closed" if self._closing else "serving" if self._serving else "bound"
            return f"<Server {say_peer(self._address)} {state}, {len(self._connections)} connections>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    # Serving

    def serve_forever(self) -> None:
        """Serve until `shutdown`, which SIGTERM and SIGINT call if this is the main thread.

        After a signal it returns once the shutdown is complete. The signals' previous handlers are back before the
        shutdown waits for anybody, so a second Ctrl-C interrupts the wait as it would any other. After a shutdown it
        returns at once: a server does not start again.

        With workers they serve, and this process watches over them. It should have no other threads when they are
        forked.

        Raises:
            ConcurrencyError: another thread is serving.
            OSError: the listener failed for good; nothing listens any more, and the connections go on.
        """
        if not self._begin_serving(threading.current_thread()):
            return
        loop = self._accept_until if self._workers is None else partial(self._workers.run, self._waker)
        try:
            if signalled := self._serve_noting_signals(loop):
                _log.info("%s: shutting down", signalled[0].name)
                self.shutdown()
        except BaseException:  # a second Ctrl-C, or what another signal's handler raises: as if this were all there is
            if self._workers is not None:
                self._workers.stop(deadline=0.0, grace=0.0)
            raise

    def _serve_noting_signals(self, loop: Callable[[Callable[[], bool]], None]) -> list[signal.Signals]:
        """Run a loop until it is over, by a shutdown or by the signals that this returns."""
        signalled: list[signal.Signals] = []
        try:
            with self._noting_signals(signalled):
                loop(lambda: self._closing or bool(signalled))
        finally:
            self._end_serving()
        return signalled

    def _work(self, parent: Parent, share: Share) -> None:
        """A worker, from its fork on: serve, until a signal or a shutdown."""
        # A thread of the parent may have held these locks when it forked.
        self._changed = threading.Condition(threading.RLock())
        self._waker.begin_anew()
        self._socket_file = self._workers = None  # they are the parent's to end
        self._share = share

        def loop(over: Callable[[], bool]) -> None:
            parent.let_signals_come()
            self._accept_until(over)

        try:
            self._serve_noting_signals(loop)
        finally:  # also when the listener failed for good: its connections are told
            with self._changed:
                self._share = None
                share.give_up()
            deadline = parent.deadline
            self.shutdown(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def start(self) -> None:
        """Serve from a thread of its own, and return; the thread ends with `shutdown`. Does nothing after one.

        Raises ConcurrencyError if a thread is serving already, and RuntimeError if none can be started, or if there
        are workers: those are forked by `serve_forever` only.
        """
        if self._workers is not None:
            raise RuntimeError("workers are forked from a program without threads: call serve_forever, not start")
        thread = threading.Thread(target=self._serve_in_thread, name="syncws-accept", daemon=True)
        if not self._begin_serving(thread):
            return
        try:
            thread.start()
        except BaseException:
            self._end_serving()
            raise

    def _serve_in_thread(self) -> None:
        try:
            self._accept_until(lambda: self._closing)
        except OSError:
            _log.exception("the listener failed; the server has stopped accepting connections")
        finally:
            self._end_serving()

    def _begin_serving(self, thread: threading.Thread) -> bool:
        """Claim the accept loop for a thread; False if the server is shut down."""
        with self._changed:
            if self._serving is not None:
                raise ConcurrencyError("this server is already serving, in thread " + self._serving.name)
            if not self._closing:
                self._serving = thread
            return not self._closing

    def _end_serving(self) -> None:
        # By the thread that waited on it: a closed listener wakes nobody, and its number may be another's already.
        self._close_listener()
        with self._changed:
            if self._closing:
                self._waker.close()
            self._serving = None
            self._changed.notify_all()

    def _close_listener(self) -> None:
        self._listener.close()
        if self._socket_file is not None:
            self._socket_file.remove()

    @contextmanager
    def _noting_signals(self, signalled: list[signal.Signals]) -> Iterator[None]:
        """While this lasts, SIGTERM and SIGINT are noted in the list, and wake the accept loop; main thread only.

        The handler does no more than that: it may run between any two bytecodes of the main thread. The wake-up
        descriptor is for a signal that another thread receives: it interrupts no wait of the main thread, which has
        to be awake for the handler to run.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: FrameType | None) -> None:
            signalled.append(signal.Signals(number))
            self._waker.wake()

        wakeup_fd = signal.set_wakeup_fd(self._waker.write_fd, warn_on_full_buffer=False)
        previous = {number: signal.signal(number, note) for number in ENDING}
        try:
            yield
        finally:
            for number, handler in previous.items():
                # None: installed from C, which Python can neither see nor bring back
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(wakeup_fd)

    def _accept_until(self, over: Callable[[], bool]) -> None:
        # `_closing` is read without its lock here: it never goes back, and whoever sets it wakes this loop after.
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while not over():
                for key, _events in selector.select():
                    if key.fileobj is self._waker:
                        self._waker.wait(0)  # takes the byte, else the next select returns at once
                    elif not over():
                        self._accept_one()

    def _accept_one(self) -> None:
        if self._share is not None and (self._share.is_large() or self._is_full()):
            self._waker.wait(_HESITATION)  # for another worker to take it
        try:
            sock, address = self._listener.accept()
        except OSError as exc:
            verdict = ACCEPT_ERRORS.get(exc.errno or 0)
            if verdict is None or (verdict == "closed" and not self._closing):
                raise
            if verdict == "pause":
                self._say_crowded("accepting no connections for now: %s", exc)
                self._waker.wait(_ACCEPT_PAUSE)  # which shutdown cuts short
            return
        deadline = _deadline(self._options.handshake_timeout)
        self._admit(_Connection(sock, next(self._numbers), deadline, self._local_address, address))

    def _admit(self, connection: _Connection) -> None:
        """Start a connection's thread; whatever is in the way of that costs this connection only."""
        with self._changed:
            closing = self._closing
            full = self._is_full()
            if not closing and not full:
                # Registered before its thread starts: a thread that registered itself could be late, and a shutdown
                # in between would neither tell it nor wait for it.
                self._connections.add(connection)
                self._note_share()
        if closing:
            connection.sock.close()
            return
        if full:
            self._say_crowded(
                "all %d connections are taken (max_connections); answering 503", self._options.max_connections
            )
            self._turn_away(connection)
            return
        thread = threading.Thread(
            target=self._run_connection, args=(connection,), name=f"syncws-{connection.number}", daemon=True
        )
        try:
            thread.start()
        except (RuntimeError, MemoryError) as exc:  # "can't start new thread": a limit of the system
            self._say_crowded("a connection is lost, its thread cannot be started: %s", exc)
            self._turn_away(connection)
            self._forget(connection)
        else:
            self._crowded = False

    def _is_full(self) -> bool:
        return self._options.max_connections is not None and len(self._connections) >= self._options.max_connections

    def _note_share(self) -> None:
        """For others to see. Under `_changed`, lest an old number takes the place of a new one."""
        if self._share is not None:
            self._share.note(len(self._connections))

    def _say_crowded(self, message: str, *args: object) -> None:
        """Log a shortage once, not for each connection that meets it."""
        _log.log(logging.DEBUG if self._crowded else logging.WARNING, message, *args)
        self._crowded = True

    def _turn_away(self, connection: _Connection) -> None:
        """Answer 503 and close, without waiting for anything. Under TLS there is nothing to say it in."""
        sock = connection.sock
        with suppress(OSError):
            sock.setblocking(False)
            if self._options.ssl_context is None:
                with suppress(BlockingIOError):
                    sock.recv(65536)  # a close with unread bytes is a reset, which may overtake the answer
                sock.send(_SERVICE_UNAVAILABLE)
                sock.shutdown(socket.SHUT_WR)
        sock.close()

    # One connection, in its own thread

    def _run_connection(self, connection: _Connection) -> None:
        connection.thread = threading.get_ident()
        try:
            self._serve_connection(connection)
        except OSError as exc:  # TimeoutError is one, and ssl.SSLError
            advice = _TLS_ADVICE.get(exc.reason, "") if isinstance(exc, ssl.SSLError) else ""
            _log.info("%s: %s%s", connection, exc, advice)
        except SystemExit:  # of a handler: it ends the thread, as in any thread
            _log.debug("%s: the handler exited", connection)
        except Exception:
            _log.exception("%s: a defect of syncws", connection)
        finally:
            try:
                connection.release()
            finally:
                self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._note_share()
            self._changed.notify_all()

    def _serve_connection(self, connection: _Connection) -> None:
        transport = connection.open(self._options.ssl_context)
        _log.debug("%s: connected", connection)
        transport.handshake(connection.deadline)
        http = HTTPConnection(transport, max_head=self._options.max_head_size, max_headers=self._options.max_headers)
        deadline = connection.deadline
        while (request := self._next_request(connection, http, deadline)) is not None:
            if self._gateway is not None:
                self._gateway.serve(http, request, connection)
            else:
                self._answer(connection, http, request)
            if http.taken_over:
                return
            if not http.keep_alive:
                break
            deadline = _deadline(self._options.keep_alive_timeout)
        _linger(transport)

    def _next_request(self, connection: _Connection, http: HTTPConnection, deadline: float | None) -> Request | None:
        """The next request; None if none will come, or if what came was answered with an error."""
        with self._changed:
            connection.request = None
            if self._closing:
                return None
        try:
            request = http.read_request(deadline)
        except BadRequest as exc:
            if not self._closing:  # else it is shutdown that has cut it short
                self._send(http, _explain_bad_request(connection, exc))
            return None
        if request is None:
            return None
        request.on_upgrade = partial(self._upgraded, connection)
        with self._changed:
            # From here on shutdown lets the handler finish. A request that arrives after it began was cut already.
            connection.request = request
            return None if self._closing else request

    def _upgraded(self, connection: _Connection, conn: Conn) -> None:
        """An Upgrader made a connection of a request of ours."""
        with self._changed:
            connection.conn = conn
            closing = self._closing
        if closing:  # shutdown has told everybody, and this one was not there yet
            connection.start_close(CloseCode.GOING_AWAY, "")

    def _answer(self, connection: _Connection, http: HTTPConnection, request: Request) -> None:
        """Run the handler; then end its WebSocket connection, or send its response."""
        assert self._options.handler is not None
        try:
            result = self._options.handler(request)
        except Exception as exc:
            if connection.conn is not None:
                end_handled(connection.conn, exc, connection, _log)
            elif not http.taken_over:
                self._send(http, _explain_failure(connection, exc))
            elif not isinstance(exc, HandshakeError):  # else: the 101 could not be sent, and the Upgrader said so
                _log.exception("%s: the handler raised", connection)
            exc.__traceback__ = None  # a connection keeps its end, which would keep the frames that it passed through
        else:
            if connection.conn is not None:
                if result is not None:
                    _log.error("%s: the handler upgraded the request, so its %r is ignored", connection, result)
                end_handled(connection.conn, None, connection, _log)
            elif not http.taken_over:
                self._send(http, _valid_result(connection, request, result))
        finally:
            request._break_circles()

    def _send(self, http: HTTPConnection, response: Response) -> None:
        http.send_response(response, deadline=_deadline(_RESPONSE_TIMEOUT))

    # The end

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
        """
        timeout = self._options.shutdown_timeout if timeout is None else timeout
        check_wait("timeout", timeout)
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True  # from here on nothing enters the registry
        self._stop_listening()
        if self._workers is not None:
            return self._workers.stop(deadline, CUT_GRACE + _WORKER_GRACE)
        return farewell(self._connections, self._changed, CloseCode.GOING_AWAY, "", deadline=deadline, tell_own=True)

    def _stop_listening(self) -> None:
        """Return once the listener is closed (unless this thread is the accept loop: then as soon as it goes on)."""
        self._waker.wake()
        with self._changed:
            if self._serving is threading.current_thread():
                return
            self._changed.wait_for(lambda: self._serving is None)
        # Nobody serves and nobody will: what is left to close is ours.
        self._close_listener()
        self._waker.close()


class _Connection:
    """What the server knows of one connection, from its accept to the end of its thread."""

    __slots__ = ("addresses", "conn", "deadline", "number", "request", "sock", "thread", "transport")

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        deadline: float | None,
        local_address: Address | None,
        remote_address: Any,
    ) -> None:
        self.sock = sock
        self.number = number
        self.deadline = deadline  # of the TLS handshake and the first head
        self.addresses = local_address, as_address(remote_address)
        self.thread: int | None = None  # threading.get_ident(); set by its thread, which alone compares it to its own
        self.transport: Transport | None = None  # its own thread's
        # Guarded by Server._changed:
        self.request: Request | None = None  # while a handler has it
        self.conn: Conn | None = None  # once upgraded

    def __str__(self) -> str:
        peer = say_peer(self.transport.remote_address) if self.transport else "?"
        return f"{peer} (connection {self.number})"

    def open(self, ssl_context: ssl.SSLContext | None) -> Transport:
        local, remote = self.addresses
        if ssl_context is None:
            self.transport = Transport(self.sock, local_address=local, remote_address=remote)
        else:
            self.transport = TLSTransport(
                self.sock, ssl_context, server_side=True, local_address=local, remote_address=remote
            )
        return self.transport

    def start_close(self, code: int, reason: str) -> None:
        """Ask it to end, without waiting. A request under way is left alone; no further one is read.

        Only once the server is closing: then a request no longer begins, and a Conn that comes later is told later.
        """
        if self.conn is not None:
            try:
                self.conn.close(code, reason, timeout=0)
            except Exception:
                _log.exception("%s: closing failed", self)
        elif self.request is None:
            self.cut()

    def cut(self) -> None:
        """End it now, whatever its thread is doing; for any thread."""
        if self.conn is not None:
            self.conn.close_now()
        elif self.transport is not None:
            self.transport.shutdown()
        else:  # its thread has not made the transport yet, and nobody closes the raw socket before that
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give everything back; by its own thread, at the end."""
        if self.conn is not None:
            self.conn.close_now()
        elif self.transport is not None:
            self.transport.close()
        else:
            self.sock.close()
        self.request = None


def serve(
    on_connection: Callable[[Conn], object],
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    upgrader: Upgrader | None = None,
    **options: Unpack[ServeKeywords],
) -> None:
    """Serve WebSocket connections until SIGTERM or SIGINT: every request is upgraded, whatever its path.

    ``on_connection(conn)`` runs in the connection's own thread; the connection is closed when it returns (1000) or
    raises (1011). What is not a WebSocket request gets the Upgrader's refusal.

    Args:
        host, port: see Server.
        upgrader: decides who may connect, and how; None for ``Upgrader()``.
        options: Server's, except those of a wsgi_app.

    Raises:
        OSError: the address cannot be bound.
        ValueError, TypeError: an option is wrong.
    """
    if not callable(on_connection):
        raise TypeError(f"on_connection must be a callable that takes a Conn, not {on_connection!r}")
    chosen = chosen_upgrader(upgrader)
    for name in options.keys() & (Upgrader.names() - {"handshake_timeout"}):  # which a Server has too
        raise TypeError(f"{name} is an Upgrader's: serve(..., upgrader=Upgrader({name}=...))")

    def handler(request: Request) -> None:
        on_connection(chosen.upgrade(request))

    with Server(handler, host, port, **options) as server:
        server.serve_forever()


# What the outcome of a handler means


def _explain_failure(connection: _Connection, exc: Exception) -> Response:
    """Log why a handler left its HTTP request by an exception, and say what to answer."""
    if isinstance(exc, HandshakeError):  # the Upgrader has logged it
        return exc.response if isinstance(exc.response, Response) else Response(f"{exc}\n", exc.status)
    if isinstance(exc, BadRequest):  # from request.body()
        return _explain_bad_request(connection, exc)
    _log.exception("%s: the handler raised", connection)
    return _server_error()


def _explain_bad_request(connection: _Connection, exc: BadRequest) -> Response:
    _log.info("%s: %d %s", connection, exc.status, exc)
    return Response(f"{exc}\n", exc.status)


def _valid_result(connection: _Connection, request: Request, result: object) -> Response:
    """The response to send for what a handler returned without having upgraded."""
    if isinstance(result, Response):
        return result
    refused = None if request.refusal is None else request.refusal.response
    if result is None and isinstance(refused, Response):
        return refused
    if result is None:
        _log.error("%s: the handler returned None, but has neither upgraded nor refused the request", connection)
    else:
        _log.error("%s: the handler must return a Response or None, not %r", connection, result)
    return _server_error()


def _server_error() -> Response:
    return Response("Internal Server Error\n", 500)


_FULL = b"all connections of this server are taken; try again later\n"

_SERVICE_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


def _linger(transport: Transport) -> None:
    """End an HTTP connection: no more bytes from here, and those of the peer are read for a moment."""
    transport.shutdown_write()
    deadline = time.monotonic() + _LINGER
    with suppress(OSError):
        while (wait := deadline - time.monotonic()) > 0:
            if not transport.receive(65536, wait):
                return


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
