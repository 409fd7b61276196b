"""A conversation at a terminal: what is typed is sent, or is a command; what comes appears above."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..._base.printable import printable
from ..._conn.conn import Conn
from ...errors import ConnectionClosed
from .endings import INTERRUPTED, is_normal, say_end
from .history import history_path, prepare_history
from .jsontext import Piece
from .output import say_opened
from .plainscreen import PlainScreen
from .record import Recorder
from .session import CLOSE_TIMEOUT_AFTER_INTERRUPT, Plan, Session
from .slash import CannotRun, SlashCommands, encoded
from .view import View

#: What a terminal without line editing is told once.
HINT = 'no line editing, history and colours: pip install "syncws[cli]" brings them'


class Terminal(Protocol):
    """A screen, of either kind. Any thread writes and stops it; the rest is for the main thread."""

    def write(self, pieces: list[Piece]) -> None:
        """Show something; may wait, and so is not for the main thread."""

    def say(self, pieces: list[Piece]) -> None:
        """Show something."""

    def echo(self, pieces: list[Piece]) -> None:
        """Show what was typed, if it does not stand there."""

    def lines(self) -> Iterator[str]:
        """The lines that are typed, until there are no more. Raises KeyboardInterrupt."""

    def stop(self) -> None:
        """No more lines are wanted."""

    def flush(self) -> None:
        """Show what waits, after the last line."""


def columns() -> int:
    """How wide the terminal is now."""
    return shutil.get_terminal_size().columns


class Talk:
    """One run. The main thread takes the lines; that of the session shows what comes."""

    def __init__(
        self,
        plan: Plan,
        view: View,
        recorder: Recorder | None,
        *,
        binary: bool,
        code: int,
        reason: str,
        verbose: bool,
        history: bool,
    ) -> None:
        self._plan = plan
        self._view = view
        self._binary = binary
        self._closing = (code, reason)
        self._verbose = verbose
        self._session = Session(plan, self, recorder)
        self._commands = SlashCommands(self._session, self._send, code, reason)
        self._hints: list[str] = []
        self._screen = self._make_screen(history)
        self._log = _Log(self)

    def run(self) -> int:
        """Run to the end. Returns the exit status, or raises CommandError."""
        logger = logging.getLogger("syncws")
        logger.addHandler(self._log)
        logging.getLogger("syncws.reconnect").setLevel(logging.INFO)
        try:
            return self._talk()
        finally:
            logger.removeHandler(self._log)

    def _talk(self) -> int:
        try:
            self._session.connect()
            for hint in self._hints:
                self._say(hint)
            self._session.start()
            for line in self._screen.lines():
                self._take(line)
            self._session.close(*self._closing)
        except KeyboardInterrupt:
            self._session.close(*self._closing, CLOSE_TIMEOUT_AFTER_INTERRUPT, lines_left=False)
            return INTERRUPTED
        finally:
            self._screen.stop()
            self._screen.flush()
        return self._session.status

    def _take(self, line: str) -> None:
        """What was typed: a command, a message, or nothing."""
        if not line:
            return
        try:
            if line.startswith("/") and not line.startswith("//"):
                self._screen.echo(self._view.command(line))
                said = self._commands.run(line)
                if said:
                    self._say(said)
            else:
                text = line.removeprefix("/") if line.startswith("//") else line
                self._send(encoded(text) if self._binary else text)
        except CannotRun as error:
            self._say(str(error), "error")

    def _send(self, message: str | bytes) -> None:
        """Send a message, and show it."""
        self._screen.echo(self._view.sent(message))  # before the answer is shown, which another thread does
        why_not = self._session.send_soon(message)
        if why_not:
            raise CannotRun(why_not)

    def _say(self, text: str, style: str = "note") -> None:
        self._screen.say(self._view.note(text, style))

    def _make_screen(self, history: bool) -> Terminal:
        """A screen with line editing, if it can be had."""
        if os.environ.get("TERM") == "dumb":
            return PlainScreen()
        try:
            from .screen import Screen
        except ModuleNotFoundError:
            self._hints.append(HINT)
            return PlainScreen()
        return Screen(self._history() if history else None, self._commands.names)

    def _history(self) -> Path | None:
        path = history_path()
        try:
            prepare_history(path)
        except OSError as error:
            self._hints.append(f"what is typed is not remembered: {path}: {error.strerror}")
            return None
        return path

    # The thread of the session

    def opened(self, conn: Conn) -> None:
        self.noted(f"{say_opened(conn)}; /help, and Ctrl-D ends it")
        if self._verbose:
            answer = conn.response
            heads = [f"HTTP/{answer.http_version} {answer}", *(f"{name}: {value}" for name, value in answer.headers)]
            self.noted("\n".join(printable(head, 500) for head in heads))

    def received(self, message: str | bytes) -> None:
        self._screen.write(self._view.received(message))

    def pinged(self, data: bytes) -> None:
        if self._verbose:
            self.noted(f"ping {data!r}")

    def ponged(self, data: bytes, latency: float | None) -> None:
        if latency is not None:
            self.noted(f"pong after {latency * 1000:.1f} ms")
        elif self._verbose:
            self.noted(f"pong {data!r}")

    def closed(self, end: ConnectionClosed) -> None:
        style = "note" if is_normal(end) else "error"
        self._screen.write(self._view.note(f"closed: {say_end(end)}", style))

    def noted(self, text: str) -> None:
        self._screen.write(self._view.note(text))

    def over(self) -> None:
        self._screen.stop()


class _Log(logging.Handler):
    """Shows the lines that the library logs, such as that a connection is lost and when the next attempt is made."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.INFO)
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "syncws.reconnect" or record.levelno >= logging.WARNING:
            self._talk.noted(record.getMessage())
