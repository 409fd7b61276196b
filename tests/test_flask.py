"""Flask: routes and where they go, the context of a handler, refusals before the 101, configuration.

Applications are real, and so is their server: werkzeug's, in a thread. Whatever does not depend on it is tested with
`syncws.testing.connect` as well, which uses the project's own server.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import http.client
import io
import logging
import queue
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import flask
from flask import Blueprint, Flask, current_app, g, got_request_exception, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

import syncws
from syncws._base.advice import advisor
from syncws.flask import Sock
from syncws.testing import LeakChecks, await_, connect
from syncws.wsgi import open_connections
from tests.handshakes import HEADERS
from tests.tasks import PATIENCE, Task, linger_briefly


class QuietHandler(WSGIRequestHandler):
    """werkzeug's handler without its access log; its log of errors stays."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


def each_way(test: Callable[[Any, bool | None], None]) -> Callable[[Any], None]:
    """Run a test with handlers that are detached from their views, and with handlers in the views."""

    @functools.wraps(test)
    def run(self: Any) -> None:
        for detach in (None, False):
            with self.subTest(detach=detach):
                test(self, detach)

    return run


def make_app(**config: Any) -> Flask:
    app = Flask("shop")
    app.secret_key = "secret"
    app.config.update(config)
    return app


class FlaskCase(LeakChecks):
    """An application on a real server."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)
        self.addCleanup(self._check_no_handlers)

    def serve(self, app: Flask) -> str:
        """Serve it until the end of the test; its address, as host:port."""
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
        self.addCleanup(self._stop, server, Task(server.serve_forever, poll_interval=0.01))
        return f"127.0.0.1:{server.port}"

    def _stop(self, server: BaseWSGIServer, serving: Task) -> None:
        server.shutdown()
        serving.result()
        server.server_close()

    def _check_no_handlers(self) -> None:
        self.assertTrue(await_(lambda: open_connections() == 0), "handlers are left")

    def dial(self, address: str, path: str = "/echo", **options: Any) -> syncws.Conn:
        conn = syncws.dial(f"ws://{address}{path}", proxy=None, **options)
        self.addCleanup(conn.close)
        return conn

    def hear(self, conn: syncws.Conn) -> str | bytes:
        return conn.receive(timeout=PATIENCE)

    def check_echo(self, address: str, path: str = "/echo", **options: Any) -> syncws.Conn:
        """Check that a connection gets its messages back."""
        conn = self.dial(address, path, **options)
        conn.send("hello")
        self.assertEqual(self.hear(conn), "hello")
        return conn

    def refusal(self, address: str, path: str = "/echo", **options: Any) -> Any:
        """The answer to a handshake that is refused."""
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            syncws.dial(f"ws://{address}{path}", proxy=None, **options)
        return refused.exception.response

    def end(self, conn: syncws.Conn) -> syncws.CloseError:
        """How the server closes a connection."""
        with self.assertRaises(syncws.CloseError) as closed:
            conn.receive(timeout=PATIENCE)
        conn.close()
        return closed.exception

    def ask(
        self, address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of a plain request."""
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()


