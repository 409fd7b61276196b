"""How far a load is, on one line of a terminal: with rich, if it is installed, or without."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from .crew import Progress

try:
    from rich.console import Console
except ImportError:  # pragma: no cover - the extra "cli" brings it
    Console = None  # type: ignore[assignment,misc]

#: Where the cursor goes for the next state of the line, and what clears what is left of the last one.
_BEGIN, _CLEAR = "\r", "\x1b[K"


@contextlib.contextmanager
def showing() -> Iterator[Callable[[Progress], None]]:
    """A function that shows how far a load is, on stderr. It shows nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    speed = Speed()
    if Console is not None:
        console = Console(stderr=True)
        with console.status("starting") as status:
            yield lambda progress: status.update(speed.line(progress))
        return
    try:
        yield lambda progress: print(_BEGIN + speed.line(progress) + _CLEAR, end="", file=sys.stderr, flush=True)
    finally:
        print(_BEGIN + _CLEAR, end="", file=sys.stderr, flush=True)


class Speed:
    """Makes the line; it remembers how far the load was a moment ago. For one thread."""

    def __init__(self) -> None:
        self._received = 0
        self._at = time.monotonic()
        self._rate = 0.0

    def line(self, progress: Progress) -> str:
        """How far it is, in words."""
        now = time.monotonic()
        if now - self._at >= 0.5 or progress.received < self._received:
            self._rate = max(progress.received - self._received, 0) / (now - self._at)
            self._received, self._at = progress.received, now
        broken = f", {progress.failed:,} failed" if progress.failed else ""
        return f"{progress.phase}: {progress.connections:,} connections{broken}, {self._rate:,.0f} messages/s"
