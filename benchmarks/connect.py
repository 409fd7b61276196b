"""How many new connections per second does an echo server serve on one core?

    python -m benchmarks.connect

Each connection is made, sends its handshake, gets one message back, sends a close frame, gets one, and waits for the
server to close TCP; then the next one is made. 16 do that at the same time.
"""

from __future__ import annotations

import argparse
import sys

from . import load, ours, run, servers
from .job import Job, LoadError
from .turns import Comparison, Figures, Reading, Setting

SIDES = [*servers.SERVERS]

#: Sides that take part only where they are named.
LEVERS = [*ours.LEVERS]

#: Sides that are not compared, and why.
UNFIT = {
    "flask-sock": "with werkzeug it may answer a close frame with an HTTP response, and close without a close frame"
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=run.number(int, 1), default=16, help="at once (default: %(default)s)")
    parser.add_argument("--size", type=run.number(int, 1, 1 << 20), default=32, help="bytes (default: %(default)s)")


def compare(options: argparse.Namespace) -> list[Comparison]:
    def measure(setting: Setting, side: str) -> tuple[Reading, str]:
        server_core, load_core = setting.cores
        with servers.running(side, server_core, setting.folder) as (port, pid):
            shape = {"connections": options.connections, "size": options.size, "seconds": setting.seconds}
            finding = load.generate(Job("visits", port, pid, bare=side == "bare", **shape), load_core)
        if finding.count == 0:
            raise LoadError(f"not one connection came to its end within {setting.seconds:g} s")
        return finding.reading(), finding.note

    title = f"new connections, {options.connections} at a time, one echo of {options.size} B on each"
    return [Comparison(Figures("connect", title, "connections"), list(options.sides), _lacks, measure)]


def _lacks(setting: Setting, side: str) -> str:
    return UNFIT.get(side) or servers.lacks(side, setting.folder)


if __name__ == "__main__":
    sys.exit(run.one(__name__))
