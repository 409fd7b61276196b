"""`python -m benchmarks.table`: its rows, its cells, and which rounds count."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from benchmarks import load, ours, page, table
from benchmarks.job import Job
from benchmarks.turns import Comparison, Figures, Reading, Setting
from tests.partners import heavy
from tests.test_benchmarks import PACKAGES, need_packages

ROOT = Path(__file__).resolve().parent.parent.parent

#: The command line that the table tells of.
OPTIONS = argparse.Namespace(rounds=4, seconds=1.0, load="/somewhere/generate", room=None)


def made_up() -> Figures:
    """Four rounds, in the last of which something else had half a processor while `fast` was measured."""
    figures = Figures("table", "a load", "messages")
    rates = {"fast": [100, 120, 110, 900], "before": [50, 60, 50, 50], "gorilla, one core": [200, 200, 220, 200]}
    for side, values in rates.items():
        figures.readings[side] = [{"rate": rate, "cpu": 1e6 / rate, "busy": 0.5} for rate in values]
        figures.others[side] = [0.0, 0.01, 0.0, 0.5 if side == "fast" else 0.0]
    return figures


class RowsTests(unittest.TestCase):
    """Where each row measures what."""

    setting = Setting(1, 0.1, None, (0, 1), Path())

    def place(self, row: str, side: str) -> tuple[str, tuple[int | None, int | None], str]:
        """The server that a side is, the cores of server and load, and how many processors Go may use."""
        (found,) = (each for each in table.ROWS if each.name == row)
        told: list[tuple[str, tuple[int | None, int | None], str]] = []

        def measure(load: object, setting: Setting, server: str, extra: dict[str, str]) -> tuple[Reading, str]:
            told.append((server, setting.cores, extra.get("GOMAXPROCS", "1")))
            return {}, ""

        with mock.patch("benchmarks.loads.measure", measure), mock.patch.object(ours, "ALL", {}):
            found.comparison([*table.SIDES]).measure(self.setting, side)
        return told[0]

    def test_one_core(self) -> None:
        """The server has one core and the load the other."""
        self.assertEqual(self.place("small", "fast"), ("syncws", (0, 1), "1"))
        self.assertEqual(self.place("small", "pure"), ("pure", (0, 1), "1"))
        self.assertEqual(self.place("small-4", "apart"), ("apart", (0, 1), "1"))
        self.assertEqual(self.place("tls", "gorilla, one core"), ("gorilla", (0, 1), "1"))

    def test_unpinned(self) -> None:
        """A server on any core is set beside what was before on one; the load has its own."""
        self.assertEqual(self.place("unpinned-small", "fast"), ("syncws", (None, 1), "1"))
        self.assertEqual(self.place("unpinned-small", "before"), ("before", (None, 1), "1"))
        self.assertEqual(self.place("unpinned-small", "before, one core"), ("before", (0, 1), "1"))

    def test_without_the_gil(self) -> None:
        """The other Python's servers, and gorilla, have all cores."""
        every = str(os.cpu_count())
        self.assertEqual(self.place("nogil-4KiB", "fast"), ("nogil", (None, None), every))
        self.assertEqual(self.place("nogil-4KiB", "pure"), ("nogil-pure", (None, None), every))
        self.assertEqual(self.place("nogil-4KiB", "before"), ("nogil-before", (None, None), every))
        self.assertEqual(self.place("nogil-4KiB", "gorilla, two cores"), ("gorilla", (None, None), every))

    def test_names(self) -> None:
        """Rows have names of their own, and sides that there are."""
        self.assertEqual(len({row.name for row in table.ROWS}), len(table.ROWS))
        for row in table.ROWS:
            self.assertLessEqual({*row.sides, *row.aims}, {*table.SIDES}, row.name)

    def test_what_is_missing(self) -> None:
        """A side that is not there has a line that says why: no checkout, no interpreter, no accelerator."""
        (row,) = (each for each in table.ROWS if each.name == "small")
        lacks = row.comparison([*table.SIDES]).lacks
        with mock.patch.object(ours, "ALL", {}):
            self.assertEqual(lacks(self.setting, "before"), "SYNCWS_BEFORE names no checkout")
        self.assertEqual(ours.Ours(python="").missing(), "SYNCWS_PYTHON names no interpreter")
        self.assertRegex(ours.Ours(library=Path("/nowhere"), python="false").missing(), "^false cannot import syncws")
        with mock.patch.object(ours, "_asked", return_value={"accelerated": False}):
            self.assertEqual(lacks(self.setting, "fast"), "the accelerator is not built for its Python")
        with mock.patch.object(ours, "_asked", return_value={"accelerated": True}):
            self.assertEqual(lacks(self.setting, "fast"), "")


