"""The loads of the echo servers: how many connections send what, and how a server under one is measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from . import load, servers, serving
from .job import Job, LoadError
from .processes import NOTHING
from .turns import Comparison, Figures, Reading, Setting


@dataclasses.dataclass(frozen=True)
class Load:
    """Connections that each keep `depth` messages of `size` bytes under way; every answer is followed by a message."""

    connections: int
    size: int
    depth: int = 1
    text: bool = False
    deflate: bool = False
    tls: bool = False

    @property
    def title(self) -> str:
        kind = " of text" * self.text + ", compressed" * self.deflate + " over TLS" * self.tls
        under_way = f", {self.depth} in flight on each" if self.depth > 1 else ""
        return f"{self.connections} connections x {say_size(self.size)}{kind}{under_way}"

    @property
    def is_plain(self) -> bool:
        """Whether other programs can generate it."""
        return not (self.deflate or self.tls)


#: From many small messages to few large ones.
FIVE = (Load(64, 32), Load(64, 32, depth=16), Load(16, 4 << 10), Load(8, 64 << 10), Load(4, 1 << 20))


def say_size(size: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def plan(question: str, loads: Sequence[Load], sides: Sequence[str]) -> list[Comparison]:
    """A comparison for each load."""
    return [
        Comparison(
            Figures(question, each.title, "messages", each.size),
            list(sides),
            functools.partial(lacks, each),
            functools.partial(measure, each),
        )
        for each in loads
    ]


def lacks(what: Load, setting: Setting, side: str) -> str:
    """A line that says why a side cannot be measured; "" if it can."""
    if what.tls and (missing := serving.lacks(("trustme",), setting.folder)):
        return missing
    if what.is_plain and setting.load and side == "bare":
        return "its answers carry a mask, for which another load generator does not look"
    return servers.lacks(side, setting.folder)


def measure(what: Load, setting: Setting, side: str, extra: Mapping[str, str] = NOTHING) -> tuple[Reading, str]:
    """One reading of a side, and a note; extra is added to the server's environment. Raises LoadError."""
    server_core, load_core = setting.cores
    ways = {"tls": what.tls, "deflate": what.deflate}
    with servers.running(side, server_core, setting.folder, **ways, extra=extra) as (port, pid):
        job = Job(
            "echo",
            port,
            pid,
            what.connections,
            what.size,
            depth=what.depth,
            text=what.text,
            deflate=what.deflate,
            bare=side == "bare",
            authority=str(setting.folder / "authority.pem") if what.tls else "",
            seconds=setting.seconds,
        )
        if what.is_plain and setting.load:
            finding = load.generate_by(setting.load, job, load_core)
        else:
            finding = load.generate(job, load_core)
        if finding.count == 0:
            raise LoadError(f"not one answer came within {setting.seconds:g} s")
        return finding.reading(), finding.note
