"""`python -m benchmarks.against`: when a load is called slower than it was."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import against, ours
from benchmarks.turns import Comparison, Figures
from tests.partners import heavy
from tests.test_benchmarks import PACKAGES, need_packages

ROOT = Path(__file__).resolve().parent.parent.parent


def made_up(cost: list[float], title: str = "a load") -> Figures:
    """Rounds in which a message cost that many microseconds now, and 10 before."""
    figures = Figures("echo", title, "messages")
    figures.readings = {
        "before": [{"rate": 100.0, "cpu": 10.0} for _ in cost],
        "syncws": [{"rate": 1000 / each, "cpu": each} for each in cost],
    }
    figures.others = {side: [0.0] * len(cost) for side in figures.readings}
    return figures


class VerdictTests(unittest.TestCase):
    """What the ratios of rounds say."""

    def check(self, words: str, *ratios: float) -> None:
        self.assertEqual(against.Verdict(list(ratios), 2.0).words, words)

    def test_slower(self) -> None:
        """The median is over the limit, and nearly all rounds say the same."""
        self.check(against.SLOWER, 1.03, 1.04, 1.05, 1.03, 1.02)
        self.check(against.SLOWER, 0.99, 1.04, 1.05, 1.03, 1.02, 1.06, 1.07, 1.03)

    def test_perhaps(self) -> None:
        """The median is over the limit, but chance explains it: few rounds, or as many that say the opposite."""
        self.check(against.PERHAPS, 1.10)
        self.check(against.PERHAPS, 1.03, 1.04, 1.05, 1.03)
        self.check(against.PERHAPS, 0.9, 0.95, 1.03, 1.04, 1.2)

    def test_no_slower(self) -> None:
        """The median is within the limit, or faster."""
        self.check(against.FINE, 1.02, 1.02, 1.02, 1.02, 1.02, 1.02)
        self.check(against.FINE, 0.7, 0.9, 0.8, 1.3, 1.2)

    def test_the_likely_median(self) -> None:
        """Of five rounds the lowest, of eight the second: the chance that all others are over the median is small."""
        self.assertEqual(against.Verdict([5.0, 4.0, 3.0, 2.0, 1.0], 2.0).least, 1.0)
        self.assertEqual(against.Verdict([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 2.0).least, 2.0)
        self.assertEqual(against.Verdict([1.0, 2.0], 2.0).least, 0.0)

    def test_memory(self) -> None:
        """An idle connection is judged by its memory; a side that was not measured is not called slower."""
        figures = Figures("memory", "idle", "", readings={"before": [{"KiB": 20.0}], "syncws": [{"KiB": 24.0}]})
        self.assertEqual(against.judge(figures, argparse.Namespace(limit=2.0)).middle, 1.2)
        del figures.readings["before"]
        self.assertEqual(against.judge(figures, argparse.Namespace(limit=2.0)).words, against.FINE)
        self.assertIn("| not measured |", against.markdown([figures], argparse.Namespace(limit=2.0)))


class AnswerTests(unittest.TestCase):
    """What is asked again, and what the command says at its end."""

    def answer(self, *runs: dict[str, list[float]]) -> tuple[int, str, list[tuple[int, list[str]]]]:
        """The exit status, the table, and the rounds and titles of each run, whose costs are given by title."""
        left, asked = list(runs), []

        def compare(options: argparse.Namespace) -> list[Comparison]:
            return [Comparison(Figures("echo", title, "messages"), [], mock.Mock(), mock.Mock()) for title in runs[0]]

        def measure(every: list[Comparison], options: argparse.Namespace) -> list[Figures]:
            titles = [each.figures.title for each in every]
            asked.append((options.rounds, titles))
            costs = left.pop(0)
            return [made_up(costs[title], title) for title in titles]

        options: Any = argparse.Namespace(rounds=5, limit=2.0, again=2, page=None)
        with (
            mock.patch.object(against, "comparisons", compare),
            mock.patch("benchmarks.run.measure", measure),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            return against.answer(options), printed.getvalue(), asked

    def test_nothing_is_slower(self) -> None:
        """One run is enough, and the status is 0."""
        code, printed, asked = self.answer({"a": [10.0] * 5, "b": [9.0] * 5})
        self.assertEqual((code, asked), (0, [(5, ["a", "b"])]))
        self.assertIn("| echo | b | 0.900 | 0.90 to 0.90 | 1.11 | 5 | no slower |", printed)

    def test_what_seems_slower_is_asked_again(self) -> None:
        """With twice as many rounds; all of them together decide."""
        code, printed, asked = self.answer({"a": [10.0] * 5, "b": [10.5] * 5}, {"b": [9.9] * 10})
        self.assertEqual((code, asked), (0, [(5, ["a", "b"]), (10, ["b"])]))
        self.assertIn("| echo | b | 0.990 |", printed)
        self.assertIn("| 15 | no slower |", printed)

    def test_what_is_slower(self) -> None:
        """It stays so however often it is asked: the status is 1."""
        code, printed, asked = self.answer({"a": [10.5] * 5}, {"a": [10.5] * 10}, {"a": [10.5] * 20})
        self.assertEqual((code, [rounds for rounds, _ in asked]), (1, [5, 10, 20]))
        self.assertIn("| 35 | **slower** |", printed)

    def test_the_command_line(self) -> None:
        """A question that there is not, and no checkout to compare with, end the command with one line."""
        for given, told in ((["none"], "no such question: none; there are echo, "), ([], "SYNCWS_BEFORE names no")):
            with (
                mock.patch.object(sys, "argv", ["against", *given]),
                mock.patch.object(ours, "ALL", {}),
                contextlib.redirect_stderr(io.StringIO()) as complained,
                self.assertRaises(SystemExit) as raised,
            ):
                against.main()
            self.assertEqual((raised.exception.code, complained.getvalue().count("\n")), (2, 1))
            self.assertIn(told, complained.getvalue())

    @heavy
    def test_a_question(self) -> None:
        """This checkout against itself, in one short round."""
        need_packages(*PACKAGES)
        words = ["--quick", "--seconds", "0.1", "--again", "0", "--limit", "100000", "deflate"]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.against", *words],
            cwd=ROOT,
            env={**os.environ, "SYNCWS_BEFORE": str(ROOT)},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("| no slower |"), 1, done.stdout)


if __name__ == "__main__":
    unittest.main()
