"""Standard input, cut into messages."""

from __future__ import annotations

import os
import unittest

from syncws._cli.connect.lines import messages_in
from syncws.testing import LeakChecks
from tests.tasks import Task


class LineTests(LeakChecks):
    def cut(self, separator: bytes | None, *pieces: bytes) -> list[bytes]:
        """What comes of these pieces, each of which is read by itself."""
        ours, theirs = os.pipe()
        try:
            found = messages_in(ours, separator)
            task = None
            got: list[bytes] = []
            task = Task(got.extend, found)
            for piece in pieces:
                os.write(theirs, piece)
            os.close(theirs)
            task.result()
            return got
        finally:
            os.close(ours)

    def test_lines(self) -> None:
        """Each line is one, empty ones too; a carriage return belongs to its end, and the last needs none."""
        self.assertEqual(self.cut(b"\n", b"a\nb\r\n\nc"), [b"a", b"b", b"", b"c"])
        self.assertEqual(self.cut(b"\n", b"a\n"), [b"a"])
        self.assertEqual(self.cut(b"\n"), [])

    def test_pieces(self) -> None:
        """Lines come as they come: in pieces, and several at once."""
        self.assertEqual(self.cut(b"\n", b"a", b"b\nc", b"\n", b"d\ne\nf"), [b"ab", b"c", b"d", b"e", b"f"])

    def test_null(self) -> None:
        """Between NULs a line's end is text."""
        self.assertEqual(self.cut(b"\0", b"a\r\nb\r\0c\0"), [b"a\r\nb\r", b"c"])

    def test_whole(self) -> None:
        """All of it is one message; nothing is none."""
        self.assertEqual(self.cut(None, b"a\n", b"b\0\n"), [b"a\nb\0\n"])
        self.assertEqual(self.cut(None), [])

    def test_at_once(self) -> None:
        """A line is there as soon as it has its end."""
        ours, theirs = os.pipe()
        os.write(theirs, b"a\nb")
        self.assertEqual(next(messages_in(ours, b"\n")), b"a")
        os.close(theirs)
        os.close(ours)


if __name__ == "__main__":
    unittest.main()
