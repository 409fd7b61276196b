"""Which lines syncws may log: those of docs/logs.md. And what else a server process may write to its standard error."""

from __future__ import annotations

import re

from ..processes import ROOT

_IN_CODE = re.compile(r"%[-.\d]*[a-z]")
_IN_PAGE = re.compile(r"<[^<>]*>")

#: What `Advisor` adds to a line that the same cause had before.
_MORE = re.compile(r" \(and %d more like this before, at [A-Z]+\)$")

#: What gunicorn says on its standard error in its own words.
_GUNICORN = re.compile(
    r"\[[-+: \d]+\] \[\d+\] \[(INFO|DEBUG|WARNING)\] |"
    r"\[[-+: \d]+\] \[\d+\] \[ERROR\] Worker \(pid:\d+\) (was sent SIG(KILL|TERM)!|exited with code)"
)


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


#: What gunicorn and gevent say where they may open no further file; there is no syncws in it.
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ ].*\n)*(.*)\n(?:.* failed with OSError\n)?")
_SHORT = "OSError: [Errno 24] Too many open files"
_SOCKET_ERROR = re.compile(r"\[[-+: \d]+\] \[\d+\] \[ERROR\] Socket error processing request\.$")


def strange(errors: str, *, short: bool = False) -> list[str]:
    """Lines of a standard error that no server process should write; short: it may have been out of descriptors."""

    def left(found: re.Match[str]) -> str:
        return "" if short and found[1].startswith(_SHORT) and "/syncws/_" not in found[0] else found[0]

    lines = [line for line in _TRACEBACK.sub(left, errors).splitlines() if line.strip() and not _GUNICORN.match(line)]
    return [line for line in lines if not (short and _SOCKET_ERROR.match(line))]
