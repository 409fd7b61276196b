"""The pictures of README, and the path of its first minute, which one of them shows."""

from __future__ import annotations

import importlib.util
import re
import unittest
from pathlib import Path
from types import ModuleType

from syncws.testing import LeakChecks
from tests.partners import heavy, need

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()


def load() -> ModuleType:
    """docs/pictures.py, which makes them."""
    for package in ("pyte", "rich"):
        need(importlib.util.find_spec(package) is not None, f"{package} is not installed")
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(svg: str) -> list[str]:
    """What a picture says, without numbers, which are of one run."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return [re.sub(r"\d+(\.\d+)?", "0", each.replace("&#160;", " ")) for each in found]


class PicturesTests(unittest.TestCase):
    def test_badges_are_true(self) -> None:
        """The badges are those that the files of the project make now: `python docs/pictures.py` does."""
        self.assertEqual((DOCS / "badges.svg").read_text(), load().badges())

    def test_nothing_is_fetched(self) -> None:
        """The pictures need nothing from elsewhere, and are small."""
        for name in ("badges.svg", "connect.svg"):
            text = (DOCS / name).read_text()
            self.assertIsNone(re.search(r"(?:src|href|url)\W{1,3}https?:", text), name)
            self.assertLess(len(text), 100_000)

    def test_readme_shows_them(self) -> None:
        """README has both, each with a text for who does not see it."""
        for name in ("badges.svg", "connect.svg"):
            self.assertRegex(README, rf"!\[[^\]]{{20,}}\]\(docs/{name}\)")


class FirstMinuteTests(LeakChecks):
    def test_it_stands_at_the_beginning(self) -> None:
        """The path from README to a message is three lines to install, a server of at most six, a command in each of
        two terminals; the second has the environment as well."""
        beginning, _, rest = README.partition("## What it looks like")
        self.assertTrue(rest)
        self.assertEqual(
            re.findall(r"^    (.*?)(?:  +#.*)?$", beginning.replace(load().first_server(), ""), re.MULTILINE),
            [
                "python3 -m venv .venv",
                ". .venv/bin/activate",
                "pip install '.[cli]'",
                "python echo.py",
                ". .venv/bin/activate",
                "syncws connect ws://127.0.0.1:8080/",
            ],
        )
        self.assertLessEqual(sum(1 for line in load().first_server().splitlines() if line.strip()), 6)

    @heavy
    def test_it_works(self) -> None:
        """The first server of README echoes what is typed in `syncws connect` on a real terminal, and the picture shows
        what is then seen."""
        self.assertEqual(words(load().session()), words((DOCS / "connect.svg").read_text()))
