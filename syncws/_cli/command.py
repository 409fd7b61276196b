"""What the commands have in common."""

from __future__ import annotations

import argparse
import io
import os
import ssl
import sys
from typing import TypeAlias

#: Where a command adds itself; a class that cannot be asked for its parts at run time.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


#: Seconds that an option may say: what is less or more, clocks and waits of the system cannot take.
_SHORTEST, _LONGEST = 1e-9, 1_000_000_000


class CommandError(Exception):
    """The command cannot be carried out; the message says why, in one line. `status` is its exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class NobodyReads(CommandError):
    """Nobody reads standard output any more, as after `| head -1`: that is no error, and nothing is said."""

    def __init__(self) -> None:
        super().__init__("", 0)


def show(text: str) -> None:
    """A line on standard output, at once. Raises NobodyReads, or another CommandError if it cannot be written."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left in the buffer is written once more when Python ends: to where that does no harm.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise NobodyReads from None
        raise CommandError(f"cannot write standard output: {error.strerror}") from None


def prepare_streams() -> None:
    """Let every command read and write the standard streams, however the program was started.

    A stream that is closed becomes an empty one: Python has None for it, and the next descriptor, such as that of a
    connection, would have its number. What an encoding such as ASCII does not have is written as its escape.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the program runs
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def number(text: str, rule: str, least: int, most: int) -> int:
    """An argument that is a number. Raises ArgumentTypeError, with the rule, for another."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{rule}, not {text!r}")
    return value


def seconds(text: str) -> float:
    """An argument that is a time, in seconds. Raises ArgumentTypeError for what is not above 0, or beyond any clock."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value > _LONGEST:
        raise argparse.ArgumentTypeError(f"a number of seconds up to {_LONGEST:,}, not {text!r}")
    if not value >= _SHORTEST:  # not a number, too
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return value


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_certificate(context: ssl.SSLContext, certificate: str, key: str | None, *, status: int = 1) -> None:
    """Load our own certificate, and the key that may be in the same file. Raises CommandError with this status."""
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = "not PEM, or the key is not of this certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise CommandError(
            f"cannot load the certificate {certificate} with the key {key or certificate}: {reason}", status
        ) from None
