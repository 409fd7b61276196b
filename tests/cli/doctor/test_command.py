"""The command: what its argument is taken for, what it prints, how it ends, and the page that explains its checks."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import socket
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import syncws
from syncws._cli.doctor import command
from syncws._cli.doctor.mending import FRONTS

from .support import DoctorCase, free_port

FOLDER = Path(syncws.__file__).parent / "_cli" / "doctor"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"


class ArgumentTests(DoctorCase):
    def test_what_it_is(self) -> None:
        """module:app is an application; a URL, a host with or without a port, and a path are a deployment."""
        for subject, is_application in (
            ("app:app", True),
            ("mysite.web:create_app()", True),
            ("ws://a/b", False),
            ("wss://a", False),
            ("localhost:8080", False),
            (":8080/echo", False),
            ("example.com", False),
            ("/echo", False),
        ):
            self.assertIs(command._is_application(subject), is_application, subject)

    def test_refused(self) -> None:
        """What cannot be is an error of one line, with status 2."""
        for arguments in (["--idle", "0"], ["--connections", "0"], ["--size", "1"], ["--front", "iis"]):
            self.assertRefused("error: argument", "doctor", "ws://a/", *arguments, status=2)
        self.assertLine("--health is a path", "doctor", "ws://a/", "--health", "x", status=2)
        self.assertRefused("not allowed with", "doctor", "ws://a/", "--quick", "--idle", "5", status=2)

    def test_a_module_that_is_here(self) -> None:
        """`syncws doctor app` looked for a host of that name: where there is such a module, the error says what to
        write."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(contextlib.chdir(folder))
        Path("app.py").touch()
        Path("shop").mkdir()
        Path("shop", "__init__.py").touch()
        for given, module in (("app", "app"), ("app.py", "app"), ("shop", "shop"), ("shop/", "shop")):
            said = f"{given} is a module here: for an application write {module}:app"
            self.assertLine(said, "doctor", given, status=2)
        for given in ("other", "app.example.com", "localhost", "ws://app", "../app.py", "a/b"):
            self.assertIsNone(command._module_here(given))

    def test_a_url_that_is_none(self) -> None:
        """Its error is one line."""
        err = self.assertRefused("", "doctor", "ftp://a/", status=2)
        self.assertEqual(err.count("\n"), 1)


class TextTests(DoctorCase):
    def test_a_deployment(self) -> None:
        """Each finding is a line; at the end it says that nothing wrong was found, and what was not looked at."""
        port = self.application()
        status, out, err = self.run_main("doctor", f":{port}/", "--quick", "--no-proxy")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith(f"syncws doctor: ws://localhost:{port}/\n\nok       handshake "), out)
        self.assertTrue(out.endswith("\nNothing wrong was found. No connection was left idle (--quick).\n"), out)
        self.assertNotIn("\x1b", out)

    def test_nobody_there(self) -> None:
        """A server that cannot be reached is a fault, with status 1."""
        status, out, err = self.run_main("doctor", f"ws://127.0.0.1:{free_port()}/", "--front", "nginx", "--no-proxy")
        self.assertEqual((status, err), (1, ""))
        self.assertIn("FAULT    reach         the server cannot be reached", out)
        self.assertNotIn("HAProxy", out)
        self.assertIn("1 fault.", out)

    def test_a_name_and_a_port_that_are_wrong(self) -> None:
        """What cannot be mended in a configuration says so, without lines of one."""
        port = self.application()
        for url, says in (
            ("ws://no.such.host.invalid/", "the name no.such.host.invalid is not known"),
            (f"wss://127.0.0.1:{port}/", "the server does not speak TLS at this port"),
        ):
            found = self.look(url)
            self.assertEqual([(each["title"], each["mending"]) for each in found], [(says, {})])

    def test_no_answer(self) -> None:
        """A server that takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            found = self.look(f"ws://127.0.0.1:{silent.getsockname()[1]}/", "--patience", "0.3")
        self.assert_found(found, "reach", "no answer within 0.3 s", "gunicorn", "--threads")

    def test_no_secret_is_shown(self) -> None:
        """Neither the query of the URL, nor its password, nor a header."""
        port = self.application()
        url = f"ws://user:s3cret@127.0.0.1:{port}/?token=s3cret"
        for more in ([], ["--json"]):
            _, out, err = self.run_main("doctor", url, "-H", "X: s3cret", "--quick", "--no-proxy", *more)
            self.assertNotIn("s3cret", out + err)

    def test_interrupted(self) -> None:
        """Ctrl-C ends it without a traceback."""
        with mock.patch.object(command, "check_machine", side_effect=KeyboardInterrupt):
            status, _, err = self.run_main("doctor")
        self.assertEqual((status, err), (130, ""))

    def test_progress(self) -> None:
        """On a terminal the seconds of a long check are seen, on one line that is written anew."""
        with mock.patch("sys.stderr", io.StringIO()) as screen:
            command._progress()("idle: 1 of 2 s")
            self.assertEqual(screen.getvalue(), "")
            with mock.patch.object(screen, "isatty", return_value=True):
                command._progress()("idle: 1 of 2 s")
            self.assertEqual(screen.getvalue(), "\r\x1b[Kidle: 1 of 2 s")

    def test_colours(self) -> None:
        """Only on a terminal, and not where NO_COLOR says so."""
        with mock.patch("sys.stdout.isatty", return_value=True), mock.patch.dict("os.environ", {"TERM": "xterm"}):
            with mock.patch.dict("os.environ"):
                command.os.environ.pop("NO_COLOR", None)
                self.assertTrue(command._has_colours())
            with mock.patch.dict("os.environ", {"NO_COLOR": "1"}):
                self.assertFalse(command._has_colours())


class PageTests(unittest.TestCase):
    def test_every_check_is_explained(self) -> None:
        """docs/doctor.md has a section for each check, and for nothing else."""
        text = PAGE.read_text()
        self.assertEqual(set(re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE)), checks())

    def test_every_front_is_named(self) -> None:
        """The page names what --front takes, and every option is on it."""
        text = PAGE.read_text()
        for name in (*FRONTS, "--idle", "--quick", "--stand-in", "--watch-restart", "--json", "--size", "--health"):
            self.assertIn(name, text)


def checks() -> set[str]:
    """The names of the checks: what the code gives as the first argument of a finding."""
    found = {"handshake"}  # which `refusals` has in a constant
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="ok" | "note" | "warning" | "fault" | "Finding"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    found.add(name)
    return found


if __name__ == "__main__":
    unittest.main()
