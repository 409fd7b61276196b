"""What a run shows."""

from __future__ import annotations

import io
import unittest
from collections.abc import Callable
from unittest import mock

from tests.runner import report as report_module
from tests.runner.plan import Unit
from tests.runner.pool import Process
from tests.runner.report import Report


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ReportTests(unittest.TestCase):
    """A report, told by hand what happens."""

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.report = Report(1234, verbose=False, stream=self.stream)

    def process(self, output: str = "", **state: object) -> Process:
        """A process that has ended, and has written that."""
        state.setdefault("unit", Unit(["tests.x.T.test_b"]))
        process = mock.Mock(spec=Process, hung=False, ended=True, under_way="tests.x.T.test_b", **state)
        process.output.side_effect = lambda start=0, end=None: output.encode()[start:end].decode()
        process.exit_code.return_value = 0
        return process

    def run_test(
        self, process: Process, name: str, *between: dict[str, str], written: tuple[int, int] = (0, 0)
    ) -> None:
        self.report.noted(process, {"what": "start", "test": name, "written": written[0]})
        for note in between:
            self.report.noted(process, {"test": name, **note})  # type: ignore[typeddict-item]
        self.report.noted(process, {"what": "stop", "test": name, "seconds": 1.5, "cpu": 0.5, "written": written[1]})

    def shown(self) -> str:
        return self.stream.getvalue()

    def test_progress_in_a_log(self) -> None:
        """How many of how many are done, in a line every ten seconds."""
        self.run_test(self.process(), "tests.x.T.test_a")
        self.report.looked()
        self.assertEqual(self.shown(), "")
        self.report._last_line -= report_module.LINE
        self.report.looked()
        self.report.looked()
        self.assertEqual(self.shown(), "1 of 1,234, 0 s\n")

    def test_progress_on_a_terminal(self) -> None:
        """There it is written over itself, and what fails is written above it."""
        self.stream = Terminal()
        self.report = Report(1234, verbose=False, stream=self.stream)
        self.report.looked()
        self.run_test(self.process(), "tests.x.T.test_a", {"what": "bad", "kind": "FAIL", "text": "it failed"})
        self.report.looked()
        shown = self.shown().splitlines()
        self.assertEqual(shown[:3], ["", "0 of 1,234, 0 s\033[K", "\033[K" + "=" * 70])
        self.assertIn("FAIL: tests.x.T.test_a", shown)
        self.assertEqual(shown[-1], "1 of 1,234, 1 failed, 0 s\033[K")

    def test_closing_lines(self) -> None:
        """They are unittest's, and the last says what was skipped, the most frequent reason first."""
        process = self.process()
        self.run_test(process, "tests.x.T.test_a", {"what": "skip", "text": "one reason"})
        for name in ("b", "c"):
            self.run_test(process, f"tests.x.T.test_{name}", {"what": "skip", "text": "another"})
        self.report.close()
        self.assertFalse(self.report.failed)
        self.assertRegex(
            self.shown(),
            r"^-{70}\nRan 3 tests in \d+\.\d{3}s\n\nOK \(skipped=3\)\nSkipped: 2 another; 1 one reason\n$",
        )

    def test_closing_lines_of_a_failure(self) -> None:
        """They count each kind, after the names of what failed."""
        for kind in ("FAIL", "ERROR", "UNEXPECTED SUCCESS"):
            self.run_test(self.process(), f"tests.x.T.test_{kind[0]}", {"what": "bad", "kind": kind, "text": ""})
        self.report.close()
        self.assertTrue(self.report.failed)
        self.assertRegex(
            self.shown(),
            r"FAIL: tests.x.T.test_F\nERROR: tests.x.T.test_E\nUNEXPECTED SUCCESS: tests.x.T.test_U\n-{70}\n"
            r"Ran 3 tests in .*\n\nFAILED \(failures=1, errors=1, unexpected successes=1\)\n$",
        )

    def test_no_tests(self) -> None:
        """A run of nothing says so."""
        self.report.close()
        self.assertIn("\nNO TESTS RAN\n", self.shown())

    def test_many_reasons(self) -> None:
        """Only the most frequent reasons fit into the line."""
        for reason in "aaaabbbccdefg":
            self.run_test(self.process(), "tests.x.T.test_a", {"what": "skip", "text": reason})
        self.report.close()
        self.assertIn("\nSkipped: 4 a; 3 b; 2 c; 4 for other reasons (-v)\n", self.shown())

    def test_what_was_written_meanwhile(self) -> None:
        """With a failure is shown what the test wrote, not what others wrote before; with a success nothing."""
        process = self.process("before\nwhile it failed\n")
        self.run_test(process, "tests.x.T.test_a", written=(0, 7))
        self.assertEqual(self.shown(), "")
        bad = {"what": "bad", "kind": "FAIL", "text": "it failed"}
        self.run_test(process, "tests.x.T.test_b", bad, written=(7, 23))
        self.assertIn("it failed\n-- written meanwhile:\nwhile it failed\n", self.shown())
        self.assertNotIn("before", self.shown())

    def test_verbose(self) -> None:
        """A line for each test says how it went."""
        self.report = Report(3, verbose=True, stream=self.stream)
        self.run_test(self.process(), "tests.x.T.test_a")
        self.run_test(self.process(), "tests.x.T.test_b", {"what": "skip", "text": "why"})
        self.run_test(self.process(), "tests.x.T.test_c", {"what": "bad", "kind": "FAIL", "text": ""})
        lines = self.shown().splitlines()
        self.assertEqual(
            [lines[0], lines[1], lines[-1]],
            [
                "tests.x.T.test_a ... ok (1.5 s)",
                "tests.x.T.test_b ... skipped 'why' (1.5 s)",
                "tests.x.T.test_c ... FAIL (1.5 s)",
            ],
        )

    def check_unseen(self, line: str) -> None:
        output = f"before\n{line}\nTraceback (most recent call last):\nafterwards\n"
        process = self.process(output)
        self.run_test(process, "tests.x.T.test_a", written=(0, 7))
        self.run_test(process, "tests.x.T.test_b", written=(7, len(output)))
        self.report.over(process)
        self.assertTrue(self.report.failed)
        self.assertIn(f"ERROR: tests.x.T.test_b\n{'-' * 70}\nAn exception that nobody saw:\n", self.shown())
        self.assertIn(f"\n{line}\nTraceback", self.shown())

    def test_unseen_exceptions(self) -> None:
        """What Python only prints fails the run, and is laid to the test that ran then."""
        for line in (
            "Exception ignored in: <socket.socket fd=9>",
            "Exception ignored while calling deallocator",
            "Exception in thread Thread-1:",
            "Task exception was never retrieved",
            "Task was destroyed but it is pending!",
            "sys:1: ResourceWarning: unclosed file",
        ):
            with self.subTest(line):
                self.setUp()
                self.check_unseen(line)

    def check_over(self, change: Callable[[mock.Mock], object], shown: str) -> None:
        self.setUp()
        process = self.process("its last words\n")
        change(process)  # type: ignore[arg-type]
        self.report.over(process)
        self.assertTrue(self.report.failed)
        self.assertIn("ERROR: tests.x.T.test_b\n", self.shown())
        self.assertIn(f"{shown}\n-- written meanwhile:\nits last words\n", self.shown())

    def test_processes_that_end_badly(self) -> None:
        """A process that hung, died, or has an exit code at its end is an error, with all it had written."""
        self.check_over(lambda process: setattr(process, "hung", True), "It hung, and was ended.")
        for code, said in ((3, "exit code 3"), (-9, "SIGKILL")):

            def die(process: mock.Mock, code: int = code) -> None:
                process.ended = False
                process.exit_code.return_value = code

            self.check_over(die, f"Its process ended: {said}.")

        def fail(process: mock.Mock) -> None:
            process.exit_code.return_value = 120

        self.check_over(fail, "At its end the process said exit code 120.")

    def test_the_slowest(self) -> None:
        """They are listed with the seconds of the processor that they took."""
        self.run_test(self.process(), "tests.x.T.test_a")
        self.run_test(self.process(), "tests.x.Skipped.test_a", {"what": "skip", "text": "why"})
        self.report.show_slowest(1)
        self.assertEqual(self.shown(), "   1.50 s    0.50 s cpu  tests.x.T.test_a\n")
        self.assertEqual(self.report.seconds, {"tests.x.T": 1.5})

    def test_what_is_run_again(self) -> None:
        """With `again` a failure is shown when it is settled: as unsteady, which is no failure, or as what it was."""
        self.report = Report(1234, verbose=False, stream=self.stream, again=True)
        units = [Unit(["tests.x.T.test_a"]), Unit(["tests.x.T.test_b"])]
        for unit, name in zip(units, ("tests.x.T.test_a", "tests.x.T.test_b"), strict=True):
            self.run_test(self.process(unit=unit), name, {"what": "bad", "kind": "FAIL", "text": f"of {name}"})
        self.assertTrue(self.report.failed)
        self.assertEqual(self.report.failed_units(), units)
        self.assertNotIn("FAIL:", self.shown())
        self.report.settle(lambda unit: unit is units[0])
        self.assertTrue(self.report.failed)
        self.report.close()
        self.assertIn("UNSTEADY: tests.x.T.test_a\n" + "-" * 70 + "\nof tests.x.T.test_a\n", self.shown())
        self.assertIn("FAIL: tests.x.T.test_b\n", self.shown())
        self.assertIn("\nFAILED (failures=1, unsteady=1)\n", self.shown())
