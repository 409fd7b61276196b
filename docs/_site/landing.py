"""The landing page, docs/index.md, is plain Markdown; what is on the site is what it lists.

Each of its headings of the second level is a part of the site, with the pages in its list: the navigation has them in
this order, under the words of the links. So a new page is a line in that list, which says what the page is for.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

_PART = re.compile(r"^## (.*)$", re.MULTILINE)
_PAGE = re.compile(r"^\* \[([^\]]+)\]\(([^)#:\s]+)\.(?:md|rst)\)", re.MULTILINE)


def parts(text: str) -> dict[str, list[tuple[str, str]]]:
    """(words, page) of each line in the list of each part, by its heading. A page is named without its suffix."""
    _, *rest = _PART.split(text)
    return {heading: _PAGE.findall(body) for heading, body in zip(rest[::2], rest[1::2], strict=True)}


def descriptions(text: str) -> dict[str, str]:
    """What each page is for, in plain words, by its name: what search engines show."""
    lines = re.findall(r"^\* \[[^\]]+\]\(([^)#:\s]+)\.(?:md|rst)\): (.*)$", text, re.MULTILINE)
    return {page: words.replace("`", "")[:1].upper() + words.replace("`", "")[1:] for page, words in lines}


def with_navigation(text: str) -> str:
    """The text with a hidden table of contents for each of its parts."""
    for heading, pages in parts(text).items():
        entries = "\n".join(f"{words.replace('`', '')} <{page}>" for words, page in pages)
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{entries}\n```\n"
    return text


def setup(app: Any) -> dict[str, Any]:
    """As an extension of Sphinx: the navigation is added, the lists are cards, and each page has its description."""
    from docutils import nodes

    told = descriptions(Path(app.srcdir, "index.md").read_text())

    def read(app: Any, docname: str, source: list[str]) -> None:
        if docname == app.config.root_doc:
            source[0] = with_navigation(source[0])

    def show_as_cards(app: Any, document: nodes.document) -> None:
        if app.env.docname != app.config.root_doc:
            return
        for cards in document.findall(nodes.bullet_list):
            cards["classes"].append("cards")
            for line in cards.findall(nodes.paragraph):
                words = line.children[1].astext().removeprefix(": ")
                line.children[1] = nodes.Text(words[:1].upper() + words[1:])

    def describe(app: Any, page: str, template: str, context: dict[str, Any], document: Any) -> None:
        if page in told:
            words = html.escape(f"syncws: {told[page]}")
            context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{words}" />\n'

    app.connect("html-page-context", describe)
    app.connect("source-read", read, priority=600)  # after the links are turned
    app.connect("doctree-read", show_as_cards)
    return {"parallel_read_safe": True}
