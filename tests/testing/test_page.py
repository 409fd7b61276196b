"""docs/testing.md: its blocks for pytest run in pytest, those for Flask here, those for Django in a project."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import LeakChecks
from tests.partners import need
from tests.tasks import PATIENCE
from tests.testing.test_workbench import PytestTests

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "testing.md"


def blocks(kind: str) -> list[str]:
    """The page's blocks of one kind; "" for plain ones."""
    found = re.findall(rf"^```python{kind and ' ' + kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"the page has no block for {kind}"
    return found


class PageTests(LeakChecks):
    def test_unittest(self) -> None:
        """The TestCase of the page passes: test_docs.py runs its block, which only defines it."""
        namespace: dict[str, Any] = {"__name__": "a_page"}
        exec(compile(blocks("")[0], str(PAGE), "exec"), namespace)
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(namespace["ShoutTests"]).run(result)
        self.assertEqual((result.testsRun, result.failures, result.errors), (2, [], []))

    def test_flask(self) -> None:
        """The block for Flask runs."""
        need(importlib.util.find_spec("flask") is not None, "flask is not installed")
        for block in blocks("flask-tests"):
            exec(compile(block, str(PAGE), "exec"), {"__name__": "a_page", "syncws": syncws})

    def test_django(self) -> None:
        """The tests for Django pass in a project."""
        need(importlib.util.find_spec("django") is not None, "django is not installed")
        command = [sys.executable, "-m", "tests.testing.in_page_project"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_block_runs(self) -> None:
        """There is no block of another kind."""
        kinds = set(re.findall(r"^```(.+)$", PAGE.read_text(), re.MULTILINE))
        self.assertEqual(kinds, {"python", "python pytest", "python flask-tests", "python django-tests"})


class PytestPageTests(unittest.TestCase):
    setUp = PytestTests.setUp
    run_pytest = PytestTests.run_pytest

    def test_pytest(self) -> None:
        """The blocks for pytest pass, each as a file of its own."""
        files = {f"test_{number}.py": block for number, block in enumerate(blocks("pytest"))}
        said = self.run_pytest(files, "-W", "error", "--strict-markers")
        self.assertRegex(said, r"(?m)^=+ 7 passed in ")


if __name__ == "__main__":
    unittest.main()
