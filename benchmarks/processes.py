"""Servers in processes of their own: start them, learn their ports, end them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from .cores import on_core
from .job import LoadError

ROOT = Path(__file__).resolve().parent.parent

NOTHING: Mapping[str, str] = {}


def environment(library: Path = ROOT) -> dict[str, str]:
    """The environment of this process, in which Python finds the library of a checkout and Go uses one core."""
    path = os.pathsep.join(dict.fromkeys(filter(None, [str(library), str(ROOT), os.environ.get("PYTHONPATH")])))
    # Python puts the current folder before the path, unless PYTHONSAFEPATH is set.
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "GOMAXPROCS": "1"}


@contextlib.contextmanager
def started(
    command: Sequence[str], core: int | None, library: Path = ROOT, extra: Mapping[str, str] = NOTHING
) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server, on a core of its own if one is named; it ends with the block.

    library is the checkout whose syncws it imports, extra what is added to its environment.

    The port is the last number of the first line that it prints, when it listens. Raises LoadError if none comes.
    """
    with ended(command, core, library=library, extra=extra) as (process, complaints):
        assert process.stdout is not None
        line = process.stdout.readline().decode(errors="replace")
        port = re.search(r"(\d+)\D*$", line)
        if port is None:
            raise LoadError(f"it did not start: {_last_line(complaints) or 'it ended without a word'}")
        try:
            yield int(port[1]), process.pid
        except LoadError as error:
            last = _last_line(complaints)
            raise LoadError(f"{error}; its last words: {last}" if last else str(error)) from error


@contextlib.contextmanager
def ended(
    command: Sequence[str],
    core: int | None,
    *,
    folder: str | None = None,
    inherited: Sequence[int] = (),
    library: Path = ROOT,
    extra: Mapping[str, str] = NOTHING,
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A process, and the file of its standard error. It ends with the block, and so do its children.

    It is killed: what a server does at its end is not measured, and some would wait for their clients.
    """
    with tempfile.TemporaryFile() as complaints:
        with on_core(core):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=folder,
                env=environment(library) | ({"HOME": folder} if folder else {}) | dict(extra),
                pass_fds=inherited,
                start_new_session=True,
            )
        with process:
            try:
                yield process, complaints
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
