"""The runner as a whole: `python -m tests` with tests that behave and tests that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws.testing import LeakChecks, await_
from tests.runner import command
from tests.runner.plan import ROOT, Unit
from tests.tasks import PATIENCE

#: Seconds: each test starts several processes.
LONG = 4 * PATIENCE


class CommandTests(LeakChecks):
    """Each test runs the command."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        arguments = tuple(each.replace("samples.", "tests.runner.samples.") for each in arguments)
        return self.enterContext(
            subprocess.Popen(
                [sys.executable, "-m", "tests", *arguments],
                cwd=ROOT,
                env={**os.environ, "SAMPLES": str(self.folder)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )

    def run_command(self, *arguments: str) -> tuple[int, str]:
        """(exit code, what was shown)"""
        process = self.start(*arguments)
        shown, _ = process.communicate(timeout=LONG)
        return process.returncode, shown

    def test_success(self) -> None:
        """It shows unittest's closing lines and nothing else, least of all what a test has said."""
        code, shown = self.run_command("samples.Good")
        self.assertEqual(code, 0)
        self.assertRegex(shown, r"\A-{70}\nRan 2 tests in .*\n\nOK\n\Z")

    def test_failures(self) -> None:
        """Failures, errors, parts and unexpected successes are shown and counted; the exit code is 1."""
        code, shown = self.run_command("samples.Bad", "samples.BadFixture")
        self.assertEqual(code, 1)
        self.assertIn("What it is about.\n\nTraceback", shown)
        self.assertIn("ZeroDivisionError: an error\n-- written meanwhile:\nsaid by a test that fails\n", shown)
        self.assertIn("FAIL: tests.runner.samples.Bad.test_parts (part=2)\n", shown)
        self.assertIn("ERROR: setUpClass (tests.runner.samples.BadFixture)\n", shown)
        self.assertIn("\nFAILED (failures=3, errors=2, unexpected successes=1)\n", shown)

    def test_skips(self) -> None:
        """The last line says what was skipped."""
        code, shown = self.run_command("samples.Skipped")
        self.assertEqual(code, 0)
        self.assertEqual(shown.splitlines()[-1], "Skipped: 2 for another; 1 for one reason")

    def test_a_package_that_is_missing(self) -> None:
        """A module of tests that imports what is not installed is skipped; with SYNCWS_REQUIRE=all it is an error, as a
        module of our own that is not there."""
        with mock.patch.dict(os.environ, SYNCWS_REQUIRE=""):
            code, shown = self.run_command("samples.Good", "tests.runner.lacking", "--verbose")
            self.assertEqual(code, 0)
            self.assertIn("not installed: No module named 'no_such_package'", shown)
            self.assertIn("OK (skipped=1)", shown)
            self.assertEqual(self.run_command("tests.runner.no_such_module")[0], 1)
        with mock.patch.dict(os.environ, SYNCWS_REQUIRE="all"):
            self.assertEqual(self.run_command("tests.runner.lacking")[0], 1)

    def test_failfast(self) -> None:
        """With the first failure all ends."""
        code, shown = self.run_command("-f", "-j1", "samples.Bad", "samples.Good")
        self.assertEqual(code, 1)
        self.assertIn("\nFAILED (errors=1)\n", shown)

    def test_what_failed_is_run_again(self) -> None:
        """With --again, what fails once and passes twice by itself is shown as unsteady, and the run has passed."""
        code, shown = self.run_command("--again", "samples.Unsteady", "samples.Good")
        self.assertEqual(code, 0, shown)
        self.assertIn("\nUNSTEADY: tests.runner.samples.Unsteady.test_first_time\n", shown)
        self.assertIn("AssertionError: the first time\n", shown)
        self.assertIn("\nOK (unsteady=1)\n", shown)
        self.assertEqual((self.folder / "times").read_text(), "xxx")

    def test_what_fails_again(self) -> None:
        """It is a failure; so is what passes only once, and everything where more than five units failed."""
        code, shown = self.run_command("--again", "samples.Bad")
        self.assertEqual(code, 1)
        self.assertIn("\nFAILED (failures=3, errors=1, unexpected successes=1)\n", shown)
        (self.folder / "fails").write_text("1 3")
        code, shown = self.run_command("--again", "samples.Unsteady")
        self.assertEqual(code, 1)
        self.assertIn("\nFAILED (failures=1)\n", shown)
        with mock.patch("tests.runner.command._passes", return_value=True):
            self.assertEqual(len(command._unsteady([Unit(["a"])] * command.UNSTEADY_UNITS, 1.0)), 5)
            self.assertEqual(command._unsteady([Unit(["a"])] * (command.UNSTEADY_UNITS + 1), 1.0), [])

    def test_nothing_to_run(self) -> None:
        """Its exit code is unittest's."""
        code, shown = self.run_command("-k", "no such test", "samples.Good")
        self.assertEqual(code, 5)
        self.assertIn("NO TESTS RAN", shown)

    def test_a_name_that_is_wrong(self) -> None:
        """It is said as unittest says it, before anything is run."""
        code, shown = self.run_command("samples.Good", "samples.NoSuchClass")
        self.assertEqual(code, 1)
        self.assertIn("has no attribute 'NoSuchClass'", shown)
        self.assertIn("Ran 1 test in", shown)

    def test_several_at_the_same_time(self) -> None:
        """Units run beside each other, as many as asked for."""
        # Classes of one folder that are quick share a unit; with one of another folder between them these do not.
        names = ("samples.First", "tests.base.test_advice.AdvisorTests.test_other_causes", "samples.Second")
        code, shown = self.run_command("-j3", *names)
        self.assertEqual(code, 0, shown)

    def test_alone(self) -> None:
        """What is marked to run alone runs after everything else."""
        code, shown = self.run_command("-j4", "samples.Alone", "samples.Beside", "samples.Alone")
        self.assertEqual(code, 0, shown)

    def test_a_hang(self) -> None:
        """After the limit it is shown where each thread of the process is, and the run goes on."""
        code, shown = self.run_command("--limit", "1", "samples.Hanging", "samples.Alone")
        self.assertEqual(code, 1)
        self.assertIn("ERROR: tests.runner.samples.Hanging.test_hang\n", shown)
        self.assertIn("It hung, and was ended.\n", shown)
        self.assertRegex(shown, r'File ".*samples.py", line \d+ in wait_for_ever\n')
        self.assertIn("Ran 1 test in", shown)

    def test_a_process_that_dies(self) -> None:
        """It is an error of the test that was under way."""
        code, shown = self.run_command("samples.Dying.test_kill")
        self.assertEqual(code, 1)
        self.assertIn("ERROR: tests.runner.samples.Dying.test_kill\n", shown)
        self.assertIn("Its process ended: SIGKILL.", shown)
        self.assertIn("Its process ended: exit code 3.", self.run_command("samples.Dying.test_exit")[1])

    def test_what_nobody_saw(self) -> None:
        """An exception in a thread, and one that Python only prints, fail the run."""
        for name in ("samples.Unseen.test_thread", "samples.Leaking.test_socket"):
            code, shown = self.run_command(name)
            self.assertEqual(code, 1)
            self.assertIn(f"ERROR: tests.runner.{name}\n", shown)
            self.assertIn("An exception that nobody saw:", shown)

    def check_end(self, number: int, code: int) -> str:
        """A signal ends the run, and what its tests have started."""
        process = self.start("samples.Parent")
        child = self.folder / "child"
        self.assertTrue(await_(lambda: child.exists() and child.read_text().endswith("\n"), LONG))
        process.send_signal(number)
        shown, _ = process.communicate(timeout=LONG)
        self.assertEqual(process.returncode, code)
        self.assertTrue(await_(lambda: not _runs(int(child.read_text()))))
        child.unlink()
        return shown

    def test_interrupt(self) -> None:
        """Ctrl-C ends every process and what it has started; the closing lines say so."""
        shown = self.check_end(signal.SIGINT, 130)
        self.assertIn("FAILED (ended by SIGINT)", shown)
        self.assertIn("FAILED (ended by SIGTERM)", self.check_end(signal.SIGTERM, 143))

    def test_abort(self) -> None:
        """SIGABRT shows where each test was."""
        shown = self.check_end(signal.SIGABRT, 134)
        self.assertIn("ERROR: tests.runner.samples.Parent.test_hang_with_a_child\n", shown)
        self.assertRegex(shown, r'File ".*samples.py", line \d+ in test_hang_with_a_child\n')


def _runs(number: int) -> bool:
    """Whether a process is alive; one that has ended, and that nobody has waited for, is not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    unittest.main()
