"""The page about a run: its figures, its picture, and the part of `benchmarks.md` between two marks.

The text outside the marks is written by hand, and stays.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from . import plot, report
from .turns import Figures

BEGIN = "<!-- figures: `python -m benchmarks` writes what follows -->"
END = "<!-- end of the figures -->"

PAGE, PICTURE, RAW = "benchmarks.md", "benchmarks.svg", "benchmarks.json"

_NEW = f"# Benchmarks\n\n{BEGIN}\n{END}\n"


class PageError(Exception):
    """The page is not written; the message says why, in one line."""


@dataclasses.dataclass
class Run:
    """The facts and the figures of a run.

    Args:
        date: of its end, as ISO 8601 has it.
        machine: where and with what it was made, a line each; `machine` has them.
        summary: the first of it in a few words.
        method: how it was measured, in a line.
        questions: what was asked, by the name of the module.
        found: the figures.
    """

    date: str
    machine: list[str]
    summary: str
    method: str
    questions: dict[str, str]
    found: list[Figures]


def check(folder: Path) -> None:
    """Raise PageError unless a run can be written into that folder."""
    if not folder.is_dir():
        raise PageError(f"no such folder: {folder}")
    _split(folder)


def save(run: Run, folder: Path) -> None:
    """Write figures, picture and page. Raises PageError."""
    (folder / RAW).write_text(json.dumps(dataclasses.asdict(_rounded(run)), indent=1, ensure_ascii=False) + "\n")
    render(folder)


def render(folder: Path) -> None:
    """Write picture and page anew from the figures that were saved. Raises PageError."""
    try:
        saved = json.loads((folder / RAW).read_text())
        run = Run(**{**saved, "found": [Figures(**figures) for figures in saved["found"]]})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PageError(f"no figures of a run in {folder / RAW}: {error}") from None
    _split(folder)
    plot.draw(run.found, run.summary, folder / PICTURE)
    fill(folder / PAGE, _figures(run))


def _split(folder: Path) -> tuple[str, str]:
    """The text that is written by hand, before the figures and after them."""
    return split(folder / PAGE)


def split(path: Path) -> tuple[str, str]:
    """The text of a page that is written by hand, before the figures and after them. Raises PageError."""
    text = path.read_text() if path.exists() else _NEW
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise PageError(f"{path} has not the two lines between which the figures go: {BEGIN} and {END}")
    return before, after


def fill(path: Path, figures: str) -> None:
    """Write the figures of a page between its marks. Raises PageError."""
    before, after = split(path)
    path.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}")


def fill_part(path: Path, name: str, text: str) -> None:
    """Write one part of a page that has several, between its own marks. Raises PageError."""
    written = path.read_text() if path.exists() else ""
    begin, end = (f"<!-- {name}: {word} -->" for word in ("a program writes what follows", "end"))
    before, begun, rest = written.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise PageError(f"{path} has not the two lines between which the figures go: {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def _figures(run: Run) -> str:
    """The part between the marks."""
    lines = [f"Measured on {run.date}. {run.method}", "", *(f"* {line}" for line in run.machine), ""]
    lines += [f"![Throughput of every server under every load, relative to syncws]({PICTURE})", ""]
    for name, question in run.questions.items():
        lines += [f"## {question}", "", f"`python -m benchmarks.{name}`", ""]
        lines += [report.markdown(figures) for figures in run.found if figures.question == name]
    return "\n".join(lines)


def _rounded(run: Run) -> Run:
    """The figure with as many digits as are significant."""

    def rounded(readings: Sequence[dict[str, float]]) -> list[dict[str, float]]:
        return [{name: float(f"{value:.5g}") for name, value in reading.items()} for reading in readings]

    found = [
        dataclasses.replace(each, readings={side: rounded(readings) for side, readings in each.readings.items()})
        for each in run.found
    ]
    return dataclasses.replace(run, found=found)
