"""Trying mutants: the survey of what each test runs, and then a process for each mutant."""

from __future__ import annotations

import hashlib
import json
import selectors
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .changes import Mutant
from .child import Child, run
from .guards import ROOT, guards, modules, path_of

#: What a process gets to import the tests, in seconds. An import that hangs or fails kills a mutant too.
IMPORT_LIMIT = 30.0

#: What a test gets under a mutant: so many seconds, and so many times what it took in the survey.
TEST_LIMIT, TEST_FACTOR = 4.0, 5.0


@dataclass(frozen=True)
class Test:
    """What the survey knows of one test."""

    name: str
    seconds: float
    lines: dict[str, set[int]]  # by module

    def runs(self, mutant: Mutant) -> bool:
        first, last = mutant.lines
        return any(first <= line <= last for line in self.lines.get(mutant.module, ()))


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    key: str
    name: str
    outcome: str  # "killed", "survived", "timed out", "no test" (nothing runs these lines)
    test: str = ""  # that killed it
    says: str = ""
    guards: str = ""  # the hash of the tests that let it live, or of the file of the one that did not
    seconds: float = 0.0


class Copy:
    """A copy of the tree, in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        for name in ("syncws", "tests", "examples", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        for file in ROOT.glob("*.*"):
            if file.is_file():
                shutil.copy(file, folder)

    def change(self, module: str, source: str) -> None:
        """Write a module's source. Nothing in the copy is compiled to a file, which could hide the change."""
        modules(self.root)[module].write_text(source)


def survey(mutated: Iterable[str], cache: Path, report: Callable[[str], None]) -> dict[str, list[Test]]:
    """Run the tests that guard these modules once, unchanged and traced: what each runs, by test module.

    What was found earlier counts while the test module and those that it guards here are as they were.
    """
    sources = {module: _hash(path.read_text()) for module, path in modules().items()}
    needed: dict[str, set[str]] = {}  # by test module
    for module in mutated:
        for name in guards(module):
            needed.setdefault(name, set()).add(module)
    found: dict[str, list[Test]] = {}
    copy: Copy | None = None
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        for name, guarded in needed.items():
            file = cache / f"{name}.json"
            stamp = {name: _hash(path_of(name).read_text()), **{module: sources[module] for module in guarded}}
            known = json.loads(file.read_text()) if file.exists() else {"stamp": {}}
            if not stamp.items() <= known["stamp"].items():
                copy = copy or Copy(Path(scratch).resolve())
                began = time.monotonic()
                tests, failed = _survey_one(name, copy)
                report(f"{name}: {len(tests)} tests in {time.monotonic() - began:.0f} s")
                for each, says in failed.items():
                    report(f"  left out, since it fails while nothing is changed: {each}: {says}")
                known = {"stamp": {**stamp, **sources}, "tests": tests}
                cache.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(known))
            found[name] = [
                Test(test, seconds, {module: set(lines) for module, lines in by_module.items()})
                for test, seconds, by_module in known["tests"]
            ]
    return found


def _survey_one(name: str, copy: Copy) -> tuple[list[Any], dict[str, str]]:
    traced = {str(path): module for module, path in modules(copy.root).items()}
    child = Child(copy.root, partial(run, [name], traced=traced))
    tests, failed = [], {}
    try:
        while (lines := child.lines()) is not None:
            for what, *rest in lines:
                if what in ("passed", "failed"):
                    tests.append(rest[:3])
                if what == "failed":
                    failed[rest[0]] = rest[3]
                if what == "broken":
                    failed[name] = rest[0]
    finally:
        child.end()
    for each in list(failed):  # tracing is slow: maybe only that was too much for it
        if each != name and not _fails(each, copy):
            del failed[each]
    return [test for test in tests if test[0] not in failed], failed


def _fails(test: str, copy: Copy) -> bool:
    child = Child(copy.root, partial(run, [test]))
    passed = False
    try:
        while (lines := child.lines()) is not None:
            passed = passed or ["end", True] in lines
    finally:
        child.end()
    return not passed


