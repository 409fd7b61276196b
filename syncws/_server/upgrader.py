"""From an HTTP request to a WebSocket connection: the server's half of the opening handshake (RFC 6455 section 4.2).

There are two steps, and every way in shares the first:

1. `Upgrader.negotiate` looks at a request, which is data, and returns an `Accepted` (the bytes of the 101, the
   subprotocol, the compression) or raises HandshakeError with the HTTP answer in it. It does no I/O.
2. `Upgrader.open` takes a transport, sends the 101 on it and returns the `Conn`.

`Upgrader.upgrade` is both, for a request whose connection can be taken over.

The checks run in gorilla's order (those of `checks`, then response headers, host and origin, key), and the first that
fails decides the status. Who is told what of it is in `refusal`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from typing import ClassVar, NoReturn, TypeVarTuple

from .._base.advice import advisor
from .._base.callables import check_callable, check_done, check_plain, undecided, unfinished
from .._base.copies import forget_frames
from .._base.counters import breaches
from .._base.logs import logger
from .._base.options import check_count, check_detach
from .._base.owners import explains_options, takes_options
from .._base.printable import printable, printable_repr
from .._conn import access, wiretrace
from .._conn.conn import Conn
from .._conn.subject import new_id
from .._frames.agreement import Agreement, accept_offers
from .._http import handshake
from .._http.handshake import HandshakeOptions
from .._http.headers import Headers, HeaderSource, checked_headers
from .._http.hosts import MOST_SHOWN, AllowedHosts
from .._http.http11 import HTTPConnection
from .._http.origins import AllowedOrigins, is_same_origin
from .._http.request import Request
from .._http.response import CONTINUE, Response, switching_protocols
from .._http.wsgiresponse import WSGIResponse, refused
from .._net.address import say_peer
from .._net.transport import Transport
from .._wsgi import view
from .._wsgi.environ import request_of
from .._wsgi.guests import MAX_CONNECTIONS, Full, guests
from .._wsgi.servers.refused import check_http2
from .._wsgi.taken import Environ, Untakeable
from ..errors import HandshakeError
from .checks import check_handshake, checked_key
from .refusal import Refused, application_error, default_response, log_refusal, with_upgrade_header

_log = logger("syncws.server")

Arguments = TypeVarTuple("Arguments")

#: What the application may not put into a 101: the handshake's own headers, and those that announce a body.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "transfer-encoding",
        "upgrade",
    }
)


#: What else a page of the server's own host may be refused for: a proxy that gives another name.
_PROXY_HOST = "; or, if a proxy stands in front, let it pass the Host it got (nginx: proxy_set_header Host $host;)"

#: What browsers say then.
_NO_SUBPROTOCOL = "\"Sent non-empty 'Sec-WebSocket-Protocol' header but no response was received\""


@dataclass(frozen=True)
class Accepted:
    """A request that may be upgraded, and how; ``head`` is the whole 101, ready to be sent."""

    head: bytes
    subprotocol: str | None
    agreement: Agreement | None


@takes_options
@dataclass(frozen=True, kw_only=True)
class Upgrader(HandshakeOptions):
    """Upgrades HTTP requests to WebSocket connections (gorilla's Upgrader).

    An Upgrader is immutable: make one, use it from any thread, for any number of requests. Every field of
    HandshakeOptions and ConnOptions (``enable_compression``, ``read_limit``, ``ping_interval``, ...; see there) is an
    option too; beyond those:

    Args:
        handshake_timeout: seconds that sending the 101 may take; None for no limit.
        subprotocols: the names this server speaks; the first of the client's offers that is among them is chosen. Or
            a callable that gets the request and returns one of the client's offers, or None; it is called only if the
            client offers any. None (the default) lets a ``Sec-WebSocket-Protocol`` in ``response_headers`` through.
        error: makes the answer to a refused request: ``error(request, status, reason)`` returns a Response;
            ``reason`` is the HandshakeError that is about to be raised.
        check_origin: decides by itself whether the request's origin may connect, instead of the rule below: True, or
            False. Another value counts as it does in Python, except what is always true and is no answer (a coroutine,
            a future, a function, a response or its status, a tuple, the iterator of filter()): that refuses, and is
            logged as an error.
        allowed_origins: origins accepted beside the server's own: ``"https://app.example.com"``,
            ``"https://*.example.com"``, or ``"*"`` for any; and what other clients send in its place, as the log shows
            it: ``"file://"``, ``"localhost:12345"``. A request without an Origin header passes: no browser.
        allowed_hosts: the hosts that a request may be for (its Host header): ``"localhost"``, ``"app.example.com"``,
            ``"*.example.com"``, an address; with a port if only that one is meant. Others are refused with 421. None
            for any. It is for servers that only their place in the network protects, against DNS
            rebinding: the name of a foreign page's host can be made to point here, and is then Origin and Host.

    Raises:
        ValueError, TypeError: an option is wrong; the message names it and says what to write instead.
    """

    subprotocols: Sequence[str] | Callable[[Request], str | None] | None = None
    error: Callable[[Request, int, HandshakeError], Response] | None = None
    check_origin: Callable[[Request], bool] | None = None
    allowed_origins: Sequence[str] = ()
    allowed_hosts: Sequence[str] | None = None

    #: No option: the setting of a framework that the options come from, for the lines of the log; None: a program's.
    _config: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("error", "check_origin"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name), "must be a callable or None")
        # The lists are kept as tuples, so that changing the caller's list later changes nothing here.
        if callable(self.subprotocols):
            check_plain("subprotocols", self.subprotocols)
        elif self.subprotocols is not None:
            object.__setattr__(self, "subprotocols", handshake.checked_subprotocols(self.subprotocols))
        object.__setattr__(self, "allowed_origins", self._origins.entries)
        object.__setattr__(self, "allowed_hosts", self._hosts.entries)
        if self.check_origin is not None and self.allowed_origins:
            raise ValueError(
                "check_origin and allowed_origins exclude each other: check_origin decides alone, so give only one"
            )

    @cached_property
    def _origins(self) -> AllowedOrigins:
        """Made, and checked with it, when the Upgrader is."""
        return AllowedOrigins(self.allowed_origins)

    @cached_property
    def _hosts(self) -> AllowedHosts:
        """As `_origins`."""
        return AllowedHosts(self.allowed_hosts)

    def _come_from(self, config: str) -> None:
        """Name the setting that the options come from, such as ``app.config["SYNCWS_OPTIONS"]``, in what is logged.

        By who has made this Upgrader, before anybody uses it.
        """
        object.__setattr__(self, "_config", config)

    def _place(self, option: str) -> str:
        """Where a list is given, for an advice to add to it."""
        return f"{option} of the Upgrader" if self._config is None else f'{self._config} = {{"{option}": [...]}}'

    @explains_options
    def upgrade(self, request: Request | Environ, response_headers: HeaderSource | None = None) -> Conn:
        """Upgrade a request, and return its connection (gorilla's Upgrader.Upgrade).

        The 101 leaves in one send. Bytes that the client sent after its request are the first that the connection
        reads. ``request.conn`` is the connection, too; a syncws.Server closes it when the handler returns.

        In a WSGI view use it in a ``with`` block, and return ``conn.wsgi_response``, which closes it if that was not
        done: a connection that a view leaves open is cut when its thread upgrades another one, even if some other
        thread uses it. Until the view returns it holds the server's thread; `serve` holds none.

        Args:
            request: as the server gave it to the handler, or the environ that a WSGI server gave to the application;
                it can be upgraded once.
            response_headers: further headers for the 101, such as Set-Cookie. Those of the handshake itself are
                refused, except Sec-WebSocket-Protocol, which is sent as it is if the Upgrader has no subprotocols.

        Raises:
            HandshakeError: the request is refused. ``response`` is the answer, which the server sends if the
                exception leaves the handler, or if the handler returns None. If the 101 could not be sent, the
                connection is closed, ``response`` is None and the cause is chained.
            ValueError: the request was upgraded before.
            TypeError: request is neither.
        """
        if not isinstance(request, Request):
            request = self._request_of(request)
        exchange = request.exchange
        if exchange is not None and exchange.taken_over:
            raise ValueError("this request was upgraded before; its connection is request.conn")
        accepted = self.negotiate(request, response_headers)
        if exchange is None:
            self._refuse(request, _no_connection())
        with self._refusing(request):
            transport, early_data = exchange.take_over()
        return self.open(request, accepted, transport, early_data)

    @explains_options
    def serve(
        self,
        environ: Environ,
        handler: Callable[[Conn, *Arguments], object],
        *args: *Arguments,
        response_headers: HeaderSource | None = None,
        detach: bool | None = None,
        max_connections: int | None = MAX_CONNECTIONS,
    ) -> WSGIResponse:
        """Serve a WebSocket from a WSGI view: the handler runs over the connection of the view's request.

        Detached, where that can be: the connection is taken away from the server, ``handler(conn, *args)`` runs in a
        thread of its own, and this returns at once. So the handler holds no thread of the server, none of its timeouts
        applies, and the request ends before the handler does: give it what it needs, not objects that live as long as
        the request. Where that cannot be (on Windows, and where gevent or eventlet speak TLS), and with
        ``detach=False``, this returns when the handler is done. ``conn.detached`` tells which.

        The connection is closed when the handler returns (1000) or raises (1011, logged by "syncws.wsgi").

        Args:
            environ: as the server gave it to the application.
            handler: gets the Conn, and args; returns None.
            args: further arguments of the handler.
            response_headers: as for `upgrade`. Headers of the view's own response never reach the client.
            detach: True: refuse where the connection cannot be detached. False: stay in the view.
            max_connections: WebSocket connections of this process; one more is refused with 503. None for no limit. A
                syncws.Server has a limit of its own.

        Returns:
            What the view returns: a WSGI application, or the parts for a framework's own response. A refusal is one
            too, logged: a malformed handshake, an origin that is not allowed, a server that keeps its socket to itself.

        Raises:
            ValueError, TypeError: an argument is wrong, or the request was upgraded before.
        """
        check_callable("handler", handler, "must be a callable that takes a Conn")
        check_detach(detach)
        check_count("max_connections", max_connections)
        try:
            request = self._request_of(environ)
            accepted = self.negotiate(request, response_headers)
            with self._refusing(request):
                return view.serve(
                    request,
                    partial(self.open, request, accepted),
                    lambda conn: handler(conn, *args),
                    detach=detach,
                    limit=max_connections,
                )
        except HandshakeError as exc:
            if not isinstance(exc.response, Response):  # raised by a callable of the application, which is a client
                raise
            forget_frames(exc)  # the request keeps it, and its frames the request
            return refused(exc.response)

    def _request_of(self, environ: Environ) -> Request:
        if not isinstance(environ, dict):
            raise TypeError(
                f"a request is what Server gives to its handler, or a WSGI environ, not {type(environ).__name__}"
            )
        try:
            request = request_of(environ)
        except ValueError as exc:
            unknown = Request("GET", "/")
            unknown.on_refusal = guests().ledger.refused
            return self._refuse(unknown, Refused(HTTPStatus.BAD_REQUEST, str(exc)))
        with self._refusing(request):
            check_http2(environ)
        return request

    @contextmanager
    def _refusing(self, request: Request) -> Iterator[None]:
        """Make a refusal of whatever prevents that a connection is taken over."""
        try:
            yield
        except Untakeable as exc:
            refused = Refused(HTTPStatus.NOT_IMPLEMENTED, str(exc), advice=exc.advice)
        except Full as exc:
            cause = ("full", str(exc)) if exc.is_limit else None
            refused = Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), advice=exc.advice, cause=cause)
        except OSError as exc:
            refused = Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"the connection cannot be taken over: {printable(exc)}")
        else:
            return
        self._refuse(request, refused)

    def negotiate(self, request: Request, response_headers: HeaderSource | None = None) -> Accepted:
        """Check a request and agree on subprotocol and compression, without any I/O: the first step of `upgrade`.

        Returns what `open` takes; response_headers are as of `upgrade`.
        Raises HandshakeError as `upgrade` does; it is ``request.refusal`` as well, and logged.
        """
        try:
            return self._negotiate(request, response_headers)
        except Refused as exc:
            refused = exc.with_traceback(None)  # its frames would keep it alive
        return self._refuse(request, refused)  # outside the except: the program is not to see Refused as the cause

    def open(self, request: Request, accepted: Accepted, transport: Transport, early_data: bytes = b"") -> Conn:
        """Send the 101 and return the connection: the second step of `upgrade`, which owns the transport from here on.

        Args:
            request: what is upgraded.
            accepted: what `negotiate` returned for it.
            transport: what its connection runs over.
            early_data: what came on it after the request.

        Raises HandshakeError if the 101 could not be sent; the transport is closed then.
        """
        before = _counted(transport, len(early_data))
        visit = self._visit(request, accepted) if access.is_on() else None
        self._send_head(request, accepted.head, transport)
        id = new_id()
        if wiretrace.is_on():
            wiretrace.tell_head(id, "<", f"{request} HTTP/{request.http_version}", request.headers)
            wiretrace.tell_answer(id, ">", accepted.head)
            wiretrace.trace(transport, id, early_data)  # before the connection is made, which may be attended at once
        conn = Conn(
            transport,
            client=False,
            options=self,
            early_data=early_data,
            agreement=accepted.agreement,
            compression_level=self.compression_level,
            compression_threshold=self.compression_threshold,
            subprotocol=accepted.subprotocol,
            request=request,
            id=id,
        )
        conn._wire.tally.begin(before)
        if visit is not None:
            conn._enter_log(visit)
        request.conn = conn
        if request.on_upgrade is not None:
            request.on_upgrade(conn)
        return conn

    def _visit(self, request: Request, accepted: Accepted) -> access.Visit:
        """What the access log is to say, of which only a name that is one of ours is shown: another may be a token."""
        subprotocol = accepted.subprotocol if isinstance(self.subprotocols, tuple) else None
        return access.Visit(request, subprotocol)

    def _negotiate(self, request: Request, response_headers: HeaderSource | None) -> Accepted:
        check_handshake(request)
        extra = _valid_response_headers(response_headers)
        self._check_host(request)
        self._check_origin(request)
        key = checked_key(request)
        subprotocol = self._choose_subprotocol(request, extra)
        agreement = self._choose_compression(request)
        head = _switching_protocols(handshake.accept_for(key), subprotocol, agreement, extra)
        return Accepted(head, subprotocol, agreement)

    def _check_host(self, request: Request) -> None:
        """Refuse a request that is for another host: its page may have made a name of its own point here."""
        if self._hosts.allow(request.host):
            return
        breaches.add("allowed_hosts")
        host = printable(request.host, MOST_SHOWN)
        setting = self._hosts.advice(request.host, self._place("allowed_hosts"))
        raise Refused(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this server does not answer to the host of this request",
            advice=f"its Host is '{host}'; {setting}",
            cause=("allowed_hosts", host),
        )

    def _check_origin(self, request: Request) -> None:
        """Refuse a page of another origin. Only browsers say their origin: this holds back nothing else."""
        origin = request.headers.get("Origin")
        if self.check_origin is not None:
            answer = self.check_origin(request)
            mistake = undecided(answer)
            if not mistake and answer:
                return
            if mistake:
                _log.error(
                    "check_origin decides nothing, so the request is refused: %s", mistake, extra={"about": request}
                )
            setting = "check_origin decides nothing" if mistake else "check_origin returned False"
        elif is_same_origin(request) or self._origins.allow(request):
            return
        else:
            setting = self._origins.advice(origin or "", self._place("allowed_origins")) + _PROXY_HOST
        shown, host = printable(origin or "", MOST_SHOWN), printable(request.host, MOST_SHOWN)
        told = "it has no Origin" if origin is None else f"its Origin is '{shown}'"
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "a page of this origin may not connect here",
            advice=f"{told}, the Host '{host}'; {setting}",
            cause=("origin", shown),
        )

    def _choose_subprotocol(self, request: Request, extra: Headers) -> str | None:
        offered = handshake.subprotocols(request)
        if self.subprotocols is None:
            chosen = extra.get("Sec-WebSocket-Protocol")  # as the application wrote it, like gorilla
        elif callable(self.subprotocols):
            return self._ask_for_subprotocol(self.subprotocols, request, offered)
        else:
            chosen = handshake.select_subprotocol(offered, self.subprotocols)
        if offered and chosen not in offered:
            self._say_none_chosen(request, len(offered), is_own=chosen is not None)
        return chosen

    def _ask_for_subprotocol(
        self, choose: Callable[[Request], str | None], request: Request, offered: Sequence[str]
    ) -> str | None:
        """What the application's function chooses; it knows what it means to choose none."""
        chosen = choose(request) if offered else None
        if chosen is None or chosen in offered:
            return chosen
        # A browser would fail the connection, as it did not offer that subprotocol. It is better said here.
        what = unfinished(chosen) or printable_repr(chosen, 22)
        raise application_error(f"subprotocols returned {what}, which the client did not offer")

    def _say_none_chosen(self, request: Request, offers: int, *, is_own: bool) -> None:
        """Say why a browser is about to fail. What was offered is not shown: it may be a token, and not a name.

        ``is_own``: the application's own header names another.
        """
        if is_own:
            setting = "the Sec-WebSocket-Protocol in response_headers is none of them: send one of those"
        elif self.subprotocols:
            setting = f"none of them is in {self._place('subprotocols')}: add the name that this server speaks"
        else:
            given = "subprotocols=[...]" if self._config is None else self._place("subprotocols")
            setting = f"the Upgrader has none: give it the names that this server speaks, {given}"
        advisor.warn(
            _log,
            "subprotocols",
            setting,
            "%s: %s: the client offers %d subprotocol%s, and %s. A browser fails the connection now: %s",
            say_peer(request.remote_address),
            request,
            offers,
            "" if offers == 1 else "s",
            setting,
            "it was sent a subprotocol that it did not offer" if is_own else _NO_SUBPROTOCOL,
        )

    def _choose_compression(self, request: Request) -> Agreement | None:
        if not self.enable_compression:
            return None
        offers = handshake.parse_extensions(request.headers.get_all("Sec-WebSocket-Extensions"))
        return accept_offers(offers, handshake.compression_terms(self))

    def _send_head(self, request: Request, head: bytes, transport: Transport) -> None:
        timeout = self.handshake_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            transport.send(_interim_answer(request) + head, deadline=deadline)
        except BaseException as exc:
            # The server has given the transport away, and no Conn has it yet: so it is closed here.
            transport.shutdown()
            transport.close()
            if not isinstance(exc, OSError):
                raise
            if isinstance(exc, TimeoutError):
                breaches.add("handshake_timeout")
            peer = say_peer(request.remote_address)
            _log.info("%s: the 101 could not be sent: %s", peer, printable(exc), extra={"about": request})
            failure = HandshakeError(f"the 101 could not be sent: {printable(exc)}", HTTPStatus.INTERNAL_SERVER_ERROR)
            request.refusal = failure
            raise failure from exc

    def _refuse(self, request: Request, refused: Refused) -> NoReturn:
        """Log and count a refusal, make its response, and raise it."""
        log_refusal(request, refused)
        if request.on_refusal is not None:
            request.on_refusal(refused.reason)
        if wiretrace.is_on():
            first_line = f"{request} HTTP/{request.http_version}"
            wiretrace.tell_head(say_peer(request.remote_address), "<", first_line, request.headers, "remote_address")
        reason = HandshakeError(refused.message, int(refused.status))
        reason.response = self._response(request, refused, reason)
        request.refusal = reason
        raise reason from refused.__cause__

    def _response(self, request: Request, refused: Refused, reason: HandshakeError) -> Response:
        if self.error is None:
            return default_response(refused)
        response = self.error(request, reason.status, reason)
        check_done("error", response)
        if not isinstance(response, Response):
            raise TypeError(f"error must return a Response, not {printable_repr(response)}")
        return with_upgrade_header(response)


def _valid_response_headers(source: HeaderSource | None) -> Headers:
    """The application's headers for the 101. Raises Refused, which names a header that may not be sent."""
    try:
        extra = checked_headers(source)
    except (TypeError, ValueError) as exc:
        raise application_error(f"response_headers: {exc}") from exc
    for name, _value in extra:
        if name.lower() in _RESERVED:
            raise application_error(f"response_headers: {name} is the handshake's own and cannot be set")
    return extra


def _counted(transport: Transport, early: int) -> tuple[int, int] | None:
    """Bytes (in, out) that the kernel has counted of a handshake, and requests before it; not those that came early.

    None where it does not count.
    """
    totals = transport.totals()
    return None if totals is None else (totals[0] - early, totals[1])


def _no_connection() -> Refused:
    """What gorilla says as "response does not implement http.Hijacker"."""
    return Refused(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the connection of this request cannot be taken over",
        advice="upgrade() needs the request that syncws.Server gave to the handler",
        body="this server cannot upgrade connections",
    )


def _interim_answer(request: Request) -> bytes:
    """What has to leave before the 101: a 100 for a client that waits for one (RFC 9110 section 7.8).

    Other servers have sent theirs before they called the application.
    """
    own = isinstance(request.exchange, HTTPConnection)
    return CONTINUE if own and handshake.has_token(request.headers, "Expect", "100-continue") else b""


_UPGRADE = (("Upgrade", "websocket"), ("Connection", "Upgrade"))

#: A 101 that says no more than it must.
_USUAL_ANSWER = switching_protocols([*_UPGRADE, ("Sec-WebSocket-Accept", "%b")])


def _switching_protocols(accept: str, subprotocol: str | None, agreement: Agreement | None, extra: Headers) -> bytes:
    """The 101 (RFC 6455 section 4.2.2 item 5), in gorilla's order."""
    if subprotocol is None and agreement is None and not extra:
        return _USUAL_ANSWER % accept.encode()
    headers = [*_UPGRADE, ("Sec-WebSocket-Accept", accept)]
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    if agreement is not None:
        headers.append(("Sec-WebSocket-Extensions", agreement.header))
    # If the application gave a Sec-WebSocket-Protocol, it was chosen above, or the Upgrader's subprotocols override it.
    headers.extend(pair for pair in extra if pair[0].lower() != "sec-websocket-protocol")
    return switching_protocols(headers)
