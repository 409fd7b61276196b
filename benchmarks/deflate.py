"""How many compressed messages per second does an echo server inflate and compress again?

    python -m benchmarks.deflate

permessage-deflate both ways, with the same settings for every server: no context is kept from one message to the next
(in both directions), zlib's level is 1, memLevel 8, and both windows have 15 bits. Only the servers that can be set so
take part. gorilla's compressor is Go's own: its level 1 is the fastest too, but not zlib's. The messages are texts:
JSON, which compresses about as well as JSON does.
"""

from __future__ import annotations

import argparse
import sys

from . import run
from .echo import LEVERS
from .loads import Load, plan
from .servers import SERVERS
from .turns import Comparison

__all__ = ["LEVERS", "SIDES", "add_options", "compare"]

SIDES = [name for name, server in SERVERS.items() if server.deflate]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=run.number(int, 1), default=16, help="(default: %(default)s)")
    parser.add_argument("--size", type=run.number(int, 1, 1 << 20), default=4096, help="bytes (default: %(default)s)")


def compare(options: argparse.Namespace) -> list[Comparison]:
    return plan("deflate", [Load(options.connections, options.size, text=True, deflate=True)], options.sides)


if __name__ == "__main__":
    sys.exit(run.one(__name__))
