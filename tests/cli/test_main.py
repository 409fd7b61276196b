"""`python -m syncws`: which command runs, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import unittest

from syncws._base.version import __version__
from tests.tasks import PATIENCE

from .support import CLICase


class MainTests(CLICase):
    def test_version(self) -> None:
        """--version prints the version."""
        self.assertEqual(self.run_main("--version"), (0, f"syncws {__version__}\n", ""))

    def test_help(self) -> None:
        """--help names the commands, with examples; without a command it is the same."""
        status, out, _ = self.run_main("--help")
        self.assertEqual(status, 0)
        for command in ("serve", "bench", "publish", "examples:"):
            self.assertIn(command, out)
        self.assertEqual(self.run_main(), (0, out, ""))

    def test_no_such_command(self) -> None:
        """With a command that there is not, the error names what there is."""
        self.assertRefused("invalid choice: 'run' (choose from", "run", status=2)

    def test_an_error_of_a_command(self) -> None:
        """It is one line, and the status is the command's."""
        self.assertLine("give --redis URL or --local PATH", "publish", "--all", "x", status=2)
        self.assertLine("there is no module", "serve", "no_such_module:app", status=1)

    def test_as_a_module(self) -> None:
        """`python -m syncws` runs it, and ends with its status."""
        command = [sys.executable, "-m", "syncws", "publish", "--all", "x"]
        done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))


if __name__ == "__main__":
    unittest.main()
