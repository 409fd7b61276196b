"""WebSocket routes in Flask applications, in the way of flask-sock.

    from flask import Flask
    from syncws.flask import Sock

    app = Flask(__name__)
    sock = Sock(app)

    @sock.route("/echo")
    def echo(conn):
        for message in conn:
            conn.send(message)

The variables of a rule are keyword arguments of the handler: ``/rooms/<name>`` calls ``handler(conn, name=...)``.
Without an application at hand, ``Sock()`` and later ``sock.init_app(app)``, for one application or for several; for a
blueprint, ``Sock(blueprint)`` or ``@sock.route(rule, bp=blueprint)``.

A rule of a WebSocket matches nothing but WebSocket handshakes. A plain request for it is Flask's own 400, unless an
``@app.get`` of the same rule answers it.

**Login before the 101.** ``before`` runs in the view, with the same keyword arguments. Whatever it returns but None is
the response instead of the 101, as it would be of any view; it may call `flask.abort` as well. What it changes in
``session`` reaches the client, as a cookie of the 101:

    @sock.route("/feed", before=login_required(lambda: None))
    def feed(conn): ...

``@login_required`` under the route would run when the handshake is over, and its response would reach nobody. The
connection is closed with 1008 then, and the log says what to do.

**Context.** The handler runs under a copy of the request context, as `flask.copy_current_request_context` makes it,
detached from the view or not: ``request`` is that of the handshake, ``session`` is what it was, ``current_app`` and
``url_for`` work, ``g`` is a new one. The session can only be read: its cookie has left. Cookies that functions of
``after_request`` set reach nobody either. Context variables of other libraries are those of a new thread.

**The end.** Functions of ``teardown_request`` and ``teardown_appcontext`` run when the view returns, and, for the copy,
when the handler does. An error of the handler is handed to them, to ``got_request_exception`` and to the log; the end
of the connection is no error. So what is opened for a request and closed in a teardown, such as the session of
Flask-SQLAlchemy, the handler keeps as long as the connection lasts: a connection to the database for each WebSocket.
Give it back whenever nothing happens:

    conn.set_idle_handler(db.session.remove)

**Configuration**, of an application:

* ``SYNCWS_OPTIONS``: options of `Upgrader`, a dict, such as ``{"allowed_origins": ["https://app.example.com"]}``;
* ``SYNCWS_DETACH``: True, False, or None (the default): see `Upgrader.serve`;
* ``SYNCWS_MAX_CONNECTIONS``: WebSocket connections of a process (10,000); one more is answered with 503.

Without ``SYNCWS_OPTIONS``, flask-sock's ``SOCK_SERVER_OPTIONS`` is read: ping_interval, max_message_size, subprotocols.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import io
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Concatenate, NamedTuple, TypeVar

from flask import Blueprint, Flask, copy_current_request_context, current_app, got_request_exception, request, session
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ._base.options import check_count, check_detach
from ._conn.conn import Conn
from ._server.upgrader import Upgrader
from ._server.views import check_before, check_handler, check_upgrader
from ._wsgi.guests import MAX_CONNECTIONS
from .errors import CloseCode, ConnectionClosed, WebSocketError

__all__ = ["Sock"]

_log = logging.getLogger("syncws.wsgi")

Handler = TypeVar("Handler", bound=Callable[Concatenate[Conn, ...], object])

#: (rule, view, options): what add_url_rule takes.
_Route = tuple[str, Callable[..., Any], dict[str, Any]]


class _Served(NamedTuple):
    """What a route is served with; None: as the application's configuration says."""

    handler: Callable[..., object]
    before: Callable[..., Any] | None
    detach: bool | None
    upgrader: Upgrader | None


