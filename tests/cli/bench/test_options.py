"""`syncws bench`: its options, what it prints, and exit statuses."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import syncws
from syncws._cli.bench import options
from tests.cli.support import CLICase
from tests.tasks import PATIENCE

from .cases import LoadCase

ROOT = Path(__file__).resolve().parents[3]


class OptionTests(CLICase):
    def test_wrong_arguments(self) -> None:
        """Each is refused, and the error names it."""
        for says, arguments in [
            ("required: URL", []),
            ("must begin with ws://", ["ftp://a"]),
            ("--connections: a number of 1 or more", ["ws://a", "--connections", "0"]),
            ("--inflight: a number of 1 or more", ["ws://a", "--inflight", "x"]),
            ("--rate: messages a second are a number above 0", ["ws://a", "--rate", "0"]),
            ("--size: a size is a number of bytes", ["ws://a", "--size", "big"]),
            ("--duration: a number of seconds above 0", ["ws://a", "--duration", "0"]),
            ("--ramp: a number of seconds above 0", ["ws://a", "--ramp", "-1"]),
            ("--processes: auto, or a number of 1 or more", ["ws://a", "--processes", "many"]),
            ("not allowed with argument", ["ws://a", "--rate", "5", "--inflight", "2"]),
            ("not allowed with argument", ["ws://a", "--rate", "5", "--receive-only"]),
            ("not allowed with argument", ["ws://a", "--text", "--binary"]),
            ("--key needs --cert", ["ws://a", "--key", "x"]),
        ]:
            with self.subTest(arguments):
                self.assertRefused(says, "bench", *arguments, status=2)

    def test_help(self) -> None:
        """It says what the two loops are, with examples and exit statuses."""
        status, out, _ = self.run_main("bench", "--help")
        self.assertEqual(status, 0)
        for says in ("closed loop", "open loop", "examples:", "exit status:", "--insecure"):
            self.assertIn(says, out)

    def test_what_is_planned(self) -> None:
        """Each option is in the plan; no more processes than connections."""
        with (
            mock.patch.object(options, "run_load", side_effect=KeyboardInterrupt) as run,
            mock.patch.object(options, "cores", return_value=3),
        ):
            arguments = ["-c", "9", "-s", "5", "--binary", "-d", "2", "--warmup", "0", "--ramp", "1", "-H", "A: b"]
            status, _, _ = self.run_main("bench", "ws://a", *arguments, "-r", "7", "--processes", "auto")
            self.assertEqual(status, 130)
            one = run.call_args.args[0][0]
            self.assertEqual((one.url, one.connections, one.rate, one.sizes), ("ws://a", 3, 7.0, (5,)))
            self.assertEqual((one.binary, one.duration, one.warmup, one.ramp), (True, 2.0, 0.0, 1.0))
            self.assertEqual((one.processes, list(one.headers)), (3, [("A", "b")]))
            self.run_main("bench", "ws://a", "-c", "2", "--processes", "5")
            self.assertEqual(len(run.call_args.args[0]), 2)


class RunTests(CLICase, LoadCase):
    """Loads of real servers."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT)}))
        self.enterContext(contextlib.chdir(self.enterContext(tempfile.TemporaryDirectory())))

    def bench(self, url: str, *more: str) -> tuple[int, str, str]:
        """The command, with the generator in this process."""
        with mock.patch.object(options, "run_load", lambda plans, show: (self.load(plans[0]), False)):
            return self.run_main("bench", url, "--duration", "0.2", "--warmup", "0", *more)

    def test_an_echo(self) -> None:
        """It prints the figures, writes them as JSON, and ends with 0."""
        with self.serving() as url:
            status, out, err = self.bench(url, "--json", "result.json")
        self.assertEqual((status, err), (0, ""), out)
        self.assertRegex(out, r"messages +[\d,]+ /s: [\d,]+ received")
        found = json.loads(Path("result.json").read_text())
        self.assertEqual(found["messages"]["received"], found["latency"]["count"])

    def test_a_process_of_its_own(self) -> None:
        """As it is typed: the generator is another process, and both end."""
        with self.serving() as url:
            command = [sys.executable, "-W", "error", "-m", "syncws", "bench", url, "-d", "0.2", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["connections"]["opened"], 1)

    def test_json_on_standard_output(self) -> None:
        """With --json alone, JSON is all there is on standard output."""
        with self.serving() as url:
            status, out, err = self.bench(url, "--json")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out)["connections"]["opened"], 1)

    def test_no_server(self) -> None:
        """Where nothing can be measured the status is 1, and the report says why."""
        status, out, _ = self.bench("ws://127.0.0.1:1/")
        self.assertEqual(status, 1)
        self.assertIn("not opened   1: Connection refused (connecting to 127.0.0.1 port 1)", out)

    def test_flaws(self) -> None:
        """Where something went wrong the status is 3, and the figures are there all the same."""

        def shout(conn: syncws.Conn) -> None:
            for message in conn:
                conn.send(message.upper())

        with self.serving(shout) as url:
            status, out, _ = self.bench(url)
        self.assertEqual(status, 3)
        self.assertIn("answers were not what was sent: is this an echo?", out)

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is an error, after the figures."""
        with self.serving() as url:
            status, out, err = self.bench(url, "--json", "no/such/folder.json")
        self.assertEqual((status, err), (1, "syncws: cannot write no/such/folder.json: No such file or directory\n"))
        self.assertIn("messages", out)


if __name__ == "__main__":
    unittest.main()
