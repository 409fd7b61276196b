"""The program that runs one unit: `python -m tests.runner.unit NOTES [--failfast]`, with the names of the tests as JSON
on standard input. It appends a line of JSON to the file NOTES for each thing that happens: a `Note`.

It has no thread of its own, not even one that watches for a hang: tests fork.
"""

from __future__ import annotations

import json
import os
import sys
import time
import unittest
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypedDict

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class Note(TypedDict, total=False):
    """What has happened to a test.

    what: "start", "stop", "bad" (a failure or an error, of a part of a test maybe), "skip", "end" (of the unit).
    """

    what: str
    test: str  # its name, or where there is none what stands for a class or a module that failed
    kind: str  # of "bad": FAIL, ERROR or UNEXPECTED SUCCESS
    text: str  # of "bad": the traceback; of "skip": the reason
    seconds: float  # of "stop"
    cpu: float  # of "stop": seconds of the processor in this process, and in those that it started and that ended
    written: int  # of "start" and "stop": how much the unit had written by then
    ran: int  # of "end": how many tests were begun


class Noting(unittest.TestResult):
    """Notes each thing at once, so that it is known even if the process dies of the next one."""

    def __init__(self, notes: int) -> None:
        super().__init__()
        self._notes = notes
        self._began = self._cpu_began = 0.0

    def note(self, **note: Any) -> None:
        # In one call, and without a buffer: a process that a test forks has none of it to write again.
        os.write(self._notes, json.dumps(note).encode() + b"\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._began, self._cpu_began = time.monotonic(), _processor_time()
        self.note(what="start", test=test.id(), written=_written())

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        taken, cpu = time.monotonic() - self._began, _processor_time() - self._cpu_began
        self.note(what="stop", test=test.id(), seconds=taken, cpu=cpu, written=_written())

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._note_bad("ERROR", test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._note_bad("FAIL", test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._note_bad("FAIL" if failed else "ERROR", subtest, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self.note(what="bad", kind="UNEXPECTED SUCCESS", test=test.id(), text="")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.note(what="skip", test=test.id(), text=reason)

    def _note_bad(self, kind: str, test: unittest.TestCase, err: ErrorInfo) -> None:
        text = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
        sentence = test.shortDescription()
        self.note(what="bad", kind=kind, test=test.id(), text=f"{sentence}\n\n{text}" if sentence else text)


def _processor_time() -> float:
    """Seconds of the processor that this process has had, and those of its children that it has waited for."""
    return sum(os.times()[:4])


def _written() -> int:
    """How many bytes this process and its children have written to the file that is their standard output."""
    sys.stdout.flush()
    return os.fstat(1).st_size


def main(arguments: Sequence[str]) -> None:
    notes = os.open(arguments[0], os.O_WRONLY | os.O_APPEND)
    names = json.load(sys.stdin)
    result = Noting(notes)
    result.failfast = "--failfast" in arguments
    unittest.TestLoader().loadTestsFromNames(names).run(result)
    result.note(what="end", ran=result.testsRun)


if __name__ == "__main__":
    main(sys.argv[1:])
