"""The command line of the runner."""

from __future__ import annotations

import argparse
import io
import os
import unittest
from collections.abc import Sequence

from . import plan
from .plan import Unit
from .pool import Pool, Stopped
from .report import Report

#: Processes at the same time, for each processor: most tests wait more than they work.
JOBS_PER_CPU = 3

#: Seconds that a test may take. The longest takes 107 by itself, on purpose.
LIMIT = 300.0

#: With --again: how often a unit that failed must pass by itself, and how many may have failed: more are no noise.
PASSES, UNSTEADY_UNITS = 2, 5

#: And the limit then: by itself no test comes near it, and what hangs again is to be known soon.
LIMIT_ALONE = 200.0

DESCRIPTION = """
Run the tests of the project. Without --all, what drives Node, a browser, Go, nginx and most WSGI servers is left out,
and some tests are smaller; SYNCWS_HEAVY says how much, see CONTRIBUTING.md.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; the exit code: 0 if all is well, 1 if not, 5 if there is nothing to run, 128 and the
    number of the signal that ended it."""
    options = _options(arguments)
    os.environ.setdefault("SYNCWS_HEAVY", "full" if options.all else "0")
    collected = plan.collect(options.names, options.patterns)
    lacking = {test: reason for test in collected if (reason := plan.missing(test))}
    tests = [test for test in collected if test not in lacking]
    if broken := [test for test in tests if plan.is_broken(test)]:
        return _say_broken(broken)
    again = options.again and not options.failfast
    report = Report(len(tests), verbose=options.verbose, again=again)
    for reason in lacking.values():
        report.left_out(reason)
    pool = Pool(options.jobs, options.limit, failfast=options.failfast)

    def looked() -> bool:
        report.looked()
        return not (options.failfast and report.failed)

    try:
        pool.run(plan.cut(tests, plan.measured()), report.noted, report.over, looked)
        unsteady = _unsteady(report.failed_units(), min(options.limit, LIMIT_ALONE))
        report.settle(lambda unit: unit in unsteady)
    except Stopped as stopped:
        report.settle(lambda unit: False)
        report.close(stopped=f"ended by {stopped}")
        return 128 + stopped.number
    if options.durations:
        report.show_slowest(options.durations)
    report.close()
    if options.measure:
        plan.remember(report.seconds)
    return 1 if report.failed else 0 if tests else 5


def _unsteady(failed: list[Unit], limit: float) -> list[Unit]:
    """Which of these units pass, several times, when nothing runs beside them: what a machine under load made fail."""
    if len(failed) > UNSTEADY_UNITS:
        return []
    return [unit for unit in failed if all(_passes(unit, limit) for _ in range(PASSES))]


def _passes(unit: Unit, limit: float) -> bool:
    report = Report(len(unit.tests), verbose=False, stream=io.StringIO())
    Pool(1, limit).run([unit], report.noted, report.over, lambda: True)
    return not report.failed


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests", description=DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a folder, module, class or test; else all")
    parser.add_argument("-k", dest="patterns", action="append", metavar="PATTERN", help="only tests whose name matches")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each test")
    parser.add_argument("-f", "--failfast", action="store_true", help="end with the first failure")
    parser.add_argument("--again", action="store_true", help="run by itself what failed: if it passes, it is unsteady")
    parser.add_argument("-j", dest="jobs", type=int, metavar="N", help="processes at the same time")
    parser.add_argument("--all", action="store_true", help="leave nothing out")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="S", help="seconds after which a test hangs")
    parser.add_argument("--durations", type=int, metavar="N", help="show the N slowest tests")
    parser.add_argument("--measure", action="store_true", help="write what each class took into the runner's table")
    options = parser.parse_args(arguments)
    options.patterns = options.patterns or []
    options.jobs = options.jobs or JOBS_PER_CPU * (os.cpu_count() or 1)
    return options


def _say_broken(broken: Sequence[unittest.TestCase]) -> int:
    """What could not be loaded is shown as unittest shows it, and nothing is run."""
    result = unittest.TextTestRunner(verbosity=0).run(unittest.TestSuite(broken))
    return int(not result.wasSuccessful())
