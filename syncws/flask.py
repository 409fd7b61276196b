"""WebSocket routes in Flask applications, written as with flask-sock.

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

The rule of a WebSocket matches only WebSocket handshakes. A plain request for it gets Flask's own 400, unless an
``@app.get`` of the same rule answers it. The log says so: it may be a handshake of which a proxy has dropped a header.

**Login before the 101.** ``before`` runs in the view, with the same keyword arguments. If it returns anything except
None, that is the response in place of the 101, as of any view; it may call `flask.abort` too. What it changes in
``session`` reaches the client, as a cookie of the 101:

    @sock.route("/feed", before=login_required(lambda **variables: None))
    def feed(conn): ...

``@login_required`` under the route would run after the handshake, and its response would reach nobody. In that case the
connection is closed with 1008, and the log says what to do. **Above the route it is never called, and everybody comes
in**: the route has registered the function that is below it.

**Context.** The handler runs under a copy of the request context, as `flask.copy_current_request_context` makes it,
detached from the view or not: ``request`` is that of the handshake, ``session`` is what it was, ``current_app`` and
``url_for`` work, ``g`` is a new one. The session can only be read: its cookie has left, so what a handler writes into
it is lost, and a WARNING says so. Cookies that functions of ``after_request`` set reach nobody either. Context
variables of other libraries are those of a new thread.

**The end.** Functions of ``teardown_request`` and ``teardown_appcontext`` run when the view returns, and again, for the
copied context, when the handler does. An error of the handler is handed to them, to ``got_request_exception`` and to
the log; the end of the connection is no error. A resource that a teardown gives back, such as the session of
Flask-SQLAlchemy, is therefore held as long as the connection lasts: one database connection for each WebSocket. Give it
back before each wait for a message:

    conn.set_idle_handler(db.session.remove)

**Configuration**, of an application:

* ``SYNCWS_OPTIONS``: options of `Upgrader`, a dict, such as ``{"allowed_origins": ["https://app.example.com"]}``;
* ``SYNCWS_DETACH``: True, False, or None (the default): see `Upgrader.serve`;
* ``SYNCWS_MAX_CONNECTIONS``: WebSocket connections of a process (10,000), None for no limit; one more is refused with
  503.

Without ``SYNCWS_OPTIONS``, flask-sock's ``SOCK_SERVER_OPTIONS`` is read: ping_interval, max_message_size, subprotocols.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import io
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any, Concatenate, NamedTuple, TypeVar

from ._base.advice import advisor
from ._base.extras import needs
from ._base.logs import logger
from ._base.options import check_count, check_detach
from ._base.owners import explains_options
from ._base.printable import printable
from ._conn.conn import Conn
from ._server.checks import check_handshake
from ._server.refusal import Refused, log_refusal
from ._server.upgrader import Upgrader
from ._server.views import ask_before, check_before, check_handler, check_upgrader
from ._wsgi.environ import request_of
from ._wsgi.guests import MAX_CONNECTIONS
from .errors import CloseCode, WebSocketError

with needs("flask", "flask"):
    from flask import (
        Blueprint,
        Flask,
        copy_current_request_context,
        current_app,
        got_request_exception,
        request,
        session,
    )
    from flask.sansio.app import App
    from werkzeug.datastructures import EnvironHeaders
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import WebsocketMismatch
    from werkzeug.wrappers import Response

__all__ = ["Sock"]

_log = logger("syncws.wsgi")

Handler = TypeVar("Handler", bound=Callable[Concatenate[Conn, ...], object])

#: (rule, view, options): what add_url_rule takes.
_Route = tuple[str, Callable[..., Any], dict[str, Any]]


class _Served(NamedTuple):
    """The options of a route; None: as the application's configuration says."""

    handler: Callable[..., object]
    before: Callable[..., Any] | None
    detach: bool | None
    upgrader: Upgrader | None


