"""The Flask example on four servers, driven by real clients, and by two browsers."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from contextlib import ExitStack
from typing import Any, ClassVar, Self

import syncws
from syncws.testing import LeakChecks, await_
from tests.examples.test_examples import EXAMPLES
from tests.interop.nodes import NodeProgram, start_browser
from tests.partners import heavy
from tests.tasks import PATIENCE, Task, written

#: What each server is started with, and the line that says where it listens.
SERVERS: dict[str, tuple[list[str], str]] = {
    "syncws": ([str(EXAMPLES / "flask_app.py"), "--port", "0"], r"^Flask app on http://127\.0\.0\.1:(\d+)/ \(press"),
    **{
        f"gunicorn {kind}": (
            ["-m", "gunicorn", "--chdir", str(EXAMPLES), "-b", "127.0.0.1:0", "-k", kind, *options, "flask_app:app"],
            r"Listening at: http://127\.0\.0\.1:(\d+) ",
        )
        for kind, options in (("gthread", ["--threads", "4"]), ("sync", []))
    },
    "werkzeug": (
        ["-m", "flask", "--app", str(EXAMPLES / "flask_app.py"), "run", "--port", "0"],
        r"Running on http://127\.0\.0\.1:(\d+)",
    ),
}


class AppServer:
    """The example on one of the servers, in a process of its own. Use it as a context manager."""

    def __init__(self, name: str, *options: str, **environment: str) -> None:
        self.name = name
        command, self._listening = SERVERS[name]
        self._command = [sys.executable, *command, *options]
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = stack.enter_context(
                subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT, env=self._environment)
            )
            stack.callback(self._kill)
            await_(lambda: self._port() is not None or self._process.poll() is not None, PATIENCE)
            port = self._port()
            if port is None:
                raise AssertionError(f"{self.name} has not started: {self.log()}")
            self.address = f"127.0.0.1:{port}"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _kill(self) -> None:
        """End the server and its workers: a gunicorn that is killed alone would leave its workers running."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self._process.kill()

    def _port(self) -> str | None:
        found = re.search(self._listening, self.log(), re.MULTILINE)
        return None if found is None else found[1]

    def log(self) -> str:
        return written(self._log)

    def end(self, number: signal.Signals) -> int:
        """Send the server a signal, wait for its end and return its exit code."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)


class AppCase(LeakChecks):
    def start(self, name: str, *options: str, **environment: str) -> AppServer:
        return self.enterContext(AppServer(name, *options, **environment))

    def ask(
        self, server: AppServer, method: str, path: str, cookie: str = "", origin: str = "", **form: str
    ) -> tuple[Any, bytes]:
        """The answer to a plain request, and its body."""
        connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Cookie": cookie} if cookie else {}
            if origin:
                headers["Origin"] = origin
            if form:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, urllib.parse.urlencode(form) or None, headers)
            response = connection.getresponse()
            return response, response.read()

    def log_in(self, server: AppServer, name: str) -> str:
        """The cookie of a session with that name."""
        response, _ = self.ask(server, "POST", "/login", name=name)
        self.assertEqual((response.status, response.headers["Location"]), (302, "/"))
        cookie, _, attributes = response.headers["Set-Cookie"].partition(";")
        self.assertIn("SameSite=Lax", attributes)
        self.assertIn("HttpOnly", attributes)
        return cookie

    def dial(self, server: AppServer, path: str, cookie: str = "") -> syncws.Conn:
        headers = {"Cookie": cookie} if cookie else {}
        conn = syncws.dial(f"ws://{server.address}{path}", proxy=None, headers=headers)
        self.addCleanup(conn.close_now)
        return conn

    def refusal(self, server: AppServer, path: str, **headers: str) -> int:
        """The status of a handshake that gets no 101."""
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            syncws.dial(f"ws://{server.address}{path}", proxy=None, headers=headers)
        return refused.exception.status

    def hear(self, conn: syncws.Conn) -> Any:
        conn.set_read_deadline(None)
        return conn.receive_json(timeout=PATIENCE)

    def code(self, conn: syncws.Conn) -> int:
        """The code of the close that comes next, which is answered."""
        with self.assertRaises(syncws.CloseError) as closed:
            while True:
                conn.receive(timeout=PATIENCE)
        conn.close()
        return closed.exception.code


class AppTests(AppCase):
    """On each server."""

    def check_pages(self, server: AppServer) -> None:
        """The page asks for a name and then has the rooms; static files are what they are; other paths are 404."""
        response, page = self.ask(server, "GET", "/")
        self.assertEqual(response.status, 200)
        self.assertIn(b'<form action="/login" method="post"', page)
        self.assertNotIn(b"rooms.js", page)
        response, page = self.ask(server, "GET", "/", self.log_in(server, "<b>Ann</b>"))
        self.assertIn(b'<b id="name">&lt;b&gt;Ann&lt;/b&gt;</b>', page)
        self.assertIn("script-src 'self'", response.headers["Content-Security-Policy"])
        for file, kind in (("rooms.js", "text/javascript"), ("style.css", "text/css")):
            response, body = self.ask(server, "GET", f"/static/{file}")
            self.assertEqual(body, (EXAMPLES / "flask_app_static" / file).read_bytes())
            self.assertEqual(response.headers["Content-Type"], f"{kind}; charset=utf-8")
            response, body = self.ask(server, "HEAD", f"/static/{file}")
            self.assertEqual((response.status, body), (200, b""))
        for path in ("/nothing", "/static/../flask_app.py", "/static/%2e%2e/flask_app.py", "/flask_app.py"):
            self.assertEqual(self.ask(server, "GET", path)[0].status, 404, path)
        for name in ("", "  ", "x" * 25, "a\nb\0", "\u202e"):
            self.assertEqual(self.ask(server, "POST", "/login", name=name)[0].status, 400, name)
        self.assertEqual(self.ask(server, "POST", "/login", name="x" * (1 << 15))[0].status, 413)

    def check_echo(self, server: AppServer) -> None:
        """Text and binary come back, small and large, on several connections without a login."""
        conns = [self.dial(server, "/echo") for _ in range(6)]
        for conn in conns:
            for message in ("hello", b"\0\xff", "", "🎈" * 1000, b"x" * 65_536):
                conn.send(message)
                self.assertEqual(conn.receive(timeout=PATIENCE), message)
        self.assertEqual(self.ask(server, "GET", "/echo")[0].status, 400)
        conns[0].send(b"x" * 65_537)
        self.assertEqual(self.code(conns[0]), 1009)
        for conn in conns[1:]:
            conn.close(4000)
            self.assertEqual(conn.end.code, 4000)  # type: ignore[union-attr]

    def check_login(self, server: AppServer) -> None:
        """A user without a name is refused before the 101, and so are a page of another site and an unknown room."""
        cookie = self.log_in(server, "ann")
        self.assertEqual(self.refusal(server, "/rooms/lobby"), 401)
        self.assertEqual(self.refusal(server, "/rooms/lobby", Cookie="session=forged"), 401)
        self.assertEqual(self.refusal(server, "/rooms/cellar", Cookie=cookie), 404)
        self.assertEqual(self.refusal(server, "/rooms/lobby", Cookie=cookie, Origin="https://elsewhere.example"), 403)
        for path in ("/login", "/logout"):  # a form of another site logs nobody in or out
            for origin in ("https://elsewhere.example", "null", "http://[", f"http://{server.address}.evil.example"):
                answer, _ = self.ask(server, "POST", path, origin=origin, name="evil")
                self.assertEqual((answer.status, answer.headers["Set-Cookie"]), (403, None))
        self.assertEqual(
            self.ask(server, "POST", "/login", origin=f"http://{server.address}", name="ann")[0].status, 302
        )
        own = {"Cookie": cookie, "Origin": f"http://{server.address}"}
        with syncws.dial(f"ws://{server.address}/rooms/lobby", proxy=None, headers=own) as conn:
            self.assertEqual(self.hear(conn), {"here": ["ann"]})

    def check_rooms(self, server: AppServer) -> None:
        """Everybody in a room gets a message, with the name of the session; a logout ends the user's connections."""
        ann, bob = self.log_in(server, "ann"), self.log_in(server, "bob")
        self.assertTrue(await_(lambda: self.ask(server, "GET", "/rooms/lobby", ann)[1] == b'{"here":[]}\n'))
        first = self.dial(server, "/rooms/lobby", ann)
        self.assertEqual(self.hear(first), {"here": ["ann"]})
        second, elsewhere = self.dial(server, "/rooms/lobby", bob), self.dial(server, "/rooms/attic", bob)
        self.assertEqual(self.hear(elsewhere), {"here": ["bob"]})
        for conn in (first, second):
            self.assertEqual(self.hear(conn), {"here": ["ann", "bob"]})
        second.send(b"binary is for nobody")
        second.send("   ")
        second.send("<b>hi</b>")
        for conn in (first, second):
            self.assertEqual(self.hear(conn), {"from": "bob", "text": "<b>hi</b>"})
        response, body = self.ask(server, "GET", "/rooms/lobby", ann)
        self.assertEqual((response.status, body), (200, b'{"here":["ann","bob"]}\n'))
        self.assertEqual(self.ask(server, "GET", "/rooms/lobby")[0].status, 401)
        response, _ = self.ask(server, "POST", "/logout", bob)
        self.assertIn("Expires=Thu, 01 Jan 1970", response.headers["Set-Cookie"])
        self.assertEqual([self.code(second), self.code(elsewhere)], [4401, 4401])
        self.assertEqual(self.hear(first), {"here": ["ann"]})
        first.close()

    def test_on_each_server(self) -> None:
        """Pages, the echo, the login and the rooms work alike on all of them, and nothing is in their logs."""
        for name in SERVERS:
            with self.subTest(server=name):
                server = self.start(name)
                for check in (self.check_pages, self.check_echo, self.check_login, self.check_rooms):
                    with self.subTest(check.__name__):
                        check(server)
                self.assertNotRegex(server.log(), "Traceback|ERROR|Error")

    def test_end(self) -> None:
        """At the end of the process every peer is told 1001, and it ends soon."""
        for name in SERVERS:
            for number in (signal.SIGTERM, signal.SIGINT):
                if (name, number) == ("werkzeug", signal.SIGTERM):
                    continue  # it has no handler for it, and the example adds none
                if (name, number) == ("gunicorn gthread", signal.SIGINT):
                    continue  # it may come while its worker holds the lock that its handler then waits for
                with self.subTest(server=name, signal=number.name):
                    server = self.start(name)
                    conns = [self.dial(server, path) for path in ("/echo", "/echo")]
                    conns.append(self.dial(server, "/rooms/lobby", self.log_in(server, "ann")))
                    self.assertEqual(self.hear(conns[2]), {"here": ["ann"]})
                    codes = [Task(self.code, conn) for conn in conns]
                    server.end(number)
                    self.assertEqual([code.result() for code in codes], [1001, 1001, 1001])
                    self.assertNotRegex(server.log(), "SIGKILL|SIGABRT|still running")

    def test_wrong_options(self) -> None:
        """An invalid port is one line and exit code 2."""
        command = [sys.executable, str(EXAMPLES / "flask_app.py"), "--port", "http"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 2)
        self.assertTrue(done.stderr.endswith("a port is a number from 0 to 65535, not 'http'\n"), done.stderr)

    def test_port_in_use(self) -> None:
        """A port in use is one line and exit code 1."""
        server = self.start("syncws")
        port = server.address.partition(":")[2]
        command = [sys.executable, str(EXAMPLES / "flask_app.py"), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, f"Cannot listen on 127.0.0.1 port {port}: Address already in use\n")


