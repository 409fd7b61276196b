"""Standard output: bytes for a pipe, nothing that moves the cursor for a terminal."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from syncws._cli.connect.output import Output, say_opened
from syncws._cli.connect.view import View
from syncws.testing import LeakChecks, pair

from .support import EVIL, ConnectCase


class OutputTests(LeakChecks):
    def written(self, message: str | bytes, separator: bytes | None = b"\n", *, terminal: bool = False) -> bytes:
        ours, theirs = os.pipe()
        with mock.patch("os.isatty", return_value=terminal):
            output = Output(theirs, separator, View(lambda: 80))
        output.write(message)
        os.close(theirs)
        with open(ours, "rb") as file:
            return file.read()

    def test_a_pipe(self) -> None:
        """A pipe gets what came, with the separator after it."""
        self.assertEqual(self.written(EVIL), EVIL.encode() + b"\n")
        self.assertEqual(self.written(b"\0\xff"), b"\0\xff\n")
        self.assertEqual(self.written("a\nb", b"\0"), b"a\nb\0")
        self.assertEqual(self.written("a", None), b"a\n")

    def test_a_terminal(self) -> None:
        """A terminal gets the text, escaped, and a hex dump of bytes."""
        self.assertEqual(self.written(EVIL, terminal=True), b"a\\x1b[2Jb\\x9b31mc\\u202ed\n")
        self.assertEqual(self.written(b"\x1b", terminal=True).split(), [b"00000000", b"1b", b"|.|"])


class SaidTests(ConnectCase):
    def test_what_was_agreed_on(self) -> None:
        """With --verbose standard error tells the subprotocol, and whether messages are compressed."""
        _, _, err = self.connect("echo", "-v", "--subprotocol", "chat", "--compression")
        self.assertIn("syncws: connected (subprotocol chat, compressed)\n", err)
        _, _, err = self.connect("echo", "-v")
        self.assertIn("syncws: connected\n", err)

    def test_context_takeover(self) -> None:
        """And whether they may refer back to those before them."""
        with pair(context_takeover=True) as (near, _):
            self.assertEqual(say_opened(near), "connected (compressed with context takeover)")


if __name__ == "__main__":
    unittest.main()
