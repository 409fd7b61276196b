"""How sides are compared: in turn, in one run, each time with a fresh process.

Machines differ and are noisy, so a figure of one run says little next to that of another. Figures that are compared
met the same noise: every round takes all sides, forwards and backwards in alternate rounds so that none is always the
first, and ratios are those of a round. A turn in which a hypervisor gave this machine's processors to others is taken
again.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .job import LoadError, stolen, used

#: A turn is calm if a hypervisor takes at most this share of one processor's time during it.
CALM = 0.03

#: A turn is loud if others, a hypervisor or programs that have no part in it, take more than this share.
LOUD = 0.1

#: How often a turn is taken until it is calm; then the calmest counts.
TRIES = 3

#: What was read of one side in one round, by name: see `report.COLUMNS`.
Reading = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Setting:
    """How everything is measured in a run.

    Args:
        rounds: how often each side takes its turn.
        seconds: how long it is measured each time.
        load: the program that generates plain echoes in place of our own generator; None: that one.
        cores: the core of the servers and that of the load; None: not pinned.
        folder: where what the run needs is made; gone after it.
        room: the program that plays the members of a room in place of our own generator; None: that one.
        calm_tries: how often a turn is taken until it is calm.
    """

    rounds: int
    seconds: float
    load: str | None
    cores: tuple[int | None, int | None]
    folder: Path
    room: str | None = None
    calm_tries: int = TRIES


@dataclasses.dataclass
class Figures:
    """The figures of one comparison.

    Args:
        question: the name of the module that asks.
        title: what was done.
        unit: what was counted, in the plural; "" for memory.
        size: bytes of payload in each; 0 where bytes per second tell nothing.
        readings: of each side, a reading for each round.
        left_out: for a side without readings, a line that says why.
        notes: what else is to be said of a side.
        failed: whether one that was there could not be measured.
        disturbed: how many of the readings are of turns that were not calm, however often they were taken.
        others: of each side, for each reading, the processors that others had in that turn: 1.0 is one all the time.
    """

    question: str
    title: str
    unit: str
    size: int = 0
    readings: dict[str, list[Reading]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    failed: bool = False
    disturbed: int = 0
    others: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def is_loud(self, side: str, number: int) -> bool:
        """Whether others had much of the machine in that turn."""
        shares = self.others.get(side, [])
        return number < len(shares) and shares[number] > LOUD


@dataclasses.dataclass
class Comparison:
    """One comparison that is to be made: what is measured, of which sides, and how.

    Args:
        figures: what will have been measured.
        sides: their names.
        lacks: a line that says why a side is not available here; "" if it is.
        measure: one reading of a side, and a note. Raises LoadError.
    """

    figures: Figures
    sides: list[str]
    lacks: Callable[[Setting, str], str]
    measure: Callable[[Setting, str], tuple[Reading, str]]

    def leave_out(self, setting: Setting) -> None:
        """Leave out the sides that are not available."""
        for side in self.sides[:]:
            if reason := self.lacks(setting, side):
                self.sides.remove(side)
                self.figures.left_out[side] = reason

    def take_turns(self, setting: Setting, bar: Any) -> None:
        """Measure all sides, and move the progress bar once for each turn."""
        figures = self.figures
        readings: dict[str, list[Reading]] = {side: [] for side in self.sides}
        for number in range(setting.rounds):
            for side in self.sides if number % 2 == 0 else self.sides[::-1]:
                bar.set_description_str(f"{figures.question}: {figures.title}: {side}")
                if side not in figures.left_out:
                    try:
                        (reading, figures.notes[side]), others = self._measure_calmly(setting, side)
                        readings[side].append(reading)
                        figures.others.setdefault(side, []).append(round(others, 3))
                    except LoadError as error:
                        figures.left_out[side] = str(error)
                        figures.failed = True
                bar.update()
        figures.readings = {side: found for side, found in readings.items() if side not in figures.left_out}

    def _measure_calmly(self, setting: Setting, side: str) -> tuple[tuple[Reading, str], float]:
        """The finding of a calm turn, or else of the calmest, and the processors that others had in it."""
        least = math.inf
        for _ in range(setting.calm_tries):
            stolen_before, others_before, began = stolen(), _of_others(), time.perf_counter()
            found = self.measure(setting, side)
            seconds = time.perf_counter() - began
            share = (stolen() - stolen_before) / seconds
            if share < least:
                least, calmest, others = share, found, max(0.0, (_of_others() - others_before) / seconds)
            if share <= CALM:
                break
        self.figures.disturbed += least > CALM
        return calmest, others


def _of_others() -> float:
    """Seconds of processor time that neither this process has used so far, nor those that it has started and ended."""
    ours = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return stolen() + used() - sum(each.ru_utime + each.ru_stime for each in ours)
