"""The picture: for each load, how fast every side is if syncws is 1."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

from .report import CEILING, OURS, ratios
from .turns import Figures

COLUMNS = 3

#: Colours by what a bar stands for.
COLOURS = {CEILING: "#d0d7de", OURS: "#0969da"}
OTHERS = "#8c959f"

#: The same picture for the same figures, and text that can be read, searched and styled.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "syncws",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.bottom": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
}


def draw(found: list[Figures], machine: str, path: Path) -> None:
    """Write the picture: a panel for each load that syncws took part in."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = [figures for figures in found if figures.unit and figures.readings.get(OURS)]
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    with matplotlib.rc_context(STYLE):
        picture, grid = pyplot.subplots(rows, COLUMNS, figsize=(13, 0.6 + 2.1 * rows), squeeze=False)
        panels = list(grid.flat)
        for panel, figures in zip(panels, shown, strict=False):
            draw_panel(panel, figures)
        for panel in panels[len(shown) :]:
            panel.set_axis_off()
        picture.suptitle(f"Throughput on one core, {OURS} = 1: longer is faster\n{machine}", fontsize=11)
        picture.tight_layout(rect=(0, 0, 0.97, 1))  # room for the text beside the last panels
        picture.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
        pyplot.close(picture)


def draw_panel(panel: Any, figures: Figures) -> None:
    """The bars of one load, the fastest first."""
    ours = figures.readings[OURS]
    rates = {side: median(reading["rate"] for reading in readings) for side, readings in figures.readings.items()}
    sides = sorted(rates, key=lambda side: rates[side])
    lengths = [ratios(figures.readings[side], ours) for side in sides]
    # The ceiling may be so high that the other bars look alike; then its bar is cut.
    longest = max(length for side, length in zip(sides, lengths, strict=True) if side != CEILING)
    shown = [min(length, 1.3 * longest) for length in lengths]
    panel.barh(sides, shown, color=[COLOURS.get(side, OTHERS) for side in sides], height=0.75)
    panel.axvline(1, color=COLOURS[OURS], linewidth=0.8, linestyle=":")
    for number, side in enumerate(sides):
        cut = " »" if shown[number] < lengths[number] else ""
        panel.text(
            shown[number], number, f"{cut} {lengths[number]:.2f}  ({rates[side]:,.0f}/s)", va="center", fontsize=7
        )
    panel.set_xlim(0, 1.85 * longest)
    panel.set_xticks([])
    panel.tick_params(axis="y", length=0)
    panel.set_title(figures.title)