class Trial:
    """One mutant under way."""

    def __init__(self, mutant: Mutant, tests: Sequence[Test], copy: Copy) -> None:
        self.mutant = mutant
        self.copy = copy
        self._limits = {test.name: TEST_LIMIT + TEST_FACTOR * test.seconds for test in tests}
        self._began = time.monotonic()
        self._test = ""
        self.deadline = self._began + IMPORT_LIMIT
        self._original = modules(copy.root)[mutant.module].read_text()
        copy.change(mutant.module, mutant.source)
        self.child = Child(copy.root, partial(run, [test.name for test in tests]))

    def advance(self) -> Verdict | None:
        """Take what has come from the process; the verdict, once there is one."""
        lines = self.child.lines()
        if lines is None:
            return self._verdict("killed", "the process ended")
        for what, *rest in lines:
            if what == "begins":
                self._test = rest[0]
                self.deadline = time.monotonic() + self._limits.get(self._test, IMPORT_LIMIT)
            elif what == "failed":
                self._test = rest[0]
                return self._verdict("killed", rest[3])
            elif what == "broken":
                return self._verdict("killed", rest[0].strip().splitlines()[-1])
            elif what == "end":
                return self._verdict("survived" if rest[0] else "killed", "")
        return None

    def expire(self) -> Verdict:
        """The verdict, when the deadline has passed."""
        return self._verdict("timed out", "")

    def _verdict(self, outcome: str, says: str) -> Verdict:
        self.child.end()
        self.copy.change(self.mutant.module, self._original)
        seconds = round(time.monotonic() - self._began, 2)
        test = "" if outcome == "survived" else self._test
        return Verdict(self.mutant.key, self.mutant.name, outcome, test, says[:300], "", seconds)


class Results:
    """What is known of mutants from earlier: a line of JSON for each verdict."""

    def __init__(self, file: Path, most: int | None = None) -> None:
        self._file = file
        self._most = most  # tests that run against a mutant: to have survived more or fewer is another verdict
        self._known: dict[str, Verdict] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                verdict = Verdict(**json.loads(line))
                self._known[verdict.key] = verdict

    def find(self, mutant: Mutant) -> Verdict | None:
        """What became of a mutant, if the tests that said so are as they were."""
        verdict = self._known.get(mutant.key)
        if verdict is None or verdict.guards != self._judges(mutant, verdict):
            return None
        return verdict

    def killer(self, mutant: Mutant) -> str:
        """The test that killed it the last time."""
        verdict = self._known.get(mutant.key)
        return verdict.test if verdict is not None else ""

    def add(self, mutant: Mutant, verdict: Verdict) -> Verdict:
        verdict = Verdict(**{**asdict(verdict), "guards": self._judges(mutant, verdict)})
        self._known[verdict.key] = verdict
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")
        return verdict

    def _judges(self, mutant: Mutant, verdict: Verdict) -> str:
        """The hash of the tests that a verdict rests on: of the one that killed, or of all that did not."""
        names = guards(mutant.module)
        if verdict.test:
            return _hash(*(path_of(name).read_text() for name in names if f"{name}." in f"{verdict.test}."))
        return _hash(str(self._most), *(path_of(name).read_text() for name in names))


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def chosen(mutant: Mutant, known: dict[str, list[Test]], first: str = "", most: int | None = None) -> list[Test]:
    """The tests that run a mutant's lines: the module's own, then its neighbours'; of either the quickest first."""
    ordered = []
    own, *neighbours = ([test for test in known.get(name, ()) if test.runs(mutant)] for name in guards(mutant.module))
    for tests in (own, [test for found in neighbours for test in found]):
        classes: dict[str, list[Test]] = {}  # kept together, for what a class sets up
        for test in tests:
            classes.setdefault(test.name.rpartition(".")[0], []).append(test)
        for group in sorted(classes.values(), key=lambda group: sum(test.seconds for test in group) / len(group)):
            ordered += sorted(group, key=lambda test: test.seconds)
    ordered.sort(key=lambda test: test.name != first)
    return ordered[:most]


def try_all(
    mutants: Iterable[Mutant],
    known: dict[str, list[Test]],
    results: Results,
    jobs: int = 1,
    most: int | None = None,
) -> Iterator[tuple[Mutant, Verdict]]:
    """Try mutants, so many at a time, by so many tests at most; each with its verdict, as it comes."""
    waiting = iter(mutants)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, selectors.DefaultSelector() as selector:
        free = [Copy(Path(scratch).resolve() / str(number)) for number in range(jobs)]
        running: set[Trial] = set()
        try:
            while True:
                while free and (mutant := next(waiting, None)) is not None:
                    tests = chosen(mutant, known, results.killer(mutant), most)
                    if not tests:
                        yield mutant, results.add(mutant, Verdict(mutant.key, mutant.name, "no test"))
                        continue
                    trial = Trial(mutant, tests, free.pop())
                    running.add(trial)
                    selector.register(trial.child, selectors.EVENT_READ, trial)
                if not running:
                    return
                soonest = min(trial.deadline for trial in running)
                ready = {key.data for key, _ in selector.select(max(0.0, soonest - time.monotonic()))}
                for trial in list(running):
                    late = time.monotonic() >= trial.deadline
                    file = trial.child.fileno()
                    verdict = trial.advance() if trial in ready else trial.expire() if late else None
                    if verdict is not None:
                        running.remove(trial)
                        selector.unregister(file)
                        free.append(trial.copy)
                        yield trial.mutant, results.add(trial.mutant, verdict)
        finally:
            for trial in running:
                trial.child.end()
