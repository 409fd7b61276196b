"""trial.py, child.py and the program: mutants of the real tree, tried with tests of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import unittest
from functools import partial
from pathlib import Path
from typing import Any

from .__main__ import main
from .changes import Mutant, mutants_of
from .child import Child, run
from .guards import guards, modules
from .trial import Copy, Results, Test, Verdict, chosen, try_all

SAMPLE = """
import threading, time, unittest
import sample

class A(unittest.TestCase):
    def test_good(self):
        self.assertEqual(sample.double(2), 4)

    def test_in_a_thread(self):
        thread = threading.Thread(target=sample.other)
        thread.start()
        thread.join()

    def test_bad(self):
        with self.subTest(1):
            self.fail("said")

class B(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("at once")

    def test_never(self):
        pass
"""


@unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
class ChildCase(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()


class Children(ChildCase):
    """A process that runs tests in a tree."""

    def _say(self, names: list[str], **options: Any) -> list[list[Any]]:
        """All that a process says which runs tests of the sample."""
        Path(self.folder, "sample.py").write_text("def double(x):\n    return 2 * x\n\ndef other():\n    double(3)\n")
        Path(self.folder, "test_sample.py").write_text(SAMPLE)
        child = Child(self.folder, partial(run, names, **options))
        said = []
        while (lines := child.lines()) is not None:
            said += lines
        child.end()
        return said

    def test_until_one_fails(self) -> None:
        """It says when a test begins and how it ends, and stops at the first that fails, a subtest's failure too."""
        said = self._say(["test_sample.A.test_good", "test_sample.A.test_bad", "test_sample.A.test_in_a_thread"])
        self.assertEqual([what for what, *_ in said], ["imported", "begins", "passed", "begins", "failed", "end"])
        self.assertEqual(said[4][1], "test_sample.A.test_bad")
        self.assertIn("said", said[4][4])
        self.assertEqual(said[-1], ["end", False])

    def test_a_class_that_cannot_be_set_up(self) -> None:
        """That is a failure too."""
        said = self._say(["test_sample.B"])
        self.assertEqual([what for what, *_ in said], ["imported", "failed", "end"])
        self.assertIn("at once", said[1][4])

    def test_lines(self) -> None:
        """Traced, it says which lines each test runs, in threads too, and goes on after a failure."""
        said = self._say(["test_sample.A"], traced={str(self.folder / "sample.py"): "sample"})
        lines = {rest[0].rpartition(".")[2]: rest[2] for what, *rest in said if what in ("passed", "failed")}
        self.assertEqual(lines, {"test_bad": {}, "test_good": {"sample": [2]}, "test_in_a_thread": {"sample": [2, 5]}})

    def test_what_cannot_be_imported(self) -> None:
        """Tests that cannot be imported are a failure, not silence."""
        Path(self.folder, "test_broken.py").write_text("import nothing_of_this_name\n")
        said = self._say(["test_broken"])
        self.assertIn("failed", [what for what, *_ in said])
        self.assertEqual(said[-1], ["end", False])


class Trials(ChildCase):
    """Mutants of `_frames.keepalive`, each in a process of its own."""

    def setUp(self) -> None:
        super().setUp()
        path = modules()["_frames.keepalive"]
        self.mutants = {
            mutant.text: mutant
            for mutant in mutants_of("_frames.keepalive", path.read_text())
            if mutant.change == "drop"
        }
        self.results = Results(self.folder / "results.jsonl")

    def _tests(self, mutant: Mutant, *names: str) -> dict[str, list[Test]]:
        """As if a survey had found that these tests run the mutant's lines."""
        lines = {mutant.module: set(range(mutant.lines[0], mutant.lines[1] + 1))}
        known = dict.fromkeys(guards(mutant.module), ())
        known["tests.frames.test_keepalive"] = tuple(
            Test(f"tests.frames.test_keepalive.TestKeepalive.{name}", 0.1, lines) for name in names
        )
        return {name: list(tests) for name, tests in known.items()}

    def _try(self, mutant: Mutant, *names: str) -> Verdict:
        ((_, verdict),) = try_all([mutant], self._tests(mutant, *names), self.results)
        return verdict

    def test_killed(self) -> None:
        """A test that fails kills, and is named; the checkout is as it was."""
        before = modules()["_frames.keepalive"].read_text()
        verdict = self._try(self.mutants["self.interval = interval"], "test_off")
        self.assertEqual(verdict.outcome, "killed")
        self.assertEqual(verdict.test, "tests.frames.test_keepalive.TestKeepalive.test_off")
        self.assertEqual(modules()["_frames.keepalive"].read_text(), before)

    def test_survived(self) -> None:
        """Where each test passes that runs the lines, it lives; where none does, that is said."""
        mutant = self.mutants["self._pinged_at = now"]
        self.assertEqual(self._try(mutant, "test_off").outcome, "survived")
        self.assertEqual(self._try(mutant).outcome, "no test")

    def test_what_is_known(self) -> None:
        """A verdict is kept, and holds while the tests that it rests on are as they were."""
        mutant = self.mutants["self.interval = interval"]
        verdict = self._try(mutant, "test_off")
        self.assertEqual(Results(self.folder / "results.jsonl").find(mutant), verdict)
        changed = json.loads((self.folder / "results.jsonl").read_text())
        changed["guards"] = "other tests"
        (self.folder / "results.jsonl").write_text(json.dumps(changed))
        later = Results(self.folder / "results.jsonl")
        self.assertIsNone(later.find(mutant))
        self.assertEqual(later.killer(mutant), verdict.test)

    def test_which_tests_are_chosen(self) -> None:
        """Those that run the lines: the one that killed it before, then the quickest, a class at a time; the module's
        own before its neighbours'."""
        mutant = self.mutants["self.interval = interval"]
        line = {mutant.module: {mutant.lines[0]}}
        known = {name: [] for name in guards(mutant.module)}
        known["tests.frames.test_keepalive"] = [
            Test("t.A.slow", 9.0, line),
            Test("t.B.quick", 1.0, line),
            Test("t.A.quick", 0.1, line),
            Test("t.B.quicker", 0.5, line),
            Test("t.B.elsewhere", 0.1, {"_conn.wire": {mutant.lines[0]}}),
        ]
        known["tests.conn.test_conn"] = [Test("t.C.quickest", 0.01, line)]
        *names, last = (test.name for test in chosen(mutant, known))
        self.assertEqual(last, "t.C.quickest")
        self.assertEqual(names, ["t.B.quicker", "t.B.quick", "t.A.quick", "t.A.slow"])
        self.assertEqual(chosen(mutant, known, "t.A.slow")[0].name, "t.A.slow")
        self.assertEqual([test.name for test in chosen(mutant, known, most=1)], ["t.B.quicker"])

    def test_a_copy(self) -> None:
        """The copy has what the tests need, and its modules can be changed."""
        copy = Copy(self.folder / "copy")
        copy.change("_frames.keepalive", "x = 1\n")
        self.assertEqual(Path(self.folder, "copy/syncws/_frames/keepalive.py").read_text(), "x = 1\n")
        self.assertTrue(Path(self.folder, "copy/tests/mutants/child.py").is_file())


class Program(unittest.TestCase):
    """The command line."""

    def _main(self, *arguments: str) -> tuple[int, str]:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            code = main(arguments)
        return code, out.getvalue()

    def test_list(self) -> None:
        """--list prints names; of a line, or some by chance, which is the same again for the same seed."""
        code, names = self._main("_frames.keepalive", "--list")
        self.assertEqual(code, 0)
        self.assertIn("_frames.keepalive: drop in Keepalive.heard: ", names)
        every = set(names.splitlines())
        _, drawn = self._main("_frames.keepalive", "--list", "--sample", "3", "--seed", "5")
        self.assertEqual(len(drawn.splitlines()), 3)
        self.assertLessEqual(set(drawn.splitlines()), every)
        self.assertEqual(self._main("_frames.keepalive", "--list", "--sample", "3", "--seed", "5")[1], drawn)
        source = modules()["_frames.keepalive"].read_text().splitlines()
        line = next(number for number, text in enumerate(source, 1) if "self.interval = interval" in text)
        self.assertIn("self.interval = interval", self._main("_frames.keepalive", "--list", "--only", str(line))[1])

    def test_a_module_that_is_none(self) -> None:
        """A name that no module has is an error, not an empty success."""
        code, says = self._main("_conn.nothing")
        self.assertEqual(code, 2)
        self.assertIn("_conn.nothing", says)
