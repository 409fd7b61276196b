"""Durations, counted: `Recorder` gives percentiles of any number of them in little memory."""

from __future__ import annotations

#: Digits of a duration that count, in bits: a step is at most 1/1024 of the durations in it.
_DIGITS = 11


class Recorder:
    """How often each duration was measured, in steps of at most 1/1024 of its value.

    A percentile is given as the middle of its step, so it is right within 0.05 %; the longest is exact. What it holds
    depends on how different the durations are, not on their number: from 1 microsecond to 1 minute there are 27,000
    steps. Recorders of several processes are added up by `merge` without loss.

    Concurrency: for one thread.
    """

    __slots__ = ("counts", "most")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}  # by the least duration of a step
        self.most = 0

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, nanoseconds: int) -> None:
        """Count a duration."""
        shift = nanoseconds.bit_length() - _DIGITS
        step = nanoseconds >> shift << shift if shift > 0 else nanoseconds
        self.counts[step] = self.counts.get(step, 0) + 1
        if nanoseconds > self.most:
            self.most = nanoseconds

    def merge(self, other: Recorder) -> None:
        """Count what another has counted."""
        for step, count in other.counts.items():
            self.counts[step] = self.counts.get(step, 0) + count
        self.most = max(self.most, other.most)

    def percentile(self, share: float) -> float:
        """Seconds that so many of the durations (0 to 1) did not exceed; 0.0 where there are none."""
        wanted = share * len(self)
        for step in sorted(self.counts):
            wanted -= self.counts[step]
            if wanted <= 0:
                return min(_middle(step), self.most) / 1e9
        return self.most / 1e9

    @property
    def longest(self) -> float:
        """Seconds of the longest one, exactly."""
        return self.most / 1e9

    @property
    def mean(self) -> float:
        """Seconds on average; 0.0 where there are none."""
        total = sum(_middle(step) * count for step, count in self.counts.items())
        return total / len(self) / 1e9 if self.counts else 0.0


def _middle(step: int) -> float:
    """The middle of a step, in nanoseconds."""
    shift = step.bit_length() - _DIGITS
    return step + ((1 << shift) - 1) / 2 if shift > 0 else step
