"""The findings as people read them, in 80 columns, and as programs do, in JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from .finding import Finding, Severity
from .mending import FRONTS, NAMES

_WIDTH = 80

#: Columns before the title of a finding, before what was seen, and before a line that mends.
_LABEL, _NAME = 9, 14
_INDENT, _PROGRAM = " " * 9, 11

_LABELS = {Severity.OK: "ok", Severity.NOTE: "note", Severity.WARNING: "WARNING", Severity.FAULT: "FAULT"}

#: How a terminal shows them: green, nothing, yellow, red.
_COLOURS = {Severity.OK: "32", Severity.NOTE: "", Severity.WARNING: "33;1", Severity.FAULT: "31;1"}


class Report:
    """Writes findings as text, one after the other, so that a long check is seen while the next one runs.

    Args:
        colour: whether it is for a terminal.
        front: the name of the only front whose lines are shown; None for all.
        guessed: the name of the front whose lines come first; it may be set later.

    Concurrency: for one thread.
    """

    def __init__(self, *, colour: bool = False, front: str | None = None, guessed: str | None = None) -> None:
        self._colour = colour
        self._front = front
        self.guessed = guessed

    def lines(self, finding: Finding) -> Iterator[str]:
        """One finding."""
        label = _LABELS[finding.severity].ljust(_LABEL)
        if self._colour and _COLOURS[finding.severity]:
            label = f"\x1b[{_COLOURS[finding.severity]}m{label}\x1b[0m"
        title = textwrap.wrap(finding.title, _WIDTH - _LABEL - _NAME) or [""]
        yield f"{label}{finding.check:<{_NAME}}{title[0]}".rstrip()
        for line in title[1:]:
            yield " " * (_LABEL + _NAME) + line
        for paragraph in finding.seen.splitlines():
            yield from textwrap.wrap(paragraph, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        for program, text in ordered(finding.mending, self._front, self.guessed):
            name = NAMES[program]
            for line in text.splitlines():
                yield from _mending_lines(name, line)
                name = ""

    def end(self, findings: Iterable[Finding], left_out: str = "") -> str:
        """The last line: how many there are of the worse kinds; left_out says what was not looked at."""
        found = list(findings)
        faults = _count(found, Severity.FAULT, "fault")
        warnings = _count(found, Severity.WARNING, "warning")
        told = " and ".join(filter(None, (faults, warnings)))
        if not told:
            return f"Nothing wrong was found. {left_out}".rstrip()
        return f"{told}. What each check means: docs/doctor.md"


def _mending_lines(name: str, line: str) -> Iterator[str]:
    """One line of a configuration, whose remark goes to a line of its own where it is too long with it."""
    first = f"{_INDENT}  {name:<{_PROGRAM}}"
    code, gap, remark = line.partition("   (")
    if gap and len(first) + len(line) > _WIDTH:
        yield first + code
        yield from textwrap.wrap(
            f"({remark}",
            _WIDTH,
            initial_indent=" " * (len(first) + 2),
            subsequent_indent=" " * (len(first) + 2),
        )
    else:
        yield first + line


def ordered(lines: Sequence[tuple[str, str]], front: str | None, guessed: str | None) -> Iterator[tuple[str, str]]:
    """Mending lines as they are shown: of fronts the given one alone, or the guessed one first; then all others."""
    if front is not None:
        lines = [pair for pair in lines if pair[0] == front or pair[0] not in FRONTS]
    first = front or guessed
    yield from (pair for pair in lines if pair[0] == first)
    yield from (pair for pair in lines if pair[0] != first)


def as_json(subject: str, findings: Sequence[Finding], front: str | None, guessed: str | None) -> str:
    """All of it as one JSON object."""
    return json.dumps(
        {
            "subject": subject,
            "front": front or guessed,
            "faults": sum(each.severity is Severity.FAULT for each in findings),
            "warnings": sum(each.severity is Severity.WARNING for each in findings),
            "findings": [
                {
                    "check": each.check,
                    "severity": each.severity.name.lower(),
                    "title": each.title,
                    "seen": each.seen,
                    "mending": dict(ordered(each.mending, front, guessed)),
                }
                for each in findings
            ],
        },
        indent=2,
    )


def _count(findings: Iterable[Finding], severity: Severity, word: str) -> str:
    number = sum(each.severity is severity for each in findings)
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""
