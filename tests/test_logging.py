"""What an operator sees who has not configured logging: each WARNING, on standard error, once a minute.

Python prints WARNING and above to stderr as long as nobody has configured logging. So the advice that a refusal gives
has to be a WARNING to be seen under `flask run`, gunicorn, Django's runserver and our own server as they are.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path

from syncws import BadHandshakeError, dial
from syncws.testing import await_
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parents[1]

OURS = """
import sys
import syncws

def echo(conn):
    for message in conn:
        conn.send(message)

syncws.serve(echo, "127.0.0.1", int(sys.argv[1]))
"""

FLASK = """
from flask import Flask
from syncws.flask import Sock

app = Flask(__name__)
sock = Sock(app)

@sock.route("/echo")
def echo(conn):
    for message in conn:
        conn.send(message)
"""

DJANGO = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.urls import path
from syncws.django import websocket_view

settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")

@websocket_view
def echo(conn, request):
    for message in conn:
        conn.send(message)

urlpatterns = [path("echo", echo)]

if __name__ == "__main__":
    execute_from_command_line(["manage.py", "runserver", "--noreload", f"127.0.0.1:{sys.argv[1]}"])
"""


class UnconfiguredTests(unittest.TestCase):
    """Each server in a process of its own, without any configuration of logging."""

    def test_ours(self) -> None:
        """README's own server."""
        self.check(OURS, "app.py", "{port}")

    def test_flask_run(self) -> None:
        """flask run."""
        self.check(FLASK, "-m", "flask", "--app", "app", "run", "--port", "{port}", needs="flask")

    def test_gunicorn(self) -> None:
        """gunicorn with its threads."""
        self.check(FLASK, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "--threads", "2", "app:app", needs="gunicorn")

    def test_django(self) -> None:
        """Django's runserver."""
        self.check(DJANGO, "app.py", "{port}", needs="django")

    def check(self, program: str, *command: str, needs: str = "syncws") -> None:
        """README promises "the log says which setting would accept it": it is seen, once, without a query's value."""
        if importlib.util.find_spec(needs) is None:
            self.skipTest(f"{needs} is not installed")
        with running(program, *command) as (port, written):
            url = f"ws://127.0.0.1:{port}/echo?token=hunter2"
            for _ in range(3):
                self.refuse(url, "https://app.example.com")
            self.refuse(url, "https://other.example.com")
            advice = "add it to allowed_origins of the Upgrader"
            if program is FLASK:  # where that is a setting of the application
                advice = 'add it to app.config["SYNCWS_OPTIONS"] = {"allowed_origins": [...]}'
            self.assertTrue(await_(lambda: written().count(advice) == 2, PATIENCE), written())
            lines = [line for line in written().splitlines() if advice in line]
            self.assertEqual(len(lines), 2, written())
            self.assertIn("https://app.example.com", lines[0])
            self.assertNotIn("hunter2", "".join(lines))

    def refuse(self, url: str, origin: str) -> None:
        def refused() -> bool:
            try:
                dial(url, {"Origin": origin}).close()
            except BadHandshakeError as exc:
                return exc.status == 403
            except OSError:  # it does not listen yet
                return False
            return False

        self.assertTrue(await_(refused, PATIENCE))


@contextlib.contextmanager
def running(program: str, *command: str) -> Iterator[tuple[int, Callable[[], str]]]:
    """A program that listens on a port of its own: that port, and what gives all that it has written."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(textwrap.dedent(program))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        output = Path(folder, "output")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        arguments = [sys.executable, *(each.format(port=port) for each in command)]
        with output.open("wb") as file:
            process = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield port, output.read_text
        finally:
            process.terminate()
            process.wait(PATIENCE)


if __name__ == "__main__":
    unittest.main()