class Sock:
    """The WebSocket routes of Flask applications or blueprints.

    Args:
        app: where the routes go: a Flask application, or a Blueprint. None: wherever `init_app` says.
        upgrader: decides who may connect, and how. None: one with the application's ``SYNCWS_OPTIONS``.
        detach: see `Upgrader.serve`. None: what the application's ``SYNCWS_DETACH`` says.

    Concurrency: routes are added by one thread, as everywhere in Flask; they serve any number.

    Raises:
        ValueError, TypeError: an argument is wrong, or the configuration of the application; the message names it.
    """

    def __init__(
        self, app: Flask | Blueprint | None = None, *, upgrader: Upgrader | None = None, detach: bool | None = None
    ) -> None:
        check_upgrader(upgrader)
        check_detach(detach)
        self._upgrader = upgrader
        self._detach = detach
        self._routes: list[_Route] = []
        self._views: list[tuple[_Served, Callable[..., Any]]] = []
        # Held weakly: a program that makes many, as tests do, has one Sock for all of them.
        self._apps: weakref.WeakSet[Flask | Blueprint] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask | Blueprint) -> None:
        """Add the routes to an application, those that are still to come as well. Doing so twice changes nothing.

        Raises TypeError or ValueError for a configuration that is wrong; what is set later is looked at by the first
        handshake.
        """
        if not isinstance(app, (Flask, Blueprint)):
            raise TypeError(f"a Sock is for a Flask application or a Blueprint, not {app!r}")
        if app in self._apps:
            return
        if isinstance(app, Flask):
            self._check_config(app)
        for route in self._routes:
            _add(app, route)
        self._apps.add(app)

    def route(
        self,
        rule: str,
        *,
        bp: Blueprint | None = None,
        before: Callable[..., Any] | None = None,
        detach: bool | None = None,
        upgrader: Upgrader | None = None,
        **options: Any,
    ) -> Callable[[Handler], Handler]:
        """Decorate ``handler(conn, **variables)``: it is called with the `Conn` of each handshake for this rule.

        The connection is closed when the handler returns (1000) or raises (1011, logged by "syncws.wsgi"). What is
        decorated stays what it was, so it may have several routes, as in Flask.

        Args:
            rule: as for ``@app.route``.
            bp: the blueprint that the route belongs to, instead of what this Sock is for.
            before: called with the variables of the rule before the 101; see the top of the module.
            detach, upgrader: for this route, instead of those of the Sock.
            options: Flask's, such as endpoint, defaults, subdomain.

        Raises:
            TypeError: an argument is wrong, or the handler is a coroutine function.
        """
        _check_route(rule, bp, before, options)
        check_detach(detach)
        check_upgrader(upgrader)

        def decorate(handler: Handler) -> Handler:
            _check_handler(handler, options)
            served = _Served(
                handler,
                before,
                self._detach if detach is None else detach,
                self._upgrader if upgrader is None else upgrader,
            )
            self._add(bp, (rule, self._view_of(served), {**options, "websocket": True}))
            return handler

        return decorate

    def _add(self, bp: Blueprint | None, route: _Route) -> None:
        if bp is not None:
            _add(bp, route)
            return
        for app in list(self._apps):
            _add(app, route)
        self._routes.append(route)

    def _view_of(self, served: _Served) -> Callable[..., Any]:
        """The same view for a further route of a handler: Flask takes two of one name for a mistake."""
        for known, view in self._views:
            if known == served:
                return view
        view = _view(served)
        self._views.append((served, view))
        return view

    def _check_config(self, app: Flask) -> None:
        if self._upgrader is None:
            _upgrader_of(app)
        _detach_of(app)
        _max_connections_of(app)


def _add(app: Flask | Blueprint, route: _Route) -> None:
    rule, view, options = route
    app.add_url_rule(rule, view_func=view, **options)


def _view(served: _Served) -> Callable[..., Any]:
    @functools.wraps(served.handler)
    def view(**variables: Any) -> Any:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        if served.before is not None:
            refusal = app.ensure_sync(served.before)(**variables)
            if refusal is not None:
                return refusal
        upgrader = _upgrader_of(app) if served.upgrader is None else served.upgrader
        answer = upgrader.serve(
            request.environ,
            _in_context(app, served.handler, variables),
            response_headers=_session_cookies(app),
            detach=_detach_of(app) if served.detach is None else served.detach,
            max_connections=_max_connections_of(app),
        )
        if answer.is_websocket:
            _drop_changes()
        return app.response_class(answer.body, answer.status, answer.headers)

    return view


# What is wrong with a route is said where it is written


def _check_route(rule: object, bp: object, before: object, options: Mapping[str, Any]) -> None:
    if not isinstance(rule, str):
        raise TypeError(f'a route is decorated with @sock.route("/path"), and {rule!r} is no path')
    if not (bp is None or isinstance(bp, Blueprint)):
        raise TypeError(f"bp is a Blueprint, not {bp!r}")
    check_before(before)
    if options.get("websocket", True) is not True:
        raise TypeError("a route of a Sock has websocket=True; leave it out")


def _check_handler(handler: object, options: Mapping[str, Any]) -> None:
    check_handler(handler, "a route decorates", "conn")
    if not (hasattr(handler, "__name__") or options.get("endpoint")):
        raise TypeError(f"{handler!r} has no name: give its route an endpoint=")


# The handler, and what it finds around itself


def _in_context(app: Flask, handler: Callable[..., object], variables: Mapping[str, Any]) -> Callable[[Conn], object]:
    """handler(conn) under a copy of this request's context, whichever thread it is called by."""

    @copy_current_request_context
    def call(conn: Conn) -> object:
        _let_server_go(conn)
        try:
            return handler(conn, **variables)
        except (ConnectionClosed, HTTPException) as end:
            return end  # not raised, so that teardown functions see no error
        except Exception as error:
            # As Flask does, for what reports errors to somewhere else; the log has it from Upgrader.serve.
            got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
            raise

    def run(conn: Conn) -> object:
        # A view's own thread has a context already: with another one Flask makes a `g` here too, and ends it here.
        result = contextvars.Context().run(call, conn)
        if isinstance(result, ConnectionClosed):
            raise result
        if isinstance(result, (HTTPException, Response)):
            _say_too_late(conn, result)
            return None
        return result

    return run


