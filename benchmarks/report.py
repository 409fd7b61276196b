"""Tables of what was measured, for a terminal and for Markdown."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from statistics import median

from .turns import CALM, LOUD, TRIES, Figures, Reading

#: If the load generator uses this share of its core, it is called the limit.
BUSY = 0.9

#: Bytes of a message from which bytes per second are shown.
LARGE = 4096

CEILING, OURS = "bare", "syncws"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its title, and what it shows of the readings of a side."""

    title: Callable[[Figures], str]
    cell: Callable[[Figures, list[Reading]], str]


def table(figures: Figures) -> list[list[str]]:
    """The titles, and a row for each side, the best one first. Columns that say nothing are left out."""
    columns = OWN.get(figures.question) or (RATES if figures.unit else MEMORY)
    rows = [["bus" if columns is CLUSTER else "server", *(column.title(figures) for column in columns)]]
    for side, readings in sorted(figures.readings.items(), key=lambda item: _rank(item[1])):
        name = f"{side} (the ceiling)" if side == CEILING and figures.unit else side
        rows.append([name, *(column.cell(figures, readings) for column in columns)])
    kept = [number for number in range(len(rows[0])) if any(row[number] for row in rows[1:])]
    return [[row[number] for number in kept] for row in rows]


def remarks(figures: Figures) -> list[str]:
    """The lines below the table."""
    said = []
    if any(_is_limited(readings) for readings in figures.readings.values()):
        said.append("\\* The load generator was the limit: these are faster than shown.")
    notes = {note: [side for side in figures.readings if figures.notes.get(side) == note] for note in _notes(figures)}
    for note, sides in notes.items():
        said.append(f"{note}." if len(sides) == len(figures.readings) else f"{', '.join(sides)}: {note}.")
    if figures.disturbed:
        turns = sum(len(readings) for readings in figures.readings.values())
        said.append(
            f"In {figures.disturbed} of {turns} turns a hypervisor took over {CALM:.0%} of a processor's time, "
            f"in each of {TRIES} attempts."
        )
    if any(share > LOUD for shares in figures.others.values() for share in shares):
        said.append(loudness([figures]))
    said += [f"Without {side}: {reason}." for side, reason in figures.left_out.items()]
    return said


def text(figures: Figures) -> str:
    """The table for a terminal."""
    rows = table(figures)
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    lines = [f"{figures.question}: {figures.title}"]
    for first, *others in rows if len(rows) > 1 else []:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, *(remark.replace("\\*", "*") for remark in remarks(figures)), ""])


def markdown(figures: Figures) -> str:
    """The table for Markdown, under a title."""
    head, *rows = table(figures)
    lines = [f"### {figures.title[0].upper()}{figures.title[1:]}", ""]
    if rows:
        lines += [line(head), line(["---", *["---:"] * (len(head) - 1)])]
        lines += [line([f"**{row[0]}**" if row[0] == OURS else row[0], *row[1:]]) for row in rows]
        lines.append("")
    for remark in remarks(figures):
        lines += [remark, ""]
    return "\n".join(lines)


def loudness(found: Sequence[Figures]) -> str:
    """A line that says in how many turns something else had much of the machine."""
    turns = [share for figures in found for shares in figures.others.values() for share in shares]
    return f"In {sum(share > LOUD for share in turns)} of {len(turns)} turns others had over {LOUD:.0%} of a processor."


def ratios(above: Sequence[Reading], below: Sequence[Reading]) -> float:
    """The median of the ratios of each round: the two figures of a round met the same noise."""
    return float(median(map(operator.truediv, _values(above, "rate"), _values(below, "rate"))))


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _values(readings: Sequence[Reading], name: str) -> list[float]:
    return [reading[name] for reading in readings if name in reading]


def _rank(readings: list[Reading]) -> float:
    if "KiB" not in readings[0] and "rate" not in readings[0]:
        return 0.0  # in the order in which they are compared
    return -median(_values(readings, "rate")) if "rate" in readings[0] else median(_values(readings, "KiB"))


def _is_limited(readings: list[Reading]) -> bool:
    return median(_values(readings, "busy") or [0]) >= BUSY


def _notes(figures: Figures) -> list[str]:
    """The notes that differ, in the order of the sides."""
    return list(dict.fromkeys(note for side in figures.readings if (note := figures.notes.get(side))))


# Cells


def _median(name: str, form: str) -> Callable[[Figures, list[Reading]], str]:
    def cell(figures: Figures, readings: list[Reading]) -> str:
        values = _values(readings, name)
        return format(median(values), form) if values else ""

    return cell


def _spread(figures: Figures, readings: list[Reading]) -> str:
    rates = _values(readings, "rate")
    return f"{min(rates):,.0f} to {max(rates):,.0f}" if len(rates) > 1 else ""


def _of_ceiling(figures: Figures, readings: list[Reading]) -> str:
    ceiling = figures.readings.get(CEILING)
    return f"{ratios(readings, ceiling):.0%}" if ceiling else ""


def _ours(figures: Figures, readings: list[Reading]) -> str:
    ours = figures.readings.get(OURS)
    return f"{ratios(ours, readings):.2f} x" if ours else ""


def _megabytes(figures: Figures, readings: list[Reading]) -> str:
    return f"{median(_values(readings, 'rate')) * figures.size / 1e6:,.0f}" if figures.size >= LARGE else ""


def _busy(figures: Figures, readings: list[Reading]) -> str:
    shares = _values(readings, "busy")
    return f"{median(shares):.0%}{' *' if _is_limited(readings) else ''}" if shares else ""


RATES = [
    Column(lambda figures: f"{figures.unit}/s", _median("rate", ",.0f")),
    Column(lambda figures: "lowest to highest", _spread),
    Column(lambda figures: "of the ceiling", _of_ceiling),
    Column(lambda figures: f"{OURS} is", _ours),
    Column(lambda figures: f"server CPU, µs/{_one_of(figures.unit)}", _median("cpu", ",.1f")),
    Column(lambda figures: "MB/s", _megabytes),
    Column(lambda figures: "load busy", _busy),
]

MEMORY = [
    Column(lambda figures: "KiB each", _median("KiB", ",.1f")),
    Column(lambda figures: "threads each", _median("threads", ".2f")),
]

CLUSTER = [
    Column(lambda figures: "sender, µs/message", _median("sender", ",.1f")),
    Column(lambda figures: "receiver, µs/message", _median("receiver", ",.1f")),
    Column(lambda figures: "all nodes, µs/message", _median("all", ",.1f")),
    Column(lambda figures: "Redis, µs/message", _median("redis", ",.1f")),
    Column(lambda figures: "p50 here, ms", _median("here", ",.2f")),
    Column(lambda figures: "p50 there, ms", _median("there", ",.2f")),
]

TAKEOVER = [
    Column(lambda figures: "times smaller", _median("smaller", ".1f")),
    Column(lambda figures: "to send, µs/message", _median("send", ",.1f")),
    Column(lambda figures: "to receive, µs/message", _median("receive", ",.1f")),
    Column(lambda figures: "KiB each in use", _median("in use", ",.0f")),
    Column(lambda figures: "KiB each after a silence", _median("silent", ",.0f")),
]

#: Questions that have columns of their own.
OWN = {"cluster": CLUSTER, "takeover": TAKEOVER}


def _one_of(unit: str) -> str:
    """The singular."""
    return unit[:-3] + "y" if unit.endswith("ies") else unit[:-1]
