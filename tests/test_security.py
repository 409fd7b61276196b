"""SECURITY.md names what there is: each option of the threat model exists, and each test that is to hold it."""

from __future__ import annotations

import re
import unittest
from dataclasses import fields, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import syncws

from .source import Tests, rows

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "SECURITY.md").read_text()

ACTORS = ("client", "server", "page in a browser", "proxy", "bus", "dependency")


class SecurityTests(unittest.TestCase):
    def test_options_exist(self) -> None:
        """An option that the page names can be given: a field of that class, or an argument of that call."""
        for name in _cells("option", r"`([\w.]+)`"):
            with self.subTest(name):
                owner, _, option = name.rpartition(".")
                taker: Any = syncws
                for part in owner.split("."):
                    taker = getattr(taker, part)
                known = [each.name for each in fields(taker)] if is_dataclass(taker) else signature(taker).parameters
                self.assertIn(option, known)

    def test_tests_exist(self) -> None:
        """A test that the page names, by its method, class or module, is there."""
        tests = Tests()
        for name in re.findall(r"`(tests\.[\w.]+)`", PAGE):
            with self.subTest(name):
                self.assertTrue(tests.has(name))

    def test_each_line_has_its_test(self) -> None:
        """Every line of the threat model names the test that holds it."""
        for row in rows(PAGE):
            with self.subTest(row["do this"]):
                self.assertIn("`tests.", row["test"])

    def test_each_actor_is_there(self) -> None:
        """The model says what each may do that a connection has to do with."""
        headings = re.findall(r"^### An? (.*)$", PAGE, re.MULTILINE)
        self.assertEqual([heading for heading, actor in zip(headings, ACTORS, strict=True) if actor not in heading], [])

    def test_what_is_read_from_the_page(self) -> None:
        """The helpers read the tables, and know which tests there are; else the tests above would prove nothing."""
        self.assertLess(20, len(rows(PAGE)))
        self.assertIn("ConnOptions.read_limit", _cells("option", r"`([\w.]+)`"))
        tests = Tests()
        self.assertTrue(tests.has(f"{__name__}.SecurityTests.test_tests_exist"))
        for name in ("tests.test_security.SecurityTests.test_nothing", "tests.test_nothing", "tests.conn.test_wire.No"):
            self.assertFalse(tests.has(name))

    def test_it_can_be_found(self) -> None:
        """README and the pages on deployment and limits lead to it."""
        for page in ("README.md", "docs/deployment.md", "docs/limits.md"):
            with self.subTest(page):
                self.assertRegex((ROOT / page).read_text(), r"\]\((\.\./)?SECURITY\.md")


def _cells(heading: str, pattern: str) -> list[str]:
    return [found for row in rows(PAGE) for found in re.findall(pattern, row.get(heading, ""))]


if __name__ == "__main__":
    unittest.main()
