"""`python -m syncws`: which command runs, and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unittest
from unittest import mock

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

    def test_interrupted(self) -> None:
        """Ctrl-C at a moment at which a command does nothing about it is status 130, and no traceback."""
        with mock.patch("syncws._cli.serve.load_application", side_effect=KeyboardInterrupt):
            self.assertEqual(self.run_main("serve", "module:app"), (130, "", ""))


@unittest.skipIf(shutil.which("bash") is None, "a shell that closes descriptors")
class StreamTests(unittest.TestCase):
    """Standard streams as a shell, a supervisor or a full disk leaves them."""

    def run_python(self, redirection: str, *arguments: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error) of Python in a shell."""
        command = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", sys.executable, *arguments]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def test_closed(self) -> None:
        """Streams that are closed are no error."""
        self.assertEqual(self.run_python("<&- >&-", "-m", "syncws", "doctor"), (0, "", ""))

    def test_nobody_reads(self) -> None:
        """An output that nobody reads to its end, as with `| head -1`, is no error."""
        self.assertEqual(self.run_python("| true", "-m", "syncws", "doctor"), (0, "", ""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "a disk that is full")
    def test_full(self) -> None:
        """An output that cannot be written is an error of one line."""
        told = "syncws: cannot write standard output: No space left on device\n"
        self.assertEqual(self.run_python("> /dev/full", "-m", "syncws", "doctor"), (1, "", told))

    def test_an_encoding_that_lacks_characters(self) -> None:
        """What the encoding of the output does not have is written as its escape."""
        program = "from syncws._cli import command; command.prepare_streams(); command.show('\xb5')"
        self.assertEqual(self.run_python("", "-c", program), (0, "\\xb5\n", ""))


if __name__ == "__main__":
    unittest.main()
