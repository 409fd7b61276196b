"""How many deliveries per second does a room make on one core, when one member speaks to all?

    python -m benchmarks.fan --members 1000 --size 64
    python -m benchmarks.fan --tls
    python -m benchmarks.fan --compressed

One member sends a text, everybody gets it, the sender too, and the next round begins when all have it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
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
    run.add_room(parser)


@dataclasses.dataclass(frozen=True)
class Room:
    """A room of that many members, each of whose texts has that many bytes."""

    members: int = 1000
    size: int = 64
    tls: bool = False
    compressed: bool = False

    @property
    def title(self) -> str:
        how = ", TLS" * self.tls + ", compressed" * self.compressed
        return f"a room of {self.members:,}, {self.size} B of text{how}"


def compare(options: argparse.Namespace) -> list[Comparison]:
    room = Room(options.members, options.size, options.tls, options.compressed)

    def lacks(setting: Setting, side: str) -> str:
        if room.tls and (missing := serving.lacks(("trustme",), setting.folder)):
            return missing
        return rooms.lacks(side, setting.folder)

    figures = Figures("fan", room.title, "deliveries")
    return [Comparison(figures, list(options.sides), lacks, functools.partial(measure, room))]


def measure(room: Room, setting: Setting, side: str) -> tuple[Reading, str]:
    """One reading of a side, and a note. Raises LoadError."""
    server_core, load_core = setting.cores
    with rooms.running(side, server_core, setting.folder, tls=room.tls, deflate=room.compressed) as (port, pid):
        authority = str(setting.folder / "authority.pem") if room.tls else ""
        job = Job(
            "room",
            port,
            pid,
            room.members,
            room.size,
            deflate=room.compressed,
            authority=authority,
            seconds=setting.seconds,
        )
        if setting.room and not (room.tls or room.compressed):
            finding = load.generate_by(setting.room, job, load_core)
        else:
            finding = load.generate(job, load_core)
    if finding.count == 0:
        raise LoadError(f"not one round came to its end within {setting.seconds:g} s")
    return finding.reading(), finding.note


if __name__ == "__main__":
    sys.exit(run.one(__name__))
