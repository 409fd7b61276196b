"""A terminal without line editing: without the extra, and where the terminal is dumb."""

from __future__ import annotations

import os
import sys
import unittest
from unittest import mock

from syncws._cli.connect.plainscreen import PlainScreen
from syncws._cli.connect.talk import HINT
from syncws.testing import LeakChecks
from tests.partners import heavy

from .support import ConnectCase

_WITHOUT = "sys.modules.update(prompt_toolkit=None, rich=None)\n"


class LinesTests(LeakChecks):
    def test_lines(self) -> None:
        """The lines come until the end of the input, or until it is stopped."""
        ours, theirs = os.pipe()
        os.write(theirs, b"a\nb\n")
        screen = PlainScreen()
        with open(ours, "rb") as given, mock.patch.object(sys, "stdin", given):
            lines = screen.lines()
            self.assertEqual([next(lines), next(lines)], ["a", "b"])
            os.close(theirs)
            self.assertEqual(list(lines), [])
        screen.stop()
        self.assertEqual(list(iter(screen._lines.get, None)), [])


@heavy
class TerminalTests(ConnectCase):
    def test_without_the_extra(self) -> None:
        """One line says what brings more; messages are sent and shown, and commands work."""
        terminal = self.terminal("echo", columns=100, before=_WITHOUT)
        terminal.wait_line(f"* {HINT}")
        terminal.type('{"a": 1}\n')
        terminal.wait_line('{"a": 1}', '< {"a": 1}')
        terminal.type("/close 4000 bye\n")
        self.assertEqual(terminal.end(), 0)
        self.assertIn("* closed: sent 4000: bye; then received 4000", terminal.lines())

    def test_ctrl_c(self) -> None:
        """Ctrl-C ends it with 130."""
        terminal = self.terminal("echo", before=_WITHOUT)
        terminal.wait_line("* connected; /help, and Ctrl-D ends it")
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 130)

    def test_the_end(self) -> None:
        """Ctrl-D ends it, and so does the peer while a line is typed."""
        terminal = self.terminal("echo", before=_WITHOUT)
        terminal.wait_line("* connected; /help, and Ctrl-D ends it")
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)
        terminal = self.terminal("echo", before=_WITHOUT)
        terminal.wait_line("* connected; /help, and Ctrl-D ends it")
        terminal.type("hal")
        self.server.shutdown(1)
        self.assertEqual(terminal.end(), 0)  # 1001


if __name__ == "__main__":
    unittest.main()
