"""How many deliveries per second does a room make on one core, when one member speaks to all?

    python -m benchmarks.fan --members 1000 --size 64
    python -m benchmarks.fan --tls
    python -m benchmarks.fan --compressed

One member sends a text, everybody gets it, the sender too, and the next round begins when all have it.
"""

from __future__ import annotations

import argparse
import sys

from . import load, rooms, run, serving
from .job import Job, LoadError
from .turns import Comparison, Figures, Reading, Setting

SIDES = [*rooms.ROOMS]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--members", type=run.number(int, 1), default=1000, help="(default: %(default)s)")
    parser.add_argument("--size", type=run.number(int, 2, 1 << 20), default=64, help="bytes (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="members come by TLS")
    parser.add_argument("--compressed", action="store_true", help="members offer permessage-deflate")


def compare(options: argparse.Namespace) -> list[Comparison]:
    ways = {"tls": options.tls, "deflate": options.compressed}

    def lacks(setting: Setting, side: str) -> str:
        if options.tls and (missing := serving.lacks(("trustme",), setting.folder)):
            return missing
        return rooms.lacks(side, setting.folder)

    def measure(setting: Setting, side: str) -> tuple[Reading, str]:
        server_core, load_core = setting.cores
        with rooms.running(side, server_core, setting.folder, **ways) as (port, pid):
            authority = str(setting.folder / "authority.pem") if options.tls else ""
            shape = {"connections": options.members, "size": options.size, "seconds": setting.seconds}
            job = Job("room", port, pid, deflate=options.compressed, authority=authority, **shape)
            finding = load.generate(job, load_core)
        if finding.count == 0:
            raise LoadError(f"not one round came to its end within {setting.seconds:g} s")
        return finding.reading(), finding.note

    how = "".join(f", {word}" for word, wanted in (("TLS", options.tls), ("compressed", options.compressed)) if wanted)
    title = f"a room of {options.members:,}, {options.size} B of text{how}"
    return [Comparison(Figures("fan", title, "deliveries"), list(options.sides), lacks, measure)]


if __name__ == "__main__":
    sys.exit(run.one(__name__))
