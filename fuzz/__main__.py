"""The command line.

    python -m fuzz                               # every harness for a minute, as many at a time as there are cores
    python -m fuzz frames urls --minutes 10      # two of them
    python -m fuzz frames --inputs 100000 --seed 7
    python -m fuzz frames --replay fuzz/corpus/frames/0123456789abcdef.hex
    python -m fuzz --list

What fails is written into `fuzz/corpus`, as short as it goes, and shown with the command that runs it again. The exit
status is 1 then.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom

from .engine import Failure, Report, Run, failure_of
from .harness import Harness
from .harnesses import HARNESSES
from .kept import CORPUS, read_input, write_input


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = options.names or list(HARNESSES)
    unknown = [name for name in names if name not in HARNESSES]
    if unknown:
        print(f"no harness {', '.join(unknown)}: {', '.join(HARNESSES)}", file=sys.stderr)
        return 2
    if options.list:
        for harness in HARNESSES.values():
            print(f"{harness.name:12} {(sys.modules[harness.__module__].__doc__ or '').splitlines()[0]}")
        return 0
    if options.replay:
        return max(_replay(HARNESSES[name](), Path(path)) for name in names for path in options.replay)
    if len(names) == 1:
        return _fuzz(HARNESSES[names[0]](), options)
    return _fuzz_all(names, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Random inputs for what reads a peer's bytes.")
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="harnesses; all of them by default")
    add("--minutes", type=float, help="how long each runs (default: 1, unless --inputs is given)")
    add("--inputs", type=int, help="end each after so many inputs")
    add("--seed", type=int, help="of an earlier run, which makes the same inputs again")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="how many run at a time (default: %(default)s)")
    add("--corpus", type=Path, default=CORPUS, help="where kept inputs are (default: %(default)s)")
    add("--keep", type=int, default=0, metavar="N", help="write N more inputs that differ in what comes of them there")
    add("--replay", action="append", metavar="FILE", help="check the input in this file, and nothing else")
    add("--list", action="store_true", help="say what harnesses there are")
    return parser


def _replay(harness: Harness, path: Path) -> int:
    failure = failure_of(harness, read_input(path), memory=True)
    print(f"{harness.name}: {path.name}: {'passes' if failure is None else failure.kind}")
    if failure is not None:
        print(failure.detail)
    return int(failure is not None)


def _fuzz(harness: Harness, options: argparse.Namespace) -> int:
    seed = SystemRandom().getrandbits(32) if options.seed is None else options.seed
    minutes = 1.0 if options.minutes is None and options.inputs is None else options.minutes
    run = Run(harness, seed, corpus=options.corpus)
    report = run.fuzz(options.inputs, None if minutes is None else 60 * minutes)
    for data in _most_different(run.pool, options.keep):
        write_input(options.corpus / harness.name, data, "a seed")
    print(report, flush=True)
    for failure, path in zip(report.failures, report.files, strict=True):
        _show(report, failure, path)
    return int(bool(report.failures))


def _most_different(pool: list[bytes], count: int) -> list[bytes]:
    """So many of the inputs, the short ones of the whole: a corpus is read by people."""
    step = max(1, len(pool) // count) if count else 1
    return [min(pool[at : at + step], key=len) for at in range(0, len(pool), step)][:count]


def _show(report: Report, failure: Failure, path: Path) -> None:
    shown = os.path.relpath(path)
    print(f"\n{report.name}: {failure.kind}\n{failure.data[:200]!r}\n{failure.detail.strip()[-3000:]}")
    print(f"python -m fuzz {report.name} --replay {shown}\n", flush=True)


def _fuzz_all(names: Sequence[str], options: argparse.Namespace) -> int:
    """Each harness in a process of its own, so that all cores work, and what one does to its process stays there."""
    passed_on = ["--corpus", str(options.corpus), "--keep", str(options.keep)]
    for name in ("minutes", "inputs", "seed"):
        if getattr(options, name) is not None:
            passed_on += [f"--{name}", str(getattr(options, name))]

    def run(name: str) -> int:
        command = [sys.executable, "-m", "fuzz", name, *passed_on]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, end="", flush=True)
        return done.returncode

    with ThreadPoolExecutor(options.jobs) as pool:
        statuses = list(pool.map(run, names))
    return int(any(statuses))


if __name__ == "__main__":
    logging.disable()  # what syncws tells of bad input is of no use here
    sys.exit(main())
