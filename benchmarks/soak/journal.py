"""What server processes say to the program that watches them: lines of JSON in a named pipe, which outlive a kill.

A line is written by one system call and is shorter than PIPE_BUF, so lines of several processes never mix, and what a
process has said is read though it was killed a moment later. It is no file: a full disk does not concern it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

#: Bytes of a line; PIPE_BUF is 4096.
MOST = 4000


class Journal:
    """Where a server process writes. Any thread; a child of a fork goes on with the same pipe."""

    def __init__(self, path: str) -> None:
        self._pipe = os.open(path, os.O_WRONLY)

    def write(self, event: str, **more: Any) -> None:
        """Say that something happened; the process says who it is."""
        line = json.dumps({"event": event, "pid": os.getpid(), **more}).encode()
        if len(line) > MOST:
            line = json.dumps({"event": event, "pid": os.getpid(), "cut": str(more)[: MOST // 4]}).encode()
        os.write(self._pipe, line + b"\n")


class Listener:
    """Reads the pipe in a thread of its own, which calls `heard` with each line, and ends with `close`."""

    def __init__(self, path: str, heard: Callable[[dict[str, Any]], None]) -> None:
        os.mkfifo(path)
        self.path = path
        self._pipe = os.open(path, os.O_RDWR)  # for writing as well: so there is no end while nobody else has it open
        self._heard = heard
        self._thread = threading.Thread(target=self._run, name="soak-journal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rest = b""
        while True:
            *lines, rest = (rest + os.read(self._pipe, 1 << 16)).split(b"\n")
            for line in lines:
                if not line:
                    return
                self._heard(json.loads(line))

    def close(self) -> None:
        """End the thread, once it has read what is there."""
        os.write(self._pipe, b"\n\n")
        self._thread.join()
        os.close(self._pipe)
