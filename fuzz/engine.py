"""The loop: makes an input, has the harness check it, and keeps what fails, as short as it goes.

Half of the inputs are made by the grammar of the format. The others are made of those of which something new came: a
verdict, an error or a sequence of events that no input before had. That takes the place of the coverage of lines, costs
nothing, and is the same on every Python.

All that is random comes from the seed, so the same seed makes the same inputs, as many as there is time for.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .bounds import GROWTH, growing, leaves_memory, resident, takes_longer
from .harness import Finding, Harness
from .kept import CORPUS, kept_inputs, write_input
from .mutate import mutated
from .shrink import MOST_TRIES, shrunk

#: Inputs that are changed further; one more takes the place of another.
_MOST_POOL = 3000

#: Outcomes that are remembered as seen.
_MOST_SEEN = 200_000

#: After so many inputs the memory of the process is looked at, and the last of them are tried again if it has grown.
_LOOK_AFTER = 10_000
_TRIED_AGAIN = 1000

#: Kinds of findings after which a run ends: the rest would be of the same faults.
MOST_FAILURES = 8

SLOW, GROWS = "takes too long", "leaves memory behind"


@dataclass(frozen=True)
class Failure:
    """An input that failed: of which kind that was, and the whole of it."""

    kind: str
    detail: str
    data: bytes


@dataclass
class Report:
    """What came of a run."""

    name: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    outcomes: int = 0
    failures: list[Failure] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    again: int = 0  # inputs that failed in a way that is among the failures already

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.name}: {self.inputs:,} inputs in {self.seconds:.0f} s ({rate:,.0f} a second), "
            f"{self.outcomes:,} outcomes, {len(self.failures)} findings; seed {self.seed}"
        )


def failure_of(harness: Harness, data: bytes, *, memory: bool = False) -> Failure | None:
    """How an input fails; None: it does not. memory: look for what it leaves behind, which takes a while."""
    try:
        return _judged(harness, data) or (_left(harness, data) if memory else None)
    except Exception as error:
        return Failure(_kind_of(error), _told(error), data)


def _told(error: Exception) -> str:
    """A finding in its own words; any other exception with the way that it came."""
    return str(error) if isinstance(error, Finding) else "".join(traceback.format_exception(error))


def _judged(harness: Harness, data: bytes) -> Failure | None:
    began = time.thread_time()
    harness.check(data)
    if time.thread_time() - began <= harness.most_seconds:
        return None
    if not takes_longer(lambda: harness.check(data), harness.most_seconds):
        return None
    return Failure(SLOW, f"over {harness.most_seconds} s of CPU time", data)


def _left(harness: Harness, data: bytes) -> Failure | None:
    return Failure(GROWS, "each time it is checked", data) if leaves_memory(harness.check, data) else None


def _kind_of(error: Exception) -> str:
    """The kind of a finding; of any other exception its type and where it was raised."""
    if isinstance(error, Finding):
        return error.kind
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.name}"


class Run:
    """One run of one harness. For one thread.

    Args:
        seed: of all that is random.
        corpus: where kept inputs are, and failing ones go; None: neither.
        tries: how often a failing input is tried to be made shorter; 0: it is kept as it is.
        most_failures: after how many kinds of failures it ends.
    """

    def __init__(
        self,
        harness: Harness,
        seed: int,
        *,
        corpus: Path | None = CORPUS,
        tries: int = MOST_TRIES,
        most_failures: int = MOST_FAILURES,
    ) -> None:
        self.harness = harness
        self.report = Report(harness.name, seed)
        self._rng = Random(f"{harness.name} {seed}")
        self._corpus = corpus
        self._tries = tries
        self._most_failures = most_failures
        self._pool: list[bytes] = []
        self._seen: set[Hashable] = set()
        self._kinds: Counter[str] = Counter()
        self._last: deque[bytes] = deque(maxlen=_TRIED_AGAIN)
        self._resident = 0

    def fuzz(self, inputs: int | None = None, seconds: float | None = None) -> Report:
        """Check inputs until there were so many, or until it has taken so long; None: any number, or as long as it
        takes."""
        began = time.monotonic()
        report = self.report
        for data in self._first():
            self._check(data)
        while (
            (inputs is None or report.inputs < inputs)
            and (seconds is None or time.monotonic() - began < seconds)
            and len(report.failures) < self._most_failures
        ):
            self._check(self._next())
            if report.inputs % _LOOK_AFTER == 0:
                self._look_at_memory()
        report.seconds = time.monotonic() - began
        report.outcomes = len(self._seen)
        return report

    @property
    def pool(self) -> list[bytes]:
        """The inputs of which something new came."""
        return list(self._pool)

    def _first(self) -> list[bytes]:
        kept = [] if self._corpus is None else kept_inputs(self.harness.name, self._corpus).values()
        return [*self.harness.seeds, *kept]

    def _next(self) -> bytes:
        rng, harness = self._rng, self.harness
        if not self._pool or rng.random() < 0.5:
            data = harness.make(rng)
            if rng.random() < 0.6:
                return data
        else:
            data = rng.choice(self._pool)
        other = rng.choice(self._pool) if self._pool else data
        return mutated(rng, data, harness.words, other, harness.most_bytes)

    def _check(self, data: bytes) -> None:
        self.report.inputs += 1
        self._last.append(data)
        began = time.thread_time()
        try:
            outcome = self.harness.check(data)
        except Exception as error:
            # Asked again: what fails now and then only is a finding of its own.
            known = Failure(f"now and then: {_kind_of(error)}", _told(error), data)
            self._keep(failure_of(self.harness, data) or known)
            return
        if time.thread_time() - began > self.harness.most_seconds:
            failure = _judged(self.harness, data)
            if failure is not None:
                self._keep(failure)
        if outcome not in self._seen and len(self._seen) < _MOST_SEEN:
            self._seen.add(outcome)
            if len(self._pool) < _MOST_POOL:
                self._pool.append(data)
            else:
                self._pool[self._rng.randrange(_MOST_POOL)] = data

    def _look_at_memory(self) -> None:
        now = resident()
        if self._resident and now - self._resident > GROWTH * _LOOK_AFTER // 1000:
            data = growing(self.harness.check, list(self._last))
            if data is not None:
                self._keep(Failure(GROWS, f"seed {self.report.seed}, after {self.report.inputs:,} inputs", data))
        self._resident = max(now, self._resident)

    def _keep(self, failure: Failure) -> None:
        """Take note of a failure of a new kind, with its input as short as it goes."""
        self._kinds[failure.kind] += 1
        if self._kinds[failure.kind] > 1:
            self.report.again += 1
            return
        if self._tries and failure.kind not in (SLOW, GROWS):
            data = shrunk(failure.data, lambda data: self._fails_as(failure, data), self._tries)
            failure = failure_of(self.harness, data) or failure
        self.report.failures.append(failure)
        if self._corpus is not None:
            path = write_input(self._corpus / self.harness.name, failure.data, failure.kind)
            self.report.files.append(path)

    def _fails_as(self, failure: Failure, data: bytes) -> bool:
        try:
            self.harness.check(data)
        except Exception as error:
            return _kind_of(error) == failure.kind
        return False
