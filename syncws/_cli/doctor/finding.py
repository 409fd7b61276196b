"""What a check has found: how bad it is, what was seen, and the lines that mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from .mending import mending


class Severity(IntEnum):
    """How bad a finding is, the worst last."""

    OK = 0
    NOTE = 1  # worth knowing; nothing has to be changed
    WARNING = 2  # works, and will hurt
    FAULT = 3  # does not work


@dataclass(frozen=True)
class Finding:
    """One line of the report, and what belongs to it.

    * ``check``: the name of the check, which is a section of docs/doctor.md;
    * ``title``: what is the case, in a few words; ``seen``: more of it, in sentences;
    * ``mending``: pairs of a program and the lines of its configuration that mend it.

    What a peer wrote has passed `printable` before it is in here.
    """

    check: str
    severity: Severity
    title: str
    seen: str = ""
    mending: tuple[tuple[str, str], ...] = ()


def ok(check: str, title: str, seen: str = "") -> Finding:
    """All is well."""
    return Finding(check, Severity.OK, title, seen)


def note(check: str, title: str, seen: str = "", *topics: str) -> Finding:
    """Worth knowing. topics are names in the table of mending lines."""
    return Finding(check, Severity.NOTE, title, seen, mending(*topics))


def warning(check: str, title: str, seen: str = "", *topics: str) -> Finding:
    """It works, and will hurt."""
    return Finding(check, Severity.WARNING, title, seen, mending(*topics))


def fault(check: str, title: str, seen: str = "", *topics: str) -> Finding:
    """It does not work."""
    return Finding(check, Severity.FAULT, title, seen, mending(*topics))


#: What a check gives: any number of findings.
Findings = Iterator[Finding]


def worst(findings: Iterable[Finding]) -> Severity:
    """The severity of the worst of them."""
    return max((each.severity for each in findings), default=Severity.OK)
