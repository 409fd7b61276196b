"""`python -m tests.stress`, as it is typed; what it says of a process that tells nothing."""

from __future__ import annotations

import io
import json
import signal
import sys
import unittest
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from tests.stress import command
from tests.stress.programs import PROGRAMS


class CommandTests(unittest.TestCase):
    def typed(self, *arguments: str) -> tuple[int, str]:
        """(exit code, what is printed)."""
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            return command.main(arguments), said.getvalue()

    def child(self, program: str) -> None:
        """Have a Python program in the place of the process that runs one."""
        self.enterContext(mock.patch.object(command, "_CHILD", (sys.executable, "-c", program)))

    def telling(self, **told: Any) -> None:
        self.child(f"print('noise'); print({json.dumps(told)!r})")

    def test_list(self) -> None:
        """--list names each program, what it does, and what is broken."""
        code, said = self.typed("--list")
        self.assertEqual(code, 0)
        for name, program in PROGRAMS.items():
            self.assertIn(name, said)
            for each in program.BREAKS:
                self.assertIn(f"broken: {each}", said)

    def test_a_name_that_is_none(self) -> None:
        """It is told, and nothing is run."""
        self.assertEqual(self.typed("writers", "nothing"), (2, "no program is called nothing: see --list\n"))

    def test_a_run(self) -> None:
        """A program that is right has a line with its counts."""
        code, said = self.typed("guests", "--seconds", "0")
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"(?m)^guests +right +[\d.]+ s  [\d,]+ seats, 1 rounds$")

    def test_what_is_wrong(self) -> None:
        """A wrong count and what is left are told, and are the exit code; what is skipped is not."""
        for verdict, expected in (("wrong", 1), ("left", 1), ("skipped", 0), ("right", 0)):
            with self.subTest(verdict):
                self.telling(verdict=verdict, why="two lines\nof it", counts={"rounds": 3})
                code, said = self.typed("guests", "ends")
                self.assertEqual(code, expected)
                self.assertRegex(said, rf"guests +{verdict} .*  3 rounds\n    two lines\n    of it\n")
                self.assertEqual("WRONG: guests, ends" in said, expected == 1)

    def test_a_crash(self) -> None:
        """An interpreter that crashes is told as such, with the signal and what it said."""
        self.child("import os, sys; print('where it was', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)")
        code, said = self.typed("guests")
        self.assertEqual(code, 1)
        self.assertRegex(said, rf"guests +crashed .*\n    {signal.Signals(11).name}\n(?s:.*)where it was")

    def test_a_hang(self) -> None:
        """One that was ended since it hung is told as such, with where its threads were."""
        self.child("import faulthandler, time; faulthandler.dump_traceback_later(0.1, exit=True); time.sleep(60)")
        code, said = self.typed("guests")
        self.assertEqual(code, 1)
        self.assertRegex(said, r"guests +hung .*\n(?s:.*)most recent call first")

    def test_broken(self) -> None:
        """A broken copy that is not seen is the exit code; however it is seen is well."""
        for verdict, expected in (("wrong", 0), ("left", 0), ("right", 1)):
            with self.subTest(verdict):
                self.telling(verdict=verdict, why="why", counts={})
                with mock.patch.object(command, "_TRIES", 2):
                    self.assertEqual(self.typed("--broken", "guests")[0], expected)


if __name__ == "__main__":
    unittest.main()
