"""A process that runs tests and says how far it is: a line before each test, and a line after it.

It is forked from the program, which has imported what the tests need of other packages but nothing of this project, so
that it imports `syncws` and `tests` from the copy of the tree that it is given.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
import unittest
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from .guards import ROOT

Trace = Callable[[FrameType, str, Any], Any]


class Child:
    """A process that was started, and the lines that come from it."""

    def __init__(self, tree: Path, work: Callable[[Callable[..., None]], None]) -> None:
        reads, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reads)
            _be_the_child(tree, os.fdopen(writes, "w"), work)
        os.close(writes)
        self.pipe = os.fdopen(reads, "rb", buffering=0)
        self._rest = b""

    def fileno(self) -> int:
        return self.pipe.fileno()

    def lines(self) -> list[list[Any]] | None:
        """What has come, each a list; None at the end. Waits if nothing has."""
        data = self.pipe.read(1 << 16)
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in whole]

    def end(self) -> None:
        """End it, and whatever it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had ended, or not begun
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        self.pipe.close()


def _be_the_child(tree: Path, out: IO[str], work: Callable[[Callable[..., None]], None]) -> NoReturn:
    def say(*what: Any) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        silence = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(silence, number)
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        for name in list(sys.modules):
            if name.partition(".")[0] in ("syncws", "tests"):
                del sys.modules[name]
        sys.path[:] = [str(tree), *(path for path in sys.path if _is_elsewhere(path))]
        warnings.simplefilter("error", ResourceWarning)
        faulthandler.disable()
        work(say)
    except BaseException:
        say("broken", traceback.format_exc()[-2000:])
    finally:
        os._exit(0)


def _is_elsewhere(path: str) -> bool:
    """Whether a folder of sys.path holds the standard library or other packages, and not the checkout."""
    return bool(path) and Path(path).resolve() != ROOT


class _Result(unittest.TestResult):
    """Says what happens. A subtest that fails is its test's failure."""

    def __init__(self, say: Callable[..., None], tracer: _Tracer | None) -> None:
        super().__init__()
        self._say = say
        self._tracer = tracer
        self._began = 0.0
        self._failed = ""

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._failed = ""
        self._say("begins", test.id())
        self._began = time.monotonic()
        if self._tracer is not None:
            self._tracer.begin()

    def stopTest(self, test: unittest.TestCase) -> None:
        lines = self._tracer.end() if self._tracer is not None else {}
        seconds = time.monotonic() - self._began
        self._say("failed" if self._failed else "passed", test.id(), round(seconds, 4), lines, self._failed)
        super().stopTest(test)

    def addError(self, test: unittest.TestCase, error: Any) -> None:
        super().addError(test, error)
        self._failed = self._failed or _last_line(error)
        if not isinstance(test, unittest.TestCase):  # what a class or a module sets up
            self._say("failed", test.id(), 0.0, {}, self._failed)

    def addFailure(self, test: unittest.TestCase, error: Any) -> None:
        super().addFailure(test, error)
        self._failed = self._failed or _last_line(error)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, error: Any) -> None:
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._failed = self._failed or _last_line(error)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._failed = "unexpected success"


def _last_line(error: Any) -> str:
    return "".join(traceback.format_exception_only(error[0], error[1])).strip()[:300]


class _Tracer:
    """Notes which lines of which files are run between `begin` and `end`, by any thread that was started since."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files  # path to module
        self._seen: set[tuple[str, int]] = set()

    def begin(self) -> None:
        self._seen = set()
        threading.settrace(self._call)
        sys.settrace(self._call)

    def end(self) -> dict[str, list[int]]:
        sys.settrace(None)
        seen: dict[str, list[int]] = {}
        for path, line in sorted(self._seen):
            seen.setdefault(self._files[path], []).append(line)
        return seen

    def _call(self, frame: FrameType, event: str, argument: Any) -> Trace | None:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Trace:
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def run(names: Sequence[str], say: Callable[..., None], traced: dict[str, str] | None = None) -> None:
    """Run tests, by name, until one fails; with traced (path to module) all of them, and say which lines they run."""
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = _Result(say, None if traced is None else _Tracer(traced))
    result.failfast = traced is None
    say("imported")
    suite.run(result)
    say("end", result.wasSuccessful())


def preload(names: Iterable[str]) -> None:
    """Import what many tests need, once: of other packages only."""
    for name in names:
        try:
            __import__(name)
        except ImportError:
            pass
