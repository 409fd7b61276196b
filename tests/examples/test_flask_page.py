"""docs/flask.md: its program and its page, as a reader would start them. Its other blocks run in tests/test_docs.py."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import LeakChecks, await_
from tests.interop.nodes import start_browser
from tests.partners import heavy
from tests.tasks import PATIENCE, written

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "flask.md"


def first(language: str) -> str:
    """The first box of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@heavy
class FlaskPageTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")))
        (self.folder / "app.py").write_text(first("python").replace("/tmp/app-bus", f"{self.folder}/bus"))
        (self.folder / "templates").mkdir()
        (self.folder / "templates" / "index.html").write_text(first("html"))

    def start(self) -> None:
        """Start it by the page's own command of gunicorn, with two workers."""
        command = re.search(
            r"`gunicorn (-k gthread --workers 2 --threads 4 --bind )127.0.0.1:8000 (.*?)`", PAGE.read_text()
        )
        assert command is not None
        arguments = [*shlex.split(command[1]), "127.0.0.1:0", command[2]]
        self.log = self.enterContext(tempfile.TemporaryFile("w+"))
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=self.log,
            stderr=self.log,
        )
        self.addCleanup(self.end, server)
        self.assertTrue(await_(lambda: self.port() is not None, PATIENCE), "it does not listen")
        self.address = f"127.0.0.1:{self.port()}"

    def end(self, server: subprocess.Popen[bytes]) -> None:
        server.terminate()
        server.wait(PATIENCE)
        self.assertNotIn("Traceback", written(self.log))

    def port(self) -> str | None:
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+) ", written(self.log))
        return None if found is None else found[1]

    def post(self, path: str, cookie: str = "", **form: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/x-www-form-urlencoded", **({"Cookie": cookie} if cookie else {})}
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
            return connection.getresponse()

    def log_in(self, user: str) -> str:
        return self.post("/login", user=user).headers["Set-Cookie"].partition(";")[0]

    def dial(self, cookie: str) -> syncws.Conn:
        conn = syncws.dial(f"ws://{self.address}/rooms/lobby", proxy=None, headers={"Cookie": cookie})
        self.addCleanup(conn.close_now)
        return conn

    def hear(self, conn: syncws.Conn, text: str) -> Any:
        """What has this text; what others have said before it is passed over."""
        while (message := conn.receive_json(timeout=PATIENCE))["text"] != text:
            pass
        return message["from"]

    def test_the_page(self) -> None:
        """Two workers and eight tabs: what a view announces and what one says reaches all; a logout ends the tabs of
        its user in both workers with 4401, and nobody else's; who has logged out does not come in."""
        self.start()
        ann, bob = self.log_in("ann"), self.log_in("bob")
        tabs, others = [self.dial(ann) for _ in range(4)], [self.dial(bob) for _ in range(4)]
        for number, conn in enumerate((*tabs, *others)):  # who hears what it says is in
            conn.send(f"hello {number}")
            self.assertEqual(self.hear(conn, f"hello {number}"), "ann" if conn in tabs else "bob")
        self.assertEqual(self.post("/announce/lobby", text="tea").status, 401)
        self.assertEqual(self.post("/announce/lobby", bob, text="tea is ready").status, 204)
        for conn in (*tabs, *others):
            self.assertEqual(self.hear(conn, "tea is ready"), "announcement")
        self.post("/logout", ann)
        for conn in tabs:
            with self.assertRaises(syncws.CloseError) as closed:
                conn.receive(timeout=PATIENCE)
            self.assertEqual((closed.exception.code, closed.exception.reason), (4401, "logged out"))
        others[0].send("still here")
        for conn in others:
            self.assertEqual(self.hear(conn, "still here"), "bob")
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            self.dial("")
        self.assertEqual(refused.exception.status, 401)

    def test_in_a_browser(self) -> None:
        """Who logs in talks on the page; who logs out is asked for a name again."""
        self.start()
        browser = start_browser()
        self.addCleanup(browser.close)
        browser.call("page", "goto", f"http://{self.address}/")
        browser.call("page", "fill", "#user", "ann")
        browser.call("page", "press", "#user", "Enter")
        browser.call("page", "waitForSelector", '#log li:text-is("connected")')
        browser.call("page", "fill", "#text", "hello <b>")
        browser.call("page", "press", "#text", "Enter")
        browser.call("page", "waitForSelector", '#log li:text-is("ann: hello <b>")')
        browser.call("page", "press", "#logout", "Enter")
        browser.call("page", "waitForSelector", "#user")