class Page:
    """A browser on the example's page."""

    def __init__(self) -> None:
        self.browser: NodeProgram = start_browser()

    def do(self, method: str, *args: Any) -> None:
        self.browser.call("page", method, *args)

    def ask(self, method: str, *args: Any) -> Any:
        return self.browser.call("ask", method, *args)

    def wait_for(self, selector: str) -> None:
        self.do("waitForSelector", selector)

    def enter(self, field: str, text: str) -> None:
        """Type a text, as a person does, and press Enter."""
        self.do("fill", field, text)
        self.do("press", field, "Enter")

    def log_in(self, server: AppServer, name: str) -> None:
        self.do("goto", f"http://{server.address}/")
        self.enter("#name", name)
        self.wait_for("#state[data-state=open]")

    def lines(self) -> list[str]:
        script = "[...document.querySelectorAll('#log li')].map((line) => line.innerText)"
        found: list[str] = self.ask("evaluate", script)
        return found

    def keep_states(self) -> None:
        """Keep every state that is shown from here on: some are there for a moment only."""
        script = """
            window.states = [];
            const state = document.querySelector("#state");
            const observer = new MutationObserver(() => window.states.push(state.textContent));
            observer.observe(state, {childList: true, characterData: true, subtree: true});
        """
        self.do("evaluate", f"(() => {{{script}}})()")

    def states(self) -> list[str]:
        found: list[str] = self.ask("evaluate", "window.states")
        return found

    def complaints(self) -> list[str]:
        found: list[str] = self.browser.call("complaints")
        return found


