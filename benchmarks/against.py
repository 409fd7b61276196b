"""Is any load slower than it was in another checkout, by more than 2 %?

    SYNCWS_BEFORE=../before python -m benchmarks.against              # every question: some 8 minutes
    SYNCWS_BEFORE=../before python -m benchmarks.against echo fan     # these
    SYNCWS_BEFORE=../before python -m benchmarks.against --quick      # shows that all works, and little more

What counts is the processor time of the server per message (per connection, delivery), and the memory of an idle
connection: on a machine with other things to do, messages per second tell more about those. The two sides take turns,
and the ratio is that of each round. A load that seems slower is asked again, with twice as many rounds, and is judged
by all of them. It is called slower where the median of the ratios is over the limit and chance hardly explains it;
where chance may, the table says "perhaps", and more rounds decide. The exit status is 1 if a load is slower.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import math
import operator
import sys
from collections.abc import Sequence
from statistics import median, quantiles

from . import machine, ours, report, run
from .__main__ import QUESTIONS
from .turns import Comparison, Figures

ROUNDS, SECONDS = 7, 0.7

QUICK = (1, 0.05)

SIDES = [ours.NAME, "syncws"]

#: A load may cost this many per cent more than before.
LIMIT = 2.0

#: How often what seems slower is asked again.
AGAIN = 2

#: A load is not called slower where luck gives ratios that are no better than these this often.
CHANCE = 0.05

FINE, PERHAPS, SLOWER = "no slower", "perhaps slower", "**slower**"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the ratios of cost, ours to what was before, say about one load."""

    ratios: list[float]
    limit: float

    @property
    def middle(self) -> float:
        return float(median(self.ratios))

    @property
    def words(self) -> str:
        if self.middle <= 1 + self.limit / 100:
            return FINE
        return SLOWER if self.least > 1 else PERHAPS

    @property
    def least(self) -> float:
        """The lowest median that these ratios are likely to be of: by how many of them are below it."""
        ordered, count = sorted(self.ratios), len(self.ratios)
        chance, number = 0.5**count, 0
        while chance <= CHANCE:
            number += 1
            chance += math.comb(count, number) * 0.5**count
        return ordered[number - 1] if number else 0.0

    @property
    def half(self) -> str:
        """Between which two values half of the ratios are."""
        if len(self.ratios) < 2:
            return ""
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return f"{low:.2f} to {high:.2f}"


def main() -> int:
    """Do what the command line says; the exit status."""
    parser = make_parser()
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    if ours.NAME not in ours.ALL:
        parser.error("SYNCWS_BEFORE names no checkout to compare with")
    run.settle(options, QUICK if options.quick else (ROUNDS, SECONDS))
    run.need_packages("psutil", "tqdm")
    return run.guarded(lambda: answer(options))


def make_parser() -> run.Parser:
    parser = run.Parser(
        prog="python -m benchmarks.against",
        description=str(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="one short round")
    run.add_duration(parser)
    run.add_load(parser)
    run.add_page(parser)
    parser.add_argument("--limit", type=run.number(float, 0), default=LIMIT, help="per cent (default: %(default)g)")
    parser.add_argument(
        "--again",
        type=run.number(int, 0, 9),
        default=AGAIN,
        help="times that what seems slower is asked again (default: %(default)s)",
    )
    return parser


def answer(options: argparse.Namespace) -> int:
    """Measure, and say which loads are slower."""
    found = {key(figures): figures for figures in run.measure(comparisons(options), options)}
    for _ in range(options.again):
        asked = [each for each in comparisons(options) if judge(found[key(each.figures)], options).words != FINE]
        if not asked:
            break
        options.rounds *= 2
        for figures in run.measure(asked, options):
            add(found[key(figures)], figures)
    run.show(markdown([*found.values()], options), options.page, "against")
    slower = any(judge(figures, options).words == SLOWER for figures in found.values())
    return 1 if slower else run.status([*found.values()])


def comparisons(options: argparse.Namespace) -> list[Comparison]:
    """All loads of the questions that are asked, with their usual options, for the two sides."""
    every = []
    for name in options.questions or QUESTIONS:
        module = importlib.import_module(f"benchmarks.{name}")
        every += module.compare(run.make_parser(module).parse_args(SIDES))
    return every


def key(figures: Figures) -> tuple[str, str]:
    return figures.question, figures.title


def add(figures: Figures, more: Figures) -> None:
    """Add the rounds of another run."""
    for side, readings in more.readings.items():
        figures.readings[side] += readings
        figures.others[side] += more.others[side]


def judge(figures: Figures, options: argparse.Namespace) -> Verdict:
    """What the rounds say about the cost, which is processor time or, where that does not count, memory."""
    return Verdict(ratios(figures, "cpu" if figures.unit else "KiB"), options.limit)


def ratios(figures: Figures, name: str) -> list[float]:
    """Of each round, the ratio of a figure, ours to what was before; 1 where it is not known."""
    if not all(side in figures.readings for side in SIDES):
        return [1.0]
    before, now = ([reading[name] for reading in figures.readings[side] if name in reading] for side in SIDES)
    return [*map(operator.truediv, now, before)] or [1.0]


def markdown(found: Sequence[Figures], options: argparse.Namespace) -> str:
    """The table, and what is to be said of it."""
    rows = [["question", "load", "cost, now / before", "half of the rounds", "rate, now / before", "rounds", "verdict"]]
    for figures in found:
        verdict = judge(figures, options)
        rate = f"{median(ratios(figures, 'rate')):.2f}" if figures.unit else ""
        measured = all(side in figures.readings for side in SIDES)
        cells = [f"{verdict.middle:.3f}", verdict.half, rate, str(len(verdict.ratios)), verdict.words]
        rows.append([figures.question, figures.title, *(cells if measured else ["", "", "", "0", "not measured"])])
    left_out = {f"Without {side}: {why}." for figures in found for side, why in figures.left_out.items()}
    notes = [f"{machine.dated()}. {report.loudness(found)}", *sorted(left_out)]
    lines = [report.line(rows[0]), report.line(["---", "---", *["---:"] * (len(rows[0]) - 3), "---"])]
    return "\n".join([*lines, *map(report.line, rows[1:]), "", *(f"* {note}" for note in notes)])


if __name__ == "__main__":
    sys.exit(main())
