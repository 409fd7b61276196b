"""`python -m syncws`, as it is typed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import unittest
from pathlib import Path

from syncws._base.version import __version__
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


class MainTests(unittest.TestCase):
    def run_module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "syncws", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False)

    def test_version(self) -> None:
        """python -m syncws --version prints the version."""
        done = self.run_module("--version")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"syncws {__version__}\n", ""))

    def test_an_error(self) -> None:
        """The exit status is that of the command."""
        done = self.run_module("serve", "no_such_module:app")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("there is no module 'no_such_module'", done.stderr)

    def test_importing_it(self) -> None:
        """Importing syncws.__main__ runs nothing."""
        self.assertTrue(callable(importlib.import_module("syncws.__main__").main))
