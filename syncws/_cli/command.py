"""What the commands have in common."""

from __future__ import annotations

import argparse
from typing import TypeAlias

#: Where a command adds itself; a class that cannot be asked for its parts at run time.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandError(Exception):
    """The command cannot be carried out; the message says why, in one line. `status` is its exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def number(text: str, rule: str, least: int, most: int) -> int:
    """An argument that is a number. Raises ArgumentTypeError, with the rule, for another."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{rule}, not {text!r}")
    return value
