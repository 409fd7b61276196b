"""The loop of the fuzzing: the same seed makes the same inputs, what fails is kept short, and costs are bounded."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from random import Random
from unittest import mock

from fuzz import bounds, engine, mutate, shrink
from fuzz.engine import GROWS, SLOW, Run, failure_of
from fuzz.harness import Finding, Harness, one_by_one, pieces
from fuzz.kept import kept_inputs, read_input, write_input
from tests.fuzz.support import HARNESSES, need_harnesses

ROOT = Path(__file__).resolve().parent.parent.parent


class Letters(Harness):
    """Anything except both an x and a y."""

    name = "letters"
    seeds = (b"abc",)
    words = (b"xx", b"yy")

    def make(self, rng: Random) -> bytes:
        return bytes(rng.choices(b"abcdefghxyz", k=rng.randrange(40)))

    def check(self, data: bytes) -> object:
        if b"x" in data and b"y" in data:
            raise Finding("x and y")
        return len(data)


class Slow(Letters):
    """An input with an x takes its time."""

    most_seconds = 0.001

    def check(self, data: bytes) -> object:
        until = time.thread_time() + (0.003 if b"x" in data else 0)
        while time.thread_time() < until:
            pass
        return 0


class Leaking(Letters):
    """An input with an x leaves 16 KiB behind."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[bytes] = []

    def check(self, data: bytes) -> object:
        if b"x" in data:
            self.left.append(b"y" * 16384)
        return 0


class Raising(Letters):
    """An input with an x raises what no parser may raise."""

    def check(self, data: bytes) -> object:
        if b"x" in data:
            raise ZeroDivisionError
        return 0


class EngineTests(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="syncws-")
        self.addCleanup(folder.cleanup)
        self.corpus = Path(folder.name)

    def run_one(self, harness: Harness, inputs: int = 500) -> engine.Report:
        return Run(harness, 1, corpus=self.corpus).fuzz(inputs=inputs)

    def test_what_fails_is_kept_short(self) -> None:
        """The shortest input that fails in the same way is written, and fails when it is read again."""
        report = self.run_one(Letters())
        self.assertEqual([failure.kind for failure in report.failures], ["x and y"])
        self.assertIn(report.failures[0].data, (b"xy", b"yx"))
        self.assertEqual(read_input(report.files[0]), report.failures[0].data)
        self.assertGreater(report.again, 5)

    def test_the_same_seed(self) -> None:
        """It makes the same inputs, however often."""
        tried: list[list[bytes]] = []
        for seed in (1, 1, 2):
            harness = Letters()
            seen: list[bytes] = []
            with mock.patch.object(harness, "check", side_effect=lambda data, seen=seen: seen.append(data)):
                Run(harness, seed, corpus=None).fuzz(inputs=200)
            tried.append(seen)
        self.assertEqual(tried[0], tried[1])
        self.assertNotEqual(tried[0], tried[2])

    def test_other_exceptions(self) -> None:
        """What escapes is a finding: its kind is the type and the place."""
        report = self.run_one(Raising())
        self.assertEqual([failure.kind for failure in report.failures], ["ZeroDivisionError in test_engine.py:check"])
        self.assertEqual(report.failures[0].data, b"x")

    def test_what_takes_too_long(self) -> None:
        """An input that takes more CPU time than it may, each time, is a finding."""
        self.assertEqual([failure.kind for failure in self.run_one(Slow(), 60).failures], [SLOW])

    def test_what_takes_long_once(self) -> None:
        """It is measured again before it counts: once proves nothing."""
        harness = Slow()
        with mock.patch.object(harness, "most_seconds", 100.0):
            self.assertIsNone(failure_of(harness, b"x"))
        calls = iter([True])
        self.assertFalse(bounds.takes_longer(lambda: next(calls, False) and time.sleep(0), 0.5))

    def test_what_leaves_memory_behind(self) -> None:
        """A process that grows with its inputs, again and again, is a finding, and the input is named."""
        if not bounds.resident():
            self.skipTest("this system does not tell how much memory a process has")
        with mock.patch.object(engine, "_LOOK_AFTER", 1000):
            report = self.run_one(Leaking(), 5000)
        self.assertEqual([failure.kind for failure in report.failures], [GROWS])
        self.assertIn(b"x", report.failures[0].data)
        failure = failure_of(Leaking(), report.failures[0].data, memory=True)
        self.assertEqual(failure and failure.kind, GROWS)
        self.assertIsNone(failure_of(Letters(), b"abc", memory=True))

    def test_an_end(self) -> None:
        """A run ends after so many inputs, so much time, or so many kinds of failures."""
        self.assertEqual(Run(Letters(), 1, corpus=None).fuzz(inputs=77).inputs, 77)
        self.assertGreater(Run(Slow(), 1, corpus=None, tries=0).fuzz(seconds=0.05).inputs, 1)
        self.assertLess(Run(Letters(), 1, corpus=None, most_failures=1).fuzz(inputs=10_000).inputs, 10_000)

    def test_files(self) -> None:
        """A kept input is read as it was written; the same one has one file."""
        for data in (b"", b"x", bytes(range(256)) * 3):
            paths = {write_input(self.corpus / "letters", data, "why\nnot") for _ in range(2)}
            self.assertEqual([read_input(path) for path in paths], [data])
        self.assertEqual(len(kept_inputs("letters", self.corpus)), 3)

    def test_changes(self) -> None:
        """A changed input is bytes within the bound, whatever it was; and mostly another one."""
        rng = Random(1)
        changed = [mutate.mutated(rng, data, (b"word",), b"other", 100) for data in (b"", b"a", b"1234" * 30) * 300]
        self.assertLessEqual(max(map(len, changed)), 100)
        self.assertGreater(len(set(changed)), 500)

    def test_shrinking_ends(self) -> None:
        """No input is tried more often than is allowed."""
        tries: list[bytes] = []

        def fails(data: bytes) -> bool:
            tries.append(data)
            return len(data) > 3

        shrink.shrunk(bytes(range(200)), fails, 10)
        self.assertEqual(len(tries), 10)

    def test_cuts(self) -> None:
        """Pieces are the same for the same data, not empty, and the whole of it."""
        data = bytes(range(100))
        self.assertEqual(pieces(data), pieces(data))
        self.assertEqual(b"".join(pieces(data)), data)
        self.assertTrue(all(pieces(data)))
        self.assertEqual(b"".join(one_by_one(data)), data)


