"""How many messages per second does an echo server return over TLS?

    python -m benchmarks.tls

The certificate has a key of the curve P-256, and the client offers what Python offers; which cipher each server chose
stands below the table. The connections are made before the measuring begins.
"""

from __future__ import annotations

import argparse
import sys

from . import run
from .deflate import add_options
from .echo import LEVERS
from .loads import Load, plan
from .servers import SERVERS
from .turns import Comparison

__all__ = ["LEVERS", "SIDES", "add_options", "compare"]

SIDES = [name for name, server in SERVERS.items() if server.tls]


def compare(options: argparse.Namespace) -> list[Comparison]:
    return plan("tls", [Load(options.connections, options.size, tls=True)], options.sides)


if __name__ == "__main__":
    sys.exit(run.one(__name__))
