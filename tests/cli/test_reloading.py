"""`syncws serve --reload`: what counts as a change, and a server that begins anew without refusing anybody."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from unittest import mock

import syncws
from syncws._cli import reloading
from syncws._cli.command import CommandError
from syncws._cli.reloading import Files, files_in, is_source, source_files
from syncws.testing import await_
from tests.partners import heavy
from tests.tasks import PATIENCE, Task

from .test_serve import CommandCase, Served, serving

HELPER = "text = {text!r}\n"

APPLICATION = """
import cli_helper
from syncws.wsgi import websocket

@websocket
def echo(conn):
    for message in conn:
        conn.send(message)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/echo":
        return echo(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [cli_helper.text.encode()]
"""


class FilesTests(unittest.TestCase):
    """What counts as a change."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.path = self.folder / "a.py"
        self.path.write_text("1")
        self.files = Files()
        self.files.add([str(self.path)], time.time() + 1)

    def test_changes(self) -> None:
        """A file that is written, replaced, removed or there again has changed, once; one that is read has not."""
        self.assertIsNone(self.files.changed())
        self.path.read_text()
        self.assertIsNone(self.files.changed())
        other = self.folder / "b"
        for change in (
            lambda: self.path.write_text("22"),
            lambda: os.utime(self.path, ns=(1, 1)),
            lambda: (other.write_text("22"), os.utime(other, ns=(1, 1)), other.replace(self.path)),
            self.path.unlink,
            lambda: self.path.write_text("3"),
        ):
            change()
            self.assertEqual(self.files.changed(), str(self.path))
            self.assertIsNone(self.files.changed())

    def test_written_while_it_was_imported(self) -> None:
        """A file that was written since the process began has changed: nobody knows which text was imported."""
        files = Files()
        files.add([str(self.path)], self.path.stat().st_mtime - 1)
        self.assertEqual(files.changed(), str(self.path))
        self.assertIsNone(files.changed())

    def test_written_at_each_start(self) -> None:
        """One that the application writes while it is imported is a change the first time, and then with other text."""
        files = Files()
        files.add([str(self.path)], self.path.stat().st_mtime - 1)
        self.assertEqual(files.changed(), str(self.path))
        for text, changed in (("1", None), ("1", None), ("2", str(self.path)), ("2", None)):
            self.path.unlink()
            self.path.write_text(text)
            os.utime(self.path)
            self.assertEqual(files.changed(), changed)

    def test_folders(self) -> None:
        """Folders count until the next change: a file that is new there is one."""
        with contextlib.chdir(self.folder):
            self.files.add_folders()
        self.assertIsNone(self.files.changed())
        os.utime(self.folder, ns=(1, 1))
        self.assertEqual(self.files.changed(), str(self.folder))
        os.utime(self.folder, ns=(2, 2))
        self.assertIsNone(self.files.changed())


class SourceTests(CommandCase):
    """Which files are of the application."""

    def test_modules(self) -> None:
        """Modules from elsewhere than Python, its packages and syncws."""
        self.write("cli_source.py", "import json, h11, syncws")
        sys.path.insert(0, str(self.folder))
        importlib.import_module("cli_source")
        found = source_files()
        self.assertIn(str(self.folder / "cli_source.py"), found)
        for name in ("json", "h11", "syncws"):
            self.assertFalse(is_source(str(sys.modules[name].__file__)), name)
            self.assertFalse({each for each in found if f"/{name}/" in each}, name)

    def test_a_module_that_failed(self) -> None:
        """Where an import failed, the file of the mistake counts, and those that it was imported by."""
        sys.path.insert(0, str(self.folder))
        self.write("cli_outer.py", "import cli_inner")
        for text in ("x = (", "1 / 0", "import no_such_module"):
            self.write("cli_inner.py", text)
            importlib.invalidate_caches()
            with self.subTest(text):
                try:
                    importlib.import_module("cli_outer")
                except Exception as error:
                    found = files_in(error)
                ours = {str(self.folder / name) for name in ("cli_inner.py", "cli_outer.py")}
                self.assertEqual(found, {*ours, __file__})

    def test_no_fork(self) -> None:
        """Where the system cannot fork, it says so."""
        with mock.patch.object(reloading, "os", mock.Mock(spec=[])), self.assertRaisesRegex(CommandError, "cannot"):
            reloading.serve_reloading(lambda: 0)

    def test_several_workers(self) -> None:
        """It is for one process."""
        self.assertLine("--reload is for one process", "serve", "cli_app:app", "--reload", "--workers", "2")


@unittest.skipUnless(hasattr(os, "fork"), "this system cannot fork")
class ReloadTests(CommandCase):
    """A real server, and files that change."""

    def setUp(self) -> None:
        super().setUp()
        self.write("cli_app.py", APPLICATION)
        self.write("cli_helper.py", HELPER.format(text="one"))

    def page(self, served: Served) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/", timeout=PATIENCE) as response:
            return str(response.read().decode())

    def wait_for(self, served: Served, text: str, times: int = 1) -> None:
        self.assertTrue(await_(lambda: served.log().count(text) >= times), served.log())

    def test_changes(self) -> None:
        """A change begins anew, and who connects meanwhile is served after it; WebSocket peers are told 1001. A mistake
        is shown, and the next change is the next attempt, also that a missing module comes."""
        with serving("cli_app:app", "--port", "0", "--reload") as served:
            self.assertEqual(self.page(served), "one")
            url = f"ws://127.0.0.1:{served.port}/echo"
            with syncws.dial(url, proxy=None, timeout=PATIENCE) as conn:
                self.write("cli_helper.py", HELPER.format(text="two"))
                with self.assertRaises(syncws.CloseError) as caught:
                    conn.receive(timeout=PATIENCE)
                self.assertEqual(caught.exception.code, 1001)
            self.assertEqual(self.page(served), "two")

            self.write("cli_helper.py", "text = (")
            self.wait_for(served, "syncws: waiting for a change")
            self.assertIn("SyntaxError: '(' was never closed", served.log())
            waiting = Task(self.page, served)  # which connects while nobody serves
            self.write("cli_helper.py", "import cli_new\ntext = cli_new.text\n")
            self.wait_for(served, "syncws: waiting for a change", 2)
            self.write("cli_new.py", HELPER.format(text="three"))
            self.assertEqual(waiting.result(), "three")
            self.assertIn("cli_helper.py has changed: beginning anew", served.log())
            self.assertEqual(served.end(signal.SIGTERM), 0)

    @heavy
    def test_nobody_is_refused(self) -> None:
        """While it begins anew, again and again, every connection is accepted."""
        with serving("cli_app:app", "--port", "0", "--reload") as served:
            self.page(served)
            for number in range(2):
                began = served.log().count("listening on")
                self.write("cli_helper.py", HELPER.format(text=f"{number}" * 5))
                while served.log().count("listening on") == began:
                    with socket.create_connection(("127.0.0.1", served.port), PATIENCE):
                        pass
            self.assertEqual(served.end(signal.SIGINT), 0)

    @heavy
    def test_a_parent_that_is_killed(self) -> None:
        """The server ends when the process that watches it is gone, and so do its connections."""
        with serving("cli_app:app", "--port", "0", "--reload") as served:
            with syncws.dial(f"ws://127.0.0.1:{served.port}/echo", proxy=None, timeout=PATIENCE) as conn:
                served.process.kill()
                with self.assertRaises(syncws.CloseError):
                    conn.receive(timeout=PATIENCE)

    @heavy
    def test_a_unix_socket(self) -> None:
        """The socket is the same after a change, and its file is removed at the end."""
        with serving("cli_app:app", "--unix", "app.sock", "--reload") as served:
            self.wait_for(served, "listening on")  # it has imported the text that is to change
            before = os.stat("app.sock").st_ino
            self.write("cli_helper.py", HELPER.format(text="two"))
            self.wait_for(served, "listening on", 2)
            self.assertEqual(os.stat("app.sock").st_ino, before)
            self.assertEqual(served.end(signal.SIGTERM), 0)
        self.assertFalse(Path("app.sock").exists())


if __name__ == "__main__":
    unittest.main()
