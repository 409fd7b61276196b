"""A TestCase for the WebSocket views of a Django project.

    from syncws.testing.django import WebSocketTestCase

    class NotesTests(WebSocketTestCase):
        def test_note(self):
            self.client.force_login(User.objects.create_user("ann"))
            conn = self.dial("/notes")  # by the browser that self.client is
            conn.send("a note")
            self.assertEqual(conn.receive_json(timeout=5), {"author": "ann", "kept": 1})
            self.assertEqual(Note.objects.count(), 1)

With pytest-django it is a class like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Unpack
from unittest import mock

from .._base.extras import needs
from .._client.dialer import DialerKeywords
from .._conn.conn import Conn
from .._http.headers import HeaderSource
from .._server.gateway import Application
from .._server.options import ServeKeywords
from .._testing.frames import Peer
from .._testing.serving import LiveServer, serving

with needs("django", "django"):
    from django.apps import apps
    from django.core.handlers.wsgi import WSGIHandler
    from django.db import connections
    from django.test import TransactionTestCase
    from django.test.utils import modify_settings

__all__ = ["WebSocketTestCase"]


class WebSocketTestCase(TransactionTestCase):  # type: ignore[misc, unused-ignore]  # without django-stubs it is Any
    """A `TransactionTestCase` whose project is served by a `Server`, for WebSockets and for pages.

    The server starts when a test first asks for it, on a free port of the loopback interface, and is shut down at the
    end of the test, before its data is removed. A handler that does not end then fails the test.

    The data of a test is committed, so that the threads of the server see it; a database in memory (SQLite) is one
    connection, which they share. Static files are served as by `StaticLiveServerTestCase`, if
    ``django.contrib.staticfiles`` is installed. Name the server's host nowhere: it is an allowed one.

    * ``server_options``: options of `Server`, for all tests of the class;
    * ``shutdown_timeout``: seconds that handlers have to end after a test (10).

    Concurrency: for one thread, the test's.
    """

    server_options: ClassVar[ServeKeywords] = {}
    shutdown_timeout: ClassVar[float] = 10

    @cached_property
    def live_server(self) -> LiveServer:
        """The server of this test: ``url``, ``http_url``, ``server``. It starts when it is first asked for."""
        self.enterContext(modify_settings(ALLOWED_HOSTS={"append": "127.0.0.1"}))
        self.enterContext(_databases_in_memory_are_shared())
        return self.enterContext(serving(wsgi_app=_application(), timeout=self.shutdown_timeout, **self.server_options))

    @property
    def live_server_url(self) -> str:
        """Where its pages are, as with `django.test.LiveServerTestCase`: "http://127.0.0.1:40123"."""
        return self.live_server.http_url

    def dial(
        self,
        path: str = "/",
        headers: HeaderSource | None = None,
        *,
        browser: Any = None,
        **dialer_options: Unpack[DialerKeywords],
    ) -> Conn:
        """A connection to a WebSocket view, by the browser that ``self.client`` is: with its session, and its login.

        It is closed at the end of the test.

        Args:
            path: of the view, with a slash at its beginning; `django.urls.reverse` gives it.
            headers: further headers of the request, such as Origin.
            browser: another `django.test.Client`, in place of ``self.client``; an unused one for a stranger.
            dialer_options: those of `Dialer`.

        Raises what `Dialer.dial` raises: BadHandshakeError for a refusal, whose ``response`` is the view's.
        """
        browser = self.client if browser is None else browser
        return self.live_server.dial(path, headers, browser=browser, **dialer_options)

    def raw(self, path: str = "/", headers: HeaderSource | None = None) -> Peer:
        """A client that has done its handshake, and then misbehaves as it is told.

        path and headers are as of `LiveServer.raw`, and so is what it raises.
        """
        return self.live_server.raw(path, headers)


def _application() -> Application:
    application = WSGIHandler()
    if not apps.is_installed("django.contrib.staticfiles"):
        return application
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    return StaticFilesHandler(application)


@contextmanager
def _databases_in_memory_are_shared() -> Iterator[None]:
    """While this lasts, every thread has the test's own connection to a database that is in memory.

    Django's live server does that for its threads. Here it is done where a thread gets its first connection, so that it
    holds for a detached handler too, and for threads of the application.
    """
    every: Any = connections.all()
    shared = {each.alias: each for each in every if each.vendor == "sqlite" and each.is_in_memory_db()}
    make = connections.create_connection

    def create_connection(alias: str) -> Any:
        return shared[alias] if alias in shared else make(alias)

    for each in shared.values():
        each.inc_thread_sharing()
    try:
        with mock.patch.object(connections, "create_connection", create_connection):
            yield
    finally:
        for each in shared.values():
            each.dec_thread_sharing()
