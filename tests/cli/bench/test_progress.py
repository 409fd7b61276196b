"""The line on a terminal: there with rich and without, and nowhere else."""

from __future__ import annotations

import contextlib
import io
import unittest
from unittest import mock

from syncws._cli.bench import progress
from syncws._cli.bench.crew import Progress
from syncws.testing import LeakChecks


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTests(LeakChecks):
    def shown(self, stream: io.StringIO, *, rich: bool = True) -> str:
        with contextlib.redirect_stderr(stream), contextlib.ExitStack() as stack:
            if not rich:
                stack.enter_context(mock.patch.object(progress, "Console", None))
            stack.enter_context(mock.patch.object(progress.time, "monotonic", return_value=0.0))  # it takes no time
            with progress.showing() as show:
                show(Progress("measuring", 1000, 2, 5))
        return stream.getvalue()

    def test_a_terminal(self) -> None:
        """Without rich it is one line, which is cleared at the end; with rich it is the same in its way."""
        plain = self.shown(Terminal(), rich=False)
        self.assertEqual(plain, "\rmeasuring: 1,000 connections, 2 failed, 0 messages/s\x1b[K\r\x1b[K")
        with mock.patch.dict("os.environ", {"TERM": "xterm", "COLUMNS": "200"}):
            self.assertIn("measuring: 1,000 connections, 2 failed, 0 messages/s", self.shown(Terminal()))

    def test_no_terminal(self) -> None:
        """Where stderr is a file, nothing is written."""
        for rich in (True, False):
            self.assertEqual(self.shown(io.StringIO(), rich=rich), "")

    def test_speed(self) -> None:
        """Messages a second are those of the last half second, and begin anew with what is measured."""
        with mock.patch.object(progress.time, "monotonic", side_effect=[0.0, 1.0, 1.1, 2.0, 2.1]):
            speed = progress.Speed()
            lines = [speed.line(Progress("x", 1, 0, received)) for received in (500, 600, 1400, 10)]
        self.assertEqual([line.rpartition(", ")[2] for line in lines[:3]], ["500 messages/s"] * 2 + ["900 messages/s"])
        self.assertEqual(lines[3].rpartition(", ")[2], "0 messages/s")


if __name__ == "__main__":
    unittest.main()
