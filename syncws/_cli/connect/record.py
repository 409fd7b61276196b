"""A conversation as lines of JSON, written and read. Each line is an object; `time` is in seconds since 1970.

    {"time": 1.0, "type": "handshake", "url": "ws://...", "status": 101, "subprotocol": null, "headers": [["A", "b"]]}
    {"time": 1.2, "direction": "out", "type": "text", "text": "hello"}
    {"time": 1.3, "direction": "in", "type": "binary", "base64": "AAEC"}
    {"time": 1.4, "direction": "in", "type": "close", "code": 1000, "reason": ""}

What was sent to authenticate is not in it: neither the headers of the request nor the credentials of the URL. Messages
and the headers of the answer are, so nobody else may read the file.
"""

from __future__ import annotations

import base64
import json
import math
import os
import stat
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..._conn.conn import Conn
from ..._frames.payloads import format_close_message
from ..._http.url import parse_server_url
from ...errors import CloseError, ConnectionClosed, ProtocolError
from ..command import CommandError
from .endings import WRONG
from .output import write_all

Direction = Literal["in", "out"]


@dataclass(frozen=True)
class Message:
    """A recorded message."""

    time: float
    direction: Direction
    data: str | bytes


@dataclass(frozen=True)
class Close:
    """A recorded close: that of this side (out), or of the peer (in); 1006 for a peer that vanished."""

    time: float
    direction: Direction
    code: int
    reason: str


Event = Message | Close


class Recorder:
    """Writes a conversation to a file, each line at once.

    The file is new, and nobody else may read it. For any thread: one line is written at a time. After `close` nothing
    is written. Raises CommandError if the file cannot be made, OSError for a line that cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()  # guards the file and the order of its lines
        self._fd = _make(path)
        # The clock of the system may be set meanwhile; pauses are to be what they were.
        self._began = time.time() - time.monotonic()

    def handshake(self, url: str, conn: Conn) -> None:
        """A connection is open."""
        answer = conn.response
        self._write(
            type="handshake",
            url=parse_server_url(url).url,
            status=answer.status,
            subprotocol=conn.subprotocol,
            headers=[list(pair) for pair in answer.headers],
        )

    def message(self, direction: Direction, data: str | bytes) -> None:
        """A message was received, or is about to be sent."""
        if isinstance(data, str):
            self._write(direction=direction, type="text", text=data)
        else:
            self._write(direction=direction, type="binary", base64=base64.b64encode(data).decode())

    def end(self, end: ConnectionClosed) -> None:
        """A connection is over: who closed with what, in order."""
        closings = end.closings if isinstance(end, CloseError) else ()
        for verb, code, reason in closings:
            self._write(direction="out" if verb == "sent" else "in", type="close", code=int(code), reason=reason)
        if isinstance(end, CloseError) and ("received", end.code, end.reason) not in closings:
            self._write(direction="in", type="close", code=int(end.code), reason=end.reason)
        elif isinstance(end, ProtocolError):
            self._write(direction="out", type="close", code=int(end.code), reason=end.reason)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
            self._fd = None

    def _write(self, **fields: Any) -> None:
        now = round(self._began + time.monotonic(), 6)
        line = f"{json.dumps({'time': now, **fields})}\n".encode()
        with self._lock:
            if self._fd is not None:
                write_all(self._fd, line)


def _make(path: str) -> int | None:
    """A new file, which only its owner may read; what is no file, such as a pipe, is opened as it is."""
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            return os.open(path, os.O_WRONLY)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(f"cannot record into {path}: it is there already, and would be lost", WRONG) from None
    except OSError as error:
        raise CommandError(f"cannot record into {path}: {error.strerror}", WRONG) from None


def read_record(path: str) -> list[Event]:
    """The messages and closes of the first conversation in a file. Raises CommandError, which names the line."""
    try:
        with open(path, encoding="utf-8") as file:
            return list(_events(file, path))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", WRONG) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no recorded conversation: it is no UTF-8", WRONG) from None


def _events(lines: Iterable[str], path: str) -> Iterable[Event]:
    begun = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if fields["type"] != "handshake":
                yield _event(fields)
            elif begun:  # a further connection, after a reconnect
                return
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            wrong = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise CommandError(f"{path} is no recorded conversation: line {number}: {wrong}", WRONG) from None
        begun = True


def _event(fields: Any) -> Event:
    when, direction, kind = float(fields["time"]), fields["direction"], fields["type"]
    if direction not in ("in", "out"):
        raise ValueError(f"direction is in or out, not {direction!r}")
    if not math.isfinite(when):
        raise ValueError(f"time is a number of seconds, not {when}")
    match kind:
        case "text":
            text = str(fields["text"])
            text.encode()  # half a surrogate pair, which JSON can hold, is no text
            return Message(when, direction, text)
        case "binary":
            return Message(when, direction, base64.b64decode(fields["base64"], validate=True))
        case "close":
            code, reason = int(fields["code"]), str(fields["reason"])
            if direction == "out":
                format_close_message(code, reason)  # raises for what may not be sent
            return Close(when, direction, code, reason)
    raise ValueError(f"no type {kind!r}")
