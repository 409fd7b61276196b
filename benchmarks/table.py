"""How fast is this library beside gorilla and beside what it was, load by load, and what does each lever give?

    SYNCWS_BEFORE=../before SYNCWS_PYTHON=python3.13t python -m benchmarks.table --load PROGRAM --room PROGRAM
    python -m benchmarks.table --rows small,small-16 --sides fast,pure --rounds 3
    python -m benchmarks.table --quick              # shows that all works, and little more
    python -m benchmarks.table --list               # the rows

Each row measures its sides in turn: this library with the accelerator (fast) and without it (pure), with answers that
leave one by one (apart), another checkout (before), and the side that all of them are set beside. A cell has the
medians of the rounds' ratios of messages per second and of messages per second of processor time, and what a message
takes of it. Rounds in which something else had much of the machine are left out where enough others are left; the last
column counts the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import operator
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from . import fan, loads, machine, ours, run
from .loads import Load
from .report import BUSY, line, loudness
from .turns import Comparison, Figures, Reading, Setting

ROUNDS, SECONDS = 7, 1.0

QUICK = (1, 0.05)

#: With fewer rounds in which the machine was ours than this, all rounds count.
FEWEST = 3

#: The sides of this library in the order of the columns, each with the one of `ours` that it is.
SIDES = {"fast": "syncws", "pure": "pure", "apart": "apart", "before": ours.NAME}

#: What a measurement of one side is done by: see `Comparison.measure`.
Measure = Callable[[Setting, str], tuple[Reading, str]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One question of the table.

    Args:
        name: by which it is asked for.
        title: the load, in a few words.
        load: the echoes; None: a room.
        sides: those of this library.
        beside: the side that they are set beside.
        aims: what the ratios of sides are to be at least.
        cores: where the servers are: "one" core, "both" where the load is on one of them, or "both" with the load on
            any ("all").
    """

    name: str
    title: str
    load: Load | None
    sides: tuple[str, ...] = ("fast", "pure", "before")
    beside: str = "gorilla"
    aims: dict[str, float] = dataclasses.field(default_factory=dict)
    cores: str = "one"

    @property
    def other(self) -> str:
        """What the table calls the side that the others are set beside."""
        return f"{self.beside}, {'two cores' if self.cores == 'all' else 'one core'}"

    def comparison(self, sides: Iterable[str]) -> Comparison:
        """What is to be measured of those of the sides that the row has."""
        chosen = [side for side in self.sides if side in sides]
        return Comparison(Figures("table", self.title, self._unit), [*chosen, self.other], self._lacks, self._measure)

    @property
    def _unit(self) -> str:
        return "messages" if self.load else "deliveries"

    def _server(self, side: str) -> str:
        """The name of a side among the servers."""
        if side == self.other:
            return self.beside
        server = SIDES[side]
        if self.cores != "all":
            return server
        return ours.NOGIL if side == "fast" else f"{ours.NOGIL}-{server}"

    def _place(self, setting: Setting, side: str) -> Setting:
        """The setting with the cores of a side. Only unpinned servers of `both` are set beside one that is pinned."""
        if self.cores == "one" or (self.cores == "both" and side == self.other):
            return setting
        return dataclasses.replace(setting, cores=(None, setting.cores[1] if self.cores == "both" else None))

    def _lacks(self, setting: Setting, side: str) -> str:
        server = self._server(side)
        if server == ours.NAME and server not in ours.ALL:
            return "SYNCWS_BEFORE names no checkout"
        missing = loads.lacks(self.load or SMALL, setting, server)
        if not missing and side == "fast" and not ours.ALL[server].is_accelerated:
            return "the accelerator is not built for its Python"
        return missing

    def _measure(self, setting: Setting, side: str) -> tuple[Reading, str]:
        server, placed = self._server(side), self._place(setting, side)
        note = ours.ALL[server].describe() if server in ours.ALL else ""
        if self.load is None:
            return fan.measure(fan.Room(), placed, server)[0], note
        extra = {"GOMAXPROCS": str(os.cpu_count())} if self.cores == "all" else {}
        reading, said = loads.measure(self.load, placed, server, extra)
        return reading, "; ".join(filter(None, [note, said]))


#: A message of 32 B on each of 64 connections, and of 4 KiB on each of 16.
SMALL, MIDDLE = Load(64, 32), Load(16, 4 << 10)

ROWS = [
    Row("small", "64 x 32 B", SMALL, aims={"fast": 0.72, "pure": 0.60}),
    *(
        Row(
            f"small-{depth}",
            f"64 x 32 B, {depth} in flight",
            dataclasses.replace(SMALL, depth=depth),
            ("fast", "pure", "apart", "before"),
            aims=aims,
        )
        for depth, aims in ((4, {"fast": 1.5, "pure": 1.0}), (16, {"fast": 3.0, "pure": 1.8}))
    ),
    Row("4KiB", "16 x 4 KiB", MIDDLE, aims={"fast": 1.0, "pure": 0.85}),
    Row("64KiB", "8 x 64 KiB", Load(8, 64 << 10), aims={"fast": 2.1}),
    Row("1MiB", "4 x 1 MiB", Load(4, 1 << 20), aims={"fast": 2.5}),
    Row("room", "a room of 1,000", None, aims={"fast": 1.15}),
    Row(
        "compressed", "16 x 4 KiB, compressed", dataclasses.replace(MIDDLE, text=True, deflate=True), aims={"fast": 1.0}
    ),
    Row("tls", "16 x 4 KiB over TLS", dataclasses.replace(MIDDLE, tls=True), aims={"fast": 0.85}),
    *(
        Row(f"unpinned-{name}", f"{title}, unpinned", load, beside=ours.NAME, aims={"fast": aim}, cores="both")
        for name, title, load, aim in (("small", "64 x 32 B", SMALL, 0.85), ("4KiB", "16 x 4 KiB", MIDDLE, 0.95))
    ),
    *(
        Row(f"nogil-{name}", f"{title}, no GIL, two cores", load, aims={"fast": aim}, cores="all")
        for name, title, load, aim in (("small", "64 x 32 B", SMALL, 0.85), ("4KiB", "16 x 4 KiB", MIDDLE, 1.3))
    ),
]


