"""`python -m benchmarks.resources` and `python -m benchmarks.resource_limits`: small runs of the real programs."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from benchmarks import resource_clients, resource_limits, resources
from benchmarks.resources import ROWS, ProbeError, Row
from syncws.testing import LeakChecks
from tests.partners import heavy

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "resources.md").read_text()

#: Where memory is read from.
LINUX = Path("/proc/self/statm").exists()


def run(main: object, *arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a program."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["program", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main()  # type: ignore[operator]
        except SystemExit as exit:
            code = int(exit.code or 0)
    return code, out.getvalue(), err.getvalue()


@unittest.skipUnless(LINUX, "it takes Linux's account of memory")
class ResourcesTests(LeakChecks):
    """The costs."""

    def test_a_probe(self) -> None:
        """A probe weighs in a process of its own, and its figure is in the table and on the page."""
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "page.md")
            page.write_text("a\n<!-- resources: a program writes what follows -->\n<!-- resources: end -->\nb\n")
            code, out, err = run(resources.main, "--rows", "room", "--rounds", "1", "--page", str(page))
            self.assertEqual(code, 0, err)
            self.assertRegex(out, r"\| a room with its first member \| [\d,.e+]+ bytes \|")
            self.assertIn(out.strip(), page.read_text())

    @heavy
    def test_all_probes(self) -> None:
        """Each probe finds a figure that is more than nothing."""
        for row in ROWS:
            with self.subTest(row.probe):
                few = row.count // 20 if row.unit == "µs" else max(row.count // 5, 5)
                self.assertGreater(resources.measure(row, sys.executable, few), 0)

    @heavy
    def test_what_is_let_go(self) -> None:
        """An idle connection that has let go of its context takes about as much as one without compression."""
        rows = {row.probe: row for row in ROWS}
        weight = {name: resources.measure(rows[name], sys.executable, 60) for name in ("used", "takeover", "let-go")}
        self.assertGreater(weight["takeover"], 2 * weight["used"])
        self.assertLess(weight["let-go"], 1.5 * weight["used"])

    def test_mistakes(self) -> None:
        """A row or a page that is not there, and a probe that fails, end in one line that says so."""
        code, _, err = run(resources.main, "--rows", "nothing")
        self.assertEqual((code, "no such row: nothing" in err), (2, True))
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(resources, "measure", return_value=1.0):
            code, _, err = run(resources.main, "--rows", "room", "--page", str(Path(folder, "page.md")))
        self.assertEqual(code, 1)
        self.assertIn("has not the two lines", err)
        with self.assertRaisesRegex(ProbeError, "KeyError: 'nothing'"):
            resources.measure(Row("nothing", 1, "nothing"), sys.executable, 1)

    def test_telemetry(self) -> None:
        """The messages of the table are as long as it says."""
        sizes = [len(resource_clients.telemetry(random.Random(number), number)) for number in range(100)]
        self.assertTrue(180 <= min(sizes) <= max(sizes) <= 220, sizes)

    def test_the_page(self) -> None:
        """It has each row of the programs."""
        for row in ROWS:
            self.assertIn(f"| {row.title} |", PAGE)
        for trial in resource_limits.TRIALS:
            self.assertIn(f"| `{trial.name}` | {trial.title} |", PAGE)


@unittest.skipUnless(LINUX, "it takes Linux's account of memory")
class LimitTests(LeakChecks):
    """The limits."""

    def test_each_limit(self) -> None:
        """Each is breached, counted once under its name, and ends as the page says."""
        for trial in resource_limits.TRIALS:
            with self.subTest(trial.title), self.assertNoLogs("syncws", "ERROR"):
                found = resource_limits.attempt(trial)
                self.assertEqual(found.counted, 1)
                self.assertIn(f"| `{found.trial.name}` | {found.trial.title} | {found.got} | 1 |", PAGE)
                self.assertLess(found.grown, 64 << 20)


if __name__ == "__main__":
    unittest.main()
