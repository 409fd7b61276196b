"""The picture: for each site its memory, descriptors and threads, connections, and how long a message took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..plot import STYLE

COLUMNS = (
    ("memory, MiB a process", ("rss",)),
    ("descriptors and threads a process", ("descriptors", "threads")),
    ("connections", ("connections",)),
    ("milliseconds to an acknowledgement", ("p50", "p99")),
)

#: Points of a line.
MOST = 300

COLOURS = ("#0969da", "#8c959f")


def draw(sites: Mapping[str, Sequence[Mapping[str, float]]], title: str, path: Path) -> None:
    """Write it: a row for each site, a column for each question, minutes from left to right."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {**STYLE, "axes.spines.bottom": True}
    with matplotlib.rc_context(style):
        rows = max(1, len(sites))
        picture, grid = pyplot.subplots(rows, len(COLUMNS), figsize=(13, 0.8 + 1.5 * rows), squeeze=False, sharex=True)
        for row, (site, samples) in zip(grid, sites.items(), strict=False):
            samples = samples[:: max(1, len(samples) // MOST)]
            minutes = [each["at"] / 60 for each in samples]
            for panel, (name, fields) in zip(row, COLUMNS, strict=True):
                for field, colour in zip(fields, COLOURS, strict=False):
                    panel.plot(minutes, [each[field] for each in samples], color=colour, linewidth=0.7, label=field)
                panel.set_title(f"{site}: {name}")
                if fields[0] == "p50":
                    panel.set_yscale("log")
                else:
                    panel.set_ylim(bottom=0)
                if len(fields) > 1:
                    panel.legend(fontsize=6, frameon=False, loc="upper right")
        for panel in grid[-1]:
            panel.set_xlabel("minutes")
        picture.suptitle(title, fontsize=11)
        picture.tight_layout()
        picture.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
        pyplot.close(picture)
