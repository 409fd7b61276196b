"""Links of pages to files outside of docs/, which must lead somewhere on GitHub and on the site.

A page in docs/project/ that is nothing but a link *stands for* the file it links to: the site shows that file there. So
README, SECURITY, CHANGELOG, CONTRIBUTING and those of the examples are on the site, too, and are searched.

A link to such a file leads to the page that stands for it. A link to another file of the project leads to the
repository, whose address is the project URL "Source" in setup.cfg; without one the site has a copy of the file. Links
from a file that a page stands for are read from the place of that file.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_STUB = re.compile(r"\s*\[[^\]]*\]\(([^)#:\s]+)\)\s*")
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]+)?\)")


class Links:
    """The pages of a folder docs/ inside the project's folder, and where their links lead.

    Args:
        docs: the folder of the pages.
        repository: the address of the project's repository, or "".
    """

    def __init__(self, docs: Path, repository: str = "") -> None:
        self.docs = docs
        self.root = docs.parent
        self.repository = repository.rstrip("/")
        self.stubs = {page: file for page in sorted(docs.glob("project/*.md")) if (file := stands_for(page))}
        self._pages = {file: page for page, file in self.stubs.items()}

    def page(self, page: Path, text: str) -> str:
        """The text of a page as the site has it: that of the file it stands for, with all links turned."""
        file = self.stubs.get(page)
        return self.turned(page, file or page, file.read_text() if file else text)

    def turned(self, page: Path, origin: Path, text: str) -> str:
        """A text that stands in a file, with its links as they must be on a page. Fences are left alone."""
        parts, end = [], 0
        for fence in _FENCE.finditer(text):
            parts += [self._turned(page, origin, text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, self._turned(page, origin, text[end:])])

    def _turned(self, page: Path, origin: Path, text: str) -> str:
        def turn(link: re.Match[str]) -> str:
            image, words, target, anchor = link[1], link[2], link[3], link[4] or ""
            file = Path(os.path.normpath(origin.parent / target))
            if not file.exists():
                return link[0]  # no link to a file: Sphinx finds out
            if not image:
                words = self._turned(page, origin, words)
            to = self._target(page, file, image=bool(image))
            return f"{image}[{words}]({to}{anchor})" if to else words

        return _LINK.sub(turn, text)

    def _target(self, page: Path, file: Path, *, image: bool) -> str:
        """Where a link from a page to a file leads; "" is nowhere."""
        for shown in (file, file / "README.md"):
            file = self._pages.get(shown, file)
        if not image and self.repository and not file.is_relative_to(self.docs):
            kind = "tree" if file.is_dir() else "blob"
            return f"{self.repository}/{kind}/main/{file.relative_to(self.root).as_posix()}"
        return "" if file.is_dir() else Path(os.path.relpath(file, page.parent)).as_posix()


def stands_for(page: Path) -> Path | None:
    """The file that a page stands for, if it is nothing but a link to one."""
    stub = _STUB.fullmatch(page.read_text())
    return Path(os.path.normpath(page.parent / stub[1])) if stub else None


def source_address(settings: str) -> str:
    """The address of the repository in the text of setup.cfg: the project URL named "Source", else ""."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings)
    lines: Iterable[str] = parser.get("metadata", "project_urls", fallback="").splitlines()
    urls = {name.strip(): url.strip() for name, _, url in (line.partition("=") for line in lines)}
    return urls.get("Source", "")


def setup(app: Any) -> dict[str, Any]:
    """As an extension of Sphinx: each Markdown page is turned when it is read."""
    docs = Path(app.srcdir)
    links = Links(docs, source_address((docs.parent / "setup.cfg").read_text()))

    def read(app: Any, docname: str, source: list[str]) -> None:
        page = docs / f"{docname}.md"
        if page.exists():
            source[0] = links.page(page, source[0])
        if page in links.stubs:
            app.env.note_dependency(str(links.stubs[page]))

    app.connect("source-read", read)
    return {"parallel_read_safe": True}
