"""Falcon: a resource whose GET is a WebSocket, and a responder that serves one."""

from __future__ import annotations

import threading
from typing import Any

import falcon

import syncws
from syncws._server.upgrader import Upgrader
from syncws.falcon import WebSocketResource, serve
from tests.handshakes import HEADERS
from tests.tasks import PATIENCE
from tests.wsgi.cases import WAYS, WSGICase


def echo(req: falcon.Request, conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class Page:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = "a page"


class FalconTests(WSGICase):
    def setUp(self) -> None:
        super().setUp()
        self.app = falcon.App()

    def test_resource(self) -> None:
        """A WebSocketResource echoes on every server, detached or not, beside plain resources."""
        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                app = falcon.App()
                app.add_route("/echo", WebSocketResource(echo, detach=detach))
                app.add_route("/plain", Page())
                url = self.serve(app, server)
                conn = self.dial(f"{url}/echo")
                self.check_echo(conn)
                self.assertEqual(self.ask(f"{url}/plain").body, b"a page")
                conn.close()

    def test_responder(self) -> None:
        """A responder passes the connection on to a handler, with arguments of its choice."""

        class Rooms:
            def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
                if name == "closed":
                    raise falcon.HTTPForbidden
                serve(req, resp, self.talk, name, upgrader=Upgrader(subprotocols=["v1"]))

            def talk(self, conn: syncws.Conn, name: str) -> None:
                conn.send(f"welcome to {name} by {conn.subprotocol}")

        self.app.add_route("/rooms/{name}", Rooms())
        for server, _ in WAYS:
            with self.subTest(server=server):
                url = self.serve(self.app, server)
                conn = self.dial(f"{url}/rooms/lobby", **{"Sec-WebSocket-Protocol": "v1"})
                self.assertEqual(conn.receive(timeout=PATIENCE), "welcome to lobby by v1")
                self.check_end(conn, 1000)
                self.assertEqual(self.refused(f"{url}/rooms/closed").status, 403)

    def test_fields(self) -> None:
        """The fields of the URI template are keyword arguments of the handler, and of before."""
        seen: list[Any] = []

        def before(req: falcon.Request, resp: falcon.Response, **fields: Any) -> None:
            seen.append(fields)

        def room(req: falcon.Request, conn: syncws.Conn, name: str, number: int) -> None:
            conn.send(f"{req.path} {name} {number} {req.get_param('q')}")

        self.app.add_route("/{name}/{number:int}", WebSocketResource(room, before=before))
        conn = self.dial(self.serve(self.app) + "/lobby/5?q=x")
        self.assertEqual(conn.receive(timeout=PATIENCE), "/lobby/5 lobby 5 x")
        self.assertEqual(seen, [{"name": "lobby", "number": 5}])

    def test_before_refuses(self) -> None:
        """before refuses by an error, a redirect, or a response that is complete; then the handler is not called."""

        def before(req: falcon.Request, resp: falcon.Response, how: str) -> None:
            if how == "error":
                raise falcon.HTTPUnauthorized(title="log in first")
            if how == "redirect":
                raise falcon.HTTPFound("/login")
            resp.status, resp.text, resp.complete = 402, "no", True

        called = threading.Event()
        self.app.add_route("/{how}", WebSocketResource(lambda req, conn, how: called.set(), before=before))
        url = self.serve(self.app)
        self.assertEqual(self.refused(f"{url}/error").status, 401)
        answer = self.refused(f"{url}/redirect")
        self.assertEqual((answer.status, answer.headers["Location"]), (302, "/login"))
        answer = self.refused(f"{url}/complete")
        self.assertEqual((answer.status, answer.body), (402, b"no"))
        self.assertFalse(called.is_set())

    def test_before_refuses_by_a_status(self) -> None:
        """A status that before only sets, and returns None, refuses: it was let in with a 101 in place of the 403."""

        def before(req: falcon.Request, resp: falcon.Response, status: int) -> None:
            resp.status = status

        called = threading.Event()
        self.app.add_route("/{status:int}", WebSocketResource(lambda req, conn, status: called.set(), before=before))
        url = self.serve(self.app)
        for status in (302, 403, 503):
            self.assertEqual(self.refused(f"{url}/{status}").status, status)
        self.assertFalse(called.is_set())
        self.check_end(self.dial(f"{url}/200"), 1000)

    def test_login(self) -> None:
        """Cookies set by middleware and by before leave with the 101, and with a refusal; the handler sees its own."""

        class Seen:
            def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
                resp.set_cookie("seen", "yes", secure=False)
                resp.append_header("Set-Cookie", "again=1; Path=/")

        def logged_in(req: falcon.Request, resp: falcon.Response) -> None:
            if name := req.get_param("name"):
                resp.set_cookie("user", name, secure=False, path="/")
            elif not req.get_cookie_values("user"):
                raise falcon.HTTPUnauthorized

        def private(req: falcon.Request, conn: syncws.Conn) -> None:
            conn.send(str(req.get_cookie_values("user")))

        for server, detach in WAYS:
            with self.subTest(server=server, detach=detach):
                app = falcon.App(middleware=[Seen()])
                app.add_route("/private", WebSocketResource(private, before=logged_in, detach=detach))
                url = self.serve(app, server)
                self.assertEqual(self.refused(f"{url}/private").status, 401)
                cookies = self.cookies_of(self.dial(f"{url}/private?name=ann"))
                self.assertEqual(set(cookies.split("; ")), {"seen=yes", "again=1", "user=ann"})
                conn = self.dial(f"{url}/private", Cookie=cookies)
                self.assertEqual(conn.receive(timeout=PATIENCE), "['ann']")
                answer = self.ask(f"{url}/private?name=ann")
                self.assertEqual(answer.status, 400)
                self.assertEqual(set(answer.cookies().split("; ")), {"seen=yes", "again=1", "user=ann"})

    def test_refused_handshake(self) -> None:
        """A handshake that is refused is a normal response."""
        self.app.add_route("/echo", WebSocketResource(echo))
        url = self.serve(self.app)
        answer = self.ask(f"{url}/echo")
        self.assertEqual(answer.status, 400)
        self.assertIn(b"WebSocket", answer.body)
        self.assertEqual(answer.headers.get_all("Content-Type"), ["text/plain; charset=utf-8"])
        answer = self.ask(f"{url}/echo", headers={**HEADERS, "Origin": "http://elsewhere.example"})
        self.assertEqual(answer.status, 403)
        self.assertIsNone(answer.headers["Upgrade"])

    def test_refusal_of_ones_own(self) -> None:
        """A response made by the upgrader's error keeps all of its headers, cookies too."""

        def error(request: syncws.Request, status: int, reason: syncws.HandshakeError) -> syncws.Response:
            return syncws.Response("no", 418, [("X-Why", "so"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])

        self.app.add_route("/echo", WebSocketResource(echo, upgrader=Upgrader(error=error)))
        answer = self.ask(self.serve(self.app) + "/echo")
        self.assertEqual((answer.status, answer.body, answer.headers["X-Why"]), (418, b"no", "so"))
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2; Path=/"])

    def test_process_response(self) -> None:
        """A middleware sees the empty 101: at once where the connection is detached, else when it is over."""
        seen = threading.Event()
        statuses: list[Any] = []

        class Late:
            def process_response(
                self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
            ) -> None:
                statuses.append((falcon.code_to_http_status(resp.status), req_succeeded))
                seen.set()

        app = falcon.App(middleware=[Late()])
        app.add_route("/detached", WebSocketResource(echo))
        app.add_route("/in-view", WebSocketResource(echo, detach=False))
        url = self.serve(app)
        conn = self.dial(f"{url}/detached")
        self.assertTrue(seen.wait(PATIENCE))
        self.check_echo(conn)
        conn.close()
        seen.clear()
        conn = self.dial(f"{url}/in-view")
        self.check_echo(conn)
        self.assertFalse(seen.is_set())
        conn.close()
        self.assertTrue(seen.wait(PATIENCE))
        self.assertEqual(statuses, [(falcon.HTTP_101, True)] * 2)

    def test_handler_raises(self) -> None:
        """An error of the handler, Falcon's own too, closes with 1011 and is logged once, by nobody else."""

        def forbid(req: falcon.Request, conn: syncws.Conn) -> None:
            raise falcon.HTTPForbidden

        for detach in (None, False):
            app = falcon.App()
            app.add_route("/echo", WebSocketResource(forbid, detach=detach))
            with self.assertLogs("syncws.wsgi", "ERROR") as logs:
                self.check_end(self.dial(self.serve(app) + "/echo"), 1011)
            self.assertEqual(len(logs.records), 1)

    def test_wrong_arguments(self) -> None:
        """Invalid arguments are refused when the resource is made."""
        for wrong, said in (
            ({"handler": "/echo"}, r"takes a handler\(req, conn, \.\.\.\)"),
            ({"upgrader": "v1"}, "upgrader must be an Upgrader"),
            ({"detach": "yes"}, "detach must be True, False or None"),
            ({"max_connections": 0}, "max_connections must be at least 1"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex((TypeError, ValueError), said):
                WebSocketResource(**{"handler": echo, **wrong})  # type: ignore[arg-type]

    def test_wrong_upgrader_of_serve(self) -> None:
        """serve refuses an upgrader that is none, before it looks at the request."""
        with self.assertRaisesRegex(TypeError, "upgrader must be an Upgrader"):
            serve(object(), object(), echo, upgrader="v1")  # type: ignore[arg-type]