def main() -> int:
    """Do what the command line says; the exit status: 1 if a side that is there could not be measured."""
    parser = make_parser()
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{row.name:<16}{row.title}" for row in ROWS))
        return 0
    names = [row.name for row in ROWS]
    for given, known, what in ((options.rows, names, "row"), (options.sides, [*SIDES], "side")):
        if unknown := set(given) - set(known):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    run.settle(options, QUICK if options.quick else (ROUNDS, SECONDS))
    run.need_packages("psutil", "tqdm")
    rows = [row for row in ROWS if row.name in options.rows]
    return run.guarded(lambda: answer(rows, options))


def make_parser() -> run.Parser:
    parser = run.Parser(
        prog="python -m benchmarks.table",
        description=str(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--list", action="store_true", help="the rows")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rows", type=_words, default=names, metavar="NAME,...", help="all by default")
    parser.add_argument("--sides", type=_words, default=[*SIDES], metavar="NAME,...", help=f"of {', '.join(SIDES)}")
    run.add_duration(parser)
    run.add_load(parser)
    run.add_room(parser)
    parser.add_argument("--tries", type=run.number(int, 1, 9), help="of a turn until it is calm (default: 3)")
    run.add_page(parser)
    return parser


def _words(given: str) -> list[str]:
    return given.split(",")


def answer(rows: Sequence[Row], options: argparse.Namespace) -> int:
    """Measure the rows, and show the table."""
    found = run.measure([row.comparison(options.sides) for row in rows], options)
    run.show(markdown(rows, found, options), options.page, "table")
    return run.status(found)


# The table


def markdown(rows: Sequence[Row], found: Sequence[Figures], options: argparse.Namespace) -> str:
    """The table, and what is to be said of it."""
    sides = [side for side in SIDES if any(side in figures.readings for figures in found)]
    head = ["load", "beside", *sides, "beside itself", "calm rounds"]
    lines = [line(head), line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row, figures in zip(rows, found, strict=True):
        beside = _itself(figures, row.other) if row.other in figures.readings else "not measured"
        cells = [cell(figures, side, row.other, row.aims.get(side)) for side in sides]
        lines.append(line([row.title, row.other, *cells, beside, f"{len(calm(figures))} of {rounds(figures)}"]))
    return "\n".join([*lines, "", *_legend(rows, found, options), ""])


def _legend(rows: Sequence[Row], found: Sequence[Figures], options: argparse.Namespace) -> list[str]:
    generators = ", ".join(Path(each).name for each in (options.load, options.room) if each)
    said = [
        f"Medians of {options.rounds} rounds of {options.seconds:g} s: messages per second as a multiple of the side "
        "beside which it stands / the same for messages per second of processor time (in brackets the aim), and the "
        "server's processor time per message. * where the generator was the limit: only processor time tells there.",
        f"{machine.dated()}; load average at the end {os.getloadavg()[0]:.1f}. {loudness(found)}"
        + (f" Plain loads by {generators}." if generators else ""),
    ]
    left_out: dict[str, list[str]] = {}
    for row, figures in zip(rows, found, strict=True):
        for side, why in figures.left_out.items():
            left_out.setdefault(f"Without {side}: {why}", []).append(row.name)
    said += [f"{each} ({', '.join(names)})." for each, names in left_out.items()]
    notes = [f"{side}: {note}" for figures in found for side, note in figures.notes.items() if note]
    return [f"* {each}" for each in [*said, *dict.fromkeys(notes)]]


def cell(figures: Figures, side: str, other: str, aim: float | None) -> str:
    """The ratio of a side and the processor time of its messages; "" if it was not measured."""
    if side not in figures.readings:
        return ""
    told = []
    if other in figures.readings:
        told = [f"{ratio(figures, side, other, 'rate'):.2f} / {1 / ratio(figures, side, other, 'cpu'):.2f}"]
    told += [f"({aim:g})"] if aim else []
    return " ".join([*told, _cost(figures, side)])


def ratio(figures: Figures, side: str, other: str, name: str) -> float:
    """The median of the rounds' ratios of a figure of two sides."""
    above, below = (_values(figures, each, name) for each in (side, other))
    return float(median(map(operator.truediv, above, below)))


def calm(figures: Figures) -> list[int]:
    """The numbers of the rounds in which nothing else had much of the machine."""
    sides = figures.readings
    return [number for number in range(rounds(figures)) if not any(figures.is_loud(side, number) for side in sides)]


def rounds(figures: Figures) -> int:
    return max(map(len, figures.readings.values()), default=0)


def _values(figures: Figures, side: str, name: str) -> list[float]:
    """One figure of a side in each round that counts."""
    numbers = found if len(found := calm(figures)) >= FEWEST else range(rounds(figures))
    return [figures.readings[side][number].get(name, 0.0) for number in numbers]


def _itself(figures: Figures, side: str) -> str:
    return f"{median(_values(figures, side, 'rate')):,.0f}/s, {_cost(figures, side)}"


def _cost(figures: Figures, side: str) -> str:
    limited = median(_values(figures, side, "busy")) >= BUSY
    return f"{median(_values(figures, side, 'cpu')):.1f} µs{' *' if limited else ''}"


if __name__ == "__main__":
    sys.exit(main())
