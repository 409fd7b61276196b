"""workbench.py and the fixtures of pytest_syncws.py: real runs of pytest on real files."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from configparser import ConfigParser
from pathlib import Path
from unittest import mock

import syncws
from syncws._net import drain
from syncws._testing import workbench
from syncws._testing.workbench import Workbench
from syncws.testing import LeakChecks, socketpair
from tests.partners import need
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class WorkbenchTests(LeakChecks):
    """What the fixtures do, without pytest."""

    def test_what_it_makes(self) -> None:
        """A server, a client of a path and of a URL, a pair, a peer: all of them are over after the block."""
        with Workbench() as bench:
            bench.serve(syncws.Server(lambda request: syncws.Response("a page"), "127.0.0.1", 0))
            live = bench.serve(echo)
            conns = [live.dial("/x"), bench.dial(live.url)]
            conns += bench.pair(read_limit=5)
            conns.append(bench.peer(client=True)[0])
            for conn in conns[:2]:
                conn.send("hello")
                self.assertEqual(conn.receive(), "hello")
        self.assertTrue(all(conn.closed for conn in conns))

    def test_rests_are_put_back(self) -> None:
        """What it has changed for the test is as it was."""
        before = drain.IDLE
        with Workbench():
            self.assertLess(drain.IDLE, 1)
        self.assertEqual(drain.IDLE, before)

    def test_reads_and_writes_end(self) -> None:
        """A read of what never comes, and a write to who never reads, end by the timeout."""
        with Workbench(timeout=0.05) as bench:
            server, _ = bench.pair(buffer=4096)
            with self.assertRaises(syncws.ReadTimeout):
                server.receive()
            with self.assertRaises(syncws.WriteTimeout):
                server.send(bytes(1 << 22))

    def test_a_path_needs_one_server(self) -> None:
        """A path is one of the test's only server; with none or two a whole URL is asked for."""
        with Workbench() as bench:
            with self.assertRaisesRegex(TypeError, "where is a URL, or a path"):
                bench.dial(5)  # type: ignore[arg-type]
            with self.assertRaisesRegex(ValueError, "this test has 0 servers: give a whole URL"):
                bench.dial("/x")
            bench.serve(echo)
            bench.serve(echo)
            with self.assertRaisesRegex(ValueError, "this test has 2 servers"):
                bench.dial("/x")

    def test_handlers_assertion(self) -> None:
        """An assertion that fails in a handler is raised at the end; any other error of it is the log's."""

        raised = []

        def checks(conn: syncws.Conn) -> None:
            try:
                assert conn.receive() == "expected", "not what was expected"
            except AssertionError as failure:
                raised.append(failure)
                raise

        bench = Workbench()
        with self.assertRaisesRegex(AssertionError, "not what was expected"), self.assertLogs("syncws.server"), bench:
            bench.serve(checks)
            conn = bench.dial()
            conn.send("something else")
            self.assertRaises(syncws.CloseError, conn.receive)
        self.assertEqual(len(bench.failures), 1)
        self.assertIsNot(bench.failures[0], raised[0])  # which the handler's thread has raised

    def test_a_connection_left_behind(self) -> None:
        """A connection that the test has opened by itself, and not closed, is told in one sentence."""
        with mock.patch.object(workbench, "_GRACE", 0.05):
            with self.assertRaisesRegex(
                AssertionError, "^the test has left behind an open connection, <syncws.Conn .*close "
            ):
                with Workbench():
                    near, far = socketpair()
                    conn = syncws.Conn(syncws.Transport(near), client=True)
        conn.close_now()
        far.close()

    def test_a_thread_left_behind(self) -> None:
        """A thread of syncws that is left is told; another one only where all is looked for."""
        go_on = threading.Event()
        for name, leaks, told in (
            ("syncws-mine", "own", "the thread syncws-mine"),
            ("worker", "own", None),
            ("worker", "all", "the thread worker"),
            ("syncws-mine", "off", None),
        ):
            thread = threading.Thread(target=go_on.wait, args=(PATIENCE,), name=name)
            with self.subTest(name=name, leaks=leaks), mock.patch.object(workbench, "_GRACE", 0.05):
                try:
                    with Workbench(leaks=leaks):
                        thread.start()
                except AssertionError as error:
                    self.assertIn(told or "nothing", str(error))
                else:
                    self.assertIsNone(told)
            go_on.set()
            thread.join()
            go_on.clear()

    @unittest.skipUnless(os.path.isdir("/proc/self/fd"), "the system does not tell")
    def test_a_descriptor_left_behind(self) -> None:
        """A descriptor that is left is told where all is looked for."""
        with mock.patch.object(workbench, "_GRACE", 0.05):
            with self.assertRaisesRegex(AssertionError, r"left behind the descriptor \d+ \(pipe"):
                with Workbench(leaks="all"):
                    ends = os.pipe()
        for end in ends:
            os.close(end)

    def test_wrong_options(self) -> None:
        """A timeout that is none and a word that is not known are refused."""
        for options in ({"timeout": 0}, {"timeout": "1"}, {"timeout": True}, {"leaks": "some"}):
            with self.subTest(options), self.assertRaises(ValueError):
                Workbench(**options)  # type: ignore[arg-type]


