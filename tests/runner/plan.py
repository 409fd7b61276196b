"""Which tests are run, and how they are cut into units."""

from __future__ import annotations

import json
import os
import re
import unittest
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from unittest.loader import _FailedTest  # type: ignore[attr-defined]

from .marks import runs_alone

ROOT = Path(__file__).resolve().parent.parent.parent

#: Seconds that each class took when it was measured; `--measure` writes it. Only those that count: see `MEASURED`.
TABLE = Path(__file__).with_name("seconds.json")

#: Classes that take less are not in the table.
MEASURED = 0.5

#: Seconds that each test of a class is expected to take that is not in the table.
BRIEF = 0.03

#: Seconds that a unit is filled up to. A process takes a third of a second to start, and the last one of a run should
#: not be a long one.
FULL = 6.0

#: The end of the traceback of an import of what is not there, and is not ours.
_NO_MODULE = re.compile(r"^ModuleNotFoundError: (?!.*'(?:syncws|tests|benchmarks)\b)(.+)\s*\Z", re.MULTILINE)


@dataclass
class Unit:
    """Tests that one process runs, in this order."""

    tests: list[str] = field(default_factory=list)
    seconds: float = 0.0  # expected
    alone: bool = False


def collect(names: Sequence[str], patterns: Sequence[str]) -> list[unittest.TestCase]:
    """The tests of these names, of all where there is none, that match one of the patterns, if there are any.

    A name is what unittest takes: a module, a class, or a test. It may also be a folder, as a name or as a path.
    What cannot be loaded is a test that fails when it is run.
    """
    loader = unittest.TestLoader()
    if patterns:
        loader.testNamePatterns = [each if "*" in each else f"*{each}*" for each in patterns]
    return [test for name in names or ["tests"] for test in each_of(_load(loader, name))]


def _load(loader: unittest.TestLoader, name: str) -> unittest.TestSuite:
    path = Path(name if "/" in name or name.endswith(".py") else name.replace(".", "/"))
    if (ROOT / path / "__init__.py").exists():
        return loader.discover(str(ROOT / path), top_level_dir=str(ROOT))
    return loader.loadTestsFromName(".".join(path.with_suffix("").parts) if path.suffix == ".py" else name)


def each_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Every test of a suite, in order."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from each_of(each)
        else:
            yield each


def is_broken(test: unittest.TestCase) -> bool:
    """Whether a test stands for something that could not be loaded."""
    return isinstance(test, _FailedTest)


def missing(test: unittest.TestCase) -> str:
    """Which package of others is not installed, where that is why a module of tests could not be loaded; else "".

    With SYNCWS_REQUIRE=all none may be missing.
    """
    if not is_broken(test) or os.environ.get("SYNCWS_REQUIRE") == "all":
        return ""
    found = _NO_MODULE.search(str(test._exception))  # type: ignore[attr-defined]
    return "" if found is None else f"not installed: {found[1]}"


def cut(tests: Iterable[unittest.TestCase], seconds: Mapping[str, float]) -> list[Unit]:
    """Units of these tests, those that take longest first; those that run alone come last.

    A class is never divided, so its fixture is made once. Classes of one folder share a unit up to `FULL` seconds, and
    what runs alone has one of its own.
    """
    units: list[Unit] = []
    for _, of_folder in groupby(tests, lambda test: type(test).__module__.rpartition(".")[0]):
        open_unit = Unit()
        for case, of_case in groupby(of_folder, type):
            ids = [test.id() for test in of_case]
            expected = seconds.get(f"{case.__module__}.{case.__qualname__}", BRIEF * len(ids))
            if runs_alone(case):
                units.append(Unit(ids, expected, alone=True))
                continue
            if open_unit.tests and open_unit.seconds + expected > FULL:
                units.append(open_unit)
                open_unit = Unit()
            open_unit.tests += ids
            open_unit.seconds += expected
        if open_unit.tests:
            units.append(open_unit)
    return sorted(units, key=lambda unit: (unit.alone, -unit.seconds))


def measured() -> dict[str, float]:
    """The table of seconds by class."""
    table: dict[str, float] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    return table


def remember(seconds: Mapping[str, float]) -> None:
    """Write what these classes took into the table; those that were not run stay as they are."""
    table = measured() | {name: round(taken, 1) for name, taken in seconds.items()}
    kept = {name: taken for name, taken in sorted(table.items()) if taken >= MEASURED}
    TABLE.write_text(json.dumps(kept, indent=0) + "\n")
