"""What server processes say to the program that watches them: lines of JSON in a named pipe, which outlive a kill.

A line is written by one system call and is shorter than PIPE_BUF, so lines of several processes never mix, and what a
process has said is read though it was killed a moment later. It is no file: a full disk does not concern it.
"""

from __future__ import annotations

import json
import logging
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

    def close(self) -> None:
        """Write no more."""
        os.close(self._pipe)


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


class Told(logging.Handler):
    """Tells of each kind of line that is logged, once a process, and of every ERROR: `tell` gets it as an event."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._tell = tell
        self._known: set[tuple[int, str, str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = (os.getpid(), record.name, record.levelname, str(record.msg))
        if kind in self._known and record.levelno < logging.ERROR:
            return
        self._known.add(kind)
        raised = "" if not record.exc_info else logging.Formatter().formatException(record.exc_info)[-1500:]
        self._tell(
            {
                "event": "log",
                "logger": record.name,
                "level": record.levelname,
                "template": str(record.msg)[:500],
                "line": record.getMessage()[:800],
                "raised": raised,
            }
        )
