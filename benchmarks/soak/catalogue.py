"""Which lines syncws may log: those of docs/logs.md. And what else a server process may write to its standard error."""

from __future__ import annotations

import re

from ..processes import ROOT

_IN_CODE = re.compile(r"%[-.\d]*[a-z]")
_IN_PAGE = re.compile(r"<[^<>]*>")

#: What `Advisor` adds to a line that the same cause had before.
_MORE = re.compile(r" \(and %d more like this before, at [A-Z]+\)$")

#: A traceback: its lines, and the one with the error.
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ ].*\n)*.*\n?")

#: A frame of syncws, or of what runs in a server process of the soak.
_OURS = re.compile(r"/syncws/_|/syncws/\w+\.py|/benchmarks/soak/")


class Catalogue:
    """The lines of a page of the documentation.

    Attributes:
        lines: by logger and text, with * for what varies: the levels of each row, and what to do.
    """

    def __init__(self, page: str | None = None) -> None:
        self.lines: dict[tuple[str, str], list[tuple[set[str], str]]] = {}
        logger = ""
        for row in (page if page is not None else (ROOT / "docs" / "logs.md").read_text()).splitlines():
            if heading := re.match(r"#+ `(syncws\.\w+)`", row):
                logger = heading[1]
            elif found := re.match(r"\| ([A-Z, ]+) \| `(.*?)` \|.*\|([^|]*)\|$", row):
                text = _IN_PAGE.sub("*", found[2])
                self.lines.setdefault((logger, text), []).append((set(found[1].split(", ")), found[3].strip()))

    def judge(self, logger: str, level: str, template: str) -> str:
        """Why a line may not be logged; "" if it may. template: with the places for its arguments."""
        text = _IN_CODE.sub("*", _MORE.sub("", template))
        known = self.lines.get((logger, text))
        if known is None:
            return "no page has this line"
        # A WARNING that is repeated is told as DEBUG or INFO.
        fitting = [advice for levels, advice in known if level in levels or ("WARNING" in levels and level != "ERROR")]
        if not fitting:
            return f"the page has it as {', '.join(sorted(set().union(*(levels for levels, _ in known))))}"
        return "it tells of a defect" if all(advice.startswith("report it") for advice in fitting) else ""


def strange(errors: str, *, hosted: bool = False) -> list[str]:
    """Lines of a standard error that a server process should not write.

    hosted: gunicorn has it too, and says there what it likes, also that a worker of its own died as it could accept
    nothing without a descriptor. Then it is tracebacks that came by syncws.
    """
    told = [each for each in _TRACEBACK.findall(errors) if _OURS.search(each)] if hosted else [errors]
    return [line for each in told for line in each.splitlines() if line.strip()]
