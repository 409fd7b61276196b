"""One connection of a server, from its accept to the end of its thread: HTTP, and then maybe a WebSocket.

    Connection.run            its own thread
      _serve                  the TLS handshake and the first head, under one deadline; then keep-alive
        _next_request         None if there will be none
        _own_answer           a health check; or there is no room for it; or its host is not served
        _answer               the handler, and what its outcome means
          Upgrader.upgrade    (called by the handler) HTTP ends, a Conn begins
        Gateway.serve         or a WSGI application, and the handler of its WebSocket view

Other threads only end it: `start_close` and `cut`, when the server shuts down.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from .._base.advice import advisor
from .._base.callables import check_done, unfinished
from .._base.copies import forget_frames
from .._base.counters import breaches
from .._base.logs import Told, logger
from .._base.printable import printable, printable_repr
from .._conn import access
from .._conn.conn import Conn
from .._conn.outcome import end_handled
from .._conn.tally import Tally
from .._http.handshake import switches_to_websocket
from .._http.hosts import MOST_SHOWN
from .._http.http11 import HTTPConnection
from .._http.request import BadRequest, Request
from .._http.response import Response
from .._net.address import Address, network_of_host, say_peer
from .._net.strangers import TLS, Stranger, recognised, say_stranger
from .._net.tls import TLSTransport
from .._net.transport import Transport
from ..errors import BadHandshakeError, HandshakeError, ProxyError
from .gateway import Gateway
from .health import Health, no_room
from .options import ServerOptions
from .roster import Roster

_log = logger("syncws.server")

#: Seconds that one plain HTTP response may take to leave.
_RESPONSE_TIMEOUT = 60.0

#: Seconds for which a connection that this side ends is still read. Unread bytes would turn the end into a reset, which
#: can destroy the response on its way (RFC 9112 section 9.6).
_LINGER = 1.0

#: What is said of a client that has all connections it may have.
GREEDY = "%s has all %d connections of one address (max_connections_per_address); answering 503"

#: What a handler is told that was written for a connection.
_NO_CONN = (
    "the handler of a Server gets a Request, and upgrades it: with upgrader.upgrade(request) as conn. syncws.serve("
    "handler, ...) calls its handler with the connection"
)

#: What an error of a TLS handshake means. OpenSSL's own words do not tell.
_TLS_ADVICE = {"NO_SHARED_CIPHER": ": has ssl_context a certificate (load_cert_chain)?"}


class Connection(Told):
    """What a server knows of one connection.

    Concurrency: `run` is for its own thread. `start_close` and `cut` are for any thread.
    """

    __slots__ = (
        "_addresses",
        "_conn",
        "_deadline",
        "_gateway",
        "_health",
        "_is_beyond",
        "_is_prepared",
        "_options",
        "_request",
        "_roster",
        "_tally",
        "_transport",
        "is_late",
        "number",
        "sock",
        "thread",
    )

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        options: ServerOptions,
        roster: Roster,
        gateway: Gateway | None,
        *,
        deadline: float | None,
        local_address: Address | None,
        remote_address: Address,
        prepared: bool = False,
        health: Health | None = None,
    ) -> None:
        self.sock = sock
        self.number = number
        self._options = options
        self._roster = roster
        self._gateway = gateway
        self._deadline = deadline  # of the TLS handshake and the first head
        self._health = health
        self._is_beyond = False  # there is no room for it: it is heard, and sent away
        #: Whether the server drains, and so has no room for it. Set before its thread is started.
        self.is_late = False
        self._addresses = local_address, remote_address
        self._is_prepared = prepared
        #: threading.get_ident() of its own thread, which sets it. Others may see None: they ask whether it is theirs.
        self.thread: int | None = None
        self._transport: Transport | None = None  # set once, by its own thread
        # Set by its own thread under Roster.lock, together with a look at `closing`. `start_close` and `cut` read
        # them without it, once the roster is closed: a request no longer begins then, and a Conn is told by whoever
        # made it.
        self._request: Request | None = None  # while a handler has it
        self._conn: Conn | None = None  # once upgraded
        self._tally: Tally | None = None  # what is counted of that

    def go_beyond(self, deadline: float) -> None:
        """There is no room for it: its request is answered by the server itself. Before its thread is started."""
        self._is_beyond = True
        self._deadline = deadline

    @property
    def conn(self) -> Conn | None:
        """Its WebSocket, once it is one."""
        return self._conn

    def log_fields(self) -> Mapping[str, object]:
        """What records of the log say of it: its WebSocket's fields, or else its request's, or its peer's address."""
        if (about := self._conn or self._request) is not None:
            return about.log_fields()
        return {"remote_address": say_peer(self._transport.remote_address)} if self._transport else {}

    @property
    def is_handled(self) -> bool:
        """Whether a request is being handled, that of a WebSocket included. A hint, for any thread."""
        return self._request is not None

    def __str__(self) -> str:
        peer = say_peer(self._transport.remote_address) if self._transport else "?"
        return f"{peer} (connection {self.number})"

    # Its own thread

    def run(self) -> None:
        """Serve it to its end, and leave the roster. What goes wrong is logged here, and ends this thread only."""
        self.thread = threading.get_ident()
        try:
            self._serve()
        except OSError as exc:  # TimeoutError is one, and ssl.SSLError
            _log.info("%s: %s", self, printable(exc))
        except SystemExit:  # of a handler: it ends the thread, as in any thread
            _log.debug("%s: the handler exited", self)
        except Exception:
            _log.exception("%s: a defect of syncws", self)
        finally:
            try:
                self._release()
            finally:
                self._roster.leave(self)

    def _serve(self) -> None:
        self._transport = transport = self._open()
        _log.debug("%s: connected", self)
        deadline = self._deadline
        if not self._shake_hands(transport, deadline):
            return
        options = self._options
        http = HTTPConnection(transport, max_head=options.max_head_size, max_headers=options.max_headers)
        while (request := self._next_request(http, deadline)) is not None:
            self._serve_one(http, request)
            if http.taken_over or transport.is_inherited:
                return
            if self._is_beyond:
                break
            deadline = _from_now(options.keep_alive_timeout)
        # Beyond the limits nobody is waited for: who has been heard has given its place to the next one.
        _linger(transport, 0.0 if self._is_beyond else _LINGER)

    def _serve_one(self, http: HTTPConnection, request: Request) -> None:
        """One request to its end: that of its answer, or of its WebSocket."""
        began, sent = time.monotonic(), http.transport.bytes_sent
        try:
            if (answer := self._own_answer(request)) is not None:
                _send(http, answer)
            else:
                self._have_answered(http, request)
        finally:
            if http.status and not http.taken_over:
                self._roster.ledger.answered(http.status)
                seconds = time.monotonic() - began
                access.tell_request(request, http.status, seconds, http.transport.bytes_sent - sent, self.number)

    def _have_answered(self, http: HTTPConnection, request: Request) -> None:
        """A request to its end, by the handler or the application; a handshake that these refuse is counted."""
        refusals: list[str] = []
        request.on_refusal = refusals.append
        try:
            if self._gateway is not None:
                self._gateway.serve(http, request, self)
            else:
                self._answer(http, request)
        finally:
            if not refusals and http.status and not http.taken_over and switches_to_websocket(request.headers):
                refusals.append("handler")
            for reason in refusals:
                self._roster.ledger.refused(reason)

    def _open(self) -> Transport:
        sock, context, prepared = self.sock, self._options.ssl_context, self._is_prepared
        local, remote = self._addresses
        if context is None:
            return Transport(sock, local_address=local, remote_address=remote, prepared=prepared)
        return TLSTransport(
            sock, context, server_side=True, local_address=local, remote_address=remote, prepared=prepared
        )

    def _shake_hands(self, transport: Transport, deadline: float | None) -> bool:
        """The TLS handshake, where there is one; False if it fails."""
        try:
            transport.handshake(deadline)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            self._say_vanished(exc)
        except ssl.SSLError as exc:
            assert isinstance(transport, TLSTransport)
            self._say_no_tls(exc, recognised(transport.first_bytes, TLS))
        except TimeoutError:  # it stayed, and said nothing: that is logged
            self._count_if_late(deadline)
            raise
        except OSError as exc:
            self._say_vanished(exc)
        else:
            return True
        return False

    def _say_no_tls(self, exc: ssl.SSLError, stranger: Stranger | None) -> None:
        """The TLS handshake failed: whoever is there may speak something else."""
        if stranger is None:
            _log.info("%s: %s%s", self, printable(exc), _TLS_ADVICE.get(exc.reason or "", ""))
        elif stranger.advice:
            said = say_stranger(stranger, TLS)
            advisor.warn(_log, "stranger", said, "%s: %s; %s", self, said, stranger.advice, repeat=logging.INFO)
        else:
            _log.info("%s: %s", self, say_stranger(stranger, TLS))

    def _say_vanished(self, exc: OSError) -> None:
        """It went before it asked for anything, as the health checks of balancers and the spare ones of browsers do."""
        _log.debug("%s: gone before it asked for anything: %s", self, printable(exc))

    def _next_request(self, http: HTTPConnection, deadline: float | None) -> Request | None:
        """The next request; None if none will come, or if what came was answered with an error."""
        with self._roster.lock:
            self._request = None
            if self._roster.closing:
                return None
        try:
            request = http.read_request(deadline)
        except OSError as exc:
            if http.has_begun:
                raise
            self._say_vanished(exc)
            return None
        except BadRequest as exc:
            if exc.status == HTTPStatus.REQUEST_TIMEOUT:
                self._count_if_late(deadline)
            if not self._roster.closing:  # else it is the shutdown that has cut it short
                _send(http, self._refused(exc))
                self._roster.ledger.answered(exc.status)
            return None
        if request is None:
            if deadline == self._deadline:  # a kept connection may end without a further request
                self._count_if_late(deadline)
            return None
        request.on_upgrade = self._on_upgrade
        with self._roster.lock:
            # From here on a shutdown lets the handler finish. A request that arrives after it began was cut already.
            self._request = request
            self._roster.has_asked(self)
            if self._roster.draining:
                http.make_last()
            return None if self._roster.closing else request

    def _count_if_late(self, deadline: float | None) -> None:
        """Its TLS handshake or a head has not come whole. That is a breach, if it is because the time was over."""
        if deadline is not None and deadline <= time.monotonic() and not self._is_beyond:
            breaches.add("handshake_timeout" if deadline == self._deadline else "keep_alive_timeout")

    def _own_answer(self, request: Request) -> Response | None:
        """The answer to a health check, a client for which there is no room, or a host that is not served; else None.

        A health check comes by address, whichever hosts are allowed.
        """
        if self._health is not None and (answer := self._health.answer(request)) is not None:
            return answer
        if self._is_beyond:
            if self.is_late:  # others were counted when they came
                self._roster.ledger.refused("draining")
            return no_room("this server has no room for one more connection")
        if not self._options.hosts.allow(request.host):
            return self._wrong_host(request)
        if self._options.client_address is not None:
            return self._count_client(request, self._options.client_address)
        return None

    def _wrong_host(self, request: Request) -> Response:
        breaches.add("allowed_hosts")
        self._roster.ledger.refused("host")
        host = printable(request.host, MOST_SHOWN)
        advice = self._options.hosts.advice(request.host, "allowed_hosts of the Server")
        advisor.warn(_log, "allowed_hosts", host, "%s: its Host is '%s'; %s; answering 421", self, host, advice)
        return Response("this server does not answer to the host of this request\n", HTTPStatus.MISDIRECTED_REQUEST)

    def _count_client(self, request: Request, client_address: Callable[[Request], str | None]) -> Response | None:
        """Count the connection for the client that its request comes from; the answer if that has all it may have."""
        try:
            client = client_address(request)
            check_done("client_address", client)
            if not (client is None or isinstance(client, str)):
                raise TypeError(f"client_address must return a str or None, not {client!r}")
        except Exception:  # a limit that cannot be judged lets nobody in
            _log.exception("%s: client_address raised", self)
            self._roster.ledger.refused("application")
            return _server_error()
        if self._roster.move(self, network_of_host(client) if client else None):
            return None
        breaches.add("max_connections_per_address")
        self._roster.ledger.refused("address")
        limit, shown = self._options.max_connections_per_address, printable(client)
        advisor.warn(_log, "max_connections_per_address", shown, GREEDY, shown, limit)
        return no_room("all connections of this address are taken")

    def _on_upgrade(self, conn: Conn) -> None:
        """An Upgrader has made a Conn of the request."""
        self._tally = self._roster.ledger.opened(conn)
        with self._roster.lock:
            self._conn = conn
            code = self._roster.has_upgraded(self)
        if code is not None:  # everybody was told, and this one was not there yet
            self.start_close(code, "")

    def _answer(self, http: HTTPConnection, request: Request) -> None:
        """Run the handler; then end its WebSocket connection, or send its response."""
        assert self._options.handler is not None
        try:
            result = self._options.handler(request)
        except Exception as exc:
            if self._conn is not None:
                end_handled(self._conn, exc, self, _log)
            elif not http.taken_over:
                _send(http, self._failed(exc))
            elif exc is not request.refusal:  # else: the 101 could not be sent, and the Upgrader said so
                _log.exception("%s: the handler raised", self)
            forget_frames(exc)
        else:
            if self._conn is not None:
                end_handled(self._conn, None, self, _log, result)
            elif not http.taken_over:
                _send(http, self._returned(request, result))
        finally:
            request._break_circles()

    # What is answered, by what the handler did; each logs what is wrong

    def _failed(self, exc: Exception) -> Response:
        """The response for a handler that raised before it had upgraded the request."""
        # A refusal of ours, which the Upgrader has logged; not of a server that the handler is a client of.
        if isinstance(exc, HandshakeError) and not isinstance(exc, BadHandshakeError | ProxyError):
            return exc.response if isinstance(exc.response, Response) else Response(f"{exc}\n", exc.status)
        if isinstance(exc, BadRequest):  # from request.body()
            return self._refused(exc)
        if isinstance(exc, TypeError | AttributeError) and "'Request' object" in str(exc):
            exc.add_note(_NO_CONN)
        _log.exception("%s: the handler raised", self)
        return _server_error()

    def _refused(self, exc: BadRequest) -> Response:
        """The response for a request that cannot be served."""
        if exc.advice:
            told = (self, exc.status, exc, exc.advice)
            advisor.warn(_log, "stranger", str(exc), "%s: %d %s; %s", *told, repeat=logging.INFO)
        else:
            _log.info("%s: %d %s", self, exc.status, exc)
        return Response(f"{exc}\n", exc.status)

    def _returned(self, request: Request, result: object) -> Response:
        """The response for a handler that returned, and has not upgraded the request."""
        if isinstance(result, Response):
            return result
        refused = None if request.refusal is None else request.refusal.response
        if result is None and isinstance(refused, Response):
            return refused
        if result is None:
            _log.error("%s: the handler returned None, but has neither upgraded nor refused the request", self)
        else:
            what = unfinished(result) or printable_repr(result)
            _log.error("%s: the handler must return a Response or None, not %s", self, what)
        return _server_error()

    # The end

    def start_close(self, code: int, reason: str) -> None:
        """Ask it to end, without waiting. A request under way is left alone, and no further one is read.

        Of one that is no WebSocket only once the roster is closed.
        """
        if self._conn is not None:
            try:
                self._conn.close(code, reason, timeout=0)  # and it is cut in time
                self._conn._start_close(code, reason)  # a close that was announced leaves now
            except Exception:
                _log.exception("%s: closing failed", self)
        elif self._request is None:
            self.cut()

    def cut(self) -> None:
        """End it now, whatever its thread is doing."""
        if self._conn is not None:
            self._conn.close_now()
        elif self._transport is not None:
            self._transport.shutdown()
        else:  # its thread has not made the transport yet, and nobody closes the raw socket before that
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        """Give everything back, at the end of its thread."""
        if self._conn is not None:
            self._conn.close_now()
            try:
                self._conn._tell_end()
            finally:  # whatever a filter of the application does with the line
                self._roster.ledger.left(self._tally)
        elif self._transport is not None:
            self._transport.close()
        else:
            self.sock.close()
        self._request = None  # one that came too late still refers to this connection, by its on_upgrade


def _send(http: HTTPConnection, response: Response) -> None:
    if http.transport.is_inherited:  # a handler has forked, and its child came back as well: the parent answers
        raise SystemExit
    http.send_response(response, deadline=_from_now(_RESPONSE_TIMEOUT))


def _server_error() -> Response:
    return Response("Internal Server Error\n", 500)


def _linger(transport: Transport, seconds: float) -> None:
    """End an HTTP connection: no more bytes from here, and those of the peer are read for so long, or what is there."""
    transport.shutdown_write()
    deadline = time.monotonic() + seconds
    with suppress(OSError):
        while transport.receive(65536, max(0.0, deadline - time.monotonic())) and time.monotonic() < deadline:
            pass


def _from_now(seconds: float | None) -> float | None:
    """An instant of time.monotonic() so many seconds from now; None for none."""
    return None if seconds is None else time.monotonic() + seconds
