"""What server processes need over time: memory, descriptors, threads, and how long a message takes.

Linux says it (/proc), from outside: a process that is stopped or out of descriptors is looked at as well. Memory of a
process that is kept from the beginning to the end has to be level: see `Series.level`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from statistics import fmean, median

_PAGE = os.sysconf("SC_PAGE_SIZE")

#: By how much the memory of the last quarter of an hour-long run may differ from that of its second quarter.
LEVEL = 0.03

#: Samples of a site that are kept: the older of them are thinned, so that a day takes as much memory as an hour.
MOST = 2000


@dataclasses.dataclass(frozen=True)
class Sample:
    """A site at one moment: seconds since the beginning; MiB, descriptors and threads of each process; milliseconds."""

    at: float
    rss: float
    descriptors: int
    threads: int
    connections: int
    p50: float
    p99: float


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a process has now."""

    rss: float
    descriptors: int
    threads: int


def look(pid: int) -> Needs | None:
    """What a process has now; None if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            rss = int(file.read().split()[1]) * _PAGE / (1 << 20)
        return Needs(rss, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return None


class Series:
    """The samples of a site, evenly spread over its time. One thread."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._every, self._skipped = 1, 0

    def add(self, sample: Sample) -> None:
        """Keep a sample, or pass over it where there are many already."""
        self._skipped += 1
        if self._skipped < self._every:
            return
        self._skipped = 0
        self.samples.append(sample)
        if len(self.samples) > MOST:
            del self.samples[1::2]
            self._every *= 2

    def level(self) -> float | None:
        """The mean memory of the last quarter beside that of the second, 0.0 if they are equal; None: too few."""
        sizes = [each.rss for each in self.samples if each.rss]
        if len(sizes) < 16:
            return None
        quarter = len(sizes) // 4
        return fmean(sizes[-quarter:]) / fmean(sizes[quarter : 2 * quarter]) - 1


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them is; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def middle(values: Sequence[float]) -> float:
    """The median; 0 if there are none."""
    return median(values) if values else 0.0
