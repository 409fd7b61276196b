"""`syncws doctor module:app`: in a process of its own, as it looks at all objects of the process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.cli.support import CLICase
from tests.partners import heavy, need
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parents[3]

#: Plain WSGI with nothing wrong.
WELL = """
import syncws.wsgi

@syncws.wsgi.websocket
def app(conn):
    for message in conn:
        conn.send(message)
"""

#: Flask with everything that can be seen to be wrong.
ILL = """
import threading
import flask, simple_websocket, syncws
from syncws.flask import Sock

app = flask.Flask("app")
app.config["SYNCWS_DETACH"] = False
app.config["SYNCWS_OPTIONS"] = {"allowed_origins": ["*"]}
sock = Sock(app)
manager = syncws.Manager()
threading.Thread(target=threading.Event().wait, name="ticker", daemon=True).start()

@sock.route("/echo")
def echo(conn):
    pass
"""


class ApplicationTests(CLICase):
    def look(self, application: str, *arguments: str, **files: str) -> dict[str, list[dict[str, Any]]]:
        """The findings about an application, by check."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        Path(folder, "app.py").write_text(application)
        for name, text in files.items():
            Path(folder, name.replace("_", ".")).write_text(text)
        command = [sys.executable, "-m", "syncws", "doctor", "app:app", "--json", *arguments]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.assertEqual(done.stderr, "")
        told = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if told["faults"] else 0)
        found: dict[str, list[dict[str, Any]]] = {}
        for each in told["findings"]:
            found.setdefault(each["check"], []).append(each)
        return found

    @heavy
    def test_well(self) -> None:
        """An application with nothing wrong, and the server that it could be served with."""
        found = self.look(WELL, "--server", "syncws")
        self.assertEqual(set(found), {"application", "origin", "serving", "server"})
        self.assertEqual(found["application"][0]["title"], "plain WSGI, with syncws.wsgi")
        self.assertEqual(found["server"][0]["mending"]["app"], "syncws serve app:app")
        self.assertEqual({each["severity"] for checks in found.values() for each in checks}, {"ok"})

    def test_ill(self) -> None:
        """Each thing that is wrong is found in one look, and the file of gunicorn with it."""
        need(_is_there("flask") and _is_there("gunicorn") and _is_there("simple_websocket"), "Flask is not installed")
        settings = "workers = 3\npreload_app = True\n"
        found = self.look(ILL, "--server", "gunicorn", gunicorn_conf_py=settings)
        titles = {check: [each["title"] for each in each_] for check, each_ in found.items()}
        self.assertIn("1 WebSocket route", titles["application"][0])
        self.assertEqual(titles["origin"], ['an Upgrader has allowed_origins=["*"]'])
        self.assertEqual(titles["detach"], ["SYNCWS_DETACH is False"])
        self.assertEqual(titles["other-library"], ["simple-websocket is imported"])
        self.assertEqual(titles["proxy-headers"], ["no ProxyFix"])
        self.assertEqual(titles["manager"], ["a Manager without a backplane, and 3 workers"])
        self.assertEqual(len(titles["gunicorn-conf"]), 2)
        self.assertIn("ticker", found["gunicorn-conf"][1]["seen"])

    @heavy
    def test_without_websockets(self) -> None:
        """An application without a view of syncws is told so."""
        found = self.look("def app(environ, start_response): pass\n", "--server", "syncws")
        self.assertEqual(found["application"][0]["severity"], "note")
        self.assertNotIn("origin", found)

    def test_errors(self) -> None:
        """What cannot be loaded is one line, as for serve."""
        self.assertLine("there is no module", "doctor", "no_such_module:app")


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    unittest.main()
