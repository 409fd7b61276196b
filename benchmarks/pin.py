"""What does a server lose where it may use every core, and what does pin= give back, by what its handlers do?

    python -m benchmarks.pin
    python -m benchmarks.pin --work echo,hash --load PROGRAM --rounds 5 unpinned auto

The load has a core of its own. The server may use all, except for `process`, which is kept on another one from its
beginning; `connections` and `auto` get seconds of the same load before, in which they may find a core that is free.
Handlers echo 32 B (`echo`), with 16 in flight (`deep`), or 4 KiB (`large`); or they do something for each message of
32 B: compute a few microseconds in Python (`python`), or hash 1 MiB, which gives the GIL away (`hash`); `mixed` is
`echo` where one connection in eight is `hash`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys

from . import load, run
from .job import Job, LoadError
from .loads import Load
from .processes import started
from .turns import Comparison, Figures, Reading, Setting

#: The value of pin on each side; for a process it is the number of its core.
SIDES = {"unpinned": "no", "process": "the core", "connections": "connections", "auto": "auto"}

#: Seconds of load before, for sides that look for a core, or for a fight.
WARM_UP = 5.0


@dataclasses.dataclass(frozen=True)
class Work:
    """A load, and what a handler does for each of its messages: see `pin_server`."""

    load: Load
    handler: str
    said: str = ""


WORKS = {
    "echo": Work(Load(64, 32), "echo"),
    "large": Work(Load(16, 4 << 10), "echo"),
    "deep": Work(Load(64, 32, depth=16), "echo"),
    "python": Work(Load(64, 32), "python", ", some Python for each"),
    "hash": Work(Load(16, 32), "hash", ", 1 MiB hashed for each"),
    "mixed": Work(Load(64, 32), "mixed", ", 1 MiB hashed for each on one in eight"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--work",
        type=lambda given: given.split(","),
        default=[*WORKS],
        metavar="NAME,...",
        help=f"of {', '.join(WORKS)}; all by default",
    )
    run.add_load(parser)


def compare(options: argparse.Namespace) -> list[Comparison]:
    if unknown := set(options.work) - set(WORKS):
        sys.exit(f"no such work: {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    works = [WORKS[name] for name in options.work]
    return [
        Comparison(
            Figures("pin", each.load.title + each.said, "messages", each.load.size),
            list(options.sides),
            _lacks,
            functools.partial(measure, each),
        )
        for each in works
    ]


def _lacks(setting: Setting, side: str) -> str:
    return "" if setting.cores[0] is not None else "there is one core, or this system keeps no process on one"


def measure(work: Work, setting: Setting, side: str, warm_up: float = WARM_UP) -> tuple[Reading, str]:
    """One reading of a side, and a note. Raises LoadError."""
    server_core, load_core = setting.cores
    pin = str(server_core) if side == "process" else SIDES[side]
    command = [sys.executable, "-m", "benchmarks.pin_server", work.handler, pin]
    with started(command, None) as (port, pid):
        what = work.load
        job = Job("echo", port, pid, what.connections, what.size, depth=what.depth, seconds=setting.seconds)
        program = setting.load
        generate = functools.partial(load.generate_by, program) if program else load.generate
        if side in ("connections", "auto"):
            generate(dataclasses.replace(job, seconds=warm_up), load_core)
        finding = generate(job, load_core)
        if finding.count == 0:
            raise LoadError(f"not one answer came within {setting.seconds:g} s")
        return finding.reading(), finding.note


if __name__ == "__main__":
    sys.exit(run.one(__name__))
