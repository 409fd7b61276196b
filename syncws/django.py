"""WebSocket views in Django projects that are served over WSGI.

    from syncws.django import websocket_view

    @websocket_view
    def echo(request, conn):
        for message in conn:
            conn.send(message)

    urlpatterns = [path("echo", echo)]

The arguments of a URL follow: ``path("rooms/<name>", room)`` calls ``room(request, conn, name=...)``.

**Login before the 101.** Django's decorators stand above `websocket_view`, where they run before the handshake and can
refuse it; below it they would run too late. ``before`` is called with the view's arguments, and refuses by returning a
response:

    @login_required
    @websocket_view
    def private(request, conn): ...

    def member(request, name):
        return None if request.user.groups.filter(name=name).exists() else HttpResponseForbidden()

    @websocket_view(before=member)
    def room(request, conn, name): ...

**Origin.** Django's protection against cross-site requests does not check a GET, so the Upgrader checks the origin:
pages of the same host may connect. Others need ``Upgrader(allowed_origins=settings.CSRF_TRUSTED_ORIGINS)``, or a list
of your own.

**Session.** It is saved, and its cookie sent, before the handler runs. Django does not save it again afterwards, since
that could write a session of hours ago over a newer one. A handler reads ``request.session`` as it was at the
handshake, and may call its ``save()``.

**Database.** The view is in no transaction: ATOMIC_REQUESTS is off for it, since a transaction as long as a WebSocket
locks out other writers. Use ``transaction.atomic()`` for each unit of work. Before a read waits for the peer, database
connections are closed by Django's own rule: all of them, or, with CONN_MAX_AGE, those that are too old; one inside
``atomic()`` stays open. With CONN_MAX_AGE each open WebSocket may keep a database connection for that long, so leave it
at 0 if there are many WebSockets; Django's connection pools need 0 too. A handler that only pushes never waits in a
read: it calls `release_connections` when it has done its queries. So does a handler with an idle handler of its own.

**Detached** from the view (the default, where the server allows it) the handler runs in a thread of its own, outside
middlewares, ``request_started`` and ``request_finished``. Its language, time zone and script prefix are the view's, and
all of its database connections and caches are closed when it ends.

**Tests.** It sees only what is committed, so test it in a WebSocketTestCase of `syncws.testing.django`, or in another
TransactionTestCase (pytest-django: ``django_db(transaction=True)``); see docs/testing.md.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from ._base.extras import needs
from ._base.owners import explains_options
from ._conn.conn import Conn
from ._server.upgrader import Upgrader
from ._server.views import Serve, ViewKeywords, ask_before, check_before, check_handler, serving
from ._wsgi.guests import MAX_CONNECTIONS

with needs("django", "django"):
    from django.conf import settings
    from django.contrib.sessions.middleware import SessionMiddleware
    from django.core.cache import close_caches
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connections, reset_queries, transaction
    from django.http import HttpResponse
    from django.http.response import HttpResponseBase
    from django.urls import get_script_prefix, set_script_prefix
    from django.utils import timezone, translation
    from django.utils.module_loading import import_string

__all__ = ["release_connections", "websocket_view"]

# A view takes the arguments of its handler except the connection: type checkers compare both with their callers.
HTTPRequest = TypeVar("HTTPRequest")
URLArguments = ParamSpec("URLArguments")

Handler = Callable[Concatenate[HTTPRequest, Conn, URLArguments], object]
View = Callable[Concatenate[HTTPRequest, URLArguments], HttpResponseBase]


@overload
def websocket_view(
    handler: Handler[HTTPRequest, URLArguments], **options: Unpack[ViewKeywords]
) -> View[HTTPRequest, URLArguments]: ...


@overload
def websocket_view(
    handler: None = None, **options: Unpack[ViewKeywords]
) -> Callable[[Handler[HTTPRequest, URLArguments]], View[HTTPRequest, URLArguments]]: ...


@explains_options
def websocket_view(
    handler: Handler[HTTPRequest, URLArguments] | None = None,
    *,
    upgrader: Upgrader | None = None,
    before: Callable[..., object] | None = None,
    detach: bool | None = None,
    max_connections: int | None = MAX_CONNECTIONS,
) -> View[HTTPRequest, URLArguments] | Callable[[Handler[HTTPRequest, URLArguments]], View[HTTPRequest, URLArguments]]:
    """Make a Django view of ``handler(request, conn, *args, **kwargs)``: a decorator.

    The connection is closed when the handler returns (1000) or raises (1011, logged on "syncws.wsgi"). For any thread.

    Args:
        handler: called with the `Conn` of each request that was upgraded, in a thread of its own or in the view.
        upgrader: the options of the handshake and of the connection; without it those of ``Upgrader()``.
        before: called with the view's arguments before the handshake; see the top of the module.
        detach: where the handler runs: see `Upgrader.serve`.
        max_connections: how many at a time, of all views of this process; one more is refused (503). None: no limit.

    Raises:
        ValueError, TypeError: an argument is invalid, or the handler is a coroutine function.

    The view raises ImproperlyConfigured for a request that came over ASGI. A handler in the view's own thread is not
    called, with the same error in the log, if something has opened a transaction around the view.
    """
    serve = serving(upgrader, detach=detach, max_connections=max_connections)
    check_before(before)

    def decorate(handler: Handler[HTTPRequest, URLArguments]) -> View[HTTPRequest, URLArguments]:
        check_handler(handler, "websocket_view decorates", "request, conn, ...")
        return _view(handler, before, serve)

    return decorate if handler is None else decorate(handler)


def _view(handler: Callable[..., object], before: Callable[..., object] | None, serve: Serve) -> Callable[..., Any]:
    """The view of a handler: the handshake, then the handler with the language, time zone and so on of its request."""

    @functools.wraps(handler)
    def view(request: Any, *args: Any, **kwargs: Any) -> Any:
        environ = _environ(request)
        refusal = ask_before(before, request, *args, **kwargs)
        if refusal is not None:
            return refusal
        session = _SavedSession(request)
        surroundings = _Surroundings()

        def run(conn: Conn) -> object:
            session.enter_handler()
            if conn.detached:  # else the request would keep the server's streams for as long as the handler runs
                request.environ = request.META = conn.request.environ
                request._stream = io.BytesIO()
            with surroundings.of_handler(conn):
                return handler(request, conn, *args, **kwargs)

        answer = serve(environ, run, response_headers=session.cookies)
        if not answer.is_websocket:
            session.restore()
            return _refusal(answer)
        session.leave_view()
        return _SwitchingProtocols(answer)

    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view


def release_connections() -> None:
    """Close this thread's database connections by Django's rule (CONN_MAX_AGE), and forget the queries of DEBUG.

    `websocket_view` calls it before each wait for a message. A connection inside ``transaction.atomic()`` stays open.
    For any thread: each has database connections of its own.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # Django would close it even so, and its writes would be lost silently
            connection.close_if_unusable_or_obsolete()
    reset_queries()


