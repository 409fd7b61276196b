"""What is shown of a run."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

from .plan import Unit
from .pool import Process
from .unit import Note

#: Seconds between two lines that say how far it is, where they cannot be written over each other.
LINE = 10.0

#: What Python prints of an exception that nobody could catch: in __del__, in a thread, in a task. It fails no test by
#: itself, so it fails the run.
UNSEEN = re.compile(r"Exception (ignored (in|while)|in thread)|Task (exception was never|was destroyed)|sys:1: ")

#: What failed beside others, and passed each time when it was run again by itself.
UNSTEADY = "UNSTEADY"

#: Lines that are shown of what was written, the last ones.
TAIL = 60


@dataclass(frozen=True)
class Failure:
    """What went wrong with a test, or with the process that ran it."""

    kind: str  # FAIL, ERROR or UNEXPECTED SUCCESS
    name: str
    text: str
    written: str  # the last lines that were written meanwhile
    unit: Unit


class Report:
    """Counts what happens, and shows it. `failed` says whether anything did.

    With `again`, what fails is shown by `settle`, once it is known how it went when it was run again.
    """

    def __init__(self, total: int, *, verbose: bool, stream: IO[str] | None = None, again: bool = False) -> None:
        self._total = total
        self._verbose = verbose
        self._again = again
        self._stream = stream or sys.stdout
        self._in_place = self._stream.isatty()
        self._began = self._last_line = time.monotonic()
        self._done = 0
        self._ran = 0
        self._bad: Counter[str] = Counter()  # by kind
        self._names: list[str] = []  # of what failed, in order
        self._held: list[Failure] = []  # until `settle`
        self._skips: Counter[str] = Counter()  # by reason
        self._written: dict[Process, list[tuple[int, str]]] = {}  # up to where in its output which test wrote
        self._results: dict[str, str] = {}  # of the tests under way
        self.seconds: defaultdict[str, float] = defaultdict(float)  # by class, of the tests that were not skipped
        self.slowest: list[tuple[float, float, str]] = []  # seconds, of the processor, test

    @property
    def failed(self) -> bool:
        return bool(self._held) or any(count for kind, count in self._bad.items() if kind != UNSTEADY)

    def failed_units(self) -> list[Unit]:
        """Each unit of which something failed that `settle` has not shown, once."""
        return list({id(each.unit): each.unit for each in self._held}.values())

    def settle(self, is_unsteady: Callable[[Unit], bool]) -> None:
        """Show what was held back: as unsteady, which does not fail the run, where its unit is."""
        for each in self._held:
            self._show(UNSTEADY if is_unsteady(each.unit) else each.kind, each)
        self._held.clear()

    # What the pool tells.

    def noted(self, process: Process, note: Note) -> None:
        """Something has happened to a test."""
        name = note.get("test", "")
        match note["what"]:
            case "start":
                self._mark(process, note["written"], "between two tests")
            case "stop":
                self._done += 1
                self._ran += 1
                self._mark(process, note["written"], name)
                result = self._results.pop(name, "ok")
                self.slowest.append((note["seconds"], note["cpu"], name))
                if not result.startswith("skipped"):
                    self.seconds[name.rpartition(".")[0]] += note["seconds"]
                if self._verbose:
                    self._line(f"{name} ... {result} ({note['seconds']:.1f} s)")
            case "skip":
                self._skips[note["text"]] += 1
                self._results[name] = f"skipped {note['text']!r}"
            case "bad":
                self._results[name] = note["kind"]
                start = self._written.get(process, [(0, "")])[-1][0]
                self._fail(process, note["kind"], name, note["text"], process.output(start))

    def over(self, process: Process) -> None:
        """A process has ended."""
        marks = self._written.pop(process, [])
        output = process.output()
        if process.hung:
            self._fail(process, "ERROR", process.under_way, "It hung, and was ended.", output)
        elif not process.ended:
            text = f"Its process ended: {_say(process.exit_code())}."
            self._fail(process, "ERROR", process.under_way, text, output)
        elif process.exit_code():
            text = f"At its end the process said {_say(process.exit_code())}."
            self._fail(process, "ERROR", process.under_way, text, output)
        self._look_for_unseen(process, output, marks)

    def left_out(self, reason: str) -> None:
        """A module of tests was not begun."""
        self._skips[reason] += 1

    def looked(self) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if self._in_place:
            self._stream.write(f"\r{self._progress()}\033[K")
            self._stream.flush()
        elif now - self._last_line >= LINE:
            self._last_line = now
            self._line(self._progress())

    # The end.

    def close(self, *, stopped: str = "") -> None:
        """The closing lines, the last of which says what was skipped, and why."""
        self._clear()
        taken = time.monotonic() - self._began
        for name in self._names:
            self._line(name)
        self._line("-" * 70)
        self._line(f"Ran {self._ran} test{'' if self._ran == 1 else 's'} in {taken:.3f}s\n")
        counts = {
            "failures": self._bad["FAIL"],
            "errors": self._bad["ERROR"],
            "unexpected successes": self._bad["UNEXPECTED SUCCESS"],
            "unsteady": self._bad[UNSTEADY],
            "skipped": self._skips.total(),
        }
        details = ", ".join(filter(None, [stopped, *(f"{kind}={count}" for kind, count in counts.items() if count)]))
        verdict = "FAILED" if self.failed or stopped else "OK" if self._ran else "NO TESTS RAN"
        self._line(f"{verdict} ({details})" if details else verdict)
        if self._skips:
            reasons = [f"{count:,} {reason}" for reason, count in self._skips.most_common()]
            if len(reasons) > 4 and not self._verbose:
                reasons[3:] = [f"{sum(count for _, count in self._skips.most_common()[3:]):,} for other reasons (-v)"]
            self._line(f"Skipped: {'; '.join(reasons)}")

    def show_slowest(self, count: int) -> None:
        """A line for each of the slowest tests: its seconds, and how many of the processor it and its children used."""
        for seconds, cpu, name in sorted(self.slowest, reverse=True)[:count]:
            self._line(f"{seconds:7.2f} s {cpu:7.2f} s cpu  {name}")

    # Helpers.

    def _mark(self, process: Process, written: int, name: str) -> None:
        self._written.setdefault(process, []).append((written, name))

    def _look_for_unseen(self, process: Process, output: str, marks: Sequence[tuple[int, str]]) -> None:
        lines = output.splitlines(keepends=True)
        ends = accumulate(len(line.encode()) for line in lines)
        until = 0
        for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
            if number < until or not UNSEEN.search(line):
                continue
            until = number + 12
            name = next((name for written, name in marks if written >= end), "after the last test")
            self._fail(process, "ERROR", name, "An exception that nobody saw:", "".join(lines[number:until]))

    def _fail(self, process: Process, kind: str, name: str, text: str, output: str) -> None:
        written = "\n".join(output.strip().splitlines()[-TAIL:])
        failure = Failure(kind, name, text.rstrip(), written, process.unit)
        if not self._again:
            self._show(kind, failure)
            return
        self._held.append(failure)
        self._clear()
        self._line(f"failed, to be run again by itself: {name}")

    def _show(self, kind: str, failure: Failure) -> None:
        self._bad[kind] += 1
        self._names.append(f"{kind}: {failure.name}")
        self._clear()
        self._line("=" * 70)
        self._line(f"{kind}: {failure.name}")
        self._line("-" * 70)
        self._line(failure.text)
        if failure.written:
            self._line("-- written meanwhile:")
            self._line(failure.written)
        self._line("")

    def _progress(self) -> str:
        count = self._bad.total() + len(self._held)
        failed = f", {count:,} failed" if count else ""
        return f"{self._done:,} of {self._total:,}{failed}, {time.monotonic() - self._began:.0f} s"

    def _clear(self) -> None:
        if self._in_place:
            self._stream.write("\r\033[K")

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _say(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