class CellsTests(unittest.TestCase):
    """What the table says of figures."""

    def test_the_table(self) -> None:
        """Medians of the calm rounds' ratios, the aim, the processor time; what was left out is said below."""
        row = table.Row("small", "a load", None, aims={"fast": 0.72})
        figures = made_up()
        figures.left_out["pure"] = "it is not there"
        with mock.patch("os.getloadavg", return_value=(3.21, 0, 0)):
            lines = table.markdown([row], [figures], OPTIONS).splitlines()
        self.assertEqual(lines[0], "| load | beside | fast | before | beside itself | calm rounds |")
        self.assertEqual(
            lines[2],
            "| a load | gorilla, one core | 0.50 / 0.50 (0.72) 9090.9 µs | 0.25 / 0.25 20000.0 µs | "
            "200/s, 5000.0 µs | 3 of 4 |",
        )
        self.assertIn("Medians of 4 rounds of 1 s", lines[4])
        self.assertIn(
            "load average at the end 3.2. In 1 of 12 turns others had over 10% of a processor. Plain loads by",
            lines[5],
        )
        self.assertEqual(lines[6], "* Without pure: it is not there (small).")

    def test_few_calm_rounds(self) -> None:
        """Where nearly no round was calm, all count: the median of four is between the two in the middle."""
        figures = made_up()
        figures.others["fast"] = [0.5, 0.5, 0.0, 0.0]
        self.assertEqual(table.calm(figures), [2, 3])
        self.assertAlmostEqual(table.ratio(figures, "fast", "gorilla, one core", "rate"), 0.55)

    def test_a_generator_that_is_the_limit(self) -> None:
        """It has a mark."""
        figures = made_up()
        for reading in figures.readings["fast"]:
            reading["busy"] = 0.95
        self.assertRegex(table.cell(figures, "fast", "gorilla, one core", None), r"^0\.50 / 0\.50 9090\.9 µs \*$")
        self.assertEqual(table.cell(figures, "apart", "gorilla, one core", None), "")


class PageTests(unittest.TestCase):
    """A page with several tables."""

    def test_a_part(self) -> None:
        """Only what is between the marks of that name is written anew; without marks one line says what is missing."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        written, begin = folder / "page.md", "a program writes what follows -->"
        written.write_text(
            f"A\n<!-- one: {begin}\nold\n<!-- one: end -->\n<!-- two: {begin}\nkept\n<!-- two: end -->\n"
        )
        page.fill_part(written, "one", "\n| new |\n")
        self.assertEqual(
            written.read_text(),
            f"A\n<!-- one: {begin}\n\n| new |\n\n<!-- one: end -->\n<!-- two: {begin}\nkept\n<!-- two: end -->\n",
        )
        with self.assertRaisesRegex(page.PageError, "has not the two lines"):
            page.fill_part(written, "three", "")

    def test_the_page_of_the_project(self) -> None:
        """docs/speed.md has a place for each table."""
        text = (ROOT / "docs" / "speed.md").read_text()
        for name in ("table", "way of 32 B", "way of 4096 B", "against"):
            self.assertEqual(text.count(f"<!-- {name}: a program writes what follows -->"), 1, name)
            self.assertEqual(text.count(f"<!-- {name}: end -->"), 1, name)


class LoudTests(unittest.TestCase):
    """What others take of the machine."""

    def test_others(self) -> None:
        """What a turn and its children use is theirs; what the machine used besides is told for each turn."""
        used = iter([10.0, 11.0, 20.0, 20.0])

        def measure(setting: Setting, side: str) -> tuple[Reading, str]:
            subprocess.run([sys.executable, "-c", ""], check=True)
            return {"rate": 1.0}, ""

        comparison = Comparison(Figures("echo", "a load", "messages"), ["a", "b"], lambda setting, side: "", measure)
        setting = Setting(1, 0.1, None, (None, None), Path(), calm_tries=1)
        with mock.patch("benchmarks.turns.used", lambda: next(used)), mock.patch("benchmarks.turns.stolen", float):
            comparison.take_turns(setting, mock.Mock())
        self.assertTrue(comparison.figures.is_loud("a", 0))
        self.assertEqual(comparison.figures.others["b"], [0.0])
        self.assertFalse(comparison.figures.is_loud("b", 0))

    def test_another_programs_interval(self) -> None:
        """A generator in another language measures at its end: the server's share is that of the end."""
        clock, server = iter([0.0, 1.0, 2.0, 3.0]), iter([0.0, 0.0, 0.5, 1.0])
        samples = load.Samples(Job("echo", 1, os.getpid(), 1, 32, seconds=2.5))
        with (
            mock.patch.object(time, "perf_counter", lambda: next(clock)),
            mock.patch("benchmarks.job.Processor.seconds", lambda processor: next(server)),
        ):
            self.assertIsNone(samples.share())
            for _ in range(4):
                samples.take()
        self.assertAlmostEqual(samples.share() or 0, 0.5)


class CommandTests(unittest.TestCase):
    """The command line."""

    def run_here(self, *arguments: str) -> tuple[int, str, str]:
        printed, complained = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["table", *arguments]),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(complained),
        ):
            try:
                code = table.main()
            except SystemExit as exit:
                code = exit.code if isinstance(exit.code, int) else 1
        return code, printed.getvalue(), complained.getvalue()

    def test_list(self) -> None:
        """--list names the rows."""
        code, printed, _ = self.run_here("--list")
        self.assertEqual((code, [line.split()[0] for line in printed.splitlines()]), (0, [r.name for r in table.ROWS]))

    def test_wrong_names(self) -> None:
        """A row or a side that there is not ends the command with one line."""
        for arguments, told in (
            (["--rows", "small,none"], "no such row: none; there are small, "),
            (["--sides", "fast,none"], "no such side: none; there are fast, "),
        ):
            code, printed, complained = self.run_here(*arguments)
            self.assertEqual((code, printed, complained.count("\n")), (2, "", 1))
            self.assertIn(told, complained)

    @heavy
    def test_a_row(self) -> None:
        """One short round of a row prints the table."""
        need_packages(*PACKAGES)
        words = ["--quick", "--seconds", "0.02", "--tries", "1", "--rows", "small", "--sides", "pure"]
        command = [sys.executable, "-m", "benchmarks.table", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("\n| 64 x 32 B | gorilla, one core | ", done.stdout)
        self.assertRegex(done.stdout, r"\d µs")


if __name__ == "__main__":
    unittest.main()
