"""Every input that is kept passes: those that ever failed among them. And each named difference is needed."""

from __future__ import annotations

import logging
import unittest

from fuzz.engine import failure_of
from fuzz.harness import Finding
from fuzz.kept import CORPUS, kept_inputs
from tests.fuzz.support import HARNESSES, need_harnesses


def setUpModule() -> None:
    need_harnesses()
    logging.disable()  # what syncws tells of bad input
    unittest.addModuleCleanup(logging.disable, logging.NOTSET)


class CorpusTests(unittest.TestCase):
    def test_kept_inputs(self) -> None:
        """No input of the corpus, and no seed, fails in any way."""
        for name, harness in HARNESSES.items():
            checked = harness()
            kept = [(path.name, data) for path, data in kept_inputs(name).items()]
            self.assertTrue(kept, f"{name} has no corpus")
            for told, data in [*kept, *((f"seed {data!r}", data) for data in harness.seeds)]:
                with self.subTest(f"{name} {told}"):
                    failure = failure_of(checked, data)
                    self.assertIsNone(failure, failure and failure.detail)

    def test_every_folder_has_a_harness(self) -> None:
        """No input lies where nobody looks, and no other file is there."""
        self.assertEqual({path.name for path in CORPUS.iterdir()}, set(HARNESSES))
        for path in CORPUS.rglob("*"):
            self.assertTrue(path.is_dir() or path.suffix == ".hex", path)


class DifferenceTests(unittest.TestCase):
    def test_each_difference(self) -> None:
        """With all differences an example passes; without the one that it is for it is a finding."""
        for name, harness in HARNESSES.items():
            for rule, difference in harness.differences.items():
                with self.subTest(f"{name}: {rule}"):
                    failure = failure_of(harness(), difference.example)
                    self.assertIsNone(failure, failure and failure.detail)
                    with self.assertRaises(Finding):
                        harness(without={rule}).check(difference.example)

    def test_each_says_why(self) -> None:
        """A difference says what either side does, and why ours is right."""
        for harness in HARNESSES.values():
            for difference in harness.differences.values():
                self.assertTrue(difference.theirs and difference.ours and difference.why)


if __name__ == "__main__":
    unittest.main()
