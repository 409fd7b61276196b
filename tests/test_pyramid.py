"""Pyramid: a decorated view is a WebSocket; permissions, sessions and `before` come before the 101."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import syncws
from syncws._server.upgrader import Upgrader
from tests.handshakes import HEADERS
from tests.tasks import PATIENCE
from tests.wsgi.cases import WAYS, WSGICase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what Pyramid and WebOb import: pkg_resources, cgi
    import pyramid.request
    from pyramid.authentication import AuthTktCookieHelper
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPForbidden, HTTPFound
    from pyramid.response import Response
    from pyramid.security import remember
    from pyramid.session import JSONSerializer, SignedCookieSessionFactory
    from pyramid.threadlocal import get_current_request
    from pyramid.view import view_config

    from syncws.pyramid import websocket_view

Request = pyramid.request.Request


def echo(request: Request, conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


@view_config(route_name="scanned")
@websocket_view
def scanned(request: Request, conn: syncws.Conn) -> None:
    conn.send(f"scanned {request.matchdict['name']}")


class Views:
    def __init__(self, request: Request) -> None:
        self.request = request

    def check(self) -> Response | None:
        return Response("no", 402) if "refuse" in self.request.params else None

    @view_config(route_name="method")
    @websocket_view(before=check)
    def method(self, conn: syncws.Conn) -> None:
        conn.send(f"{self.request.path} {conn.detached}")


class Policy:
    """A security policy: the user is the one that a valid ticket names."""

    def __init__(self) -> None:
        self.helper = AuthTktCookieHelper("a secret")

    def identity(self, request: Request) -> Any:
        return self.helper.identify(request)

    def authenticated_userid(self, request: Request) -> str | None:
        identity = self.identity(request)
        return None if identity is None else identity["userid"]

    def permits(self, request: Request, context: object, permission: str) -> bool:
        return self.authenticated_userid(request) is not None

    def remember(self, request: Request, userid: str, **options: Any) -> Any:
        return self.helper.remember(request, userid, **options)


def make_app(**views: Any) -> Any:
    """An application with a view for each name; a pair adds options of add_view."""
    with Configurator() as config:
        config.set_session_factory(SignedCookieSessionFactory("a secret", serializer=JSONSerializer()))
        config.set_security_policy(Policy())
        for name, view in views.items():
            view, options = view if isinstance(view, tuple) else (view, {})
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name, **options)
        return config.make_wsgi_app()


class PyramidTests(WSGICase):
    def test_view(self) -> None:
        """A decorated view echoes on every server, detached or not, beside plain views."""
        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                app = make_app(echo=websocket_view(detach=detach)(echo), plain=lambda request: Response("a page"))
                url = self.serve(app, server)
                conn = self.dial(f"{url}/echo")
                self.check_echo(conn)
                self.assertEqual(self.ask(f"{url}/plain").body, b"a page")
                conn.close()

    def test_scan(self) -> None:
        """A scan finds decorated functions, and decorated methods of view classes."""
        with Configurator() as config:
            config.add_route("scanned", "/scanned/{name}")
            config.add_route("method", "/method")
            config.scan(__name__)
            app = config.make_wsgi_app()
        for server, _ in WAYS:
            with self.subTest(server=server):
                url = self.serve(app, server)
                conn = self.dial(f"{url}/scanned/ann")
                self.assertEqual(conn.receive(timeout=PATIENCE), "scanned ann")
                self.check_end(conn, 1000)
                conn = self.dial(f"{url}/method")
                self.assertEqual(conn.receive(timeout=PATIENCE), "/method True")
                self.check_end(conn, 1000)
                self.assertEqual(self.refused(f"{url}/method?refuse").status, 402)

    def test_permission(self) -> None:
        """A permission of the view is checked before the 101, and the handler knows who is logged in."""

        @websocket_view
        def private(request: Request, conn: syncws.Conn) -> None:
            conn.send(f"hello {request.authenticated_userid}")

        def login(request: Request) -> Response:
            return HTTPFound("/", headers=remember(request, "ann"))

        app = make_app(login=login, private=(private, {"permission": "talk"}))
        for server, _ in WAYS:
            with self.subTest(server=server):
                url = self.serve(app, server)
                self.assertEqual(self.refused(f"{url}/private").status, 403)
                cookies = self.ask(f"{url}/login").cookies()
                conn = self.dial(f"{url}/private", Cookie=cookies)
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello ann")
                self.check_end(conn, 1000)

    def test_before_refuses(self) -> None:
        """What before returns or raises is the response, and the handler is not called."""

        def before(request: Request) -> Any:
            if "raise" in request.params:
                raise HTTPForbidden("log in first")
            return HTTPFound("/login") if "return" in request.params else None

        called = threading.Event()
        app = make_app(echo=websocket_view(before=before)(lambda request, conn: called.set()))
        url = self.serve(app)
        self.assertEqual(self.refused(f"{url}/echo?raise").status, 403)
        answer = self.refused(f"{url}/echo?return")
        self.assertEqual((answer.status, answer.headers["Location"]), (302, f"{url}/login"))
        self.assertFalse(called.is_set())
        self.check_end(self.dial(f"{url}/echo"), 1000)
        self.assertTrue(called.is_set())

    def test_before_refuses_by_a_status(self) -> None:
        """A status that before only sets, and returns None, refuses: it was let in with a 101 in place of the 403."""

        def before(request: Request) -> None:
            request.response.status = int(request.params["status"])

        called = threading.Event()
        app = make_app(echo=websocket_view(before=before)(lambda request, conn: called.set()))
        url = self.serve(app)
        for status in (302, 403, 503):
            self.assertEqual(self.refused(f"{url}/echo?status={status}").status, status)
        self.assertFalse(called.is_set())
        self.check_end(self.dial(f"{url}/echo?status=200"), 1000)

    def test_session(self) -> None:
        """What before does to the session and to request.response leaves as cookies with the 101, or the refusal."""

        def before(request: Request) -> None:
            if name := request.params.get("name"):
                request.session["name"] = name
                request.response.set_cookie("seen", "yes")

        def who(request: Request, conn: syncws.Conn) -> None:
            conn.send(request.session.get("name", "nobody"))

        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                url = self.serve(make_app(who=websocket_view(before=before, detach=detach)(who)), server)
                conn = self.dial(f"{url}/who?name=ann")
                self.assertEqual(conn.receive(timeout=PATIENCE), "ann")
                cookies = self.cookies_of(conn)
                self.assertIn("seen=yes", cookies)
                conn = self.dial(f"{url}/who", Cookie=cookies)
                self.assertEqual(conn.receive(timeout=PATIENCE), "ann")
                answer = self.ask(f"{url}/who?name=bob")
                self.assertEqual(answer.status, 400)
                conn = self.dial(f"{url}/who", Cookie=answer.cookies())
                self.assertEqual(conn.receive(timeout=PATIENCE), "bob")

    def test_refused_handshake(self) -> None:
        """A handshake that is refused is a normal response."""
        url = self.serve(make_app(echo=websocket_view(echo)))
        answer = self.ask(f"{url}/echo")
        self.assertEqual(answer.status, 400)
        self.assertIn(b"WebSocket", answer.body)
        answer = self.ask(f"{url}/echo", headers={**HEADERS, "Origin": "http://elsewhere.example"})
        self.assertEqual(answer.status, 403)
        self.assertIsNone(answer.headers["Upgrade"])
        self.assertEqual(answer.headers.get_all("Content-Type"), ["text/plain; charset=utf-8"])

    def test_refusal_of_ones_own(self) -> None:
        """A response made by the upgrader's error keeps all of its headers, cookies too."""

        def error(request: syncws.Request, status: int, reason: syncws.HandshakeError) -> syncws.Response:
            return syncws.Response("no", 418, [("X-Why", "so"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])

        view = websocket_view(upgrader=Upgrader(error=error))(echo)
        answer = self.ask(self.serve(make_app(echo=view)) + "/echo")
        self.assertEqual((answer.status, answer.body, answer.headers["X-Why"]), (418, b"no", "so"))
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2; Path=/"])

    def test_end_of_request(self) -> None:
        """Finished callbacks run at once where the connection is detached, and else when it is over."""
        finished = threading.Event()

        def before(request: Request) -> None:
            request.add_finished_callback(lambda request: finished.set())

        def talk(request: Request, conn: syncws.Conn) -> None:
            for _ in conn:
                conn.send(f"{request.path_qs} {get_current_request() is request} {'wsgi.input' in request.environ}")

        decorated = {f"way{detach}": websocket_view(before=before, detach=detach)(talk) for detach in (None, False)}
        url = self.serve(make_app(**decorated))
        conn = self.dial(f"{url}/wayNone?q=1")
        self.assertTrue(finished.wait(PATIENCE))
        conn.send("?")
        self.assertEqual(conn.receive(timeout=PATIENCE), "/wayNone?q=1 False False")
        conn.close()
        finished.clear()
        conn = self.dial(f"{url}/wayFalse?q=1")
        conn.send("?")
        self.assertEqual(conn.receive(timeout=PATIENCE), "/wayFalse?q=1 True True")
        self.assertFalse(finished.is_set())
        conn.close()
        self.assertTrue(finished.wait(PATIENCE))

    def test_options(self) -> None:
        """The upgrader's options hold, and max_connections: one more is answered with 503."""
        upgrader = Upgrader(subprotocols=["v1"], allowed_origins=["http://elsewhere.example"])
        url = self.serve(make_app(echo=websocket_view(upgrader=upgrader, max_connections=1)(echo)))
        headers = {"Origin": "http://elsewhere.example", "Sec-WebSocket-Protocol": "v0, v1"}
        conn = self.dial(f"{url}/echo", **headers)
        self.assertEqual(conn.subprotocol, "v1")
        with self.assertLogs("syncws.server", "WARNING"):
            self.assertEqual(self.refused(f"{url}/echo").status, 503)

    def test_handler_raises(self) -> None:
        """An error of the handler, a response of Pyramid's too, closes with 1011 and is logged once."""

        def forbid(request: Request, conn: syncws.Conn) -> None:
            raise HTTPForbidden

        for detach in (None, False):
            with self.assertLogs("syncws.wsgi", "ERROR") as logs:
                url = self.serve(make_app(echo=websocket_view(detach=detach)(forbid)))
                self.check_end(self.dial(f"{url}/echo"), 1011)
            self.assertEqual(len(logs.records), 1)

    def test_wrong_arguments(self) -> None:
        """Invalid arguments are refused when the view is made."""
        for wrong, said in (
            ({"handler": "/echo"}, r"decorates a handler\(request, conn\)"),
            ({"upgrader": "v1"}, "upgrader must be an Upgrader"),
            ({"detach": "yes"}, "detach must be True, False or None"),
            ({"max_connections": 0}, "max_connections must be at least 1"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex((TypeError, ValueError), said):
                websocket_view(**{"handler": echo, **wrong})
