"""Pieces of text in the colours of a terminal, by rich: which colours it has, and whether NO_COLOR asks for none."""

from __future__ import annotations

import io

from ..._base.extras import needs
from .jsontext import Piece

with needs("rich", "cli"):
    from rich.console import Console
    from rich.text import Text

#: The colours of the styles: the sixteen that a person has chosen for the terminal.
_COLOURS = {
    "in": "cyan",
    "out": "green",
    "note": "bright_black",
    "error": "red",
    "clock": "bright_black",
    "key": "blue",
    "string": "green",
    "number": "cyan",
    "literal": "magenta",
    "": "default",
}


class Paint:
    """Makes texts with escape sequences. For one thread at a time."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(), force_terminal=True, highlight=False, markup=False, emoji=False, legacy_windows=False
        )

    def painted(self, pieces: list[Piece]) -> str:
        """The text, with the sequences of its colours. The terminal breaks long lines, so that they can be copied."""
        text = Text.assemble(*((part, _COLOURS[style]) for style, part in pieces), end="")
        with self._console.capture() as capture:
            self._console.print(text, end="", soft_wrap=True)
        return capture.get()
