"""What tests of several files need: calls in threads, with their results and errors; what a process has written."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from unittest import mock

#: Seconds: long enough for a machine under load, short enough to notice a hang. What has to come at once is given so
#: long, in a `Task`, and what it must not wait for comes later than that, or never.
PATIENCE = 30.0

#: Seconds after which what must be over soon counts as late: where what it must not wait for takes ten seconds, as the
#: defaults of this library do. No test asserts a bound that is tighter, but those of `tests.guarantees`.
SOON = 5.0


def linger_briefly(test: unittest.TestCase) -> None:
    """Let no connection of a test wait a second for its peer to close TCP, nor linger so long after its handler."""
    test.enterContext(mock.patch("syncws._conn.closing._LINGER", 0.05))


def written(log: IO[str]) -> str:
    """What a process that was started with this file as its output has written so far.

    It does not seek: the process shares the position in the file, and would go on writing there.
    """
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode()


def own_time() -> float:
    """The seconds of a clock that stands while this thread is ready to run and the processors are busy with others.

    By it a call takes as long on a machine under load as on an idle one. time.monotonic() where Linux does not tell.
    """
    try:
        with open("/proc/thread-self/schedstat") as told:
            return time.monotonic() - int(told.read().split()[1]) / 1e9
    except OSError:
        return time.monotonic()


def stop_process(pid: int) -> None:
    """Stop a process (SIGSTOP), and return once each of its threads stands still: it may go on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    deadline = time.monotonic() + PATIENCE
    while tasks.exists() and not all(_state(each) in "Tt" for each in tasks.iterdir()):
        assert time.monotonic() < deadline, "the process does not stand still"
        time.sleep(0.001)


def _state(task: Path) -> str:
    """The letter that Linux has for the state of a thread; that of a stopped one, if it has ended meanwhile."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "T"


def assert_same_end(test: unittest.TestCase, one: BaseException | None, other: BaseException | None) -> None:
    """Both tell the same end, and are two exceptions: it is not safe that two threads raise one object."""
    test.assertIsNot(one, other)
    assert one is not None and other is not None
    test.assertEqual((type(one), one.args, str(one)), (type(other), other.args, str(other)))
    test.assertEqual(repr(one.__cause__), repr(other.__cause__))


def assert_raised_apart(test: unittest.TestCase, call: Callable[[], object], threads: int = 4) -> None:
    """What a call raises in several threads at the same moment is an object of its own each time, and so is its cause.

    Without the GIL this crashes Python otherwise, sooner or later.
    """
    start = threading.Barrier(threads)

    def raised() -> list[BaseException]:
        start.wait()
        found = []
        for _ in range(50):
            try:
                call()
            except Exception as error:
                found.append(error)
        return found

    tasks = [Task(raised) for _ in range(threads)]
    found = [error for task in tasks for error in task.result()]
    found += [error.__cause__ for error in found if error.__cause__ is not None]
    test.assertGreaterEqual(len(found), 50 * threads, "it does not raise each time")
    test.assertEqual(len({id(error) for error in found}), len(found), "two threads raise one exception")


class Task(threading.Thread):
    """A call in a thread of its own, under way at once."""

    def __init__(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        super().__init__(name="test-task", daemon=True)
        self.started = threading.Event()
        self.seconds = 0.0  # that the call took
        self._call = functools.partial(call, *arguments, **keywords)
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        self.started.set()
        began = time.monotonic()
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        self.seconds = time.monotonic() - began

    @property
    def done(self) -> bool:
        """Whether the call is over."""
        return not self.is_alive()

    def result(self, seconds: float = PATIENCE) -> Any:
        """What the call returned; raises what it raised, and AssertionError if it is still under way."""
        if (error := self.ended(seconds)) is not None:
            raise error
        return self._value

    def ended(self, seconds: float = PATIENCE) -> BaseException | None:
        """What the call raised, or None; AssertionError if it is still under way."""
        self.join(seconds)
        if self.is_alive():
            raise AssertionError(f"still under way after {seconds:g} s")
        return self._error

    def error(self, seconds: float = PATIENCE) -> BaseException:
        """What the call raised; AssertionError if it did not."""
        try:
            value = self.result(seconds)
        except AssertionError:
            raise
        except BaseException as error:
            return error
        raise AssertionError(f"returned {value!r}")
