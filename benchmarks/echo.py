"""How many messages per second does an echo server return on one core, and how much of it does each message take?

    python -m benchmarks.echo
    python -m benchmarks.echo --connections 200 --size 1000 --depth 4 syncws websockets.sync

Five loads, from many small messages to few large ones, or the one that the options describe. All messages are binary.
"""

from __future__ import annotations

import argparse
import sys

from . import ours, run
from .loads import FIVE, Load, plan
from .servers import SERVERS
from .turns import Comparison

SIDES = [*SERVERS]

#: Sides that take part only where they are named.
LEVERS = [*ours.LEVERS]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=run.number(int, 1), help="at the same time (default: see above)")
    parser.add_argument("--size", type=run.number(int, 1, 1 << 20), help="bytes per message")
    parser.add_argument("--depth", type=run.number(int, 1, 1000), help="messages under way on each connection")
    run.add_load(parser)


def choose_loads(options: argparse.Namespace) -> list[Load]:
    """The five, or the one that is described."""
    described = {name: getattr(options, name) for name in ("connections", "size", "depth") if getattr(options, name)}
    return [Load(**{"connections": 64, "size": 32, **described})] if described else list(FIVE)


def compare(options: argparse.Namespace) -> list[Comparison]:
    return plan("echo", choose_loads(options), options.sides)


if __name__ == "__main__":
    sys.exit(run.one(__name__))