class CommandLineTests(unittest.TestCase):
    """`python -m fuzz`."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="syncws-")
        self.addCleanup(folder.cleanup)
        self.corpus = Path(folder.name)
        need_harnesses()

    def call(self, *arguments: str, harness: type[Harness] = Letters) -> tuple[int, str]:
        from fuzz import __main__ as program  # which imports what the harnesses compare with

        told = io.StringIO()
        with (
            mock.patch.object(program, "HARNESSES", {"letters": harness}),
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(told),
        ):
            return program.main([*arguments, "--corpus", str(self.corpus)]), told.getvalue()

    def test_a_finding(self) -> None:
        """It is told with its input and the command that runs it again, and the exit status is 1."""
        status, told = self.call("letters", "--inputs", "500", "--seed", "1")
        self.assertEqual(status, 1)
        self.assertIn("500 inputs", told)
        self.assertIn("seed 1", told)
        [path] = (self.corpus / "letters").glob("*.hex")
        self.assertRegex(told, rf"python -m fuzz letters --replay .*{path.name}")
        self.assertEqual(self.call("letters", "--replay", str(path)), (1, f"letters: {path.name}: x and y\nx and y\n"))
        self.assertEqual(self.call("letters", "--replay", str(path), harness=Slow)[0], 1)

    def test_no_finding(self) -> None:
        """The exit status is 0, and inputs that differ are kept if that is asked for."""
        status, told = self.call("letters", "--inputs", "300", "--keep", "5", harness=Leaking)
        self.assertEqual(status, 0, told)
        self.assertEqual(len(list((self.corpus / "letters").glob("*.hex"))), 1)  # one outcome: all are alike
        self.assertIn("0 findings", told)

    def test_names(self) -> None:
        """An unknown harness is told, with those that there are."""
        status, told = self.call("nonsense")
        self.assertEqual(status, 2)
        self.assertIn("letters", told)
        self.assertIn("The loop of the fuzzing", self.call("--list")[1])

    def test_several(self) -> None:
        """Each harness runs in a process of its own, and what it tells is told."""
        names = list(HARNESSES)[:2]
        command = [sys.executable, "-m", "fuzz", *names, "--inputs", "20", "--seed", "3", "--corpus", str(self.corpus)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for name in names:
            self.assertIn(f"{name}: 20 inputs", done.stdout)


if __name__ == "__main__":
    unittest.main()
