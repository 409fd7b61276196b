"""Standard output and standard error, where they are no screen: messages on one, what is said of them on the other."""

from __future__ import annotations

import os
import sys

from ..._conn.conn import Conn
from ..command import CommandError
from .endings import WRONG
from .view import View, plain


class Output:
    """Standard output: the messages that came, each with its end.

    A terminal gets no character that a peer chose to move the cursor; a file or a pipe gets the bytes. For one thread.
    """

    def __init__(self, fd: int, separator: bytes | None, view: View) -> None:
        self._fd = fd
        self._end = b"\n" if separator is None else separator
        self._view = view
        self._is_terminal = os.isatty(fd)

    def write(self, message: str | bytes) -> None:
        """Write a message. Raises BrokenPipeError once nobody reads, CommandError if it cannot be written."""
        if self._is_terminal:
            data = plain(self._view.bare(message)).encode()
        else:
            data = (message.encode() if isinstance(message, str) else message) + self._end
        try:
            write_all(self._fd, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"cannot write standard output: {error.strerror}", WRONG) from None


def write_all(fd: int, data: bytes) -> None:
    """Write all of it to a descriptor, waiting for room. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def say(text: str) -> None:
    """A line on standard error."""
    print(f"syncws: {text}", file=sys.stderr, flush=True)


def say_opened(conn: Conn) -> str:
    """What was agreed on with the server, for a person."""
    more = [f"subprotocol {conn.subprotocol}"] if conn.subprotocol else []
    if conn.compression:
        more.append("compressed with context takeover" if conn.context_takeover else "compressed")
    return f"connected ({', '.join(more)})" if more else "connected"
