"""A terminal with line editing, by prompt_toolkit: what comes appears above the line that is typed, which stays whole.

Only the main thread writes to the terminal: while a line is typed in prompt_toolkit's event loop, which takes the line
away for the moment, and else between two lines. Other threads hand over what is to be shown, and wait when too much of
it waits.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..._base.extras import needs
from .jsontext import Piece
from .paint import Paint

with needs("prompt_toolkit", "cli"):
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.shortcuts import CompleteStyle

#: Characters that may wait to be shown, before who brings more has to wait.
_MOST_WAITING = 1 << 16


class Screen:
    """A terminal. Concurrency: any thread writes and stops it; the main thread takes the lines, and `say`s something
    between two of them. `_lock` guards what waits to be shown; it is not held while anything is shown.
    """

    def __init__(self, history: Path | None, commands: Sequence[str]) -> None:
        # Else the terminal is asked where its cursor is, and each line waits for an answer that some never give.
        os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
        self._paint = Paint()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: list[list[Piece]] = []
        self._size = 0  # characters that wait
        self._loop: asyncio.AbstractEventLoop | None = None  # while a line is typed
        self._is_called = False  # the loop is about to show what waits
        self._stopped = False
        self._prompt: PromptSession[str] = PromptSession(
            history=InMemoryHistory() if history is None else _Lines(history),
            completer=_Commands(commands),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=_keys(),
            erase_when_done=True,
        )

    def write(self, pieces: list[Piece]) -> None:
        """Show something soon, above the line. Waits while too much waits; not for the main thread."""
        with self._lock:
            self._changed.wait_for(lambda: self._size < _MOST_WAITING or self._stopped)
            self._put(pieces)

    def say(self, pieces: list[Piece]) -> None:
        """Show something soon. Never waits; for the main thread."""
        with self._lock:
            self._put(pieces)

    echo = say  # what was typed: the line itself is taken away

    def lines(self) -> Iterator[str]:
        """The lines that are typed, until Ctrl-D on an empty one, or `stop`. Raises KeyboardInterrupt for Ctrl-C on an
        empty one.
        """
        try:
            while not self._stopped:
                try:
                    line = self._prompt.prompt("> ", pre_run=self._began)
                finally:
                    with self._lock:
                        self._loop = None
                    self._show()
                yield line
        except EOFError:
            return
        finally:
            self._show()

    def stop(self) -> None:
        """No more lines are wanted: `lines` ends. Nobody waits in `write` from now on."""
        with self._lock:
            self._stopped = True
            self._changed.notify_all()
            self._call(self._leave)

    def flush(self) -> None:
        """Show what waits; for the main thread, after the last line."""
        self._show()

    def _put(self, pieces: list[Piece]) -> None:
        self._waiting.append(pieces)
        self._size += sum(len(text) for _, text in pieces)
        if not self._is_called:
            self._is_called = True
            self._call(self._show_above)

    def _call(self, function: Any) -> None:
        """Have the loop call a function. `_lock` is held. Without a loop the main thread comes by itself."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(function)

    def _show(self) -> None:
        """Show what waits, in the main thread, at the beginning of an empty line."""
        with self._lock:
            waiting, self._waiting, self._size, self._is_called = self._waiting, [], 0, False
            self._changed.notify_all()
        if waiting:
            sys.stdout.write("".join(self._paint.painted(pieces) for pieces in waiting))
            sys.stdout.flush()

    # In the event loop

    def _began(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._is_called = bool(self._waiting)
            if self._waiting:
                self._call(self._show_above)
            if self._stopped:
                self._call(self._leave)

    def _show_above(self) -> None:
        # Not by run_in_terminal, which lets the terminal echo and interrupt meanwhile.
        app = self._prompt.app
        app.renderer.erase()
        self._show()
        app.invalidate()

    def _leave(self) -> None:
        app = self._prompt.app
        if app.is_running and app.future is not None and not app.future.done():
            app.exit(exception=EOFError())


class _Lines(FileHistory):
    """A history that leaves out what begins with a space, as that of a shell does: for secrets."""

    def store_string(self, string: str) -> None:
        if not string.startswith(" "):
            with suppress(OSError):  # it is nice to have
                super().store_string(string)


class _Commands(Completer):
    """Completes the name of a command with the tab key."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        for name in self._names:
            if typed.startswith("/") and name.startswith(typed):
                yield Completion(f"{name} ", start_position=-len(typed))


def _keys() -> KeyBindings:
    """Ctrl-C takes a line back that is half typed, and else ends it all, as at the prompt of a shell."""
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return keys
