"""A command in this process: what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import io

from syncws._cli.main import main
from syncws.testing import LeakChecks


class CLICase(LeakChecks):
    """For tests of commands."""

    def run_main(self, *arguments: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error) of a command."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as exc:
                status = int(exc.code or 0)
        return status, out.getvalue(), err.getvalue()

    def assertRefused(self, says: str, *arguments: str, status: int = 1) -> str:
        """The command ends with an error, in one line at the end of stderr."""
        got, out, err = self.run_main(*arguments)
        self.assertEqual((got, out), (status, ""), err)
        last = err.splitlines()[-1]
        self.assertIn(says, last)
        return err

    def assertLine(self, says: str, *arguments: str, status: int = 1) -> None:
        """The command ends with an error of one line, and writes nothing else to stderr."""
        err = self.assertRefused(says, *arguments, status=status)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("syncws: "), err)