@heavy
class AppPageTests(AppCase):
    """Two browsers, used as two people would."""

    first: ClassVar[Page]
    second: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.first, cls.second = Page(), Page()
        for page in (cls.first, cls.second):
            cls.addClassCleanup(page.browser.close)

    def test_talk(self) -> None:
        """They log in, see each other, talk as text and never as HTML, move, and log out."""
        for name in ("syncws", "gunicorn sync"):
            with self.subTest(server=name):
                server = self.start(name)
                ann, bob = self.first, self.second
                for page in (ann, bob):
                    page.do("goto", "about:blank")  # the page of a test before may complain until it is left
                    page.complaints()
                ann.log_in(server, "ann")
                bob.log_in(server, "bob")
                for page in (ann, bob):
                    page.wait_for('#here:text-is("ann, bob")')
                ann.enter("#text", "hello, bob")
                bob.wait_for('#log li span:text-is("hello, bob")')
                bob.enter("#text", "<b id=bold>ünïcödé 🎈</b>")
                ann.wait_for('#log li span:has-text("🎈")')
                for page in (ann, bob):
                    self.assertEqual(page.lines(), ["ann hello, bob", "bob <b id=bold>ünïcödé 🎈</b>"])
                    self.assertFalse(page.ask("isVisible", "#bold"))
                bob.do("selectOption", "#room", "attic")
                bob.wait_for('#state:text-is("in the attic")')
                ann.wait_for('#here:text-is("ann")')
                self.assertEqual(bob.lines(), [])
                for page in (ann, bob):
                    self.assertEqual(page.complaints(), [])
                    page.do("click", "#logout")
                    page.wait_for("form[action='/login']")

    def test_it_comes_back(self) -> None:
        """The page connects again when the server is back, and asks for a name again when its session is gone."""
        page = self.first
        server = self.start("syncws", SECRET_KEY="known to both")
        page.log_in(server, "zoe")
        page.keep_states()
        self.assertEqual(server.end(signal.SIGTERM), 0)
        self.assertTrue(await_(lambda: any("disconnected: code 1001" in each for each in page.states()), PATIENCE))
        port = server.address.partition(":")[2]
        server = self.start("syncws", "--port", port, SECRET_KEY="known to both")
        page.wait_for("#state[data-state=open]")
        self.assertEqual(server.end(signal.SIGTERM), 0)
        self.start("syncws", "--port", port)
        page.wait_for("form[action='/login']")

    def test_logged_out_elsewhere(self) -> None:
        """After a logout on one page the others say so, and do not connect again."""
        page, server = self.first, self.start("gunicorn gthread")
        page.log_in(server, "zoe")
        self.ask(server, "POST", "/logout", self.log_in(server, "zoe"))
        page.wait_for('#state:text-is("logged out")')
        self.assertEqual(self.ask(server, "GET", "/rooms/lobby", self.log_in(server, "ann"))[1], b'{"here":[]}\n')
