"""Django: a decorated view is a WebSocket; what Django does for a request is right for one that lasts for hours."""

# ruff: noqa: E402 - Django's models can be imported only where it is set up

from __future__ import annotations

import functools
import multiprocessing
import shutil
import tempfile
import threading
import types
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import django
from django.conf import settings

import syncws
import syncws.wsgi
from syncws._server.upgrader import Upgrader
from syncws.testing import await_, connect
from tests.handshakes import HEADERS
from tests.tasks import PATIENCE
from tests.wsgi.cases import WSGICase, each_way

URLS = types.ModuleType("urls")
FOLDER = Path(tempfile.gettempdir()) / f"syncws-django-{threading.get_native_id()}"

# Once for a process. ATOMIC_REQUESTS is on for every test, and what takes a lock of the database for long is noticed.
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        alias: {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(FOLDER / alias),
            "ATOMIC_REQUESTS": True,
            "OPTIONS": {"timeout": 0.5},
        }
        for alias in ("default", "other")
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    LANGUAGE_CODE="en",
    LOGIN_URL="/login",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=URLS,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    SECRET_KEY="a secret",
    TIME_ZONE="UTC",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import signals
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.test import Client, RequestFactory, override_settings
from django.urls import clear_url_caches, path, reverse
from django.utils import timezone, translation
from django.views import View
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from syncws.django import release_connections, websocket_view

#: werkzeug's debugger uses shared memory, which has a descriptor: it is there before any test, and stays.
SHARED = multiprocessing.Value("B")


def setUpModule() -> None:
    FOLDER.mkdir()
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    call_command("migrate", verbosity=0)
    User.objects.create_user("ann", password="a password")
    connections.close_all()