@explains_options
class Sock:
    """The WebSocket routes of Flask applications or blueprints.

    Args:
        app: a Flask application or a Blueprint, which gets the routes. None: those that `init_app` is called with.
        upgrader: the options of the handshake and of the connections. None: the application's ``SYNCWS_OPTIONS``.
        detach: see `Upgrader.serve`. None: the application's ``SYNCWS_DETACH``.

    Concurrency: routes are added by one thread, as everywhere in Flask; they serve any number of threads.

    Raises:
        ValueError, TypeError: an argument, or a setting of the application, is invalid; the message names it.
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
        """Add the routes to an application or a blueprint, also those that are decorated later. Idempotent.

        Raises TypeError or ValueError if app is neither, or a setting of the application is invalid; nothing is added
        then. A setting that changes later is checked by the next handshake.
        """
        if not isinstance(app, (Flask, Blueprint)):
            raise TypeError(f"a Sock is for a Flask application or a Blueprint, not {app!r}")
        if app in self._apps:
            return
        if isinstance(app, Flask):
            self._check_config(app)
        for route in self._routes:
            _add(app, route)
        _tell_of_mismatches(app)
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

        The connection is closed when the handler returns (1000) or raises (1011, logged by "syncws.wsgi"). The handler
        itself is returned unchanged, so it may have several routes, as in Flask.

        Args:
            rule: as for ``@app.route``.
            bp: the blueprint that gets the route, in place of the applications of this Sock.
            before: called with the variables of the rule before the 101; see the top of the module.
            detach, upgrader: for this route, in place of those of the Sock.
            options: Flask's, such as endpoint, defaults, subdomain.

        Raises:
            TypeError: an argument is invalid, or the handler is a coroutine function or not callable.

        Flask checks the rule and its own options, and raises its own errors for them.
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
            _tell_of_mismatches(bp)
            return
        for app in list(self._apps):
            _add(app, route)
        self._routes.append(route)

    def _view_of(self, served: _Served) -> Callable[..., Any]:
        """The view of a handler. A further route gets the same one: Flask refuses two views of one name."""
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
    """The view of a route: before, the handshake, then the handler in a copy of the request context."""

    @functools.wraps(served.handler)
    def view(**variables: Any) -> Any:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        before = None if served.before is None else app.ensure_sync(served.before)
        refusal = ask_before(before, **variables)
        if refusal is not None:
            return refusal
        upgrader = _upgrader_of(app) if served.upgrader is None else served.upgrader
        cookies, is_modified = _session_cookies(app), _is_session_modified()
        _mark_session_saved()
        answer = upgrader.serve(
            request.environ,
            _in_context(app, served.handler, variables),
            response_headers=cookies,
            detach=_detach_of(app) if served.detach is None else served.detach,
            max_connections=_max_connections_of(app),
        )
        if answer.is_websocket:
            _mark_session_saved()  # again, of what a handler in the view has changed
        elif is_modified:
            session.modified = True  # it is saved with the refusal
        return app.response_class(answer.body, answer.status, answer.headers)

    return view


# A request that its rule does not match


def _tell_of_mismatches(app: App | Blueprint) -> None:
    """Have the log tell of plain requests for the rule of a WebSocket, and of handshakes for that of a page.

    Flask's router answers them, with a 400 that says nothing.
    """
    if isinstance(app, Blueprint):
        app.record(lambda state: _tell_of_mismatches(state.app))
        return
    functions = app.before_request_funcs.setdefault(None, [])
    if _tell_of_mismatch not in functions:
        functions.insert(0, _tell_of_mismatch)  # first, as another one may answer


def _tell_of_mismatch() -> None:
    if not isinstance(request.routing_exception, WebsocketMismatch):
        return
    try:
        asked = request_of(request.environ)
    except ValueError:  # of a malformed request
        return
    try:
        check_handshake(asked)
        refused = Refused(
            HTTPStatus.BAD_REQUEST,
            "this is a WebSocket handshake, and its rule is none of a WebSocket",
            advice="@sock.route(rule) makes one",
            cause=("rule", asked.path),
        )
    except Refused as exc:
        refused = exc.with_traceback(None)
    refused.status = HTTPStatus.BAD_REQUEST  # which is what Flask answers
    log_refusal(asked, refused)
    if asked.on_refusal is not None:
        asked.on_refusal(refused.reason)


# Routes are checked when they are decorated


def _check_route(rule: object, bp: object, before: object, options: Mapping[str, Any]) -> None:
    if not isinstance(rule, str):
        raise TypeError(f'a route is decorated with @sock.route("/path"), and {rule!r} is no path')
    if not (bp is None or isinstance(bp, Blueprint)):
        raise TypeError(f"bp is a Blueprint, not {bp!r}")
    if not iscoroutinefunction(before):  # Flask runs those itself: app.ensure_sync
        check_before(before)
    for name in options.keys() & Upgrader.names():
        raise TypeError(f"{name} is an Upgrader's: @sock.route(rule, upgrader=Upgrader({name}=...))")
    if options.get("websocket", True) is not True:
        raise TypeError("a route of a Sock has websocket=True; leave it out")


def _check_handler(handler: object, options: Mapping[str, Any]) -> None:
    check_handler(handler, "a route decorates", "conn")
    if not (hasattr(handler, "__name__") or options.get("endpoint")):
        raise TypeError(f"{handler!r} has no name: give its route an endpoint=")


# The handler, and the context that it runs in


class _Ended(NamedTuple):
    """A handler let the end of its connection escape."""

    end: Exception


def _in_context(app: Flask, handler: Callable[..., object], variables: Mapping[str, Any]) -> Callable[[Conn], object]:
    """A call of handler(conn) under a copy of this request's context, for any thread."""

    tells_changes = not _is_session_modified()  # it was marked as saved: else it always says that it was changed

    @copy_current_request_context
    def call(conn: Conn) -> object:
        _release_server_streams(conn)
        try:
            try:
                return handler(conn, **variables)
            finally:
                if tells_changes and _is_session_modified():
                    _tell_of_lost_session(conn)
        except HTTPException as answer:
            return answer  # not raised, so that teardown functions see no error
        except Exception as error:
            if conn._is_own_end(error):
                return _Ended(error)  # nor is the end of its connection one
            # As Flask does, for tools that report errors. Upgrader.serve logs the error.
            got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
            raise

    def run(conn: Conn) -> object:
        # Flask keeps its context in context variables. The view's own thread has one already; in a fresh Context the
        # copy gets a `g` of its own, which ends here.
        result = contextvars.Context().run(call, conn)
        if isinstance(result, _Ended):
            raise result.end
        if isinstance(result, (HTTPException, Response)):
            _reject_late_response(conn, result)
            return None
        return result

    return run


