"""What the commands have in common."""

from __future__ import annotations

import argparse
import os
import ssl
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


def seconds(text: str) -> float:
    """An argument that is a time, in seconds. Raises ArgumentTypeError for what is not above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return value


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Load our own certificate, and the key that may be in the same file. Raises CommandError."""
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = "not PEM, or the key is not of this certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise CommandError(
            f"cannot load the certificate {certificate} with the key {key or certificate}: {reason}"
        ) from None