def echo(request: HttpRequest, conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class LateSessionMiddleware(SessionMiddleware):
    """A project's own session middleware: its cookie has one more attribute."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response = super().process_response(request, response)
        for morsel in response.cookies.values():
            morsel["domain"] = "example.com"
        return response


class DjangoCase(WSGICase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(connections.close_all)

    def site(self, *, server: str = "wsgiref", wrap: Callable[[Any], Any] = lambda app: app, **views: Any) -> str:
        """Serve views, each at a path of its name; the site's address. An older site of the test has them now, too."""
        self.route(*(path(name, view, name=name) for name, view in views.items()))
        return self.serve(wrap(get_wsgi_application()), server)

    def route(self, *routes: Any) -> None:
        """Make these the only URLs."""
        URLS.urlpatterns = routes  # type: ignore[attr-defined]
        clear_url_caches()

    def log_in(self, name: str = "ann") -> str:
        """The cookies of a user who has logged in."""
        client = Client()
        client.force_login(User.objects.get(username=name))
        connections.close_all()
        return f"sessionid={client.cookies['sessionid'].value}"

    def asked(self, conn: syncws.Conn, question: str = "?") -> str | bytes:
        conn.send(question)
        return conn.receive(timeout=PATIENCE)


class ViewTests(DjangoCase):
    """Requests, and what becomes of them."""

    @each_way
    def test_echo(self, server: str, detach: bool | None) -> None:
        """A decorated view echoes on every server, detached or not, beside plain views."""
        view = websocket_view(detach=detach)(echo)
        url = self.site(server=server, echo=view, plain=lambda request: HttpResponse("a page"))
        conn = self.dial(f"{url}/echo")
        self.check_echo(conn)
        self.assertEqual(self.ask(f"{url}/plain").body, b"a page")
        conn.close()

    def test_arguments(self) -> None:
        """The arguments of the URL follow the connection, and before gets them as well."""
        seen: list[Any] = []

        @websocket_view(before=lambda request, **arguments: seen.append((request.path, arguments)))
        def room(request: HttpRequest, conn: syncws.Conn, name: str, number: int) -> None:
            """A room."""
            conn.send(f"{name} {number} {request.GET['q']} {request.META['PATH_INFO']}")

        self.assertEqual((room.__name__, room.__doc__), ("room", "A room."))
        self.route(path("rooms/<name>/<int:number>", room))
        conn = self.dial(self.serve(get_wsgi_application()) + "/rooms/lobby/5?q=x")
        self.assertEqual(conn.receive(timeout=PATIENCE), "lobby 5 x /rooms/lobby/5")
        self.assertEqual(seen, [("/rooms/lobby/5", {"name": "lobby", "number": 5})])
        self.check_end(conn, 1000)

    def test_refused_handshake(self) -> None:
        """A handshake that is refused is a normal response, without hop-by-hop headers; a POST needs its token."""
        url = self.site(echo=websocket_view(echo))
        answer = self.ask(f"{url}/echo")
        self.assertEqual(answer.status, 400)
        self.assertIn(b"WebSocket", answer.body)
        self.assertEqual(answer.headers["Content-Type"], "text/plain; charset=utf-8")
        answer = self.ask(f"{url}/echo", headers={"Connection": "Upgrade"})
        self.assertEqual((answer.status, answer.headers["Upgrade"]), (426, None))
        self.assertEqual(self.ask(f"{url}/echo", "POST", HEADERS).status, 403)

    def test_origin(self) -> None:
        """Pages of the same host may connect, others only if the upgrader says so."""
        trusted = Upgrader(allowed_origins=["https://*.example.com"])
        url = self.site(own=websocket_view(echo), trusting=websocket_view(upgrader=trusted)(echo))
        self.assertEqual(self.refused(f"{url}/own", Origin="https://app.example.com").status, 403)
        self.check_echo(self.dial(f"{url}/own", Origin=url))
        self.check_echo(self.dial(f"{url}/trusting", Origin="https://app.example.com"))

    @each_way
    def test_login_required(self, server: str, detach: bool | None) -> None:
        """Outside of websocket_view it redirects before the 101; the handler knows request.user."""

        def who(request: HttpRequest, conn: syncws.Conn) -> None:
            conn.send(f"hello {request.user}")

        cookie = self.log_in()
        url = self.site(server=server, private=login_required(websocket_view(detach=detach)(who)))
        answer = self.refused(f"{url}/private")
        self.assertEqual((answer.status, answer.headers["Location"]), (302, "/login?next=/private"))
        conn = self.dial(f"{url}/private", Cookie=cookie)
        self.assertEqual(conn.receive(timeout=PATIENCE), "hello ann")
        self.check_end(conn, 1000)

    def test_login_required_inside(self) -> None:
        """Under websocket_view it runs too late: 1008, and the log says so."""
        url = self.site(private=websocket_view(login_required(echo)))
        with self.assertLogs("syncws.wsgi", "ERROR") as logs:
            self.check_end(self.dial(f"{url}/private"), 1008)
            self.all_done()
        self.assertIn("HttpResponseRedirect", logs.output[0])

    def test_before(self) -> None:
        """A response of before refuses, and the handler is not called; None goes on."""
        called = threading.Event()

        def before(request: HttpRequest) -> HttpResponse | None:
            return None if "user" in request.GET else HttpResponseForbidden("log in first")

        url = self.site(private=websocket_view(before=before)(lambda request, conn: called.set()))
        answer = self.refused(f"{url}/private")
        self.assertEqual((answer.status, answer.body), (403, b"log in first"))
        self.assertFalse(called.is_set())
        self.check_end(self.dial(f"{url}/private?user=ann"), 1000)
        self.assertTrue(called.is_set())

    def test_options(self) -> None:
        """The upgrader's options hold, and max_connections: one more is answered with 503."""
        upgrader = Upgrader(subprotocols=["v1"])
        url = self.site(echo=websocket_view(upgrader=upgrader, max_connections=1)(echo))
        conn = self.dial(f"{url}/echo", **{"Sec-WebSocket-Protocol": "v0, v1"})
        self.assertEqual(conn.subprotocol, "v1")
        with self.assertLogs("syncws.server", "WARNING"):
            self.assertEqual(self.refused(f"{url}/echo").status, 503)

    def test_refusal_of_ones_own(self) -> None:
        """A response made by the upgrader's error keeps all of its headers, cookies too."""

        def error(request: syncws.Request, status: int, reason: syncws.HandshakeError) -> syncws.Response:
            return syncws.Response("no", 499, [("X-Why", "so"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])

        answer = self.ask(self.site(echo=websocket_view(upgrader=Upgrader(error=error))(echo)) + "/echo")
        self.assertEqual((answer.status, answer.body, answer.headers["X-Why"]), (499, b"no", "so"))
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1; Path=/", "b=2"])

    @each_way
    def test_handler_raises(self, server: str, detach: bool | None) -> None:
        """An error of the handler closes with 1011 and is logged once, by nobody else."""
        url = self.site(server=server, echo=websocket_view(detach=detach)(lambda request, conn: 1 // 0))
        with self.assertLogs("syncws.wsgi", "ERROR") as logs, self.assertNoLogs("django", "WARNING"):
            self.check_end(self.dial(f"{url}/echo"), 1011)
            self.all_done()
        self.assertEqual(len(logs.records), 1)
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_asgi(self) -> None:
        """A request that came over ASGI is an error that says what to serve with."""
        scope = {"type": "http", "method": "GET", "path": "/echo", "headers": []}
        with self.assertRaisesRegex(ImproperlyConfigured, "get_wsgi_application"):
            websocket_view(echo)(ASGIRequest(scope, None))

    def test_wrong_arguments(self) -> None:
        """Invalid arguments are refused when the view is made."""

        async def asynchronous(request: HttpRequest, conn: syncws.Conn) -> None:
            pass

        for wrong, said in (
            ({"handler": "/echo"}, r"decorates a handler\(request, conn, \.\.\.\)"),
            ({"handler": asynchronous}, "write def, not async def"),
            ({"upgrader": "v1"}, "upgrader must be an Upgrader"),
            ({"detach": "yes"}, "detach must be True, False or None"),
            ({"max_connections": 0}, "max_connections must be at least 1"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex((TypeError, ValueError), said):
                websocket_view(**{"handler": echo, **wrong})

    def test_a_view_class_that_is_asynchronous(self) -> None:
        """A view that a class makes of async methods is no handler either: Django marks what as_view() returns."""

        class Asynchronous(View):
            async def get(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse()

        for argument in ("handler", "before"):
            with self.assertRaisesRegex(TypeError, "write def, not async def"):
                websocket_view(**{"handler": echo, argument: Asynchronous.as_view()})

    def test_a_view_class_of_responses(self) -> None:
        """A plain view class as the handler answers after the handshake: 1008, and the log says so."""
        url = self.site(private=websocket_view(lambda request, conn: View.as_view()(request)))
        with self.assertLogs("syncws.wsgi", "ERROR") as logs, self.assertLogs("django.request", "WARNING"):
            self.check_end(self.dial(f"{url}/private"), 1008)
            self.all_done()
        self.assertIn("HttpResponseNotAllowed", logs.output[0])

    def test_before_that_returns_a_coroutine(self) -> None:
        """A check that nobody awaits lets nobody in, whatever it would have said: an error, and no handshake."""

        async def check(request: HttpRequest) -> None:
            return None

        view = websocket_view(echo, before=lambda request: check(request))
        request = RequestFactory().get("/echo")
        with self.assertRaisesRegex(TypeError, "before returned a coroutine"):
            view(request)

    def test_connect(self) -> None:
        """The project's own tests talk to a view without a port."""
        self.route(path("echo", websocket_view(echo)))
        with connect(get_wsgi_application(), "/echo", headers={"Host": "127.0.0.1"}) as conn:
            self.check_echo(conn)

    def test_django_test_client(self) -> None:
        """Django's own test client, which has no connection to take over, gets refusals and the 501."""
        view = websocket_view(before=lambda request: None if request.GET else HttpResponseForbidden())(echo)
        self.route(path("echo", view))
        headers = {**HEADERS, "Host": "127.0.0.1"}
        self.assertEqual(Client().get("/echo", headers=headers).status_code, 403)
        self.assertEqual(Client().get("/echo?1=1").status_code, 400)
        with self.assertLogs("syncws.server", "ERROR"):
            self.assertEqual(Client().get("/echo?1=1", headers=headers).status_code, 501)


class RequestTests(DjangoCase):
    """When a request ends, and what a handler has of it."""

    @contextmanager
    def finished(self) -> Iterator[threading.Event]:
        """An event of request_finished."""
        event = threading.Event()

        def note(**arguments: Any) -> None:
            event.set()

        signals.request_finished.connect(note)
        try:
            yield event
        finally:
            signals.request_finished.disconnect(note)

    @each_way
    def test_end_of_request(self, server: str, detach: bool | None) -> None:
        """request_finished comes at once where the connection is detached, and else when it is over."""
        url = self.site(server=server, echo=websocket_view(detach=detach)(echo))
        with self.finished() as finished:
            conn = self.dial(f"{url}/echo")
            self.check_echo(conn)
            self.assertEqual(finished.wait(PATIENCE) if detach is None else finished.is_set(), detach is None)
            conn.close()
            self.assertTrue(finished.wait(PATIENCE))
            self.all_done()

    def test_debugger(self) -> None:
        """Under werkzeug's debugger too the response is closed, and nothing is logged."""
        url = self.site(server="werkzeug", wrap=DebuggedApplication, echo=websocket_view(detach=False)(echo))
        with self.finished() as finished:
            conn = self.dial(f"{url}/echo")
            self.check_echo(conn)
            conn.close()
            self.assertTrue(finished.wait(PATIENCE))

    @each_way
    def test_surroundings(self, server: str, detach: bool | None) -> None:
        """Language, time zone and script prefix are the view's, in the handler's thread too."""

        def look(request: HttpRequest, conn: syncws.Conn) -> None:
            conn.send(f"{translation.get_language()} {timezone.get_current_timezone_name()} {reverse('look')}")

        view = websocket_view(detach=detach, before=lambda request: timezone.activate("Asia/Tokyo"))(look)
        mount = functools.partial(_mounted, "/site")
        url = self.site(server=server, wrap=mount, look=view)
        conn = self.dial(f"{url}/site/look", **{"Accept-Language": "de"})
        self.assertEqual(conn.receive(timeout=PATIENCE), "de Asia/Tokyo /site/look")
        self.check_end(conn, 1000)

    def test_server_is_let_go(self) -> None:
        """Where the connection is detached, the request does not keep the server's streams."""

        def look(request: HttpRequest, conn: syncws.Conn) -> None:
            kept = [key for key in request.META if key in ("wsgi.input", "wsgi.errors", "werkzeug.socket")]
            conn.send(f"{request.META['REQUEST_METHOD']} {request.environ is request.META} {kept} {request.body!r}")

        for server in ("wsgiref", "werkzeug"):
            conn = self.dial(self.site(server=server, look=websocket_view(look)) + "/look")
            self.assertEqual(conn.receive(timeout=PATIENCE), "GET True [] b''")


class SessionTests(DjangoCase):
    """When a session is saved, and when it is not."""

    def stored(self, cookie: str) -> dict[str, Any]:
        """The data that is stored for a session's cookie."""
        data = dict(SessionStore(cookie.partition("=")[2]).load())
        connections.close_all()
        return data

    def talking(self, detach: bool | None, seen: list[Any]) -> Any:
        """A view whose before puts a name into the session; its handler puts more into it when told to."""

        def before(request: HttpRequest) -> None:
            if "name" in request.GET:
                request.session["name"] = request.GET["name"]

        @websocket_view(before=before, detach=detach)
        def talk(request: HttpRequest, conn: syncws.Conn) -> None:
            for message in conn:
                if message == "save":
                    request.session.save()
                elif message != "?":
                    request.session["said"] = message
                conn.send(str(sorted(request.session.items())))

        return talk

    @each_way
    def test_saved_before(self, server: str, detach: bool | None) -> None:
        """What before changed is stored when the handler runs, and its cookie came with the 101."""
        url = self.site(server=server, talk=self.talking(detach, []))
        conn = self.dial(f"{url}/talk?name=ann")
        self.assertIn("HttpOnly", conn.response.headers["Set-Cookie"])
        cookie = self.cookies_of(conn)
        self.assertEqual(self.stored(cookie), {"name": "ann"})
        self.assertEqual(self.asked(conn), "[('name', 'ann')]")
        again = self.dial(f"{url}/talk", Cookie=cookie)
        self.assertEqual(self.asked(again), "[('name', 'ann')]")
        self.assertEqual(self.cookies_of(again), "")

    @each_way
    def test_not_saved_again(self, server: str, detach: bool | None) -> None:
        """What another request has stored meanwhile stays, whatever the settings or the handler do to the session."""
        for every in (False, True):
            with override_settings(SESSION_SAVE_EVERY_REQUEST=every):
                url = self.site(server=server, talk=self.talking(detach, []))
                conn = self.dial(f"{url}/talk?name=ann")
                self.asked(conn, "hello")
                cookie = self.cookies_of(conn)
                newer = SessionStore(cookie.partition("=")[2])
                newer["name"] = "bob"
                newer.save()
                connections.close_all()
                conn.close()
                self.all_done()
                self.assertEqual(self.stored(cookie), {"name": "bob"})

    @each_way
    def test_deleted_meanwhile(self, server: str, detach: bool | None) -> None:
        """A session that is deleted meanwhile (a logout) is no error at the end, and stays deleted."""
        with override_settings(SESSION_SAVE_EVERY_REQUEST=True), self.assertNoLogs("django", "WARNING"):
            url = self.site(server=server, talk=self.talking(detach, []))
            conn = self.dial(f"{url}/talk?name=ann")
            self.asked(conn, "hello")
            cookie = self.cookies_of(conn)
            SessionStore(cookie.partition("=")[2]).delete()
            connections.close_all()
            conn.close()
            self.all_done()
            self.assertEqual(self.stored(cookie), {})

    @each_way
    def test_handler_saves(self, server: str, detach: bool | None) -> None:
        """A handler's own save() stores what it has put in."""
        url = self.site(server=server, talk=self.talking(detach, []))
        conn = self.dial(f"{url}/talk?name=ann")
        self.asked(conn, "hello")
        self.assertEqual(self.stored(self.cookies_of(conn)), {"name": "ann"})
        self.asked(conn, "save")
        self.assertEqual(self.stored(self.cookies_of(conn)), {"name": "ann", "said": "hello"})

    def test_refusal(self) -> None:
        """A handshake that is refused saves the session as any response does, with its cookie."""
        answer = self.ask(self.site(talk=self.talking(None, [])) + "/talk?name=ann")
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.stored(answer.cookies()), {"name": "ann"})

    def test_flushed(self) -> None:
        """A session that before has emptied is deleted with the 101."""
        cookie = self.log_in()
        view = websocket_view(before=lambda request: request.session.flush())(echo)
        conn = self.dial(self.site(echo=view) + "/echo", Cookie=cookie)
        self.assertIn("Max-Age=0", conn.response.headers["Set-Cookie"])
        self.assertEqual(self.stored(cookie), {})

    def test_middleware_of_ones_own(self) -> None:
        """The cookie is made by the project's own session middleware, if it has one."""
        own = f"{__name__}.LateSessionMiddleware"
        names = [own if name.endswith("SessionMiddleware") else name for name in settings.MIDDLEWARE]
        with override_settings(MIDDLEWARE=names):
            conn = self.dial(self.site(talk=self.talking(None, [])) + "/talk?name=ann")
            self.assertIn("Domain=example.com", conn.response.headers["Set-Cookie"])

    def test_no_sessions(self) -> None:
        """A project without sessions has WebSockets too."""
        with override_settings(MIDDLEWARE=[]):
            self.check_echo(self.dial(self.site(echo=websocket_view(echo)) + "/echo"))


class DatabaseTests(DjangoCase):
    """Transactions and connections."""

    @contextmanager
    def created(self) -> Iterator[list[Any]]:
        """The database connections of other threads, made in this block."""
        found: list[Any] = []

        def note(connection: Any, **arguments: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                found.append(connection)

        connection_created.connect(note)
        try:
            yield found
        finally:
            connection_created.disconnect(note)

    @each_way
    def test_no_transaction(self, server: str, detach: bool | None) -> None:
        """A plain view is in a transaction (ATOMIC_REQUESTS), a WebSocket view and its before are in none."""
        seen: list[bool] = []

        def look(*arguments: Any) -> None:
            seen.extend(each.in_atomic_block for each in connections.all())

        def plain(request: HttpRequest) -> HttpResponse:
            look()
            return HttpResponse()

        seen.clear()
        url = self.site(server=server, plain=plain, look=websocket_view(before=look, detach=detach)(look))
        self.check_end(self.dial(f"{url}/look"), 1000)
        self.assertEqual(seen, [False] * 4)
        self.ask(f"{url}/plain")
        self.assertEqual(seen[4:], [True] * 2)

    def test_no_transaction_seen_from_outside(self) -> None:
        """Django's decorators around the view keep the mark, for each database."""
        for view in (websocket_view(echo), login_required(websocket_view(echo)), websocket_view()(echo)):
            self.assertEqual(view._non_atomic_requests, {"default", "other"})

    @each_way
    def test_writers_are_not_locked_out(self, server: str, detach: bool | None) -> None:
        """While a WebSocket is open that has written, others can write."""

        def write(request: HttpRequest, conn: syncws.Conn) -> None:
            for message in conn:
                User.objects.create(username=message)
                conn.send("written")

        url = self.site(server=server, write=login_required(websocket_view(detach=detach)(write)))
        conn = self.dial(f"{url}/write", Cookie=self.log_in())
        self.assertEqual(self.asked(conn, f"first, {server} {detach}"), "written")
        with transaction.atomic():  # which would wait half a second for a lock, and fail
            User.objects.create(username=f"second, {server} {detach}")
        connections.close_all()
        self.assertEqual(self.asked(conn, f"third, {server} {detach}"), "written")
        conn.close()

    def test_transaction_around(self) -> None:
        """A transaction around the view is an error in the view; detached, it is over when the handler runs."""

        def hiding(view: Any) -> Any:
            return lambda request: view(request)  # without functools.wraps

        for outer in (hiding, transaction.atomic):
            url = self.site(detached=outer(websocket_view(echo)), in_view=outer(websocket_view(detach=False)(echo)))
            with self.assertLogs("syncws.wsgi", "ERROR") as logs:
                self.check_end(self.dial(f"{url}/in_view"), 1011)
                self.all_done()
            self.assertIn("functools.wraps", logs.output[0])
            conn = self.dial(f"{url}/detached")
            self.check_echo(conn)
            conn.close()

    @each_way
    def test_released_between_messages(self, server: str, detach: bool | None) -> None:
        """While a read waits, the thread holds no connection to a database, unless it is inside atomic()."""
        waiting = threading.Event()

        def count(request: HttpRequest, conn: syncws.Conn) -> None:
            for message in conn:
                User.objects.count()
                if message == "atomic":
                    with transaction.atomic():
                        User.objects.create(username="inside")
                        conn.send("inside")
                        conn.receive()
                conn.send("counted")

        cookie = self.log_in()
        waiting.clear()
        with self.created() as created:
            url = self.site(server=server, count=login_required(websocket_view(detach=detach)(count)))
            conn = self.dial(f"{url}/count", Cookie=cookie)
            self.assertEqual(self.asked(conn), "counted")
            self.assertTrue(created)
            self.assertTrue(await_(lambda found=created: all(each.connection is None for each in found)))
            self.assertEqual(self.asked(conn, "atomic"), "inside")
            self.assertEqual(self.asked(conn, "go on"), "counted")
            self.assertEqual(self.asked(conn), "counted")
            self.assertTrue(User.objects.filter(username="inside").exists())
            User.objects.filter(username="inside").delete()
            connections.close_all()
            conn.close()

    def test_max_age(self) -> None:
        """With CONN_MAX_AGE a connection stays between messages, and is closed when the detached handler ends."""

        def count(request: HttpRequest, conn: syncws.Conn) -> None:
            for _ in conn:
                User.objects.count()
                conn.send(str(id(connection.connection)))

        with self.created() as created, mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=None):
            conn = self.dial(self.site(count=websocket_view(count)) + "/count")
            self.assertEqual(self.asked(conn), self.asked(conn))
            self.assertEqual(len(created), 1)
            conn.close()
            self.all_done()
            self.assertTrue(await_(lambda: created[0].connection is None))

    def test_closed_at_the_end(self) -> None:
        """When a detached handler ends, by an error too, no connection that its thread made is left open."""

        def push(request: HttpRequest, conn: syncws.Conn) -> None:
            for each in connections.all():
                each.cursor().execute("SELECT 1")
            conn.send("pushed")
            if request.GET:
                raise ValueError("an error")

        for server in ("wsgiref", "werkzeug", "ours"):
            with self.created() as created:
                url = self.site(server=server, push=websocket_view(push))
                self.check_end(self._pushed(f"{url}/push"), 1000)
                with self.assertLogs("syncws.wsgi", "ERROR"):
                    self.check_end(self._pushed(f"{url}/push?raise"), 1011)
                    self.all_done()
                self.assertEqual(len(created), 4)
                self.assertTrue(await_(lambda found=created: all(each.connection is None for each in found)))

    def _pushed(self, url: str) -> syncws.Conn:
        conn = self.dial(url)
        self.assertEqual(conn.receive(timeout=PATIENCE), "pushed")
        return conn

    def test_release_connections(self) -> None:
        """A handler that only pushes gives its connections back itself."""
        released = threading.Event()
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def push(request: HttpRequest, conn: syncws.Conn) -> None:
            conn.send(str(User.objects.count()))
            release_connections()
            released.set()
            go_on.wait(PATIENCE)

        with self.created() as created:
            self.dial(self.site(push=websocket_view(push)) + "/push")
            self.assertTrue(released.wait(PATIENCE))
            self.assertEqual([each.connection for each in created], [None])
            go_on.set()

    def test_view_holds_nothing(self) -> None:
        """Database connections that the view has used for the session are given back before the handler runs."""
        held: list[bool] = []

        def look(request: HttpRequest, conn: syncws.Conn) -> None:
            held.append(connection.connection is not None)

        url = self.site(look=login_required(websocket_view(detach=False)(look)))
        self.check_end(self.dial(f"{url}/look", Cookie=self.log_in()), 1000)
        self.assertEqual(held, [False])

    @each_way
    def test_queries_do_not_grow(self, server: str, detach: bool | None) -> None:
        """With DEBUG the log of queries starts again for each message."""

        def count(request: HttpRequest, conn: syncws.Conn) -> None:
            for _ in conn:
                User.objects.count()
                conn.send(str(len(connection.queries)))
            connection.close()

        # A connection that stays, as one that is closed forgets nothing either.
        with (
            override_settings(DEBUG=True),
            mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=60),
        ):
            conn = self.dial(self.site(server=server, count=websocket_view(detach=detach)(count)) + "/count")
            self.assertEqual({self.asked(conn) for _ in range(5)}, {"1"})
            conn.close()
            self.all_done()


def _mounted(prefix: str, app: Any) -> Any:
    return DispatcherMiddleware(lambda environ, start_response: [], {prefix: app})