def _release_server_streams(conn: Conn) -> None:
    """Take the server's streams and sockets out of the request: some servers close them only when nothing holds them.

    Two keys stay: `wsgi.errors`, which Flask's log is written to, and an empty `wsgi.input`, so that a form is empty.
    """
    if conn.detached and conn.request.environ is not None:
        kept = {"wsgi.errors": request.environ["wsgi.errors"], "wsgi.input": io.BytesIO()}
        request.environ = {**conn.request.environ, **kept}
        request.headers = EnvironHeaders(request.environ)


def _reject_late_response(conn: Conn, result: HTTPException | Response) -> None:
    """Log that a handler ended with a response, which comes after the handshake and reaches nobody; close with 1008."""
    raised = result if isinstance(result, HTTPException) else None
    status = str((result.get_response() if isinstance(result, HTTPException) else result).status)
    _log.error(
        "%s: the WebSocket handler ends with a response, %s, which nobody gets: the handshake is over by then. A check "
        "such as @login_required has to run before it: @sock.route(rule, "
        "before=login_required(lambda **variables: None))",
        printable(conn.request.path),
        printable(status),
        exc_info=raised,
        extra={"about": conn},
    )
    with contextlib.suppress(WebSocketError):
        conn.close(CloseCode.POLICY_VIOLATION, status[:60])  # Latin-1, so at most 120 bytes


# The session


def _session_cookies(app: Flask) -> list[tuple[str, str]]:
    """Save the session, and return its cookies for the 101: a cookie of the view's own response would reach nobody."""
    current = session._get_current_object()  # type: ignore[attr-defined]
    if app.session_interface.is_null_session(current):
        return []
    response = app.response_class()
    app.session_interface.save_session(app, current, response)
    return [("Set-Cookie", cookie) for cookie in response.headers.getlist("Set-Cookie")]


def _is_session_modified() -> bool:
    return bool(getattr(session._get_current_object(), "modified", False))  # type: ignore[attr-defined]


def _tell_of_lost_session(conn: Conn) -> None:
    path = printable(conn.request.path)
    advisor.warn(
        _log,
        "session",
        path,
        "%s: the WebSocket handler has changed the session, and the change is lost: the session was saved before the "
        "handshake. Change it in a view, or in before=",
        path,
        extra={"about": conn},
    )


def _mark_session_saved() -> None:
    """Mark the session as unchanged: it was saved before the handshake, and must not be saved when the view ends.

    Before the handshake, so that what a handler changes can be told from that; and after it, for the view.

    The view may have lasted for hours, and would write the session of its beginning over a newer one.
    """
    with contextlib.suppress(AttributeError):  # a session that keeps no record of changes
        session.modified = False


# Configuration, read by each handshake: most applications fill it after Sock(app)

#: Options of flask-sock, and the options of `Upgrader` that do the same.
_FLASK_SOCK_NAMES = {"ping_interval": "ping_interval", "max_message_size": "read_limit", "subprotocols": "subprotocols"}

#: Options of flask-sock that have no counterpart, and what to do.
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
            known[2]._come_from('app.config["SYNCWS_OPTIONS"]')
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
        raise TypeError(f"{name!r} is no option of syncws.Upgrader; its options are {', '.join(names)}")
    return given


def _from_flask_sock(given: Mapping[str, Any]) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name in _FLASK_SOCK_OTHERS:
            raise TypeError(f"{name!r} is an option of flask-sock that syncws has not; {_FLASK_SOCK_OTHERS[name]}")
        if name not in _FLASK_SOCK_NAMES:
            raise TypeError(f"{name!r} is no option of flask-sock; options of syncws go into SYNCWS_OPTIONS")
        options[_FLASK_SOCK_NAMES[name]] = value or None  # in flask-sock, None and 0 turn each of them off
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