class RouteTests(FlaskCase):
    """Where routes go, and what may be one."""

    def test_application(self) -> None:
        """A route of a Sock over an application gets text and binary back, and the variables of its rule."""
        app = make_app()
        sock = Sock(app)
        sock.route("/echo")(echo)

        @sock.route("/add/<int:a>/<b>")
        def add(conn: syncws.Conn, a: int, b: str) -> None:
            conn.send(f"{a + 1} {b}")

        address = self.serve(app)
        conn = self.check_echo(address)
        conn.send(b"\0\xff" * 40_000)
        self.assertEqual(self.hear(conn), b"\0\xff" * 40_000)
        self.assertEqual(self.hear(self.dial(address, "/add/4/y%C3%A4?q=1")), "5 yä")

    def test_our_own_server(self) -> None:
        """The same application runs over a pair of sockets, and its refusals are those of a server."""
        app = make_app()
        sock = Sock(app)
        sock.route("/echo")(echo)
        sock.route("/no", endpoint="no", before=lambda: ("no", 403))(echo)
        with connect(app, "/echo") as conn:
            conn.send("hello")
            self.assertEqual(self.hear(conn), "hello")
        with self.assertRaises(syncws.BadHandshakeError) as refused, connect(app, "/no"):
            pass
        self.assertEqual(refused.exception.status, 403)

    @each_way
    def test_context_on_our_own_server(self, detach: bool | None) -> None:
        """There too a handler has a context of its own, whose teardown runs after that of the view, or before it."""
        app = make_app()
        torn_down: list[str] = []
        app.teardown_appcontext(lambda error: torn_down.append(g.where))

        def before() -> None:
            g.where = "view"
            session["cart"] = 1

        @Sock(app).route("/tell", before=before, detach=detach)
        def tell(conn: syncws.Conn) -> None:
            conn.send_json([request.path, dict(session), "where" in g, conn.detached])
            g.where = "handler"

        with connect(app, "/tell?q=1") as conn:
            self.assertEqual(conn.receive_json(), ["/tell", {"cart": 1}, False, detach is None])
            self.assertIn("session=", conn.response.headers["Set-Cookie"])
            self.assertEqual(self.end(conn).code, 1000)
        self.assertEqual(torn_down, ["view", "handler"] if detach is None else ["handler", "view"])

    def test_the_function_stays(self) -> None:
        """A decorated function is returned unchanged, and may have several routes."""
        app = make_app()
        sock = Sock(app)
        self.assertIs(sock.route("/echo")(echo), echo)
        self.assertIs(sock.route("/again")(echo), echo)
        address = self.serve(app)
        self.check_echo(address)
        self.check_echo(address, "/again")

    def test_init_app(self) -> None:
        """Routes reach each application that the Sock is made for, whether they come before it or later, once."""
        sock = Sock()
        sock.route("/early")(echo)
        apps = [make_app() for _ in range(2)]
        for app in apps:
            sock.init_app(app)
            sock.init_app(app)
        sock.route("/late")(echo)
        for app in apps:
            rules = [rule.rule for rule in app.url_map.iter_rules() if rule.websocket]
            self.assertEqual(sorted(rules), ["/early", "/late"])
            address = self.serve(app)
            self.check_echo(address, "/early")
            self.check_echo(address, "/late")

    def test_applications_are_not_kept(self) -> None:
        """A Sock of a module does not keep the applications alive that a factory makes of it."""
        sock = Sock()
        sock.route("/echo")(echo)
        made = []
        for _ in range(3):
            app = make_app()
            sock.init_app(app)
            made.append(weakref.ref(app))
        del app
        self.assertTrue(await_(lambda: all(map(is_gone, made))))

    def test_blueprints(self) -> None:
        """A route belongs to a blueprint by bp=, or by a Sock over it, with its prefix and its own `before_request`."""
        api = Blueprint("api", __name__, url_prefix="/api")
        chat = Blueprint("chat", __name__)

        @api.before_request
        def only_friends() -> Any:
            return None if "friend" in request.args else ("no", 403)

        Sock().route("/echo", bp=api)(echo)
        Sock(chat).route("/echo")(echo)

        @Sock(chat).route("/where")
        def where(conn: syncws.Conn) -> None:
            conn.send(f"{request.endpoint} {request.blueprint} {url_for('.echo')} {url_for('api.echo')}")

        for _ in range(2):  # applications
            app = make_app()
            app.register_blueprint(api)
            app.register_blueprint(chat, url_prefix="/chat")
            address = self.serve(app)
            self.check_echo(address, "/api/echo?friend")
            self.assertEqual(self.refusal(address, "/api/echo").status, 403)
            self.check_echo(address, "/chat/echo")
            told = f"chat.where chat ws://{address}/chat/echo ws://{address}/api/echo"
            self.assertEqual(self.hear(self.dial(address, "/chat/where")), told)

    def test_options_are_of_flask(self) -> None:
        """endpoint, defaults and the like are what they are in Flask."""
        app = make_app()
        sock = Sock(app)

        @sock.route("/page", endpoint="book", defaults={"page": 1})
        @sock.route("/page/<int:page>", endpoint="book")
        def book(conn: syncws.Conn, page: int) -> None:
            conn.send(url_for("book", page=page + 1))

        address = self.serve(app)
        self.assertEqual(self.hear(self.dial(address, "/page")), f"ws://{address}/page/2")
        self.assertEqual(self.hear(self.dial(address, "/page/6")), f"ws://{address}/page/7")

    def test_plain_http(self) -> None:
        """A plain request for the rule is Flask's 400; or the rule may be that of a page as well."""
        app = make_app()
        sock = Sock(app)
        sock.route("/echo")(echo)
        sock.route("/both")(echo)

        @app.get("/both")
        def page() -> str:
            return "a page"

        address = self.serve(app)
        status, _, body = self.ask(address, "GET", "/echo")
        self.assertEqual(status, 400)
        self.assertIn(b"400 Bad Request", body)
        self.assertEqual(self.ask(address, "GET", "/both")[::2], (200, b"a page"))
        self.check_echo(address, "/both")
        self.assertEqual(self.refusal(address, "/nothing").status, 404)

    def test_a_proxy_that_drops_the_upgrade(self) -> None:
        """Flask's router answers a handshake without its Upgrade header, which nginx drops: the log had nothing about
        it. It is a WARNING that names the lines of nginx, once a minute; of a plain request it is INFO."""
        key = {"Sec-WebSocket-Key": HEADERS["Sec-WebSocket-Key"], "Sec-WebSocket-Version": "13"}
        for name in ("app", "late", "blueprint", "bp"):
            app, blueprint = make_app(), Blueprint("api", "api")
            if name == "blueprint":
                Sock(blueprint).route("/echo")(echo)
            elif name == "bp":
                Sock().route("/echo", bp=blueprint)(echo)
            else:
                sock = Sock(app if name == "app" else None)
                sock.route("/echo")(echo)
                sock.init_app(app)
                Sock(app)  # a second one tells nothing twice
            app.register_blueprint(blueprint)
            app.add_url_rule("/page", "page", lambda: "a page")
            advisor.begin_anew()
            with self.subTest(name), self.assertLogs("syncws.server", logging.INFO) as logs:
                client = app.test_client()
                for headers in (key, key, {"X-Plain": "yes"}):
                    self.assertEqual(client.get("/echo", headers=headers).status_code, 400)
                self.assertEqual(client.get("/page", headers=HEADERS).status_code, 400)
                self.assertEqual(client.get("/page").status_code, 200)
                self.assertEqual([record.levelname for record in logs.records], ["WARNING", "INFO", "INFO", "WARNING"])
                said = [record.getMessage() for record in logs.records]
                self.assertIn("GET /echo is refused with 400: this is a WebSocket endpoint, and the request's", said[0])
                self.assertIn("proxy_set_header Upgrade $http_upgrade", said[0])
                self.assertIn("its rule is none of a WebSocket; @sock.route(rule) makes one", said[3])

    def test_bad_routes(self) -> None:
        """An invalid route is refused when it is decorated, and the error says what to write instead."""
        app = make_app()
        sock = Sock(app)

        async def handler(conn: syncws.Conn) -> None:
            pass

        class Nameless:
            def __call__(self, conn: syncws.Conn) -> None:
                pass

        wrong: list[tuple[Callable[[], object], type[Exception], str]] = [
            (lambda: sock.route(echo), TypeError, r'a route is decorated with @sock.route\("/path"\)'),  # type: ignore[arg-type]
            (lambda: sock.route("/x")("no"), TypeError, "decorates a handler"),  # type: ignore[type-var]
            (lambda: sock.route("/x")(handler), TypeError, "is a coroutine function: write def"),
            (lambda: sock.route("/x")(Nameless()), TypeError, "give its route an endpoint="),
            (lambda: sock.route("/x", bp="api"), TypeError, "bp is a Blueprint"),  # type: ignore[arg-type]
            (lambda: sock.route("/x", before="login"), TypeError, "before must be a callable"),  # type: ignore[arg-type]
            (lambda: sock.route("/x", detach="yes"), TypeError, "detach must be True, False or None"),  # type: ignore[arg-type]
            (lambda: sock.route("/x", upgrader=syncws.Upgrader), TypeError, "upgrader must be an Upgrader"),  # type: ignore[arg-type]
            (lambda: sock.route("/x", websocket=False), TypeError, "leave it out"),
            (lambda: sock.route("/x", methods=["POST"])(echo), ValueError, "WebSocket rules"),
            (lambda: sock.init_app(__name__), TypeError, "is for a Flask application or a Blueprint"),  # type: ignore[arg-type]
            (lambda: Sock(upgrader=syncws.Upgrader), TypeError, "upgrader must be an Upgrader"),  # type: ignore[arg-type]
            (lambda: Sock(detach=1), TypeError, "detach must be True, False or None"),  # type: ignore[arg-type]
        ]
        for call, kind, said in wrong:
            with self.subTest(said), self.assertRaisesRegex(kind, said):
                call()
        sock.route("/x", endpoint="nameless")(Nameless())

    def test_refused_handshakes(self) -> None:
        """A refusal of the Upgrader is a response of the application, which its functions see like any other."""
        app = make_app()
        seen = []
        Sock(app).route("/echo")(echo)

        @app.after_request
        def note(response: flask.Response) -> flask.Response:
            seen.append(response.status_code)
            response.headers["X-Seen"] = "yes"
            return response

        address = self.serve(app)
        with self.assertLogs("syncws", logging.INFO):
            refused = self.refusal(address, headers={"Origin": "https://elsewhere.example"})
        self.assertEqual((refused.status, refused.headers["X-Seen"]), (403, "yes"))
        self.assertIn(b"a page of this origin may not connect here", refused.body)
        self.assertIsNone(refused.headers.get("Upgrade"))
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        with self.assertLogs("syncws", logging.INFO):
            self.assertEqual(self.ask(address, "GET", "/echo", headers=upgrade)[0], 400)
        self.check_echo(address)
        self.assertTrue(await_(lambda: len(seen) == 3))
        self.assertEqual(seen, [403, 400, 101])


