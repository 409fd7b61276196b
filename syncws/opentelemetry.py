"""Spans of OpenTelemetry: one for each connection, and one in it for its handshake, on either side.

    upgrader = TracedUpgrader()            # wherever an Upgrader goes
    dialer = TracedDialer()                # wherever a Dialer goes

    @sock.route("/chat")
    @traced                                # the handler's own spans are within the connection's
    def chat(conn): ...

| span                    | kind             | from        | to                                                |
|-------------------------|------------------|-------------|---------------------------------------------------|
| ``GET``, or with route  | SERVER or CLIENT | the request | the end of the connection; or the refusal         |
| ``websocket handshake`` | INTERNAL         | the request | the 101, or the refusal                           |

A server's span goes on with the trace that the request's ``traceparent`` header names; a client's goes on with the
current one, and its request names that. Propagators, samplers and exporters are OpenTelemetry's to configure.
A fault of one of these is a line in the log, and nobody's connection fails by it. Attributes are those of its
conventions for HTTP, and ``websocket.close_code``, ``websocket.subprotocol`` and
``syncws.connection_id``, which is `Conn.id`. None holds a query, credentials or what is in messages.

A span is exported when it ends: that of a connection that lives for hours, after hours.

It needs ``opentelemetry-api`` (``pip install "syncws[opentelemetry]"``); with no SDK it records nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, TypeVarTuple
from urllib.parse import urlsplit

from ._base.advice import advisor
from ._base.callables import check_callable
from ._base.extras import needs
from ._base.logs import logger
from ._base.owners import takes_options
from ._base.printable import printable
from ._base.version import __version__
from ._client.dialer import Dialer
from ._conn.conn import Conn
from ._http.headers import Headers, HeaderSource
from ._http.request import Request
from ._http.url import parse_server_url
from ._http.wsgiresponse import WSGIResponse
from ._net.attempt import Attempt
from ._net.transport import Transport
from ._server.refusal import Refused
from ._server.upgrader import Accepted, Upgrader
from ._wsgi.environ import REQUEST_KEY
from ._wsgi.guests import MAX_CONNECTIONS
from ._wsgi.taken import Environ
from .errors import CloseCode, ConnectionClosed, HandshakeError

with needs("opentelemetry", "opentelemetry"):
    from opentelemetry import propagate, trace

__all__ = ["TracedDialer", "TracedUpgrader", "span_of", "traced"]

_log = logger("syncws.server")

Arguments = TypeVarTuple("Arguments")
P = ParamSpec("P")
R = TypeVar("R")

#: Where an object keeps its spans.
_KEY = "syncws.opentelemetry"

#: Codes of an end that is nobody's failure.
_FINE = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED, CloseCode.SERVICE_RESTART)


class _Spans:
    """The spans of one connection, from its request on.

    Concurrency: `open` or `fail` is called first, and after `open` `end` once; by any threads, one after the other.
    What OpenTelemetry and its parts (samplers, processors, exporters) raise is logged, and costs a span: nothing here
    raises, so that no handshake and no connection fails because it is looked at.
    """

    def __init__(self, kind: trace.SpanKind, name: str, parent: Any, attributes: Mapping[str, Any]) -> None:
        self._kind = kind
        self.is_begun = True  # neither `open` nor `fail` was called
        self.connection: trace.Span = trace.INVALID_SPAN
        self._handshake: trace.Span = trace.INVALID_SPAN
        with _surviving():
            tracer = trace.get_tracer("syncws", __version__)
            self.connection = tracer.start_span(name, parent, kind=kind, attributes=dict(attributes))
            within = trace.set_span_in_context(self.connection, parent)
            self._handshake = tracer.start_span("websocket handshake", within)

    def open(self, conn: Conn) -> None:
        """The handshake has succeeded; the rest is the connection's. Of a second one nothing is told."""
        if not self.is_begun:
            return
        self.is_begun = False
        with _surviving():
            self._handshake.end()
        with _surviving():
            self.connection.set_attribute("http.response.status_code", 101)
            self.connection.set_attribute("syncws.connection_id", conn.id)
            if conn.subprotocol is not None and not callable(getattr(conn._options, "subprotocols", None)):
                self.connection.set_attribute("websocket.subprotocol", conn.subprotocol)
        conn.on_end(self.end)

    def fail(self, error: BaseException, status: int | None) -> None:
        """There is no connection: the handshake was refused with a status, or was never answered.

        Once that was told, or there is a connection, it does nothing.
        """
        if not self.is_begun:
            return
        self.is_begun = False
        is_fault = status is None or status >= (500 if self._kind is trace.SpanKind.SERVER else 400)
        for span in (self._handshake, self.connection):
            with _surviving():
                if status:
                    span.set_attribute("http.response.status_code", status)
                if is_fault:
                    span.set_attribute("error.type", str(status or type(error).__name__))
                    span.set_status(trace.StatusCode.ERROR, str(error))
            with _surviving():
                span.end()

    def abandon(self) -> None:
        """The request is over; whoever agreed to its handshake may have done no more about it."""
        self.fail(HandshakeError("the handshake was never answered", 500), None)

    def end(self, end: ConnectionClosed) -> None:
        """The connection is over."""
        with _surviving():
            code = int(getattr(end, "code", CloseCode.ABNORMAL_CLOSURE))
            self.connection.set_attribute("websocket.close_code", code)
            # What a peer does wrong, or says of itself, is no failure of the server.
            first = getattr(end, "closings", ())[:1]
            is_ours = [closing[:2] for closing in first] == [("sent", CloseCode.INTERNAL_SERVER_ERROR)]
            if is_ours if self._kind is trace.SpanKind.SERVER else code not in _FINE and code < 3000:
                self.connection.set_status(trace.StatusCode.ERROR, str(end))
        with _surviving():
            self.connection.end()