class _SwitchingProtocols(HttpResponse):  # type: ignore[misc, unused-ignore]  # without django-stubs it is Any
    """The 101 that the view returns to the server, after the handshake is over.

    It iterates as empty. If it gave one empty chunk, a server whose client has gone would stop at it, and werkzeug's
    debugger would then close nothing, so that request_finished were never sent.
    """

    def __init__(self, answer: Any) -> None:
        super().__init__(status=answer.status, reason=answer.reason)

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def _refusal(answer: Any) -> Any:
    response = HttpResponse(answer.body, status=answer.status, reason=answer.reason)
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            response.headers[name] = value
    return response


class _SavedSession:
    """The session of a request: saved before the 101, as SessionMiddleware would at the end, and then not by that.

    The middleware decides by itself whether to save, also by the settings (SESSION_SAVE_EVERY_REQUEST). So save() is
    replaced by one that does nothing in the thread of a view that is over. A handler's own save() works in any thread.
    """

    def __init__(self, request: Any) -> None:
        self._session = getattr(request, "session", None)
        self._over_in: int | None = None  # the thread in which save() does nothing, as its view is over
        self.cookies: list[tuple[str, str]] = []
        if self._session is None:
            return
        self._modified = self._session.modified
        response = HttpResponse()
        _session_middleware().process_response(request, response)
        self.cookies = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
        self._session.modified = False

    def restore(self) -> None:
        """Leave the session of a refused request to the middleware, which sends its cookie with the refusal."""
        if self._session is not None:
            self._session.modified = self._modified

    def enter_handler(self) -> None:
        """Let save() work again, if the handler runs in the view's thread after the view is over."""
        if self._over_in == threading.get_ident():
            self._over_in = None

    def leave_view(self) -> None:
        """Make save() do nothing in this thread: the view is over, and what comes next is the middleware."""
        if self._session is None:
            return
        save = self._session.save

        def save_unless_over(must_create: bool = False) -> Any:
            return None if self._over_in == threading.get_ident() else save(must_create)

        self._over_in = threading.get_ident()
        self._session.save = save_unless_over
        self._session.modified = False


def _session_middleware() -> Any:
    """The session middleware of the project: SessionMiddleware, or a class derived from it."""
    for path in settings.MIDDLEWARE:
        found = import_string(path)
        if isinstance(found, type) and issubclass(found, SessionMiddleware):
            return found(lambda _request: HttpResponse())
    return SessionMiddleware(lambda _request: HttpResponse())


class _Surroundings:
    """What Django keeps for the thread of a request: read in the view, and set in the thread of the handler."""

    def __init__(self) -> None:
        self._prefix = get_script_prefix()
        self._language = translation.get_language()
        self._timezone = timezone.get_current_timezone()

    @contextmanager
    def of_handler(self, conn: Conn) -> Iterator[None]:
        conn.set_idle_handler(release_connections)
        if not conn.detached:  # this is the request's own thread, and its end will clean up
            _check_no_transaction()
            release_connections()  # of the view, which may have used them, such as for the session
            yield
            return
        set_script_prefix(self._prefix)
        with translation.override(self._language), timezone.override(self._timezone):
            try:
                yield
            finally:
                connections.close_all()
                close_caches()


def _check_no_transaction() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            raise ImproperlyConfigured(
                f"a WebSocket view runs in a transaction of the database {connection.alias!r}, which would last as "
                "long as the WebSocket does: remove transaction.atomic around it, and under ATOMIC_REQUESTS decorate "
                "it only with what uses functools.wraps"
            )


def _environ(request: Any) -> dict[str, Any]:
    environ = getattr(request, "environ", None)
    if environ is None:
        raise ImproperlyConfigured(
            "a syncws WebSocket view needs WSGI, and this request came over ASGI: serve get_wsgi_application(), with "
            "gunicorn for one"
        )
    assert isinstance(environ, dict)
    return environ
