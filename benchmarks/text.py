"""How many text messages per second does an echo server return, which it has to check for being UTF-8?

    python -m benchmarks.text

The loads of `echo`, with texts: JSON, all of it ASCII, as most texts on the wire are. Not all servers check.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from . import run
from .echo import LEVERS, SIDES, add_options, choose_loads
from .loads import plan
from .turns import Comparison

__all__ = ["LEVERS", "SIDES", "add_options", "compare"]


def compare(options: argparse.Namespace) -> list[Comparison]:
    loads = [dataclasses.replace(load, text=True) for load in choose_loads(options)]
    return plan("text", loads, options.sides)


if __name__ == "__main__":
    sys.exit(run.one(__name__))
