"""testing/django.py: tests of a Django project, with a real one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.partners import need
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent


class DjangoTests(unittest.TestCase):
    def test_project(self) -> None:
        """The tests of a project pass, with a database in memory that threads share, and with one in a file."""
        need(importlib.util.find_spec("django") is not None, "django is not installed")
        for database in ([], ["data"]):
            with self.subTest(database), tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.testing.in_django", folder]
                done = subprocess.run(
                    [*command, *database], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE
                )
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
