"""survivors.py: the list of mutants that may live."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from .changes import mutants_of
from .guards import modules
from .survivors import read, stale


class Survivors(unittest.TestCase):
    """The list is in order, and says why."""

    def _read(self, text: str) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "list.toml")
            file.write_text(text)
            return read(file)

    def test_reading(self) -> None:
        """A reason stands for each mutant under it."""
        text = '[[because]]\nreason = "r"\nmutants = ["a", "b"]\n[[because]]\nreason = "s"\nmutants = ["c"]\n'
        self.assertEqual(self._read(text), {"a": "r", "b": "r", "c": "s"})
        self.assertEqual(self._read(""), {})

    def test_a_list_that_is_not_in_order(self) -> None:
        """No reason, no mutants, or a mutant listed twice: a ValueError that says which."""
        for text, says in (
            ('mutants = ["a"]', "'a'"),
            ('reason = "r"', "'r'"),
            ('reason = ""\nmutants = ["a"]', "'a'"),
            ('reason = "r"\nmutants = ["a", "a"]', "listed twice: a"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                self._read(f"[[because]]\n{text}\n")

    def test_what_is_out_of_date(self) -> None:
        """What is listed and does not exist is found; of the modules that were looked at only."""
        listed = ["m: drop in f: x()", "m: drop in f: y()", "other: drop in f: z()"]
        self.assertEqual(stale(listed, ["m: drop in f: x()"], ["m"]), ["m: drop in f: y()"])

    def test_the_list_of_this_project(self) -> None:
        """Whatever is listed exists: a statement that was changed takes its entry with it."""
        found = modules()
        existing = [mutant.name for module in found for mutant in mutants_of(module, found[module].read_text())]
        self.assertEqual(stale(read(), existing, found), [])
