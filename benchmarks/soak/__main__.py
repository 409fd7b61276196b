"""Hours of chaos in which every message is accounted for.

python -m benchmarks.soak --minutes 2                       what .ci/run does
python -m benchmarks.soak --hours 1 --scale full --picture docs/_static/soak.svg
python -m benchmarks.soak --hours 24 --scale full --json soak.json
python -m benchmarks.soak --minutes 5 --sites redis --only "redis frozen"
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from .. import run
from .crowd import SCALES
from .faults import EVERY
from .ledger import PATIENCE
from .sites import SITES, SiteError, lacks
from .soak import Soak
from .store import StoreError


def names(known: list[str]) -> object:
    """What parses a list of names."""

    def parse(given: str) -> list[str]:
        chosen = given.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return chosen

    return parse


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0, metavar="M")
    parser.add_argument("--hours", type=float, default=0, metavar="H")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="decides who does what, and when")
    parser.add_argument("--scale", choices=sorted(SCALES), default="small", help="how many clients there are")
    parser.add_argument("--sites", type=names(list(SITES)), default=list(SITES), metavar="NAME,...")  # type: ignore[arg-type]
    parser.add_argument("--only", type=names(list(EVERY)), metavar="FAULT,...", help="these faults; '' for none")  # type: ignore[arg-type]
    parser.add_argument("--no-faults", action="store_const", const=[], dest="only")
    parser.add_argument("--round", type=float, default=40.0, metavar="SECONDS", help="of chaos between two calms")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 5.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--no-takeover", action="store_false", dest="takeover", help="compress each message by itself")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="leave the files of the run where they are")
    parser.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS", help="for what has to come")
    parser.add_argument("--planted", default="", help="a fault of the server that has to be found: see `node.Planted`")
    options = parser.parse_args(arguments)
    options.seconds = options.minutes * 60 + options.hours * 3600 or 120.0
    return options


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 0, or 1 if something was found, or a part could not start."""
    options = parse(arguments)
    run.need_packages("psutil", *(["matplotlib"] if options.picture else []))
    if missing := lacks(options.sites):
        print(f"python -m benchmarks.soak: {missing}", file=sys.stderr)
        return 1
    print(f"seed {options.seed}", flush=True)
    try:
        return Soak(options, lambda line: print(line, flush=True)).go()
    except (SiteError, StoreError) as error:
        print(f"python -m benchmarks.soak: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
