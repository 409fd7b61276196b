"""Running questions: their options, the turns with a progress bar, the tables on the terminal."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from . import page, report
from .cores import choose_cores
from .turns import Comparison, Figures, Setting

ROUNDS, SECONDS = USUAL = 5, 1.0

#: A connection that is older than 20 s is pinged by some servers, and the load counts bytes.
LONGEST = 15.0


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def number(kind: type[int] | type[float], lowest: float, highest: float = 1_000_000) -> Callable[[str], Any]:
    """A type of argparse: a number in a range."""

    def parse(given: str) -> Any:
        try:
            value = kind(given)
        except ValueError:
            value = kind(-1)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"a number from {lowest:,g} to {highest:,.0f}, not {given!r}")
        return value

    return parse


def program(given: str) -> str:
    """A type of argparse: the path of a program."""
    found = shutil.which(given)
    if found is None:
        raise argparse.ArgumentTypeError(f"no such program: {given}")
    return str(Path(found).absolute())


def add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--load",
        type=program,
        help="a program that generates plain echoes instead: it is called as "
        "LOAD PORT PATH CONNECTIONS SIZE DEPTH SECONDS TEXT and prints a line that begins with the messages per second",
    )


def add_room(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--room",
        type=program,
        help="a program that plays the members of plain rooms instead: it is called as "
        "ROOM PORT PATH MEMBERS SIZE SECONDS and prints a line that begins with the deliveries per second",
    )


def add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables between their marks there too")


def add_duration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=number(int, 1, 1000), help=f"(default: {ROUNDS})")
    parser.add_argument(
        "--seconds",
        type=number(float, 0.01, LONGEST),
        help=f"for each side in each round (default: {SECONDS:g})",
    )


def settle(options: argparse.Namespace, usual: tuple[int, float] = USUAL) -> None:
    """Fill in the seconds of a measurement, if they were not given."""
    options.rounds, options.seconds = options.rounds or usual[0], options.seconds or usual[1]


def make_parser(module: ModuleType) -> Parser:
    """The options of one question."""
    document = str(module.__doc__)
    parser = Parser(
        prog=f"python -m benchmarks.{question_name(module)}",
        description=document,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_options(parser)
    add_duration(parser)
    parser.add_argument("sides", nargs="*", default=module.SIDES, help=f"of {', '.join(module.SIDES)}; all by default")
    return parser


def question_name(module: ModuleType) -> str:
    return Path(str(module.__file__)).stem


def check_sides(parser: Parser, sides: Sequence[str], known: Sequence[str]) -> None:
    unknown = set(sides) - set(known)
    if unknown:
        parser.error(f"no such side: {', '.join(sorted(unknown))}; there are {', '.join(known)}")


def need_packages(*names: str) -> None:
    """End the program with one line if a package is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} not installed: pip install 'syncws[bench]'")


def one(module_name: str) -> int:
    """What `python -m benchmarks.NAME` does: answer that question on the terminal; the exit status."""
    need_packages("psutil", "tqdm")
    module = sys.modules[module_name]
    parser = make_parser(module)
    options = parser.parse_args()
    settle(options)
    check_sides(parser, options.sides, [*module.SIDES, *getattr(module, "LEVERS", ())])
    return guarded(lambda: status(measure(module.compare(options), options)))


def guarded(call: Callable[[], int]) -> int:
    """The result of a call. If the user or the system ends it, the processes that it has started end first."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return call()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def show(text: str, path: Path | None, name: str) -> None:
    """Print tables, and write them into their part of a page if one is named."""
    print(text)
    if path is not None:
        try:
            page.fill_part(path, name, text)
        except page.PageError as error:
            sys.exit(str(error))


def status(found: Sequence[Figures]) -> int:
    """The exit status: 1 if a side that is there could not be measured."""
    return 1 if any(figures.failed for figures in found) else 0


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """Let this process and those that it starts have as many connections as the system allows."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before if most == resource.RLIM_INFINITY else most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def measure(comparisons: Sequence[Comparison], options: argparse.Namespace) -> list[Figures]:
    """Take all turns, and show each table when it is there."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # tqdm starts no thread, which would disturb the measurement
    with many_files(), tempfile.TemporaryDirectory(prefix="syncws-") as folder:
        load, room = getattr(options, "load", None), getattr(options, "room", None)
        setting = Setting(options.rounds, options.seconds, load, choose_cores(), Path(folder), room)
        if getattr(options, "tries", None):
            setting = dataclasses.replace(setting, calm_tries=options.tries)
        for comparison in comparisons:
            comparison.leave_out(setting)
        missing = {
            f"without {side}: {reason}" for each in comparisons for side, reason in each.figures.left_out.items()
        }
        for line in sorted(missing):
            print(line)
        turns = options.rounds * sum(len(comparison.sides) for comparison in comparisons)
        with tqdm(total=turns, disable=None, dynamic_ncols=True) as bar:
            for comparison in comparisons:
                comparison.take_turns(setting, bar)
                bar.write(report.text(comparison.figures))
    return [comparison.figures for comparison in comparisons]
