"""What the commands have in common."""

from __future__ import annotations

import argparse
import unittest

from syncws._cli.command import CommandError, number


class CommandTests(unittest.TestCase):
    def test_numbers(self) -> None:
        """A number in its range is itself; another, and what is none, is refused with the rule."""
        self.assertEqual([number(text, "", 1, 9) for text in ("1", "9")], [1, 9])
        for text in ("0", "10", "x", "", "1.5"):
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, f"from 1 to 9, not '{text}'"):
                number(text, "from 1 to 9", 1, 9)

    def test_errors(self) -> None:
        """An error ends a command with 1, unless it says otherwise."""
        self.assertEqual((str(CommandError("no")), CommandError("no").status), ("no", 1))
        self.assertEqual(CommandError("no", 3).status, 3)


if __name__ == "__main__":
    unittest.main()