def _let_server_go(conn: Conn) -> None:
    """Leave the server's streams and sockets out of the environ: some servers close them by forgetting them.

    But Flask's log is written to `wsgi.errors`, and whoever asks for a form finds none.
    """
    if conn.detached and conn.request.environ is not None:
        kept = {"wsgi.errors": request.environ["wsgi.errors"], "wsgi.input": io.BytesIO()}
        request.environ = {**conn.request.environ, **kept}
        request.headers = EnvironHeaders(request.environ)


def _say_too_late(conn: Conn, result: HTTPException | Response) -> None:
    """The handler refuses, though the handshake is over."""
    raised = result if isinstance(result, HTTPException) else None
    status = str((result.get_response() if isinstance(result, HTTPException) else result).status)
    _log.error(
        "%s: the WebSocket handler ends with a response, %s, which nobody gets: the handshake is over by then. A check "
        "such as @login_required has to run before it: @sock.route(rule, before=login_required(lambda: None))",
        conn.request.path,
        status,
        exc_info=raised,
    )
    with contextlib.suppress(WebSocketError):
        conn.close(CloseCode.POLICY_VIOLATION, status[:60])  # Latin-1, so at most 120 bytes


# The session


def _session_cookies(app: Flask) -> list[tuple[str, str]]:
    """Save the session; what its cookies are, for the 101. The response of the view reaches nobody."""
    current = session._get_current_object()  # type: ignore[attr-defined]
    if app.session_interface.is_null_session(current):
        return []
    response = app.response_class()
    app.session_interface.save_session(app, current, response)
    return [("Set-Cookie", cookie) for cookie in response.headers.getlist("Set-Cookie")]


def _drop_changes() -> None:
    """It was saved before the handshake. A view that lasted would write what was true hours ago over what is now."""
    with contextlib.suppress(AttributeError):  # a session that keeps no record of changes
        session.modified = False


# Configuration, read by each handshake: most applications fill it after Sock(app)

#: flask-sock's options, and what they are in `Upgrader`.
_FLASK_SOCK_NAMES = {"ping_interval": "ping_interval", "max_message_size": "read_limit", "subprotocols": "subprotocols"}

#: Those that have no counterpart, and what to do.
_FLASK_SOCK_OTHERS = {
    "receive_bytes": "it is read_buffer_size in SYNCWS_OPTIONS",
    "thread_class": "leave it out: under gevent and eventlet their threads are used",
    "event_class": "leave it out: under gevent and eventlet their events are used",
    "selector_class": "leave it out: under gevent and eventlet they do the waiting",
}


def _upgrader_of(app: Flask) -> Upgrader:
    """The application's Upgrader, made anew only when its configuration has changed."""
    if app.config.get("SYNCWS_OPTIONS") is None and app.config.get("SOCK_SERVER_OPTIONS") is not None:
        key, read = "SOCK_SERVER_OPTIONS", _from_flask_sock
    else:
        key, read = "SYNCWS_OPTIONS", _checked_names
    given = app.config.get(key)
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(f"{key} is a dict of options, not {given!r}")
    known = app.extensions.get("syncws")
    if known is None or known[:2] != (key, given):
        try:
            known = key, dict(given), Upgrader(**read(given))
        except (TypeError, ValueError) as exc:
            raise type(exc)(f"{key}: {exc}") from None
        app.extensions["syncws"] = known
    upgrader: Upgrader = known[2]
    return upgrader


def _checked_names(given: Mapping[str, Any]) -> Mapping[str, Any]:
    names = sorted(field.name for field in fields(Upgrader))
    for name in given:
        if name in names:
            continue
        if name in _FLASK_SOCK_NAMES:
            raise TypeError(f"{name!r} is an option of flask-sock; here it is {_FLASK_SOCK_NAMES[name]!r}")
        raise TypeError(f"{name!r} is no option of syncws.Upgrader; there are {', '.join(names)}")
    return given


def _from_flask_sock(given: Mapping[str, Any]) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name in _FLASK_SOCK_OTHERS:
            raise TypeError(f"{name!r} is an option of flask-sock that syncws has not; {_FLASK_SOCK_OTHERS[name]}")
        if name not in _FLASK_SOCK_NAMES:
            raise TypeError(f"{name!r} is no option of flask-sock; syncws has its own, in SYNCWS_OPTIONS")
        options[_FLASK_SOCK_NAMES[name]] = value or None  # nothing and zero turn each of them off
    if isinstance(options.get("subprotocols"), str):
        options["subprotocols"] = [options["subprotocols"]]
    return options


def _detach_of(app: Flask) -> bool | None:
    detach: bool | None = app.config.get("SYNCWS_DETACH")
    if not (detach is None or isinstance(detach, bool)):
        raise TypeError(f"SYNCWS_DETACH is True, False or None, not {detach!r}")
    return detach


def _max_connections_of(app: Flask) -> int | None:
    limit: int | None = app.config.get("SYNCWS_MAX_CONNECTIONS", MAX_CONNECTIONS)
    check_count("SYNCWS_MAX_CONNECTIONS", limit)
    return limit
