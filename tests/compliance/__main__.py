"""Runs the suite and prints its verdicts; exit code 1 if any case fails, 2 if there is no suite."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from .peers import PEERS
from .suite import MISSING, find, run_all


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compliance", description=sys.modules["tests.compliance"].__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--peer", choices=PEERS, default="syncws", help="whose sides (default: %(default)s)")
    parser.add_argument("--reports", type=Path, help="a new folder for the suite's reports, which are web pages")
    options = parser.parse_args()
    if find() is None:
        print(MISSING, file=sys.stderr)
        return 2
    if options.reports is not None and options.reports.exists():
        parser.error(f"--reports names a new folder, and {options.reports} is there")
    passed = True
    with tempfile.TemporaryDirectory(prefix="autobahn-") as scratch:
        for verdicts in run_all(options.reports or Path(scratch), options.peer, full=os.environ.get("FULL") == "1"):
            print(verdicts, flush=True)
            passed = passed and verdicts.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
