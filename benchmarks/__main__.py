"""Every question in turn, for syncws and every peer that is installed; tables, a picture, and what they were made with.

python -m benchmarks                    everything; writes docs/benchmarks.md, .svg and .json: some 20 minutes
python -m benchmarks --quick            the same in some 3 minutes; only shows
python -m benchmarks echo tls           these questions; only shows
python -m benchmarks --output FOLDER    writes into that folder, whichever questions are asked
python -m benchmarks --render           draws and writes anew what was measured last
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import itertools
import sys
from pathlib import Path
from types import ModuleType

from . import machine, page, run
from .cores import choose_cores
from .processes import ROOT
from .turns import Comparison, Figures

QUESTIONS = ("echo", "text", "deflate", "tls", "connect", "fan", "flask_sock", "memory")

DOCS = ROOT / "docs"

#: Rounds and seconds of --quick.
QUICK = (1, 0.2)


def main() -> int:
    """Do what the command line says; the exit status: 1 if a peer that is there could not be measured."""
    parser = make_parser()
    options = parser.parse_args()
    run.settle(options, QUICK if options.quick else run.USUAL)
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in options.questions or QUESTIONS}
    if options.list:
        for name, module in modules.items():
            print(f"{name:<12}{question(module)}")
        return 0
    if options.sides:
        run.check_sides(
            parser, options.sides, list(dict.fromkeys(itertools.chain(*(each.SIDES for each in modules.values()))))
        )
    run.need_packages("psutil", "tqdm")
    try:
        if options.render:
            page.render(options.output or DOCS)
            return 0
        return run.guarded(lambda: answer(modules, options))
    except page.PageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def answer(modules: dict[str, ModuleType], options: argparse.Namespace) -> int:
    """Measure, and write the page if that is wanted. Raises PageError."""
    folder = options.output or (DOCS if is_whole(options) else None)
    if folder is not None:
        run.need_packages("matplotlib")
        page.check(folder)
    found = run.measure(compare(modules, options), options)
    if folder is not None:
        page.save(describe(modules, found, options), folder)
        print(f"written: {', '.join(str(folder / name) for name in (page.PAGE, page.PICTURE, page.RAW))}")
    return run.status(found)


def make_parser() -> run.Parser:
    parser = run.Parser(
        prog="python -m benchmarks",
        description=str(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--list", action="store_true", help="the questions")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that all works, and little more")
    run.add_duration(parser)
    parser.add_argument("--sides", type=lambda given: given.split(","), metavar="NAME,...", help="of those compared")
    run.add_load(parser)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write there; docs for all at full length")
    parser.add_argument("--render", action="store_true", help="measure nothing: write page and picture anew")
    return parser


def question(module: ModuleType) -> str:
    """The question that a module asks."""
    return str(module.__doc__).splitlines()[0]


def is_whole(options: argparse.Namespace) -> bool:
    """Whether this run is what the page is about: everything, at full length, by our own load generator."""
    in_part = options.questions or options.sides or options.load
    return not in_part and options.rounds >= run.ROUNDS and options.seconds >= run.SECONDS


def compare(modules: dict[str, ModuleType], options: argparse.Namespace) -> list[Comparison]:
    """All measurements, with the usual options of each question."""
    comparisons = []
    for module in modules.values():
        sides = [side for side in module.SIDES if not options.sides or side in options.sides]
        if sides:
            comparisons += module.compare(run.make_parser(module).parse_args(sides))
    return comparisons


def describe(modules: dict[str, ModuleType], found: list[Figures], options: argparse.Namespace) -> page.Run:
    sides = dict.fromkeys(side for figures in found for side in figures.readings)
    packages = [package for module in modules.values() for package in getattr(module, "PACKAGES", ())]
    by = f"; {Path(options.load).name} generated the plain echoes" if options.load else ""
    return page.Run(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine.describe(sides, packages, choose_cores()),
        summary=machine.summary(),
        method=f"Medians of {options.rounds} rounds; in each, every side was measured for {options.seconds:g} s{by}.",
        questions={name: question(module) for name, module in modules.items()},
        found=found,
    )


if __name__ == "__main__":
    sys.exit(main())
