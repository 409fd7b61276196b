"""The configurations that the pages show, for the tests that run them: what a reader copies is what was tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent.parent / "docs"


class Place(NamedTuple):
    """A fenced block: the page, the word behind its fence, and which of those with that word it is, from 0."""

    page: str
    language: str
    number: int = 0


#: Every configuration, by its name.
PLACES = {
    "nginx": Place("deployment.md", "nginx"),
    "haproxy": Place("proxies.md", "haproxy"),
    "caddy": Place("proxies.md", "caddy"),
    "apache": Place("proxies.md", "apache"),
    "traefik": Place("proxies.md", "yaml", 0),
    "traefik-static": Place("proxies.md", "yaml", 1),
    "systemd": Place("deployment.md", "ini"),
    "systemd-socket": Place("restart.md", "ini", 0),
    "systemd-service": Place("restart.md", "ini", 1),
    "docker": Place("kubernetes.md", "dockerfile"),
    "kubernetes": Place("kubernetes.md", "yaml", 0),
    "kubernetes-autoscaler": Place("kubernetes.md", "yaml", 1),
}


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def configuration(name: str, changes: dict[str, str] | None = None) -> str:
    """The configuration of that name as the page has it, with each key of the changes replaced."""
    place = PLACES[name]
    return replaced(blocks(place.page, place.language)[place.number], changes or {})


def replaced(text: str, changes: dict[str, str]) -> str:
    """Replace each key in a text, which must have it exactly once: a page that has changed is noticed."""
    for old, new in changes.items():
        if text.count(old) != 1:
            raise AssertionError(f"{old!r} is {text.count(old)} times in\n{text}")
        text = text.replace(old, new)
    return text
