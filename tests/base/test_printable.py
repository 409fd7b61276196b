"""printable.py: no text of a peer ends a line, moves the cursor, hides, or has no end."""

from __future__ import annotations

import random
import sys
import unittest

from syncws._base.printable import printable


class PrintableTests(unittest.TestCase):
    def test_plain_text(self) -> None:
        """Printable text of any language stays as it is."""
        for text in ("", "/chat?room=1", "grüß Gott", "日本語 ok", "'quoted' \"twice\""):
            self.assertEqual(printable(text), text)

    def test_escapes(self) -> None:
        """Line ends of every kind, escape codes, invisible and reversing characters, surrogates stand as escapes."""
        for text, shown in (
            ("a\r\nb", r"a\r\nb"),
            ("\x1b[31mred", r"\x1b[31mred"),
            ("\x85\u2028\u2029\x0b\x0c", r"\x85\u2028\u2029\x0b\x0c"),
            ("\u202eevil\u200b", r"\u202eevil\u200b"),
            ("\udc80", r"\udc80"),
            ("a\\nb", r"a\\nb"),
        ):
            self.assertEqual(printable(text), shown)

    def test_every_character(self) -> None:
        """Whatever the characters are, the result is printable and one line."""
        alphabet = [chr(number) for number in range(sys.maxunicode + 1)]
        random.Random(1).shuffle(alphabet)
        for start in range(0, len(alphabet), 1000):
            shown = printable("".join(alphabet[start : start + 1000]), 1000)
            self.assertTrue(shown.isprintable())
            self.assertLessEqual(len(shown.splitlines()), 1)

    def test_length(self) -> None:
        """A text that is too long is cut, and says so."""
        self.assertEqual(printable("x" * 201), "x" * 200 + "...")
        self.assertEqual(printable("abc", 3), "abc")

    def test_other_objects(self) -> None:
        """Anything else is shown as str shows it."""
        self.assertEqual(printable(ValueError("a\nb")), r"a\nb")