@contextmanager
def _surviving() -> Iterator[None]:
    """Log what a part of OpenTelemetry raises: whoever is connected has nothing to do with it."""
    try:
        yield
    except Exception as error:
        what = type(error).__name__
        advisor.warn(_log, "opentelemetry", what, "a span is lost or incomplete: %s: %s", what, printable(error))


@takes_options
@dataclass(frozen=True, kw_only=True)
class TracedUpgrader(Upgrader):
    """An `Upgrader` whose handshakes and connections have spans.

    Args:
        route: the path that the application has for them, such as ``"/rooms/<name>"``: ``http.route``, and in the name
            of the span. Not the path of a request, which may be any.

    Raises:
        TypeError: the route is no str.
        ValueError, TypeError: as an `Upgrader`.
    """

    route: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.route is None or isinstance(self.route, str)):
            raise TypeError(f'route is a str, such as "/rooms/<name>", or None, not {self.route!r}')

    def upgrade(self, request: Request | Environ, response_headers: HeaderSource | None = None) -> Conn:
        with _ending_of(request):
            return super().upgrade(request, response_headers)

    def serve(
        self,
        environ: Environ,
        handler: Callable[[Conn, *Arguments], object],
        *args: *Arguments,
        response_headers: HeaderSource | None = None,
        detach: bool | None = None,
        max_connections: int | None = MAX_CONNECTIONS,
    ) -> WSGIResponse:
        with _ending_of(environ):
            return super().serve(
                environ,
                handler,
                *args,
                response_headers=response_headers,
                detach=detach,
                max_connections=max_connections,
            )

    def negotiate(self, request: Request, response_headers: HeaderSource | None = None) -> Accepted:
        self._begin(request)
        try:
            return super().negotiate(request, response_headers)
        except BaseException as error:  # of a callable of the application; a refusal has ended them
            _fail(request, error, 500)
            raise

    def open(self, request: Request, accepted: Accepted, transport: Transport, early_data: bytes = b"") -> Conn:
        try:
            conn = super().open(request, accepted, transport, early_data)
        except BaseException as error:
            _fail(request, error, None)
            raise
        if (spans := request.data.get(_KEY)) is not None:
            spans.open(conn)
        return conn

    def _refuse(self, request: Request, refused: Refused) -> NoReturn:
        self._begin(request)  # if it was refused before it was looked at
        _fail(request, refused, int(refused.status))
        super()._refuse(request, refused)

    def _begin(self, request: Request) -> None:
        name = "GET" if self.route is None else f"GET {self.route}"
        route = {} if self.route is None else {"http.route": self.route}
        before = request.data.get(_KEY)
        if request.conn is not None or (before is not None and before.is_begun):  # a second one of it would fail
            return
        parent = None
        with _surviving():
            parent = propagate.extract(_first_values(request.headers))
        spans = _Spans(trace.SpanKind.SERVER, name, parent, {**_asked_of(request), **route})
        request.data[_KEY] = spans
        request.on_over = spans.abandon


