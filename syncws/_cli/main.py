"""`main`: which command the command line asks for, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._base.version import __version__
from .bench.options import add_bench
from .command import CommandError, prepare_streams
from .connect.options import add_connect
from .doctor.command import add_doctor
from .publish import add_publish
from .serve import add_serve

#: The exit status after Ctrl-C, as shells have it.
_INTERRUPTED = 130

_DESCRIPTION = """\
Synchronous WebSocket for Python: a server for an application, and tools for what it serves.
"""

_EPILOG = """\
examples:
  syncws serve app:app --reload                               an application, while you write it
  syncws connect ws://127.0.0.1:8080/echo                     talk to it
  syncws bench ws://127.0.0.1:8080/echo --connections 100     how fast it answers
  syncws doctor wss://app.example.com/ws                      what is wrong, and the line that mends it
  syncws publish --redis redis://cache --all 'in 5 minutes'   to everybody who is connected

syncws COMMAND --help describes a command. python -m syncws is the same as syncws.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0, or after an error, which is on stderr, that of the command.

    Args:
        arguments: those of the command line, by default ``sys.argv[1:]``.

    Without a command it prints the help. Ctrl-C where a command does nothing about it is status 130.

    Raises SystemExit for arguments that argparse refuses (2), and for --help and --version (0).
    """
    prepare_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    try:
        status: int = options.run(options)
    except CommandError as error:
        if str(error):
            print(f"syncws: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="syncws",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"syncws {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_serve(commands)
    add_bench(commands)
    add_doctor(commands)
    add_publish(commands)
    add_connect(commands)
    return parser
