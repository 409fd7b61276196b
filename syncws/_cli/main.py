"""`main`: which command the command line asks for, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._base.version import __version__
from .bench.options import add_bench
from .command import CommandError
from .publish import add_publish
from .serve import add_serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0, or after an error, which is on stderr, that of the command.

    Args:
        arguments: those of the command line, by default ``sys.argv[1:]``.

    Raises SystemExit for arguments that argparse refuses (2), and for --help and --version (0).
    """
    parser = argparse.ArgumentParser(prog="syncws", description="Synchronous WebSocket for Python.")
    parser.add_argument("--version", action="version", version=f"syncws {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    add_serve(commands)
    add_publish(commands)
    add_bench(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except CommandError as error:
        print(f"syncws: {error}", file=sys.stderr)
        return error.status
    return status
