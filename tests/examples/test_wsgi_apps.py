"""The examples wsgi_app.py and django_app.py, each on four servers, driven as a browser and a program would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from syncws.testing import await_
from tests.examples.test_examples import EXAMPLES
from tests.partners import need
from tests.tasks import PATIENCE
from tests.wsgi.cases import Answer, WSGICase

#: The command for each server, after "python"; {app} is the module of an example, which has an `app`.
SERVERS = {
    "our own": ["-W", "error", "{app}.py", "--port", "0"],
    "gunicorn gthread": ["-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", "gthread", "--threads", "4", "{app}:app"],
    "gunicorn sync": ["-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", "sync", "{app}:app"],
    "werkzeug": [
        "-c",
        "import {app}, werkzeug.serving; werkzeug.serving.run_simple('127.0.0.1', 0, {app}.app, threaded=True)",
    ],
}

#: Where each of them says that it listens.
ADDRESS = re.compile(r" (?:on|at:) (http://127\.0\.0\.1:\d+)")


class HostedExample:
    """An example on one of SERVERS, in a process of its own, on a free port. Use it as a context manager."""

    def __init__(self, app: str, server: str) -> None:
        need("gunicorn" not in server or find_spec("gunicorn") is not None, "gunicorn (PyPI) is not installed")
        self._command = [sys.executable, *(part.format(app=app) for part in SERVERS[server])]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            output = stack.enter_context((self._folder / "output").open("wb"))
            self._process = stack.enter_context(
                subprocess.Popen(
                    self._command,
                    cwd=EXAMPLES,
                    stdout=output,
                    stderr=output,
                    # gunicorn keeps a socket in its home, and the examples a database among temporary files.
                    env={**os.environ, "HOME": str(self._folder), "TMPDIR": str(self._folder)},
                    start_new_session=True,
                )
            )
            stack.callback(self._kill)  # before its wait
            await_(lambda: self._process.poll() is not None or ADDRESS.search(self.output()) is not None, PATIENCE)
            found = ADDRESS.search(self.output())
            if found is None:
                raise AssertionError(f"it did not start:\n{self.output()}")
            self.url = found[1]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the workers that it may have

    def output(self) -> str:
        """What the server has written, on standard output and on standard error."""
        return (self._folder / "output").read_text("utf-8", "replace")

    def end(self) -> list[str]:
        """Ask the server to end, and wait; returns the temporary files that it has left."""
        # SIGINT may come while gunicorn's worker holds the lock that it then waits for; and SIGTERM just ends werkzeug.
        self._process.send_signal(signal.SIGTERM if "gunicorn" in self._command else signal.SIGINT)
        self._process.wait(PATIENCE)
        return [path.name for path in self._folder.iterdir() if path.name.startswith("syncws-")]


class ExampleCase(WSGICase):
    def check(self, example: HostedExample, private: str) -> None:
        """What both examples do: a page, an echo for everybody, and a WebSocket that wants a login."""
        page = self.ask(f"{example.url}/")
        self.assertEqual((page.status, page.headers.get_content_type()), (200, "text/html"))
        self.assertEqual(self.ask(f"{example.url}/nowhere").status, 404)

        # More of them than a worker has threads, all open while pages are served.
        conns = [self.dial(f"{example.url}/echo", Origin=example.url) for _ in range(6)]
        for conn in conns:
            self.check_echo(conn)
        self.assertEqual(self.ask(f"{example.url}/").status, 200)
        self.assertEqual(self.refused(f"{example.url}/echo", Origin="http://elsewhere.example").status, 403)

        answer = self.refused(f"{example.url}{private}")
        self.assertEqual((answer.status, answer.body), (401, b"Log in first.\n"))
        for conn in conns:
            conn.close()

    def log_in(self, example: HostedExample, page: Answer, **fields: str) -> str:
        """Fill in the form; the cookies that a browser has then."""
        body = "&".join(f"{name}={value}" for name, value in fields.items())
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": page.cookies()}
        answer = self.ask(f"{example.url}/login", "POST", headers, body)
        self.assertIn(answer.status, (302, 303))
        self.assertEqual(answer.headers["Location"], "/")
        return answer.cookies()

    def check_orderly_end(self, example: HostedExample) -> None:
        """Check that the server ends when it is asked to, leaves no files, and has written no error."""
        self.assertEqual(example.end(), [])
        self.assertNotRegex(example.output(), "Traceback|ERROR|CRITICAL|Warning:")


class WSGIExampleTests(ExampleCase):
    def test_wsgi_app(self) -> None:
        """wsgi_app.py: page, echo, and a login before the 101, whose name is the handler's argument."""
        for server in SERVERS:
            with self.subTest(server=server), HostedExample("wsgi_app", server) as example:
                self.check(example, "/private")
                cookie = self.log_in(example, self.ask(f"{example.url}/"), name="Zo%C3%AB")
                conn = self.dial(f"{example.url}/private", Cookie=cookie)
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello Zoë")
                self.check_echo(conn)
                conn.close()
                for forged in (cookie[:-1], cookie.replace("Zo", "Bo"), "name=", "name=é.1", "name=.", "other=1", "=;"):
                    self.assertEqual(self.refused(f"{example.url}/private", Cookie=forged).status, 401)
                self.assertEqual(self.ask(f"{example.url}/login").status, 405)
                for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):  # a form of another site
                    answer = self.ask(f"{example.url}/login", "POST", {"Origin": origin}, "name=ann")
                    self.assertEqual((answer.status, "Set-Cookie" in answer.headers), (403, False))
                own = {"Origin": example.url}
                self.assertEqual(self.ask(f"{example.url}/login", "POST", own, "name=ann").status, 303)
                self.assertEqual(self.ask(f"{example.url}/login", "POST").status, 400)
                self.check_orderly_end(example)


class DjangoExampleTests(ExampleCase):
    def test_django_app(self) -> None:
        """django_app.py: page, echo, and notes in a database for those who have logged in."""
        for server in SERVERS:
            with self.subTest(server=server), HostedExample("django_app", server) as example:
                self.check(example, "/notes")
                page = self.ask(f"{example.url}/")
                self.assertIn(b"0 notes have been kept", page.body)
                token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
                assert token is not None
                cookie = self.log_in(example, page, csrfmiddlewaretoken=token[1].decode(), name="Zo%C3%AB")
                first, second = (self.dial(f"{example.url}/notes", Cookie=cookie) for _ in range(2))
                for number, conn in enumerate((first, second, first), 1):
                    conn.send("a note")
                    self.assertEqual(conn.receive_json(), {"author": "Zoë", "kept": number})
                page = self.ask(f"{example.url}/", headers={"Cookie": cookie})
                self.assertIn("You are Zoë. 3 notes have been kept", page.body.decode())
                first.close()
                second.send(b"\0")
                self.check_end(second, 1003)
                self.assertEqual(self.ask(f"{example.url}/login", "POST", body="name=ann").status, 403)
                self.check_orderly_end(example)

    def test_its_own_tests(self) -> None:
        """django_app.py is tested as a project tests itself: with a test database, and browsers that have logged in."""
        need(find_spec("django") is not None, "django is not installed")
        command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.examples.in_django_app"]
        done = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
