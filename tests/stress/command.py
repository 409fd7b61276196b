"""The command line: has each program run in a process of its own, and says what became of it."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syncws._frames.accelerator import accelerated

from .child import most
from .programs import PROGRAMS

#: What runs one program.
_CHILD = (sys.executable, "-m", "tests.stress.child")

_ROOT = Path(__file__).parents[2]

#: How often a broken copy is tried, in a process of its own each time, and for how many seconds.
_TRIES = 8
_TRY = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if unknown := [name for name in options.names if name not in PROGRAMS]:
        print(f"no program is called {' or '.join(unknown)}: see --list", file=sys.stderr)
        return 2
    names = options.names or list(PROGRAMS)
    if options.list:
        for name in names:
            program = PROGRAMS[name]
            print(f"{name:12} {(program.__doc__ or '').splitlines()[0]}")
            for each in program.BREAKS:
                print(f"{'':12} broken: {each}")
        return 0
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    print(f"Python {sys.version.split()[0]}, {_gil()}, {_accelerator()}, seed {seed}", flush=True)
    failed = []
    for name in names:
        if options.broken:
            failed += [f"{name}: {each}" for each in PROGRAMS[name].BREAKS if not is_seen(name, each, seed)]
        elif not _is_right(name, options.seconds, seed):
            failed.append(name)
    print(f"WRONG: {', '.join(failed)}" if failed else "all as it must be", flush=True)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=sys.modules["tests.stress"].__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help="a program (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="of each (default: %(default)g)")
    parser.add_argument("--broken", action="store_true", help="run them against broken copies")
    parser.add_argument("--seed", type=int, metavar="N", help="of what is drawn by chance (default: another each time)")
    parser.add_argument("--list", action="store_true", help="say what they do, and run nothing")
    return parser


def _gil() -> str:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "with the GIL" if has_gil else "without the GIL"


def _accelerator() -> str:
    return "accelerated" if accelerated else "not accelerated"


def _is_right(name: str, seconds: float, seed: int) -> bool:
    began = time.monotonic()
    told = run(name, seconds, seed)
    counts = ", ".join(f"{count:,} {what}" for what, count in told.get("counts", {}).items())
    print(f"{name:12} {told['verdict']:8} {time.monotonic() - began:5.1f} s  {counts}", flush=True)
    if told["why"]:
        print("    " + told["why"].replace("\n", "\n    "), flush=True)
    return told["verdict"] in ("right", "skipped")


def is_seen(name: str, broken: str, seed: int) -> bool:
    """Whether a broken copy is found to be wrong, in a bounded number of tries."""
    began = time.monotonic()
    for number in range(_TRIES):
        told = run(name, _TRY, seed + number, broken)
        if told["verdict"] != "right":
            break
    if told["verdict"] == "skipped":
        print(f"{name:12} {broken:32} skipped: {told['why']}", flush=True)
        return True
    seen = told["verdict"] != "right"
    first = told["why"].partition("\n")[0][:100]
    shown = f"seen ({told['verdict']}): {first}" if seen else "NOT SEEN"
    print(f"{name:12} {broken:32} {time.monotonic() - began:5.1f} s  {shown}", flush=True)
    return seen


def run(name: str, seconds: float, seed: int, broken: str = "") -> dict[str, Any]:
    """What the process of a program tells; "crashed" or "hung" where it can tell nothing."""
    command = [*_CHILD, name, str(seconds), str(seed), broken]
    environ = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    with subprocess.Popen(
        command, cwd=_ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            told, trouble = process.communicate(timeout=2 * most(seconds, broken))
        except subprocess.TimeoutExpired:
            process.kill()
            return {"verdict": "hung", "why": process.communicate()[1]}
    if process.returncode < 0:
        return {"verdict": "crashed", "why": f"{signal.Signals(-process.returncode).name}\n{trouble}"}
    try:
        answer: dict[str, Any] = json.loads(told.splitlines()[-1])
    except (IndexError, ValueError):
        return {"verdict": "hung" if "Timeout" in trouble else "crashed", "why": trouble}
    return answer
