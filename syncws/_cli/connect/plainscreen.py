"""A terminal without line editing: where the extra is not installed, and where the terminal cannot move its cursor."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator

from .jsontext import Piece
from .lines import messages_in
from .view import plain


class PlainScreen:
    """Prints messages as they come, also into a line that is being typed, and takes lines from the terminal.

    Concurrency: any thread writes and stops it; the main thread takes the lines.
    """

    def __init__(self) -> None:
        self._printing = threading.Lock()  # one text at a time is printed
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def write(self, pieces: list[Piece]) -> None:
        """Show something."""
        with self._printing:
            print(plain(pieces), end="", flush=True)

    say = write

    def echo(self, pieces: list[Piece]) -> None:
        """What was typed stands there already."""

    def flush(self) -> None:
        """Nothing waits."""

    def lines(self) -> Iterator[str]:
        """The lines that are typed, until the end of the input (Ctrl-D) or `stop`. Raises KeyboardInterrupt."""
        threading.Thread(target=self._read, name="syncws-connect-input", daemon=True).start()
        while (line := self._lines.get()) is not None:
            yield line

    def stop(self) -> None:
        """No more lines are wanted."""
        self._lines.put(None)

    def _read(self) -> None:
        for line in messages_in(sys.stdin.fileno(), b"\n"):
            self._lines.put(line.decode("utf-8", "replace"))
        self._lines.put(None)
