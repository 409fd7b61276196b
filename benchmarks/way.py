"""Where does a message's time go, from the kernel through this library and back?

    python -m benchmarks.way
    SYNCWS_BEFORE=../before python -m benchmarks.way --sides pure,fast,before --size 4096 --connections 16
    python -m benchmarks.way --quick         # shows that all works, and little more

Two tables, in microseconds for a message that is echoed:

1. In one thread, with all that it needs at hand: each step is timed by itself, the kernel's by sockets alone, and the
   sum is set beside the time of the whole. Nothing waits there, and nobody else wants the GIL.
2. On a server with many connections on one core, under load: the processor time of a message, divided as `perf` finds
   the server at work (Linux; without `perf` only the processor time is told). What this is more than the first table is
   what waiting costs: a thread is put to sleep and woken, the GIL passes on.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from . import load, machine, ours, report, run, servers
from .cores import on_core
from .job import Job, LoadError
from .loads import Load
from .processes import ROOT, environment
from .turns import Comparison, Figures, Reading, Setting

ROUNDS, SECONDS = 5, 1.0

QUICK = (1, 0.1)

#: The sides, each with the one of `ours` that it is.
SIDES = {"pure": "pure", "fast": "syncws", "apart": "apart", "before": ours.NAME}

#: Messages of one side in one round of the first table for each second of the second.
TIMES = 10_000

#: Samples of `perf` a second, of each processor.
SAMPLES = 1999

#: Readings of the two tables, by their first letter.
STEPS, LOADED = "step: ", "load: "


def main() -> int:
    """Do what the command line says; the exit status."""
    parser = make_parser()
    options = parser.parse_args()
    if unknown := set(options.sides) - set(SIDES):
        parser.error(f"no such side: {', '.join(sorted(unknown))}; there are {', '.join(SIDES)}")
    run.settle(options, QUICK if options.quick else (ROUNDS, SECONDS))
    run.need_packages("psutil", "tqdm")
    return run.guarded(lambda: answer(options))


def make_parser() -> run.Parser:
    parser = run.Parser(
        prog="python -m benchmarks.way",
        description=str(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--connections", type=run.number(int, 1), default=64, help="(default: %(default)s)")
    parser.add_argument("--size", type=run.number(int, 1, 100_000), default=32, help="bytes (default: %(default)s)")
    parser.add_argument(
        "--depth", type=run.number(int, 1, 1000), default=1, help="messages under way on each, in the second table"
    )
    parser.add_argument(
        "--sides",
        type=lambda given: given.split(","),
        default=[side for side in SIDES if side != "apart"],
        metavar="NAME,...",
        help=f"of {', '.join(SIDES)} (default: %(default)s)",
    )
    run.add_duration(parser)
    run.add_page(parser)
    return parser


def answer(options: argparse.Namespace) -> int:
    """Measure, and show both tables."""
    what = Load(options.connections, options.size, options.depth)
    sides = [side for side in SIDES if side in options.sides]
    every = Comparison(Figures("way", what.title, ""), sides, lacks, functools.partial(measure, what))
    (figures,) = run.measure([every], options)
    run.show(markdown(figures, options), options.page, f"way of {options.size} B")
    return run.status([figures])


def lacks(setting: Setting, side: str) -> str:
    """A line that says why a side cannot be measured; "" if it can."""
    if SIDES[side] not in ours.ALL:
        return "SYNCWS_BEFORE names no checkout"
    way = ours.ALL[SIDES[side]]
    missing = way.missing()
    return missing or ("" if side != "fast" or way.is_accelerated else "the accelerator is not built")


def measure(what: Load, setting: Setting, side: str) -> tuple[Reading, str]:
    """One reading of a side for both tables. Raises LoadError."""
    way = ours.ALL[SIDES[side]]
    times = max(200, int(TIMES * setting.seconds))
    timed = time_steps(way, what, times, setting)
    timed["locks"] = time_steps(way, what, 200, setting, "locks")["locks"]
    found = {f"{STEPS}{name}": value for name, value in timed.items()}
    found |= {f"{LOADED}{name}": value for name, value in time_server(SIDES[side], what, setting).items()}
    return found, way.describe()


# One thread, nothing waits


def time_steps(way: ours.Ours, what: Load, times: int, setting: Setting, *words: str) -> dict[str, float]:
    """What `way_steps` finds, on the core of the server. Raises LoadError."""
    command = [way.python, "-m", "benchmarks.way_steps", str(way.library), str(what.size), str(times), *words]
    with on_core(setting.cores[0]):
        done = subprocess.run(command, env=environment(ROOT) | way.extra, capture_output=True, text=True)
    if done.returncode:
        raise LoadError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return dict(json.loads(done.stdout))


class Step(NamedTuple):
    """A row of the first table: its name, and its microseconds by what was timed."""

    name: str
    of: Callable[[dict[str, float]], float]


ONE_THREAD = [
    Step("kernel: receive", lambda ns: ns["receive"]),
    Step("decoding, and the reader's turn", lambda ns: ns["read"] - ns["receive"]),
    Step("the handler's own loop", lambda ns: whole(ns) - ns["read"] - ns["write"]),
    Step("encoding, and the writer's turn", lambda ns: ns["write"] - ns["send"]),
    Step("kernel: send", lambda ns: ns["send"]),
    Step("**the whole**", lambda ns: whole(ns)),
    Step("of it a second message of the same receive, to read", lambda ns: ns["next"]),
    Step("of it locks that nobody else has", lambda ns: ns["locks"] * ns["a lock"]),
]


def whole(ns: dict[str, float]) -> float:
    """Read, handled and answered, without what the other end does: that is in the whole of sockets as well."""
    return ns["whole"] - (ns["whole of sockets"] - ns["receive"] - ns["send"])


# Many connections under load


def time_server(server: str, what: Load, setting: Setting) -> dict[str, float]:
    """Processor time of a message in nanoseconds, its switches, and where `perf` saw the server. Raises LoadError."""
    server_core, load_core = setting.cores
    with servers.running(server, server_core, setting.folder) as (port, pid):
        job = Job("echo", port, pid, what.connections, what.size, what.depth, seconds=setting.seconds)
        switches = Switches(pid)
        finding = load.generate(job, load_core, switches.look)
        if not finding.count or finding.server_seconds is None:
            raise LoadError(f"not one answer came within {setting.seconds:g} s")
        each = finding.server_seconds / finding.count * 1e9
        found = {"cpu": each, "switches": switches.rate() / finding.reading()["rate"]}
        with sampled(pid, setting.folder / "perf.data") as places:
            load.generate(job, load_core)
    total = sum(places.values())
    return found | {place: each * count / total for place, count in places.items()}


class Switches:
    """How often the threads of a process leave a processor, seen again and again while a load runs."""

    def __init__(self, pid: int) -> None:
        self._threads = Path(f"/proc/{pid}/task")
        self._seen: list[tuple[float, int, int]] = []

    def look(self) -> None:
        """Note the time, the number of threads, and their switches so far: a thread that ends takes its own along."""
        threads = [*self._threads.glob("*/status")]
        with contextlib.suppress(OSError):
            lines = [line for status in threads for line in status.read_text().splitlines() if "ctxt_switches" in line]
            self._seen.append((time.perf_counter(), len(threads), sum(int(line.split()[1]) for line in lines)))

    def rate(self) -> float:
        """Switches a second while all connections were there; 0 where that is not known."""
        most = max((threads for _, threads, _ in self._seen), default=0)
        whole = [(when, count) for when, threads, count in self._seen if threads == most]
        (began, before), (ended, after) = (whole[len(whole) // 4], whole[-1]) if whole else ((0.0, 0), (0.0, 0))
        return (after - before) / (ended - began) if ended > began else 0.0


@contextlib.contextmanager
def sampled(pid: int, file: Path) -> Iterator[Counter[str]]:
    """While the block runs, `perf` looks where a process is; afterwards the places and how often each was seen."""
    places = Counter[str]()
    if shutil.which("perf") is None:
        yield places
        return
    command = ["perf", "record", "-e", "cpu-clock", "-F", str(SAMPLES), "-g", "-p", str(pid), "-o", str(file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
        deadline = time.monotonic() + 5
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield places
        finally:
            perf.terminate()
    script = ["perf", "script", "-i", str(file), "-F", "ip,sym,dso"]
    done = subprocess.run(script, capture_output=True, text=True, errors="replace")
    file.unlink(missing_ok=True)
    places.update(place(stack) for stack in stacks(done.stdout))


def stacks(script: str) -> Iterator[list[str]]:
    """The functions of each sample, the innermost first, each as "name (file)"."""
    for sample in script.split("\n\n"):
        functions = [line.strip().partition(" ")[2] for line in sample.splitlines() if line.strip()]
        if functions:
            yield functions


KERNEL = "[kernel"

#: Names in a kernel's stack, in the order in which they decide, and what the kernel was doing.
IN_KERNEL = (
    ("futex", "kernel: a thread waits for the GIL or a lock, or wakes one"),
    ("sys_send", "kernel: send"),
    ("schedule", "kernel: a reader goes to sleep, and the next thread runs"),
    ("sys_recv", "kernel: receive"),
    ("", "kernel: the rest"),
)

#: Names of functions outside it, in the same order, and what the process was doing.
OUTSIDE = (
    ("/_fast.", "the accelerator"),
    ("_gil", "the GIL, given away and taken"),
    ("pthread_", "the GIL, given away and taken"),
    ("PyEval_SaveThread", "the GIL, given away and taken"),
    ("PyEval_RestoreThread", "the GIL, given away and taken"),
    ("sem_", "locks"),
    ("PyThread_", "locks"),
    ("libc", "the C library"),
    ("", "Python: decoding, handler, encoding"),
)

PLACES = [*dict.fromkeys(name for _, name in (*IN_KERNEL, *OUTSIDE))]


def place(stack: Sequence[str]) -> str:
    """What a process did that was seen there."""
    if KERNEL in stack[0]:
        return next(name for word, name in IN_KERNEL if any(word in each for each in stack if KERNEL in each))
    return next(name for word, name in OUTSIDE if word in stack[0])


# The tables


def markdown(figures: Figures, options: argparse.Namespace) -> str:
    """Both tables, and what is to be said of them."""
    sides = [*figures.readings]
    middle = {side: middles(figures.readings[side]) for side in sides}
    steps = {side: of_table(middle[side], STEPS) for side in sides}
    loaded = {side: of_table(middle[side], LOADED) for side in sides}
    lines = [f"In one thread, {options.size} B, µs for each message:", "", *head("step", sides)]
    lines += [row(step.name, [f"{step.of(steps[side]) / 1000:.2f}" for side in sides]) for step in ONE_THREAD]
    lines += [row("locks taken", [f"{steps[side]['locks']:.0f}" for side in sides])]
    lines += [row(name, [f"{steps[side][name]:.0f}" for side in sides]) for name in ("calls in Python", "calls in C")]
    lines += [
        "",
        f"A server under load, {figures.title}, µs of processor time for each message:",
        "",
        *head("part", sides),
    ]
    places = [name for name in PLACES if any(name in loaded[side] for side in sides)]
    lines += [row(name, [f"{loaded[side].get(name, 0) / 1000:.2f}" for side in sides]) for name in places]
    lines += [row("**processor time**", [f"{loaded[side]['cpu'] / 1000:.2f}" for side in sides])]
    waits = [f"{(loaded[side]['cpu'] - whole(steps[side])) / 1000:.2f}" for side in sides]
    lines += [row("more than in one thread", waits)]
    lines += [row("switches of threads", [f"{loaded[side]['switches']:.2f}" for side in sides])]
    said = [f"Medians of {options.rounds} rounds. {machine.dated()}. {report.loudness([figures])}"]
    said += [f"{side}: {figures.notes[side]}" for side in sides]
    said += [f"Without {side}: {why}." for side, why in figures.left_out.items()]
    return "\n".join([*lines, "", *(f"* {each}" for each in said)])


def head(name: str, sides: Sequence[str]) -> list[str]:
    return [report.line([name, *sides]), report.line(["---", *["---:"] * len(sides)])]


def row(name: str, cells: Sequence[str]) -> str:
    return report.line([name, *cells])


def middles(readings: Sequence[Reading]) -> dict[str, float]:
    """The median of each figure."""
    names = dict.fromkeys(name for reading in readings for name in reading)
    # Rounds in which `perf` saw nothing say nothing of places.
    seen = [each for each in readings if any(f"{LOADED}{name}" in each for name in PLACES)]
    return {
        name: float(
            median(reading.get(name, 0.0) for reading in (seen if name.removeprefix(LOADED) in PLACES else readings))
        )
        for name in names
    }


def of_table(figures: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


if __name__ == "__main__":
    sys.exit(main())
