"""What does a connection, a member, a room, a queued message, a compressed connection and a message cost, by Python?

    python -m benchmarks.resources
    python -m benchmarks.resources --python python3.13t --page docs/resources.md
    python -m benchmarks.resources --rows idle,let-go --rounds 3

Each figure is the median of several processes, each of which weighs one thing (`resource_probe`): resident memory
before and after so many of them are there, divided; or processor time before and after so many were done. The other
ends are in another process. Linux only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from . import machine, page
from .processes import environment
from .report import line

#: The name of the part of the page.
PART = "resources"

#: Seconds that one process may take.
PATIENCE = 300.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that is weighed: the probe's name, how many of them, and what the page calls it."""

    probe: str
    count: int
    title: str
    unit: str = "KiB"  # or "bytes", or "µs"


ROWS = (
    Row("idle", 500, "a server's connection that is idle"),
    Row("used", 500, "the same after 10 messages of 200 B each way"),
    Row("tls", 300, "the same over TLS"),
    Row("compressed", 300, "the same compressed, no context takeover"),
    Row("takeover", 300, "the same compressed, with context takeover"),
    Row("let-go", 300, "the same after a silence, when it has let go of its context"),
    Row("client", 500, "a client's connection: no thread of its own"),
    Row("member", 1000, "a member of a `Manager`, beside its connection", "bytes"),
    Row("room", 5000, "a room with its first member", "bytes"),
    Row("membership", 1000, "each further member of a room", "bytes"),
    Row("queued", 1000, "a message of 100 B that waits for one peer", "bytes"),
    Row("queued-shared", 1000, "a broadcast of 100 B that waits for a peer, of 20 that it waits for", "bytes"),
    Row("message", 10_000, "a message of 32 B received and answered", "µs"),
    Row("message-4k", 10_000, "a message of 4 KiB received and answered", "µs"),
    Row("message-compressed", 5_000, "200 B of JSON, compressed, no context takeover", "µs"),
    Row("message-takeover", 5_000, "the same with context takeover", "µs"),
    Row("delivery", 100, "a broadcast, for each of 200 members", "µs"),
    Row("ping", 300, "a ping that keeps an idle connection alive, and its answer", "µs"),
)

_DIVISORS = {"KiB": 1024.0, "bytes": 1.0, "µs": 1.0}


class ProbeError(Exception):
    """A probe has failed; the message says how, in one line."""


def measure(row: Row, python: str, count: int) -> float:
    """One figure of a row, in its unit. Raises ProbeError."""
    command = [python, "-m", "benchmarks.resource_probe", row.probe, str(count)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ProbeError(f"{row.probe} on {python}: {last[0]}")
    reading = json.loads(done.stdout)
    value: float = reading["microseconds" if row.unit == "µs" else "bytes"]
    return value / _DIVISORS[row.unit]


def name(python: str) -> str:
    """What a Python is called in the table."""
    code = "import platform, sys; print(platform.python_version() + getattr(sys, 'abiflags', ''))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def markdown(rows: Sequence[Row], pythons: Sequence[str], found: dict[tuple[str, str], float]) -> str:
    """The tables: memory, then processor time."""
    lines = []
    for kind, chosen in (
        ("memory", [row for row in rows if row.unit != "µs"]),
        ("processor time", [row for row in rows if row.unit == "µs"]),
    ):
        if chosen:
            lines += ["", line([kind, *(name(python) for python in pythons)]), line(["---", *["---:"] * len(pythons)])]
            for row in chosen:
                cells = (found.get((row.probe, python)) for python in pythons)
                lines.append(line([row.title, *("-" if cell is None else f"{cell:,.3g} {row.unit}" for cell in cells)]))
    return "\n".join(lines[1:])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resources",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.probe for row in ROWS]
    parser.add_argument("--rows", default=",".join(names), help="some of: %(default)s")
    parser.add_argument("--python", action="append", default=[], metavar="PYTHON", help="another one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="shows that all works: one process, a twentieth of each")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write it there too, between the marks of that page")
    options = parser.parse_args()
    if unknown := set(options.rows.split(",")) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not Path("/proc/self/statm").exists():
        parser.error("it takes Linux's account of memory")
    rows = [row for row in ROWS if row.probe in options.rows.split(",")]
    pythons = [sys.executable, *options.python]
    try:
        found = _measure_all(rows, pythons, 1 if options.quick else options.rounds, 20 if options.quick else 1)
        text = markdown(rows, pythons, found)
        if options.page is not None:
            page.fill_part(options.page, PART, f"{machine.dated()}. Medians of {options.rounds} processes.\n\n{text}")
    except (ProbeError, page.PageError, subprocess.SubprocessError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


def _measure_all(
    rows: Sequence[Row], pythons: Sequence[str], rounds: int, divisor: int
) -> dict[tuple[str, str], float]:
    """The medians; the Pythons in turn."""
    readings: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for _ in range(rounds):
            for python in pythons:
                count = max(row.count // divisor, 5)
                readings.setdefault((row.probe, python), []).append(measure(row, python, count))
        print(f"{row.probe}: done", file=sys.stderr)
    return {key: median(values) for key, values in readings.items()}


if __name__ == "__main__":
    sys.exit(main())
