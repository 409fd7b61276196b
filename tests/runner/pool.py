"""The processes that run the units, a few at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from .plan import ROOT, Unit
from .unit import Note

#: What is strict for every test: a socket that nobody closed and a deprecated call fail; a signal that kills Python
#: first says where every thread is.
STRICT = ("-X", "faulthandler", "-W", "error::ResourceWarning", "-W", "error::DeprecationWarning")

#: Seconds between two looks at the processes.
LOOK = 0.05

#: Seconds that a process may take, beside the limit, until it notes the first thing.
LOADING = 60.0

#: Seconds that a process is given to write where its threads are, or to clean up after Ctrl-C.
GRACE = 5.0


class Process:
    """One unit at work. What it and its children write goes into a file, and so does what it notes."""

    def __init__(self, unit: Unit, folder: Path, number: int, *, failfast: bool) -> None:
        self.unit = unit
        self.under_way = unit.tests[0]  # the test that was begun last
        self.ended = False  # whether all its tests have been run
        self.hung = False
        self.last_note = time.monotonic() + LOADING
        self._output_path = folder / f"{number}.out"
        notes = folder / f"{number}.notes"
        self._notes: IO[bytes] = notes.open("w+b")
        with self._output_path.open("wb") as output:
            self._process = subprocess.Popen(
                [*_python(), "-m", "tests.runner.unit", str(notes), *(["--failfast"] if failfast else [])],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                # A group of its own: what it has started ends with it, and Ctrl-C reaches it when the runner says so.
                process_group=0 if hasattr(os, "killpg") else None,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as names:
            names.write(json.dumps(unit.tests).encode())

    def notes(self) -> Iterable[Note]:
        """What it has noted since the last call."""
        while (line := self._notes.readline()).endswith(b"\n"):
            note: Note = json.loads(line)
            self.last_note = time.monotonic()
            self.under_way = note.get("test", self.under_way)
            self.ended = note["what"] == "end"
            yield note
        self._notes.seek(-len(line), os.SEEK_CUR)  # half a line: the rest comes

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def output(self, start: int = 0, end: int | None = None) -> str:
        """What was written, or a part of it by bytes."""
        return self._output_path.read_bytes()[start:end].decode(errors="replace")

    def say_where(self) -> None:
        """Have it write where each of its threads is, and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)

    def interrupt(self) -> None:
        """Ctrl-C, for it and what it has started."""
        self._signal_group(signal.SIGINT)

    def close(self) -> None:
        """End it if it has not ended, and all that it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE if self._process.poll() is None else 0)
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._notes.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)
            else:
                self._process.kill()


def _python() -> list[str]:
    """This Python with the options it was given, and what is strict."""
    given = [option if value is True else f"{option}={value}" for option, value in sys._xoptions.items()]
    warnings = [part for option in sys.warnoptions for part in ("-W", option)]
    return [sys.executable, *STRICT, *(part for option in given for part in ("-X", option)), *warnings]


class Stopped(Exception):
    """A signal has ended the run."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Pool:
    """Runs units: those that may share the machine first, a few at a time, then each of the others by itself."""

    def __init__(self, jobs: int, limit: float, *, failfast: bool = False) -> None:
        self._jobs = jobs
        self._limit = limit  # seconds without a note after which a process hangs
        self._failfast = failfast
        self._running: list[Process] = []
        self._started = 0

    def run(
        self,
        units: Iterable[Unit],
        noted: Callable[[Process, Note], None],
        over: Callable[[Process], None],
        looked: Callable[[], bool],
    ) -> None:
        """Run them all. noted is called with each note, over with each process that has ended, and looked after each
        look around: if it returns False, nothing more is started, and what runs is ended.

        Raises Stopped on SIGINT, SIGTERM and SIGABRT, when every process has been ended; on SIGABRT each has said
        where its threads are.
        """
        waiting = deque(units)
        with tempfile.TemporaryDirectory(prefix="tests-") as folder, _signals() as signals:
            try:
                while waiting or self._running:
                    while waiting and self._may_start(waiting[0]):
                        self._started += 1
                        unit = waiting.popleft()
                        self._running.append(Process(unit, Path(folder), self._started, failfast=self._failfast))
                    self._look(noted, over)
                    if not looked():
                        return
                    if signals:
                        raise Stopped(signals[0])
                    time.sleep(LOOK)
            finally:
                self._end_all(signals, over)

    def _may_start(self, unit: Unit) -> bool:
        if unit.alone or any(process.unit.alone for process in self._running):
            return not self._running
        return len(self._running) < self._jobs

    def _look(self, noted: Callable[[Process, Note], None], over: Callable[[Process], None]) -> None:
        for process in list(self._running):
            exit_code = process.exit_code()  # asked before its notes are read, so that none is missed
            for note in process.notes():
                noted(process, note)
            if exit_code is None and time.monotonic() - process.last_note > self._limit:
                process.hung = True
                process.say_where()
                process.close()
                exit_code = process.exit_code()
            if exit_code is not None:
                self._running.remove(process)
                process.close()
                over(process)

    def _end_all(self, signals: list[int], over: Callable[[Process], None]) -> None:
        for process in self._running:
            if signal.SIGABRT in signals:
                process.say_where()
            else:
                process.interrupt()
        for process in self._running:
            process.close()
            if signal.SIGABRT in signals:
                over(process)
        self._running.clear()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that have asked for an end, as they come in the block."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
