"""Which tests are run, and in which units."""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from tests.runner import plan, samples


class CollectTests(unittest.TestCase):
    """Names and patterns."""

    def collect(self, *names: str, patterns: tuple[str, ...] = ()) -> list[str]:
        return [test.id().removeprefix("tests.runner.") for test in plan.collect(names, patterns)]

    def test_names(self) -> None:
        """A module, a class, a test, or a file: what unittest takes."""
        good = ["samples.Good.test_one", "samples.Good.test_two"]
        self.assertEqual(self.collect("tests.runner.samples.Good"), good)
        self.assertEqual(self.collect("tests.runner.samples.Good.test_two"), good[1:])
        self.assertLess(set(good), set(self.collect("tests.runner.samples")))
        self.assertEqual(self.collect("tests/runner/samples.py"), self.collect("tests.runner.samples"))

    def test_folders(self) -> None:
        """A folder is all tests in it, by its name or by its path."""
        found = self.collect("tests.runner")
        self.assertIn("test_plan.CollectTests.test_folders", found)
        self.assertNotIn("samples.Good.test_one", found)
        self.assertEqual(self.collect("tests/runner"), found)
        self.assertEqual(self.collect("tests/runner/"), found)

    def test_patterns(self) -> None:
        """A test matches one pattern of several; a word is looked for anywhere in its name."""
        self.assertEqual(
            self.collect("tests.runner.samples", patterns=("Good.test_t", "*.samples.Hanging.*")),
            ["samples.Good.test_two", "samples.Hanging.test_hang"],
        )

    def test_what_does_not_load(self) -> None:
        """A module that is not there is a test that fails."""
        (test,) = plan.collect(["tests.runner.no_such_module"], ())
        self.assertTrue(plan.is_broken(test))
        self.assertFalse(plan.is_broken(self))


class CutTests(unittest.TestCase):
    """From tests to units."""

    def cut(self, seconds: Mapping[str, float], *names: str) -> list[list[str]]:
        """The units, each as the names of its classes."""
        table = {f"tests.runner.samples.{name}": taken for name, taken in seconds.items()}
        tests = plan.collect([f"tests.runner.samples.{name}" for name in names], ())
        units = plan.cut(tests, table)
        return [list(dict.fromkeys(test.split(".")[-2] for test in unit.tests)) for unit in units]

    def test_small_ones_share_a_unit(self) -> None:
        """Classes of a folder share a unit while they take six seconds together, and keep their order."""
        self.assertEqual(self.cut({}, "Good", "Bad", "Skipped"), [["Good", "Bad", "Skipped"]])
        self.assertEqual(self.cut({"Good": 3, "Bad": 2, "Skipped": 2}, "Good", "Bad", "Skipped")[0], ["Good", "Bad"])
        modules = ["tests.runner.samples.Good", "tests.runner.test_plan.TableTests", "tests.relay.test_numbers"]
        self.assertEqual(len(plan.cut(plan.collect(modules, ()), {})), 2)

    def test_the_slowest_come_first(self) -> None:
        """Units are sorted by what they will take; a class that takes longer than six seconds is not divided."""
        self.assertEqual(self.cut({"Good": 7, "Bad": 9}, "Good", "Bad", "Skipped"), [["Bad"], ["Good"], ["Skipped"]])

    def test_what_runs_alone_comes_last(self) -> None:
        """However long it takes, and in a unit of its own."""
        self.assertEqual(self.cut({"Alone": 100}, "Good", "Alone", "Bad"), [["Good", "Bad"], ["Alone"]])
        (unit,) = plan.cut(plan.collect(["tests.runner.samples.Alone"], ()), {})
        self.assertTrue(unit.alone)

    def test_a_mark_is_inherited(self) -> None:
        """The subclass of a class that runs alone runs alone."""
        heir = type("Heir", (samples.Alone,), {})
        self.assertTrue(plan.cut([heir("test_alone")], {})[0].alone)


class TableTests(unittest.TestCase):
    """The table of seconds."""

    def test_remember(self) -> None:
        """What was measured replaces what was there; what is quick is left out, and what was not run stays."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(plan, "TABLE", Path(folder, "seconds.json")):
            self.assertEqual(plan.measured(), {})
            plan.remember({"b": 2.04, "a": 1.0, "c": 0.1})
            self.assertEqual(plan.measured(), {"a": 1.0, "b": 2.0})
            plan.remember({"b": 0.2, "d": 7.0})
            self.assertEqual(plan.measured(), {"a": 1.0, "d": 7.0})