class PytestTests(unittest.TestCase):
    """Real runs of pytest, which finds the plugin by its entry point."""

    def setUp(self) -> None:
        need(importlib.util.find_spec("pytest") is not None, "pytest is not installed")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_pytest(self, files: dict[str, str], *arguments: str) -> str:
        """What pytest says of these files."""
        for name, text in files.items():
            (self.folder / name).write_text(textwrap.dedent(text))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
        # The plugin is named: it is found so in a checkout that was not installed, too.
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command += ["-p", "pytest_syncws"]
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr

    def test_entry_point(self) -> None:
        """setup.cfg tells pytest where the plugin is."""
        parser = ConfigParser()
        parser.read(ROOT / "setup.cfg")
        self.assertEqual(parser["options.entry_points"]["pytest11"].split(), ["syncws", "=", "pytest_syncws"])
        self.assertEqual(parser["options"]["py_modules"], "pytest_syncws")

    def test_who_uses_none(self) -> None:
        """A run that asks for none of the fixtures does not import syncws, and has no other output."""
        said = self.run_pytest({"test_plain.py": PLAIN}, "-W", "error")
        self.assertIn("1 passed", said)

    def test_fixtures(self) -> None:
        """Each fixture, the marker and the ini file do what the page says; what is left behind fails the test in one
        sentence, and the tests around it pass."""
        said = self.run_pytest({"test_all.py": ALL, "pytest.ini": INI}, "-rA", "-W", "error")
        outcomes = re.findall(r"^(PASSED|FAILED|ERROR) test_all\.py::(\w+)", said, re.MULTILINE)
        for name in re.findall(r"^def (test_\w+)", textwrap.dedent(ALL), re.MULTILINE):
            expected = ["ERROR"] if "_wrong" in name else ["PASSED", "ERROR"] if "_told" in name else ["PASSED"]
            self.assertEqual([outcome for outcome, each in outcomes if each == name], expected, f"{name}\n{said}")
        for told in (
            ", an open connection, <syncws.Conn client",
            '>       assert conn.receive() == "expected"',
            "syncws: the test has left behind the thread left",
            "syncws: a handler is still running, 0.2 s after the server was told to end",
            "assert 'something else' == 'expected'",
            "syncws: the marker is @pytest.mark.syncws(",
            "syncws: leaks is one of own, all, off, not 'some'",
        ):
            self.assertIn(told, said)
        self.assertNotIn("During handling", said)
        self.assertNotIn("traceback entries are hidden", said)

    def test_wrong_ini(self) -> None:
        """A setting that cannot be is told in one sentence."""
        said = self.run_pytest(
            {
                "test_one.py": "def test_one(ws_pair):\n    pass\n",
                "pytest.ini": "[pytest]\nsyncws_timeout = soon\n",
            }
        )
        self.assertIn("syncws: syncws_timeout is a number of seconds", said)
        self.assertNotIn("Traceback", said)

    def test_markers_and_fixtures_are_listed(self) -> None:
        """pytest --markers and --fixtures tell of them."""
        self.assertIn("@pytest.mark.syncws(timeout=10, leaks='own')", self.run_pytest({}, "--markers"))
        listed = self.run_pytest({}, "--fixtures")
        for name in ("ws_server", "ws_client", "ws_app", "ws_pair", "ws_peer"):
            self.assertRegex(listed, rf"(?m)^{name} -- .*\n    \S")


