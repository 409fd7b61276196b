"""The judge of the suite's verdicts, and how the suite is found; the run itself is `python -m tests.compliance`."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws.testing import LeakChecks

from . import suite


def verdict(behavior: str = "OK", behavior_close: str = "OK") -> dict[str, object]:
    """A case as index.json has it."""
    return {
        "behavior": behavior,
        "behaviorClose": behavior_close,
        "duration": 2,
        "remoteCloseCode": 1000,
        "reportfile": "syncws_case_1_1_1.json",
    }


class JudgeTests(unittest.TestCase):
    def test_passed(self) -> None:
        """OK and INFORMATIONAL pass, in both fields, and are counted."""
        verdicts = suite.judge("server", {"1.1.1": verdict(), "7.13.1": verdict("INFORMATIONAL", "INFORMATIONAL")}, 2)
        self.assertTrue(verdicts.passed)
        self.assertEqual(verdicts.behavior, {"OK": 1, "INFORMATIONAL": 1})
        self.assertIn("1 INFORMATIONAL, 1 OK", str(verdicts))

    def test_anything_else_fails(self) -> None:
        """NON-STRICT, UNCLEAN and the rest fail, in either field, and the case is named."""
        for bad in ("NON-STRICT", "UNCLEAN", "FAILED", "FAILED BY CLIENT", "WRONG CODE", "UNIMPLEMENTED", "MISSING"):
            for result in (verdict(bad, "OK"), verdict("OK", bad)):
                with self.subTest(result):
                    verdicts = suite.judge("client", {"2.10": verdict(), "2.9": result}, 2)
                    self.assertFalse(verdicts.passed)
                    self.assertIn("2.9", verdicts.failures[0])
                    self.assertIn(bad, str(verdicts))

    def test_missing_cases_fail(self) -> None:
        """Fewer cases than expected fail, however good they are; so do more."""
        for count in (0, 2):
            self.assertFalse(suite.judge("server", {"1.1.1": verdict()}, count).passed)

    def test_a_failure_says_what_was_expected(self) -> None:
        """If there are reports, a failed case is shown with the words of its report and the page with its frames."""
        told = {"description": "a ping", "expectation": "a pong", "result": "nothing", "resultClose": "no close"}
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / str(verdict()["reportfile"])
            report.write_text(json.dumps(told))
            verdicts = suite.judge("server", {"1.1.1": verdict("FAILED"), "1.1.2": verdict()}, 2, Path(folder))
            self.assertEqual(len(verdicts.failures), 1)
            for words in (*told.values(), str(report.with_suffix(".html"))):
                self.assertIn(words, str(verdicts))

    def test_short_selection(self) -> None:
        """What always runs: groups 1 to 7 and 10, 12.1, and the first four of each group of 13."""
        self.assertIn("7.*", suite.SHORT)
        self.assertIn("12.1.*", suite.SHORT)
        self.assertEqual([case for case in suite.SHORT if case.startswith("13.7.")], [f"13.7.{n}" for n in range(1, 5)])
        self.assertFalse([case for case in suite.SHORT if case.startswith("9.")])

    def test_selection_with_takeover(self) -> None:
        """What always runs with context takeover is compressed, and has each group of 13; each case counts."""
        self.assertEqual({case.split(".")[0] for case in suite.TAKEOVER}, {"12", "13"})
        self.assertEqual({case.split(".")[1] for case in suite.TAKEOVER if case.startswith("13.")}, set("1234567"))
        self.assertEqual(len(set(suite.TAKEOVER)), suite.TAKEOVER_COUNT)

    def test_with_takeover_as_well(self) -> None:
        """Our programs run with context takeover, too: all cases with FULL=1; those of others as they are."""
        for full, count in ((False, suite.TAKEOVER_COUNT), (True, suite.ALL_COUNT)):
            for peer, expected in (("syncws", [(("server", "client"), count)]), ("websockets", [])):
                with mock.patch.object(suite, "run", return_value=()) as ran, tempfile.TemporaryDirectory() as folder:
                    [*suite.run_all(Path(folder), peer, full=full)]
                calls = [call.args for call in ran.call_args_list]
                self.assertEqual([(call[2], call[4]) for call in calls if call[1] == "syncws-takeover"], expected)


class FindTests(unittest.TestCase):
    def find(self, **environment: str) -> list[str] | None:
        with mock.patch.dict(os.environ, {"PATH": "", **environment}, clear=True):
            return suite.find()

    def test_by_environment(self) -> None:
        """WSTEST is a command, with arguments if need be, and comes first."""
        self.assertEqual(self.find(WSTEST="/opt/wstest"), ["/opt/wstest"])
        self.assertEqual(self.find(WSTEST="docker run 'my image' wstest"), ["docker", "run", "my image", "wstest"])

    def test_by_path(self) -> None:
        """Without WSTEST the suite is a command on the PATH."""
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "wstest"
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            self.assertEqual(self.find(PATH=folder), [str(program)])

    def test_docker_must_answer(self) -> None:
        """Docker counts only if its daemon answers; then the image is run, beside our own processes' network."""
        with tempfile.TemporaryDirectory() as folder:
            docker = Path(folder) / "docker"
            for status, found in ((1, False), (0, True)):
                docker.write_text(f"#!/bin/sh\nexit {status}\n")
                docker.chmod(0o755)
                command = self.find(PATH=folder)
                self.assertEqual(command is not None and suite.IMAGE in command, found)

    def test_nowhere(self) -> None:
        """Without any suite the result is None, and one sentence names every way to get it."""
        self.assertIsNone(self.find())
        for way in ("WSTEST", "PATH", "docker"):
            self.assertIn(way, suite.MISSING)


def children() -> set[str]:
    """The processes that this one has started and that run, where /proc tells them."""
    ours = str(os.getpid())
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if parent == ours and state != "Z":
                found.add(stat.parent.name)
    return found


class RunTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_with(self, program: str, *sides: str) -> list[suite.Verdicts]:
        with mock.patch.dict(os.environ, {"WSTEST": program}):
            return suite.run(self.folder / program, "syncws", sides, suite.ALL, suite.ALL_COUNT, None)

    def test_a_suite_that_fails(self) -> None:
        """A suite that ends with an error, or without a report, is a failure and not a side without bad cases."""
        for program, status in (("false", "exit code 1"), ("true", "exit code 0")):
            with self.subTest(program):
                (verdicts,) = self.run_with(program, "server")
                self.assertFalse(verdicts.passed)
                self.assertIn(status, str(verdicts))

    def test_nothing_is_left(self) -> None:
        """If one side cannot start, the processes of the other end."""
        before = children()
        with self.assertRaisesRegex(RuntimeError, "nothing listens"):
            self.run_with("false", "server", "client")
        self.assertTrue((self.folder / "false" / "syncws-server-ws" / "suite.json").exists())  # one was there
        self.assertEqual(children(), before)
