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
Attributes are those of its conventions for HTTP, and ``websocket.close_code``, ``websocket.subprotocol`` and
``syncws.connection_id``, which is `Conn.id`. None holds a query, credentials or what is in messages.

A span is exported when it ends: that of a connection that lives for hours, after hours.

It needs ``opentelemetry-api`` (``pip install "syncws[opentelemetry]"``); with no SDK it records nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from ._base.callables import check_callable
from ._base.extras import needs
from ._base.owners import takes_options
from ._base.version import __version__
from ._client.dialer import Dialer
from ._conn.conn import Conn
from ._http.headers import Headers, HeaderSource
from ._http.request import Request
from ._http.url import parse_server_url
from ._net.attempt import Attempt
from ._net.transport import Transport
from ._server.refusal import Refused
from ._server.upgrader import Accepted, Upgrader
from .errors import CloseCode, ConnectionClosed

with needs("opentelemetry", "opentelemetry"):
    from opentelemetry import propagate, trace

__all__ = ["TracedDialer", "TracedUpgrader", "span_of", "traced"]

P = ParamSpec("P")
R = TypeVar("R")

#: Where an object keeps its spans.
_KEY = "syncws.opentelemetry"

#: Codes of an end that is nobody's failure.
_FINE = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED, CloseCode.SERVICE_RESTART)


class _Spans:
    """The spans of one connection, from its request on.

    Concurrency: `open` or `fail` is called first, once, and then `end` once; by any threads, one after the other.
    """

    def __init__(self, kind: trace.SpanKind, name: str, parent: Any, attributes: Mapping[str, Any]) -> None:
        tracer = trace.get_tracer("syncws", __version__)
        self.connection = tracer.start_span(name, parent, kind=kind, attributes=dict(attributes))
        self._kind = kind
        self._handshake = tracer.start_span("websocket handshake", trace.set_span_in_context(self.connection, parent))

    def open(self, conn: Conn) -> None:
        """The handshake has succeeded; the rest is the connection's."""
        self._handshake.end()
        self.connection.set_attribute("http.response.status_code", 101)
        self.connection.set_attribute("syncws.connection_id", conn.id)
        if conn.subprotocol is not None and not callable(getattr(conn._options, "subprotocols", None)):
            self.connection.set_attribute("websocket.subprotocol", conn.subprotocol)
        conn.on_end(self.end)

    def fail(self, error: BaseException, status: int | None) -> None:
        """There is no connection: the handshake was refused with a status, or was never answered."""
        is_fault = status is None or status >= (500 if self._kind is trace.SpanKind.SERVER else 400)
        for span in (self._handshake, self.connection):
            if status:
                span.set_attribute("http.response.status_code", status)
            if is_fault:
                span.set_attribute("error.type", str(status or type(error).__name__))
                span.set_status(trace.StatusCode.ERROR, str(error))
            span.end()

    def end(self, end: ConnectionClosed) -> None:
        """The connection is over."""
        code = int(getattr(end, "code", CloseCode.ABNORMAL_CLOSURE))
        self.connection.set_attribute("websocket.close_code", code)
        is_ours = code == CloseCode.INTERNAL_SERVER_ERROR  # what a peer does wrong is no failure of the server
        if is_ours if self._kind is trace.SpanKind.SERVER else code not in _FINE and code < 3000:
            self.connection.set_status(trace.StatusCode.ERROR, str(end))
        self.connection.end()


@takes_options
@dataclass(frozen=True, kw_only=True)
class TracedUpgrader(Upgrader):
    """An `Upgrader` whose handshakes and connections have spans.

    Args:
        route: the path that the application has for them, such as ``"/rooms/<name>"``: ``http.route``, and in the name
            of the span. Not the path of a request, which may be any.
    """

    route: str | None = None

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
        request.data[_KEY].open(conn)
        return conn

    def _refuse(self, request: Request, refused: Refused) -> NoReturn:
        if request.data.get(_KEY) is None:  # it was refused before it was looked at
            self._begin(request)
        _fail(request, refused, int(refused.status))
        super()._refuse(request, refused)

    def _begin(self, request: Request) -> None:
        name = "GET" if self.route is None else f"GET {self.route}"
        route = {} if self.route is None else {"http.route": self.route}
        parent = propagate.extract(_first_values(request.headers))
        request.data[_KEY] = _Spans(trace.SpanKind.SERVER, name, parent, {**_asked_of(request), **route})


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
    """
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
                span.record_exception(error)
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    return run


def _fail(request: Request, error: BaseException, status: int | None) -> None:
    """End the spans of a request that has no connection, if that was not done."""
    if (spans := request.data.pop(_KEY, None)) is not None:
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
        "server.address": request.host,
        "user_agent.original": request.headers.get("User-Agent"),
    }
    if isinstance(request.remote_address, tuple):
        asked["network.peer.address"], asked["network.peer.port"] = request.remote_address[:2]
    return {name: value for name, value in asked.items() if value is not None}


def _joined(headers: HeaderSource | None, carrier: Mapping[str, str]) -> HeaderSource | None:
    """The caller's headers and those of the trace, where the caller has not given the same. What is wrong stays so."""
    try:
        given = Headers(headers)
    except TypeError:
        return headers
    return [*given, *((name, value) for name, value in carrier.items() if name not in given)]
