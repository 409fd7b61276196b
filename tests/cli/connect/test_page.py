"""docs/connect.md: its shell blocks run as they stand, and its tables are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

from syncws._cli.connect.session import Session
from syncws._cli.connect.slash import SlashCommands
from tests.partners import heavy
from tests.tasks import PATIENCE

from .support import ROOT, ConnectCase

PAGE = (ROOT / "docs" / "connect.md").read_text()

#: What each shell block prints, in the order of the page.
PRINTED = ["hi\n", "two\na\nb;c;11\n", '{"event": "done"}\n{"subscribe": "prices"}\n', "one\ntwo\none\ntwo\n"]


class TableTests(ConnectCase):
    def test_options(self) -> None:
        """The page has every option of the command, and no other."""
        _, text, _ = self.run_main("connect", "--help")
        there = set(re.findall(r"--[a-z-]+", text)) - {"--help", "--no-compression", "--text", "--history"}
        self.assertEqual(there, set(re.findall(r"--[a-z-]+", PAGE)) - {"---"})

    def test_commands(self) -> None:
        """The page has every command that can be typed."""
        commands = SlashCommands(mock.Mock(spec=Session), print, 1000, "")
        for name in commands.names:
            self.assertIn(name, PAGE)


@heavy
class BlockTests(ConnectCase):
    def test_shell(self) -> None:
        """Each shell block of the page prints what the page says, and ends with 0."""
        blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), len(PRINTED))
        program = self.folder / "syncws"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m syncws "$@"\n')
        program.chmod(0o755)
        environment = {**self.environment(), "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        for block, printed in zip(blocks, PRINTED, strict=True):
            script = block.replace("ws://localhost:8080/echo", self.url())
            done = subprocess.run(
                ["sh", "-e", "-c", script],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            said = re.sub(r"^ *(\d+)$", r"\1", done.stdout, flags=re.MULTILINE)  # wc of macOS indents
            self.assertEqual((done.returncode, said, done.stderr), (0, printed, ""), block)
        self.assertIn("out", Path(self.folder, "talk.jsonl").read_text())


if __name__ == "__main__":
    unittest.main()
