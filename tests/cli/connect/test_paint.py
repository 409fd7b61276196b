"""Colours: there are some, and none where NO_COLOR asks for none."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from syncws._cli.connect.jsontext import Piece
from syncws._cli.connect.paint import Paint

PIECES: list[Piece] = [("in", "< "), ("key", '"a"'), ("", "[bold]x[/bold] :smile:\n"), ("error", "x" * 300 + "\n")]


class PaintTests(unittest.TestCase):
    def painted(self, **environment: str) -> str:
        with mock.patch.dict(os.environ, {"TERM": "xterm-256color", **environment}):
            return Paint().painted(PIECES)

    def test_colours(self) -> None:
        """Each style has a colour; the text between is what it was, and no line is broken."""
        text = self.painted()
        self.assertIn("\x1b[36m< ", text)
        self.assertIn("[bold]x[/bold] :smile:", text)
        self.assertIn("x" * 300, text)

    def test_no_colours(self) -> None:
        """With NO_COLOR there are none."""
        self.assertEqual(self.painted(NO_COLOR="1"), "".join(text for _, text in PIECES))


if __name__ == "__main__":
    unittest.main()
