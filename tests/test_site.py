"""What the site adds to its pages: the navigation, and links that also lead somewhere there. `make docs` builds it."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import unittest
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"


def load(name: str) -> ModuleType:
    """A module of docs/_site, which Sphinx finds by a path of its own."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / "_site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


landing = load("landing")
links = load("links")


class NavigationTests(unittest.TestCase):
    def test_every_page_is_listed_once(self) -> None:
        """Each page of the site is in one list of the landing page."""
        listed = sorted(self._listed())
        there = [path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*") if path.suffix in (".md", ".rst")]
        self.assertEqual(listed, sorted(path.as_posix() for path in there if path.name != "index"))

    def test_each_says_what_it_is_for(self) -> None:
        """A line of the list is a link, a colon, and a sentence."""
        for line in INDEX.read_text().splitlines():
            if line.startswith("* "):
                self.assertRegex(line, r"^\* \[[^\]]+\]\([\w./-]+\): .*\.$")

    def test_navigation(self) -> None:
        """The navigation of a part is its list, under the words of its links."""
        text = (
            "# It\n\n## Learn\n\n* [The `first`](a.md): one.\n* [Two](b/c.rst): two.\n\n## Look up\n\n* [D](d.md): x.\n"
        )
        self.assertEqual(
            landing.parts(text), {"Learn": [("The `first`", "a"), ("Two", "b/c")], "Look up": [("D", "d")]}
        )
        added = landing.with_navigation(text).removeprefix(text)
        self.assertIn(":caption: Learn\n\nThe first <a>\nTwo <b/c>\n", added)
        self.assertIn(":caption: Look up\n\nD <d>\n", added)

    def test_descriptions(self) -> None:
        """What a page is for is told to search engines, without backticks."""
        text = "## Learn\n\n* [A](a.md): `one`, or two.\n* [B](b/c.rst): what.\n"
        self.assertEqual(landing.descriptions(text), {"a": "One, or two.", "b/c": "What."})
        self.assertEqual(landing.descriptions(INDEX.read_text()).keys(), set(self._listed()))

    def _listed(self) -> list[str]:
        return [page for pages in landing.parts(INDEX.read_text()).values() for _, page in pages]


class AddressesTests(unittest.TestCase):
    def test_form(self) -> None:
        """A link that leads out of the project is https and names a host; `make linkcheck` asks whether it is there."""
        pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/**/*.md")]
        found = {link for page in pages for link in re.findall(r"\]\((\w+:[^)\s]*)", page.read_text())}
        self.assertGreater(len(found), 3)
        for link in found:
            self.assertRegex(link, r"^https://[\w.-]+\.[a-z]+(/|$)|^mailto:")


class LinksTests(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        for name, text in (
            (
                "README.md",
                "# It\n[guide](docs/guide.md#a), [code](code/it.py), [security](SECURITY.md), ![p](docs/p.svg)",
            ),
            ("SECURITY.md", "# Security"),
            ("code/it.py", ""),
            ("docs/guide.md", "# Guide"),
            ("docs/p.svg", ""),
            ("docs/project/readme.md", "[README](../../README.md)\n"),
        ):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        self.docs = self.root / "docs"

    def turned(self, text: str, repository: str = "") -> str:
        turned: str = links.Links(self.docs, repository).page(self.docs / "guide.md", text)
        return turned

    def test_to_a_file_that_is_a_page(self) -> None:
        """A link to a file that a page stands for leads to that page, and to its heading."""
        self.assertEqual(self.turned("see [it](../README.md#it)."), "see [it](project/readme.md#it).")
        self.assertEqual(self.turned("[it](../)"), "[it](project/readme.md)")

    def test_to_another_file(self) -> None:
        """A link to another file leads to the repository; without an address of one the site has the file itself, and
        a folder is no link."""
        text = "[it](../code/it.py), [all](../code/)"
        here = "https://example.com/it"
        self.assertEqual(self.turned(text, here), f"[it]({here}/blob/main/code/it.py), [all]({here}/tree/main/code)")
        self.assertEqual(self.turned(text), "[it](../code/it.py), all")

    def test_what_stays(self) -> None:
        """What is no link to a file stays: an address, a heading, a page that is not there, code in a fence."""
        for text in ("[a](https://example.com/)", "[a](#b)", "[a](no.md)", "```\n[a](../README.md)\n```\n", "x[0](y)"):
            self.assertEqual(self.turned(text), text)

    def test_a_page_that_stands_for_a_file(self) -> None:
        """It has the text of the file, whose links are read from there; a picture stays one."""
        page = self.docs / "project" / "readme.md"
        turned = links.Links(self.docs, "https://x.test").page(page, page.read_text())
        self.assertEqual(
            turned,
            "# It\n[guide](../guide.md#a), [code](https://x.test/blob/main/code/it.py),"
            " [security](https://x.test/blob/main/SECURITY.md), ![p](../p.svg)",
        )

    def test_a_link_around_a_picture(self) -> None:
        """A picture that is a link: both are turned."""
        self.assertEqual(self.turned("[![p](p.svg)](../README.md)"), "[![p](p.svg)](project/readme.md)")

    def test_every_stub_stands_for_a_file(self) -> None:
        """Each page of docs/project is nothing but a link to a file that is there."""
        for page in (DOCS / "project").glob("*.md"):
            file = links.stands_for(page)
            self.assertIsNotNone(file, page)
            self.assertTrue(file.is_file(), page)
        self.assertIsNone(links.stands_for(DOCS / "guide.md"))

    def test_the_address_is_written_once(self) -> None:
        """The address of the repository is the project URL "Source" in setup.cfg."""
        settings = "[metadata]\nproject_urls =\n    Docs = https://d.test/\n    Source = https://s.test/it\n"
        self.assertEqual(links.source_address(settings), "https://s.test/it")
        self.assertEqual(links.source_address("[metadata]\nname = it\n"), "")


if __name__ == "__main__":
    unittest.main()