def is_gone(reference: weakref.ref[Any]) -> bool:
    gc.collect()
    return reference() is None


class ContextTests(FlaskCase):
    """The context of a handler, detached from the view or in it."""

    @each_way
    def test_context(self, detach: bool | None) -> None:
        """request, session, current_app and url_for are those of the handshake, in either way; g is a new one."""
        app = make_app()

        @app.before_request
        def remember() -> None:
            g.user = "ann"
            session["cart"] = [1, 2]
            request.note = "mine"  # type: ignore[attr-defined]

        @Sock(app).route("/tell/<word>", detach=detach)
        def tell(conn: syncws.Conn, word: str) -> None:
            conn.send_json(
                {
                    "app": current_app.name,
                    "args": request.args["q"],
                    "cookie": request.cookies["size"],
                    "detached": conn.detached,
                    "form": request.form,
                    "g": "user" in g,
                    "header": request.headers["X-Word"],
                    "note": request.note,  # type: ignore[attr-defined]
                    "session": dict(session),
                    "url": request.url,
                    "url_for": url_for("tell", word="x"),
                    "view_args": request.view_args,
                    "word": word,
                }
            )

        address = self.serve(app)
        conn = self.dial(address, "/tell/me?q=1", headers={"Cookie": "size=4", "X-Word": "w"})
        told = {
            "app": "shop",
            "args": "1",
            "cookie": "4",
            "detached": detach is None,
            "form": {},
            "g": False,
            "header": "w",
            "note": "mine",
            "session": {"cart": [1, 2]},
            "url": f"http://{address}/tell/me?q=1",
            "url_for": f"ws://{address}/tell/x",
            "view_args": {"word": "me"},
            "word": "me",
        }
        self.assertEqual(conn.receive_json(), told)

    @each_way
    def test_detached(self, detach: bool | None) -> None:
        """Detached, the view is over while the handler runs; in the view, it is not."""
        app = make_app()
        torn_down: queue.SimpleQueue[str] = queue.SimpleQueue()
        Sock(app).route("/echo", detach=detach)(echo)

        @app.teardown_request
        def note(error: BaseException | None) -> None:
            torn_down.put(threading.current_thread().name)

        conn = self.check_echo(self.serve(app))
        if detach is None:
            self.assertNotEqual(torn_down.get(timeout=PATIENCE), "syncws-detached")
        self.assertTrue(torn_down.empty())
        conn.close()
        names = [torn_down.get(timeout=PATIENCE) for _ in range(1 if detach is None else 2)]
        self.assertEqual([name == "syncws-detached" for name in names], [True] if detach is None else [False] * 2)

    @each_way
    def test_teardown(self, detach: bool | None) -> None:
        """Teardown functions run for the handler's context, with its g; the end of the connection is no error."""
        app = make_app()
        calls: queue.SimpleQueue[tuple[str, str | None, BaseException | None]] = queue.SimpleQueue()

        @app.teardown_request
        def request_ends(error: BaseException | None) -> None:
            calls.put(("request", g.get("mine"), error))

        @app.teardown_appcontext
        def context_ends(error: BaseException | None) -> None:
            calls.put(("context", g.get("mine"), error))

        @Sock(app).route("/echo", detach=detach)
        def handler(conn: syncws.Conn) -> None:
            g.mine = "handler"
            while True:
                conn.send(conn.receive())

        conn = self.check_echo(self.serve(app))
        conn.close()
        made = [calls.get(timeout=PATIENCE) for _ in range(4)]
        of_handler = [(what, error) for what, mine, error in made if mine == "handler"]
        self.assertEqual(of_handler, [("request", None), ("context", None)])
        self.assertEqual(len(made) - len(of_handler), 2)

    @each_way
    def test_error(self, detach: bool | None) -> None:
        """An exception closes with 1011, is logged once with its traceback, and reaches teardowns and the signal."""
        app = make_app()
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        signalled: list[BaseException] = []

        def note(sender: Flask, exception: BaseException, **_: Any) -> None:
            signalled.append(exception)

        got_request_exception.connect(note, app)

        @Sock(app).route("/fail", detach=detach)
        def fail(conn: syncws.Conn) -> None:
            app.teardown_request_funcs.setdefault(None, []).append(ended.put)
            raise ZeroDivisionError("by the handler")

        address = self.serve(app)
        with self.assertLogs("", logging.WARNING) as logs:
            self.assertEqual(self.end(self.dial(address, "/fail")).code, 1011)
            error = ended.get(timeout=PATIENCE)
            self.assertTrue(await_(lambda: open_connections() == 0))
        self.assertIsInstance(error, ZeroDivisionError)
        self.assertEqual(signalled, [error])
        self.assertEqual([record.name for record in logs.records], ["syncws.wsgi"])
        self.assertIn("/fail", logs.output[0])
        self.assertIn("ZeroDivisionError: by the handler", logs.output[0])

    def test_the_servers_objects_are_gone(self) -> None:
        """A detached handler's request holds neither the server's socket nor its streams."""
        app = make_app()
        probes = []

        class Probe:
            pass

        def probing(environ: dict[str, Any], start_response: Any) -> Any:
            environ["werkzeug.probe"] = probe = Probe()
            probes.append(weakref.ref(probe))
            return wsgi_app(environ, start_response)

        wsgi_app, app.wsgi_app = app.wsgi_app, probing  # type: ignore[method-assign]

        def look_at_everything() -> None:
            assert request.headers and not request.form and not request.cookies and session is not None

        Sock(app).route("/echo", before=look_at_everything)(echo)
        self.check_echo(self.serve(app))
        self.assertTrue(await_(lambda: is_gone(probes[0])))

    @each_way
    def test_log(self, detach: bool | None) -> None:
        """The application's log works in a handler, also where Flask writes it to wsgi.errors."""
        app = make_app()
        written = io.StringIO()

        def with_errors(environ: dict[str, Any], start_response: Any) -> Any:
            return wsgi_app({**environ, "wsgi.errors": written}, start_response)

        wsgi_app, app.wsgi_app = app.wsgi_app, with_errors  # type: ignore[method-assign]

        @Sock(app).route("/log", detach=detach)
        def log(conn: syncws.Conn) -> None:
            app.logger.error("it is %s", request.path)
            conn.send("done")

        self.hear(self.dial(self.serve(app), "/log"))
        self.assertRegex(written.getvalue(), "^.* ERROR in test_flask: it is /log\n$")

    def test_idle_handler(self) -> None:
        """An idle handler runs in the context of the handler: it can give back what was opened there."""
        app = make_app()
        held: list[str] = []

        @Sock(app).route("/echo")
        def handler(conn: syncws.Conn) -> None:
            conn.set_idle_handler(lambda: g.pop("db", None))
            for message in conn:
                g.db = "open"
                conn.send(message)
                held.append(g.db)

        conn = self.check_echo(self.serve(app))
        conn.send("hello")
        self.hear(conn)
        conn.close()
        self.assertTrue(await_(lambda: held == ["open", "open"]))

    @each_way
    def test_session_is_not_saved_again(self, detach: bool | None) -> None:
        """A session kept by the server is saved before the 101 and not at the end, however long a view lasts."""
        saved: list[dict[str, Any]] = []

        class Kept(SecureCookieSessionInterface):
            def save_session(self, app: Flask, session: Any, response: flask.Response) -> None:
                if session.modified:
                    saved.append(dict(session))

        app = make_app()
        app.session_interface = Kept()
        done = threading.Event()
        app.teardown_request(lambda error: done.set())

        @Sock(app).route("/echo", before=lambda: session.update(cart=1), detach=detach)
        def handler(conn: syncws.Conn) -> None:
            echo(conn)
            session["cart"] = 2

        advisor.begin_anew()
        with self.assertLogs("syncws.wsgi", logging.WARNING) as logs:
            self.check_echo(self.serve(app)).close()
            self.assertTrue(await_(lambda: open_connections() == 0))
        self.assertIn("/echo: the WebSocket handler has changed the session, and the change is lost", logs.output[0])
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(saved, [{"cart": 1}])
        saved.clear()

    @each_way
    def test_session_that_is_only_read(self, detach: bool | None) -> None:
        """What before has changed, and what a handler only reads, is no change that is lost."""
        app = make_app()

        @Sock(app).route("/echo", before=lambda: session.update(cart=1), detach=detach)
        def handler(conn: syncws.Conn) -> None:
            conn.send(str(session["cart"]))

        with self.assertNoLogs("syncws", logging.WARNING):
            self.assertEqual(self.hear(self.dial(self.serve(app))), "1")
            self.assertTrue(await_(lambda: open_connections() == 0))


