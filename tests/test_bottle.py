"""Bottle: a decorated callback is a WebSocket, and checks what it likes before the 101."""

from __future__ import annotations

import threading
from typing import Any

import bottle

import syncws
from syncws._server.upgrader import Upgrader
from syncws.bottle import websocket
from tests.handshakes import HEADERS
from tests.tasks import PATIENCE
from tests.wsgi.cases import WAYS, WSGICase

SECRET = "a secret"


def echo(conn: syncws.Conn, **wildcards: str) -> None:
    for message in conn:
        conn.send(message)


class BottleTests(WSGICase):
    def setUp(self) -> None:
        super().setUp()
        self.app = bottle.Bottle()

    def test_decorator(self) -> None:
        """Under the route's decorator or in its apply, on every server, detached or not: an echo."""
        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                app = bottle.Bottle()
                app.get("/under")(websocket(detach=detach)(echo))
                app.get("/applied", apply=[websocket(detach=detach)])(echo)
                app.get("/plain")(lambda: "a page")
                url = self.serve(app, server)
                for path in ("/under", "/applied"):
                    conn = self.dial(url + path)
                    self.check_echo(conn)
                    self.assertEqual(self.ask(f"{url}/plain").body, b"a page")
                    conn.close()
        app = bottle.Bottle()
        app.get("/bare", apply=websocket)(echo)
        self.check_echo(self.dial(self.serve(app) + "/bare"))

    def test_wildcards(self) -> None:
        """The wildcards of the route are keyword arguments of the handler, and of before."""
        seen: list[Any] = []

        @self.app.get("/rooms/<name>/<number:int>")
        @websocket(before=lambda **wildcards: seen.append(wildcards))
        def room(conn: syncws.Conn, name: str, number: int) -> None:
            conn.send(f"{name} {number}")

        conn = self.dial(self.serve(self.app) + "/rooms/lobby/5")
        self.assertEqual(conn.receive(timeout=PATIENCE), "lobby 5")
        self.assertEqual(seen, [{"name": "lobby", "number": 5}])
        self.check_end(conn, 1000)

    def test_before_refuses(self) -> None:
        """What before returns or raises is the response, and the handler is not called."""

        def before(how: str) -> Any:
            bottle.response.set_cookie("seen", how)
            if how == "body":
                bottle.response.status = 403
                return "log in first"
            if how == "response":
                return bottle.HTTPResponse("no", 402)
            if how == "abort":
                bottle.abort(401, "who are you?")
            bottle.redirect("/login")
            return None

        called = threading.Event()
        self.app.get("/<how>")(websocket(before=before)(lambda conn, how: called.set()))
        url = self.serve(self.app)
        for how, status in (("body", 403), ("response", 402), ("abort", 401), ("redirect", 303)):
            with self.subTest(how=how):
                answer = self.refused(f"{url}/{how}")
                self.assertEqual(answer.status, status)
                self.assertNotIn("Sec-WebSocket-Accept", answer.headers)
        self.assertEqual(self.refused(f"{url}/redirect").headers["Location"], f"{url}/login")
        self.assertEqual(self.refused(f"{url}/body").body, b"log in first")
        self.assertFalse(called.is_set())

    def test_before_refuses_by_a_status(self) -> None:
        """A status that before only sets, and returns None, refuses: it was let in with a 101 in place of the 403."""

        def before(status: int) -> None:
            bottle.response.status = status

        called = threading.Event()
        self.app.get("/<status:int>")(websocket(before=before)(lambda conn, status: called.set()))
        url = self.serve(self.app)
        for status in (302, 403, 503):
            self.assertEqual(self.refused(f"{url}/{status}").status, status)
        self.assertFalse(called.is_set())
        self.check_end(self.dial(f"{url}/200"), 1000)

    def test_login(self) -> None:
        """A signed cookie that before sets leaves with the 101, and bottle.request knows it in the handler."""

        def logged_in() -> None:
            if bottle.request.query.get("name"):
                bottle.response.set_cookie("user", bottle.request.query["name"], secret=SECRET)
            elif bottle.request.get_cookie("user", secret=SECRET) is None:
                bottle.abort(401, "log in first")

        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                app = bottle.Bottle()

                @app.get("/private")
                @websocket(before=logged_in, detach=detach)
                def private(conn: syncws.Conn) -> None:
                    conn.send(str(bottle.request.get_cookie("user", secret=SECRET)))
                    conn.send(bottle.request.path)

                url = self.serve(app, server)
                self.assertEqual(self.refused(f"{url}/private").status, 401)
                cookie = self.cookies_of(self.dial(f"{url}/private?name=ann"))
                conn = self.dial(f"{url}/private", Cookie=cookie)
                self.assertEqual(conn.receive(timeout=PATIENCE), "ann")
                self.assertEqual(conn.receive(timeout=PATIENCE), "/private")
                self.check_end(conn, 1000)

    def test_refused_handshake(self) -> None:
        """A handshake that is refused is a normal response, which keeps the cookies of before."""
        self.app.get("/echo")(websocket(before=lambda: bottle.response.set_cookie("a", "b"))(echo))
        url = self.serve(self.app)
        answer = self.ask(f"{url}/echo")
        self.assertEqual(answer.status, 400)
        self.assertIn(b"WebSocket", answer.body)
        self.assertEqual(answer.cookies(), "a=b")
        answer = self.ask(f"{url}/echo", headers={**HEADERS, "Origin": "http://elsewhere.example"})
        self.assertEqual(answer.status, 403)
        self.assertIsNone(answer.headers["Upgrade"])

    def test_refusal_of_ones_own(self) -> None:
        """A response made by the upgrader's error keeps all of its headers, cookies too."""

        def error(request: syncws.Request, status: int, reason: syncws.HandshakeError) -> syncws.Response:
            return syncws.Response("no", 418, [("X-Why", "so"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])

        self.app.get("/echo")(websocket(upgrader=Upgrader(error=error))(echo))
        answer = self.ask(self.serve(self.app) + "/echo")
        self.assertEqual((answer.status, answer.body, answer.headers["X-Why"]), (418, b"no", "so"))
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2; Path=/"])

    def test_options(self) -> None:
        """The upgrader's options hold, and max_connections: one more is answered with 503."""
        upgrader = Upgrader(subprotocols=["v1"], allowed_origins=["http://elsewhere.example"])
        self.app.get("/echo")(websocket(upgrader=upgrader, max_connections=1)(echo))
        url = self.serve(self.app)
        headers = {"Origin": "http://elsewhere.example", "Sec-WebSocket-Protocol": "v0, v1"}
        conn = self.dial(f"{url}/echo", **headers)
        self.assertEqual(conn.subprotocol, "v1")
        with self.assertLogs("syncws.server", "WARNING"):
            self.assertEqual(self.refused(f"{url}/echo").status, 503)

    def test_handler_raises(self) -> None:
        """An error of the handler closes with 1011 and is logged once, with its traceback, by nobody else."""
        self.app.get("/echo")(websocket(lambda conn: 1 // 0))
        for server in ("wsgiref", "werkzeug"):
            with self.assertLogs("syncws.wsgi", "ERROR") as logs:
                self.check_end(self.dial(self.serve(self.app, server) + "/echo"), 1011)
            self.assertEqual(len(logs.records), 1)
            self.assertIn("ZeroDivisionError", logs.output[0])

    def test_wrong_arguments(self) -> None:
        """Invalid arguments are refused when the route is made."""
        for wrong, said in (
            (
                {"handler": "/echo"},
                r"decorates a handler\(conn\), not '/echo': a path belongs to",
            ),
            ({"upgrader": "v1"}, "upgrader must be an Upgrader"),
            ({"detach": "yes"}, "detach must be True, False or None"),
            ({"max_connections": 0}, "max_connections must be at least 1"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex((TypeError, ValueError), said):
                websocket(**{"handler": echo, **wrong})