PLAIN = """
    import sys


    def test_plain():
        assert "syncws" not in sys.modules
"""

INI = """
    [pytest]
    addopts = --strict-markers
    syncws_timeout = 0.2
"""

ALL = """
    import threading

    import pytest
    import syncws
    from syncws.testing import serving
    from syncws.wsgi import websocket


    def echo(conn):
        for message in conn:
            conn.send(message)


    @pytest.mark.syncws(timeout=20, leaks="all")
    def test_server_and_client(ws_server, ws_client):
        server = ws_server(echo, max_connections=5)
        for conn in (ws_client("/"), ws_client(server.url), server.dial("/x")):
            conn.send("hello")
            assert conn.receive() == "hello"


    @pytest.mark.syncws(timeout=20)
    def test_misbehaviour(ws_server, ws_peer):
        server = ws_server(echo)
        raw = server.raw("/")
        raw.send_frame(3, "what is this")
        assert raw.receive_close()[0] == 1002
        server.raw("/").vanish()
        conn, raw = ws_peer(client=True)
        raw.close(4001, "mine")
        with pytest.raises(syncws.CloseError, match="4001"):
            conn.receive()
        conn, raw = ws_peer()
        raw.vanish()
        with pytest.raises(syncws.CloseError, match="1006"):
            conn.receive()


    @pytest.mark.syncws(timeout=20)
    def test_pair_and_app(ws_pair, ws_app):
        server, client = ws_pair(compression=True)
        client.send("up" * 100)
        assert server.receive() == "up" * 100
        conn = ws_app(websocket(echo), "/echo")
        conn.send(b"1")
        assert conn.receive() == b"1"


    def test_timeout_of_the_ini_file(ws_pair):
        with pytest.raises(syncws.ReadTimeout):
            ws_pair()[0].receive()


    ELSEWHERE = serving(echo)
    LEFT = []


    def test_connection_told(ws_pair):
        LEFT.append(ELSEWHERE.__enter__().dial())


    def test_after_that(ws_pair):
        ELSEWHERE.__exit__(None, None, None)
        assert LEFT.pop().closed


    @pytest.mark.syncws(leaks="all")
    def test_thread_told(ws_pair):
        threading.Timer(7, lambda: None).start()
        threading.enumerate()[-1].name = "left"


    GO_ON = threading.Event()


    def test_handler_told(ws_server, ws_client):
        ws_server(lambda conn: GO_ON.wait(5) and None)
        ws_client("/")


    def test_after_the_handler(ws_pair):
        GO_ON.set()


    @pytest.mark.syncws(5)
    def test_marker_wrong(ws_pair):
        pass


    @pytest.mark.syncws(leaks="some")
    def test_leaks_wrong(ws_pair):
        pass


    @pytest.mark.syncws(timeout=20)
    def test_assertion_told(ws_server, ws_client):
        def handler(conn):
            assert conn.receive() == "expected"

        ws_server(handler)
        conn = ws_client("/")
        conn.send("something else")
        with pytest.raises(syncws.CloseError, match="1011"):
            conn.receive()
"""


if __name__ == "__main__":
    unittest.main()