class BeforeTests(FlaskCase):
    """What is decided before the 101."""

    def test_refusals(self) -> None:
        """Whatever a view may return refuses, and so does abort; the handler is not called."""
        answers: dict[str, Callable[[], Any]] = {
            "text": lambda: "no",
            "tuple": lambda: ("no", 403, {"X-Why": "because"}),
            "json": lambda: {"error": "no"},
            "response": lambda: flask.Response("no", 402),
            "redirect": lambda: redirect("/login"),
            "abort": lambda: flask.abort(401),
            "abort-response": lambda: flask.abort(flask.Response("no", 418)),
        }
        app = make_app()
        sock = Sock(app)

        @sock.route("/<name>", before=lambda name: answers[name]())
        def never(conn: syncws.Conn, name: str) -> None:
            raise AssertionError("the handler was called")

        address = self.serve(app)
        found = {name: self.refusal(address, f"/{name}") for name in answers}
        self.assertEqual(
            {name: response.status for name, response in found.items()},
            {
                "text": 200,
                "tuple": 403,
                "json": 200,
                "response": 402,
                "redirect": 302,
                "abort": 401,
                "abort-response": 418,
            },
        )
        self.assertEqual((found["tuple"].headers["X-Why"], found["tuple"].body), ("because", b"no"))
        self.assertEqual(found["redirect"].headers["Location"], "/login")

    def test_no_answer(self) -> None:
        """True and False, as a handler of Flask-SocketIO returns them, are an error that names `before`."""
        for answer in (True, False):
            app = make_app()
            Sock(app).route("/echo", before=lambda answer=answer: answer)(echo)
            with self.subTest(answer), self.assertLogs(app.logger, logging.ERROR) as logs:
                self.assertEqual(app.test_client().get("/echo", headers=HEADERS).status_code, 500)
                self.assertIn(f"before returns None to let in, or a response; not {answer}", logs.output[0])

    def test_it_takes_no_variables(self) -> None:
        """A before that does not take the variables of the rule fails; the error names them, and what to write. What
        raises a TypeError of its own is told as it is."""
        told = "before is called with the arguments of the view, here room: write before=lambda **variables: None"
        for before, is_told in ((lambda: None, True), (lambda room: room + 1, False)):
            app = make_app()
            Sock(app).route("/<room>", before=before)(lambda conn, room: None)
            with self.subTest(is_told), self.assertLogs(app.logger, logging.ERROR) as logs:
                self.assertEqual(app.test_client().get("/lobby", headers=HEADERS).status_code, 500)
                self.assertEqual(told in logs.output[0], is_told)

    def test_it_lets_pass(self) -> None:
        """before gets the variables of the rule, and may be a coroutine function; None lets the handshake go on."""
        app = make_app()
        sock = Sock(app)
        asked = []

        def before(**variables: Any) -> None:
            asked.append(variables)

        async def later(room: str) -> Any:
            asked.append({"room": room, "later": True})
            return None if room == "lobby" else ("no", 403)

        sock.route("/rooms/<room>", before=before)(lambda conn, room: conn.send(room))
        sock.route("/later/<room>", before=later, endpoint="later")(lambda conn, room: conn.send(room))
        address = self.serve(app)
        self.assertEqual(self.hear(self.dial(address, "/rooms/lobby")), "lobby")
        self.assertEqual(self.hear(self.dial(address, "/later/lobby")), "lobby")
        self.assertEqual(self.refusal(address, "/later/attic").status, 403)
        self.assertEqual(asked, [{"room": "lobby"}, {"room": "lobby", "later": True}, {"room": "attic", "later": True}])

    def test_plain_requests_are_none_of_its_business(self) -> None:
        """before is called for handshakes only."""
        app = make_app()
        Sock(app).route("/echo", before=lambda: self.fail("called"))(echo)
        self.assertEqual(self.ask(self.serve(app), "GET", "/echo")[0], 400)

    def test_error(self) -> None:
        """An exception of before is an error of the view: 500, and the application's log has it."""
        app = make_app()
        Sock(app).route("/echo", before=lambda: 1 // 0)(echo)
        address = self.serve(app)
        with self.assertLogs(app.logger, logging.ERROR) as logs:
            self.assertEqual(self.refusal(address).status, 500)
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_login(self) -> None:
        """A decorator for views guards a route; with a session the handler is called, and reads it."""
        app = make_app()
        sock = Sock(app)

        def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args, **variables: view(*args, **variables) if "user" in session else ("log in first", 401)

        @app.post("/login")
        def login() -> str:
            session["user"] = request.form["user"]
            return "welcome"

        @sock.route("/feed", before=login_required(lambda **variables: None))
        def feed(conn: syncws.Conn) -> None:
            conn.send(f"hello {session['user']}")

        address = self.serve(app)
        self.assertEqual(self.refusal(address, "/feed").status, 401)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        headers = dict(self.ask(address, "POST", "/login", b"user=ann", form)[1])
        cookie = headers["Set-Cookie"].partition(";")[0]
        self.assertEqual(self.hear(self.dial(address, "/feed", headers={"Cookie": cookie})), "hello ann")

    @each_way
    def test_session_cookie(self, detach: bool | None) -> None:
        """What before changes in the session reaches the client with the 101, detached or not; nothing else does."""
        app = make_app(PERMANENT_SESSION_LIFETIME=timedelta(hours=1))
        sock = Sock(app, detach=detach)

        @app.after_request
        def add(response: flask.Response) -> flask.Response:
            response.set_cookie("late", "1")
            return response

        def begin() -> None:
            session["visits"] = session.get("visits", 0) + 1

        def last() -> None:
            session.permanent = True

        sock.route("/begin", before=begin, endpoint="begin")(echo)
        sock.route("/forget", before=lambda: session.clear(), endpoint="forget")(echo)
        sock.route("/last", before=last, endpoint="last")(echo)
        sock.route("/look", before=lambda: session.get("visits"), endpoint="look")(echo)
        sock.route("/none", endpoint="none")(echo)
        address = self.serve(app)

        def cookie(path: str, sent: str = "") -> tuple[dict[str, Any], str]:
            conn = self.dial(address, path, headers={"Cookie": sent} if sent else {})
            cookies = conn.response.headers.get_all("Set-Cookie")
            conn.close()
            if not cookies:
                return {}, ""
            (line,) = cookies
            value, _, rest = line.removeprefix("session=").partition(";")
            interface = SecureCookieSessionInterface().get_signing_serializer(app)
            assert interface is not None
            return interface.loads(value) if value else {}, f"session={value}" if value else rest

        self.assertEqual(cookie("/none"), ({}, ""))
        first, sent = cookie("/begin")
        second, sent = cookie("/begin", sent)
        self.assertEqual((first, second), ({"visits": 1}, {"visits": 2}))
        self.assertEqual(cookie("/none", sent), ({}, ""))
        self.assertEqual(cookie("/last", sent)[0], {"visits": 2, "_permanent": True})
        values, gone = cookie("/forget", sent)
        self.assertEqual(values, {})
        self.assertIn("Expires=Thu, 01 Jan 1970", gone)

    def test_session_of_a_refused_handshake(self) -> None:
        """If the Upgrader refuses, the session is saved with that response, as with any."""
        app = make_app()

        def begin() -> None:
            session["visits"] = 1

        Sock(app).route("/echo", before=begin)(echo)
        address = self.serve(app)
        with self.assertLogs("syncws", logging.INFO):
            refused = self.refusal(address, headers={"Origin": "https://elsewhere.example"})
        self.assertEqual(refused.status, 403)
        self.assertEqual(len(refused.headers.get_all("Set-Cookie")), 1)

    def test_without_a_secret_key(self) -> None:
        """An application without sessions has WebSockets all the same."""
        app = make_app()
        app.secret_key = None
        Sock(app).route("/echo", before=lambda: session.get("nothing"))(echo)
        self.assertIsNone(self.check_echo(self.serve(app)).response.headers.get("Set-Cookie"))

    def test_session_without_a_record_of_changes(self) -> None:
        """A session class of the application's own, whose `modified` cannot be set, does no harm."""

        class Always(SecureCookieSession):
            modified = property(lambda self: True)

            def __init__(self, initial: Any = None) -> None:
                dict.__init__(self, initial or {})

        class Interface(SecureCookieSessionInterface):
            session_class = Always

        app = make_app()
        app.session_interface = Interface()
        Sock(app).route("/echo", before=lambda: session.update(a=1))(echo)
        self.assertIn("session=", self.check_echo(self.serve(app)).response.headers["Set-Cookie"])


class LateTests(FlaskCase):
    """A handler that answers as a view would, although the handshake is over."""

    def late(self, detach: bool | None, result: Callable[[], Any]) -> tuple[syncws.CloseError, logging.LogRecord]:
        """How the connection of such a handler ends, and the one line of the log about it."""
        app = make_app()
        errors: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        @Sock(app).route("/late", detach=detach)
        def late(conn: syncws.Conn) -> Any:
            app.teardown_request_funcs.setdefault(None, []).append(errors.put)
            return result()

        address = self.serve(app)
        with self.assertLogs("syncws", logging.WARNING) as logs:
            end = self.end(self.dial(address, "/late"))
            self.assertTrue(await_(lambda: open_connections() == 0))
        self.assertIsNone(errors.get(timeout=PATIENCE))
        (record,) = logs.records
        return end, record

    def test_responses(self) -> None:
        """A response closes with 1008, and the log says where the check belongs."""
        for detach in (None, False):
            for result, status in ((lambda: redirect("/login"), "302 FOUND"), (lambda: flask.abort(401), "401 UNAUTH")):
                with self.subTest(detach=detach, status=status):
                    end, record = self.late(detach, result)
                    self.assertEqual(end.code, 1008)
                    self.assertTrue(end.reason.startswith(status), end.reason)
                    self.assertEqual((record.name, record.levelno), ("syncws.wsgi", logging.ERROR))
                    said = record.getMessage()
                    self.assertIn(f"/late: the WebSocket handler ends with a response, {status}", said)
                    self.assertIn("@sock.route(rule, before=login_required(lambda **variables: None))", said)
                    self.assertEqual(record.exc_info is not None, status == "401 UNAUTH")

    def test_other_values(self) -> None:
        """A login check under the route may return a text, a tuple or a dict: 1008, and the log says it is late."""
        for value in ("no", ("no", 401), {"error": "no"}, 0):
            with self.subTest(value=value):
                end, record = self.late(None, lambda value=value: value)
                self.assertEqual(end.code, 1008)
                self.assertIn(f"the WebSocket handler returned {value!r}", record.getMessage())


class ConfigTests(FlaskCase):
    """Keys of an application's configuration, and arguments that override them."""

    def app_with(self, **config: Any) -> Flask:
        app = make_app(**config)
        Sock(app).route("/echo")(echo)
        return app

    def test_options(self) -> None:
        """SYNCWS_OPTIONS are options of the Upgrader, also if they are set after the Sock was made."""
        app = self.app_with()
        app.config["SYNCWS_OPTIONS"] = {"subprotocols": ["v1"], "enable_compression": True, "read_limit": 5}
        address = self.serve(app)
        conn = self.check_echo(address, subprotocols=["v0", "v1"], enable_compression=True)
        self.assertEqual((conn.subprotocol, conn.compression), ("v1", True))
        conn.send("123456")
        self.assertEqual(self.end(conn).code, 1009)
        app.config["SYNCWS_OPTIONS"]["subprotocols"] = ["v0"]
        self.assertEqual(self.check_echo(address, subprotocols=["v0", "v1"]).subprotocol, "v0")

    def test_applications_have_their_own(self) -> None:
        """One Sock, two applications: each goes by its own configuration."""
        sock = Sock()
        sock.route("/echo")(echo)
        for name in ("a", "b"):
            app = make_app(SYNCWS_OPTIONS={"subprotocols": [name]})
            sock.init_app(app)
            self.assertEqual(self.check_echo(self.serve(app), subprotocols=["a", "b"]).subprotocol, name)

    def test_allowed_hosts(self) -> None:
        """allowed_hosts are an option of the Upgrader, too: a page whose name was made to point here gets 421."""
        address = self.serve(self.app_with(SYNCWS_OPTIONS={"allowed_hosts": ["127.0.0.1"]}))
        self.check_echo(address)
        with self.assertLogs("syncws.server") as logs:
            answer = self.refusal(address, headers={"Host": "evil.example", "Origin": "http://evil.example"})
        self.assertEqual(answer.status, 421)
        self.assertIn('add it to app.config["SYNCWS_OPTIONS"] = {"allowed_hosts": [...]}', logs.output[0])

    def test_the_log_names_the_setting(self) -> None:
        """What is refused by options of the configuration names it, where an Upgrader of the program's is named else;
        and what a proxy has to pass on, as the Host may be the one that is wrong."""
        proxy = "; or, if a proxy stands in front, let it pass the Host it got (nginx: proxy_set_header Host $host;)"
        for upgrader, setting in (
            (None, 'app.config["SYNCWS_OPTIONS"] = {"allowed_origins": [...]}'),
            (syncws.Upgrader(), "allowed_origins of the Upgrader"),
        ):
            app = make_app()
            Sock(app, upgrader=upgrader).route("/echo")(echo)
            advisor.begin_anew()
            headers = {**HEADERS, "Origin": "http://app.example"}
            with self.subTest(setting), self.assertLogs("syncws.server") as logs:
                self.assertEqual(app.test_client().get("/echo", headers=headers).status_code, 403)
                self.assertIn(f"to accept it, add it to {setting}{proxy}", logs.output[0])

    def test_the_log_names_the_setting_of_subprotocols(self) -> None:
        """The same of subprotocols, whether there are any or none."""
        for config, said in (
            ({}, "the Upgrader has none: give it the names that this server speaks"),
            ({"SYNCWS_OPTIONS": {"subprotocols": ["v1"]}}, "none of them is in"),
        ):
            app = make_app(**config)
            Sock(app).route("/echo")(echo)
            advisor.begin_anew()
            with self.subTest(said), self.assertLogs("syncws.server") as logs:
                app.test_client().get("/echo", headers={**HEADERS, "Sec-WebSocket-Protocol": "v9"})
                self.assertIn(said, logs.output[0])
                self.assertIn('app.config["SYNCWS_OPTIONS"] = {"subprotocols": [...]}', logs.output[0])

    def test_one_upgrader(self) -> None:
        """Unless its configuration changes, an application's Upgrader is made once."""
        app = self.app_with(SYNCWS_OPTIONS={"subprotocols": ["a"]})
        made = app.extensions["syncws"]
        self.check_echo(self.serve(app))
        self.assertIs(app.extensions["syncws"], made)

    def test_precedence(self) -> None:
        """An argument of the route overrides that of the Sock, which overrides the configuration."""
        app = make_app(SYNCWS_OPTIONS={"subprotocols": ["config"]}, SYNCWS_DETACH=False)
        told: list[bool] = []

        def tell(conn: syncws.Conn) -> None:
            told.append(conn.detached)

        of_config, of_sock = Sock(app), Sock(app, upgrader=syncws.Upgrader(subprotocols=["sock"]), detach=True)
        of_config.route("/1")(tell)
        of_sock.route("/2", endpoint="2")(tell)
        of_sock.route("/3", endpoint="3", upgrader=syncws.Upgrader(subprotocols=["route"]), detach=False)(tell)
        address = self.serve(app)
        offers = ["route", "sock", "config"]
        chosen = []
        for path in ("/1", "/2", "/3"):
            conn = self.dial(address, path, subprotocols=offers)
            self.assertEqual(self.end(conn).code, 1000)
            chosen.append(conn.subprotocol)
        self.assertEqual(chosen, ["config", "sock", "route"])
        self.assertEqual(told, [False, True, False])

    def test_max_connections(self) -> None:
        """One connection more than SYNCWS_MAX_CONNECTIONS is refused with 503."""
        address = self.serve(self.app_with(SYNCWS_MAX_CONNECTIONS=1))
        conn = self.check_echo(address)
        with self.assertLogs("syncws", logging.WARNING):
            self.assertEqual(self.refusal(address).status, 503)
        conn.close()
        self.assertTrue(await_(lambda: open_connections() == 0))
        self.check_echo(address)

    def test_flask_sock(self) -> None:
        """The options in SOCK_SERVER_OPTIONS that have a counterpart hold, if there is no SYNCWS_OPTIONS."""
        options: dict[str, Any] = {"ping_interval": 25, "max_message_size": 5, "subprotocols": "v1"}
        app = self.app_with(SOCK_SERVER_OPTIONS=options)
        upgrader = app.extensions["syncws"][2]
        self.assertEqual((upgrader.ping_interval, upgrader.read_limit, upgrader.subprotocols), (25, 5, ("v1",)))
        conn = self.check_echo(self.serve(app), subprotocols=["v1"])
        self.assertEqual(conn.subprotocol, "v1")
        conn.send("123456")
        self.assertEqual(self.end(conn).code, 1009)
        for nothing in (None, 0):
            app = self.app_with(SOCK_SERVER_OPTIONS=dict.fromkeys(options, nothing))
            upgrader = app.extensions["syncws"][2]
            self.assertEqual((upgrader.ping_interval, upgrader.read_limit, upgrader.subprotocols), (None, None, None))
        app = self.app_with(SOCK_SERVER_OPTIONS={"thread_class": object}, SYNCWS_OPTIONS={})
        self.assertEqual(app.extensions["syncws"][2], syncws.Upgrader())

    def test_mistakes(self) -> None:
        """A wrong value is an error that names the key and the fix, when the Sock is made or at the first handshake."""
        wrong: list[tuple[str, Any, str]] = [
            ("SYNCWS_OPTIONS", ["read_limit"], "SYNCWS_OPTIONS is a dict of options"),
            (
                "SYNCWS_OPTIONS",
                {"limit": 1},
                "SYNCWS_OPTIONS: 'limit' is no option of syncws.Upgrader; its options are .*read",
            ),
            ("SYNCWS_OPTIONS", {"max_message_size": 1}, "SYNCWS_OPTIONS: .* of flask-sock; here it is 'read_limit'"),
            ("SYNCWS_OPTIONS", {"read_limit": -1}, "SYNCWS_OPTIONS: read_limit must be at least 0"),
            ("SYNCWS_OPTIONS", {"subprotocols": "v1"}, "SYNCWS_OPTIONS: subprotocols is a list"),
            ("SYNCWS_DETACH", 1, "SYNCWS_DETACH is True, False or None"),
            ("SYNCWS_MAX_CONNECTIONS", "10", "SYNCWS_MAX_CONNECTIONS is an integer"),
            ("SYNCWS_MAX_CONNECTIONS", 0, "SYNCWS_MAX_CONNECTIONS must be at least 1"),
            ("SOCK_SERVER_OPTIONS", 25, "SOCK_SERVER_OPTIONS is a dict of options"),
            (
                "SOCK_SERVER_OPTIONS",
                {"receive_bytes": 1},
                "SOCK_SERVER_OPTIONS: .*it is read_buffer_size in",
            ),
            ("SOCK_SERVER_OPTIONS", {"thread_class": object}, "SOCK_SERVER_OPTIONS: .*leave it out"),
            ("SOCK_SERVER_OPTIONS", {"event_class": object}, "SOCK_SERVER_OPTIONS: .*leave it out"),
            ("SOCK_SERVER_OPTIONS", {"selector_class": object}, "SOCK_SERVER_OPTIONS: .*leave it out"),
            ("SOCK_SERVER_OPTIONS", {"ping": 1}, "SOCK_SERVER_OPTIONS: 'ping' is no option of flask-sock"),
            ("SOCK_SERVER_OPTIONS", {"ping_interval": "1"}, "SOCK_SERVER_OPTIONS: ping_interval is"),
        ]
        late = self.app_with()
        address = self.serve(late)
        for key, value, said in wrong:
            with self.subTest(key=key, value=value):
                with self.assertRaisesRegex((TypeError, ValueError), f"^{said}"):
                    self.app_with(**{key: value})
                late.config[key] = value
                with self.assertLogs(late.logger, logging.ERROR) as logs:
                    self.assertEqual(self.refusal(address).status, 500)
                self.assertRegex(logs.output[0], f"Error: {said}")
                del late.config[key]
        self.check_echo(address)


class UntouchedTests(FlaskCase):
    """Views that were never WebSockets."""

    REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
        ("GET", "/", None, {}),
        ("HEAD", "/", None, {}),
        ("OPTIONS", "/", None, {}),
        ("POST", "/", None, {}),
        ("GET", "/?q=%C3%A4&q=2", None, {"Cookie": "size=4"}),
        ("GET", "/session", None, {}),
        ("GET", "/nothing", None, {}),
        ("GET", "/folder", None, {}),
        ("GET", "/folder/", None, {}),
        ("GET", "/error", None, {}),
        ("GET", "/teapot", None, {}),
        ("GET", "/stream", None, {}),
        ("GET", "/context", None, {}),
        ("GET", "/empty", None, {}),
        ("HEAD", "/stream", None, {}),
        ("POST", "/form", b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/json", b'{"a": [1, 2]}', {"Content-Type": "application/json"}),
        ("POST", "/json", b"{bad", {"Content-Type": "application/json"}),
        ("PUT", "/form", b"", {}),
        ("DELETE", "/form", None, {}),
        ("GET", "/static/missing.js", None, {}),
        ("GET", "/", None, {"Connection": "Upgrade", "Upgrade": "h2c"}),
        ("GET", "/", None, {"Connection": "Upgrade", "Upgrade": "websocket"}),
        ("GET", "/websocket", None, {}),
        ("GET", "/api/", None, {}),
        ("GET", "/api/hidden", None, {"X-Forwarded-For": "192.0.2.1"}),
    ]

    def make_app(self) -> Flask:
        app = make_app(SESSION_COOKIE_SAMESITE="Lax")
        api = Blueprint("api", __name__, url_prefix="/api")

        @app.route("/")
        def index() -> dict[str, Any]:
            return {"args": request.args.to_dict(flat=False), "cookies": request.cookies, "url": request.full_path}

        @app.route("/session")
        def visit() -> str:
            session["visits"] = 1
            return "welcome"

        app.add_url_rule("/folder/", "folder", lambda: "a folder")
        app.add_url_rule("/error", "error", lambda: str(1 // 0))
        app.add_url_rule("/teapot", "teapot", lambda: flask.abort(418))
        app.add_url_rule("/empty", "empty", lambda: ("", 204))
        app.add_url_rule("/websocket", "websocket", lambda: "no WebSocket", websocket=False)

        @app.route("/stream")
        def stream() -> flask.Response:
            return flask.Response(flask.stream_with_context(f"{n} {request.path}\n" for n in range(1000)))

        @app.route("/context")
        def context() -> str:
            g.seen = [current_app.name]
            return ",".join(g.seen)

        app.add_url_rule("/form", "form", lambda: dict(request.form), methods=["POST", "PUT"])
        app.add_url_rule("/json", "json", lambda: flask.jsonify(request.get_json()), methods=["POST"])
        api.add_url_rule("/", "index", lambda: f"{request.remote_addr} {request.blueprint}")
        api.add_url_rule("/hidden", "hidden", lambda: ("hidden", 403, {"X-Why": "because"}))
        app.register_blueprint(api)

        @app.after_request
        def sign(response: flask.Response) -> flask.Response:
            response.headers["X-Signed"] = f"{request.endpoint} {response.status_code}"
            return response

        @app.errorhandler(404)
        def missing(error: Exception) -> tuple[str, int]:
            return f"nothing at {request.path}", 404

        return app

    def test_the_same(self) -> None:
        """Many requests, several at a time, get the same status, headers and body with a Sock as without."""
        without, with_sock = self.make_app(), self.make_app()
        sock = Sock(with_sock)
        sock.route("/echo")(echo)
        sock.route("/room/<name>", before=lambda name: None, endpoint="room")(echo)
        logger = logging.getLogger("shop")  # of both: /error is logged there
        previous, logger.level = logger.level, logging.CRITICAL
        self.addCleanup(setattr, logger, "level", previous)
        plain, beside = self.serve(without), self.serve(with_sock)
        conn = self.check_echo(beside)

        def answers(address: str) -> list[Any]:
            found = []
            for method, path, body, headers in self.REQUESTS * 4:
                status, fields, content = self.ask(address, method, path, body, {"Host": "shop.example", **headers})
                kept = [(name, value) for name, value in fields if name not in ("Date", "Set-Cookie")]
                cookies = [value.partition(".")[0] for name, value in fields if name == "Set-Cookie"]  # not its time
                found.append((method, path, status, kept, cookies, content))
            return found

        expected = answers(plain)
        self.assertEqual({answer[2] for answer in expected}, {200, 204, 308, 400, 403, 404, 405, 415, 418, 500} - {415})
        for task in [Task(answers, beside) for _ in range(4)]:
            self.assertEqual(task.result(), expected)
        conn.send("still here")
        self.assertEqual(self.hear(conn), "still here")

    def test_the_test_client(self) -> None:
        """Flask's test client still works; a handshake by it is refused, and the answer says what to use instead."""
        app = self.make_app()
        Sock(app).route("/echo")(echo)
        client = app.test_client()
        self.assertEqual(client.get("/context").text, "shop")
        with self.assertLogs("syncws", logging.ERROR):
            self.assertEqual(client.get("/echo", headers=HEADERS).status_code, 501)


class LoadTests(FlaskCase):
    def test_many(self) -> None:
        """Forty connections talk at the same time, each in its own context, and all end."""
        app = make_app()
        sock = Sock(app)
        gate = threading.Barrier(40, timeout=PATIENCE)

        @sock.route("/rooms/<int:number>")
        def room(conn: syncws.Conn, number: int) -> None:
            g.number = number
            gate.wait()
            for message in conn:
                conn.send(f"{message} {g.number} {request.view_args}")

        address = self.serve(app)

        def talk(number: int) -> str | bytes:
            with syncws.dial(f"ws://{address}/rooms/{number}", proxy=None) as conn:
                conn.send("hello")
                return conn.receive(timeout=PATIENCE)

        tasks = [Task(talk, number) for number in range(40)]
        for number, task in enumerate(tasks):
            self.assertEqual(task.result(), f"hello {number} {{'number': {number}}}")

    def test_quiet(self) -> None:
        """Connections that close, vanish or are dropped leave nothing in any log."""
        app = make_app()
        Sock(app).route("/echo")(echo)
        address = self.serve(app)
        with self.assertNoLogs("", logging.WARNING):
            self.check_echo(address).close(4000, "bye")
            self.check_echo(address).close_now()
            conn = self.check_echo(address)
            self.assertTrue(conn.send_nowait("last"))
            conn.close_now()
            self.assertTrue(await_(lambda: open_connections() == 0))