@takes_options
@dataclass(frozen=True, kw_only=True)
class TracedDialer(Dialer):
    """A `Dialer` whose handshakes and connections have spans; its requests carry the trace (``traceparent``)."""

    def dial_within(self, attempt: Attempt, url: str, headers: HeaderSource | None = None) -> Conn:
        server = parse_server_url(url)
        spans = _Spans(
            trace.SpanKind.CLIENT,
            "GET",
            None,
            {
                "http.request.method": "GET",
                "url.full": str(server),
                "server.address": server.host,
                "server.port": server.port,
            },
        )
        try:
            carrier: dict[str, str] = {}
            with _surviving():
                propagate.inject(carrier, trace.set_span_in_context(spans.connection))
            conn = super().dial_within(attempt, url, _joined(headers, carrier))
        except BaseException as error:
            response = getattr(error, "response", None)
            spans.fail(error, getattr(response, "status", None))
            raise
        vars(conn)[_KEY] = spans
        spans.open(conn)
        return conn


def span_of(conn: Conn) -> trace.Span:
    """The span of a connection, for attributes and events of your own. Any thread, until the connection is over.

    Args:
        conn: a connection of a `TracedUpgrader` or a `TracedDialer`; the span of any other records nothing.

    Returns:
        A ``Span`` of OpenTelemetry.

    Raises:
        TypeError: it is no Conn.
    """
    if not isinstance(conn, Conn):
        raise TypeError(f"span_of takes a Conn, not {conn!r}")
    spans = vars(conn).get(_KEY) or (conn.request.data.get(_KEY) if hasattr(conn, "request") else None)
    return trace.INVALID_SPAN if spans is None else spans.connection


def traced(handler: Callable[Concatenate[Conn, P], R]) -> Callable[Concatenate[Conn, P], R]:
    """Make the span of a connection the current one while its handler runs, so that spans in it are its children.

    What the handler raises is raised, and recorded in the span as an exception unless it is a connection's end.

    Args:
        handler: what gets the Conn, and maybe more arguments.

    Returns:
        A function that takes the same and returns the same. It may be called by any number of threads.

    Raises:
        TypeError: the handler is no plain callable.
    """
    check_callable("handler", handler, "must be a callable that takes a Conn")

    @functools.wraps(handler)
    def run(conn: Conn, /, *args: P.args, **kwargs: P.kwargs) -> R:
        span = span_of(conn)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                return handler(conn, *args, **kwargs)
            except ConnectionClosed:
                raise
            except Exception as error:
                with _surviving():
                    span.record_exception(error)
                    span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    return run


@contextmanager
def _ending_of(request: Request | Environ) -> Iterator[None]:
    """What is raised in the middle of a handshake is its end: a server's own error, or the exit of its worker."""
    try:
        yield
    except BaseException as error:
        found = request.get(REQUEST_KEY) if isinstance(request, dict) else request
        if isinstance(found, Request):
            _fail(found, error, None)
        raise


def _fail(request: Request, error: BaseException, status: int | None) -> None:
    """End the spans of a request that has no connection, if that was not done."""
    if (spans := request.data.get(_KEY)) is not None:
        spans.fail(error, status)


def _first_values(headers: Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in reversed(list(headers))}


def _asked_of(request: Request) -> dict[str, Any]:
    """The attributes of a request, by OpenTelemetry's conventions for servers of HTTP."""
    asked: dict[str, Any] = {
        "http.request.method": request.method,
        "url.path": request.raw_path,
        "url.scheme": request.scheme,
        "network.protocol.version": request.http_version,
        **_place_in(request.host),
        "user_agent.original": request.headers.get("User-Agent"),
    }
    if isinstance(request.remote_address, tuple):
        asked["network.peer.address"], asked["network.peer.port"] = request.remote_address[:2]
    return {name: value for name, value in asked.items() if value is not None}


def _place_in(host: str) -> dict[str, Any]:
    """The name that the client asked for, and the port where it said one."""
    try:
        parts = urlsplit(f"//{host}")
        return {"server.address": parts.hostname, "server.port": parts.port}
    except ValueError:
        return {}


def _joined(headers: HeaderSource | None, carrier: Mapping[str, str]) -> HeaderSource | None:
    """The caller's headers and those of the trace, where the caller has not given the same. What is wrong stays so."""
    try:
        given = Headers(headers)
    except TypeError:
        return headers
    return [*given, *((name, value) for name, value in carrier.items() if name not in given)]
