"""What the commands have in common."""

from __future__ import annotations

import argparse
import os
import ssl
import unittest
from unittest import mock

from syncws._cli.command import CommandError, cores, load_certificate, number, seconds


class CommandTests(unittest.TestCase):
    def test_numbers(self) -> None:
        """A number in its range is itself; another, and what is none, is refused with the rule."""
        self.assertEqual([number(text, "", 1, 9) for text in ("1", "9")], [1, 9])
        for text in ("0", "10", "x", "", "1.5"):
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, f"from 1 to 9, not '{text}'"):
                number(text, "from 1 to 9", 1, 9)

    def test_seconds(self) -> None:
        """A time is above 0 and ends."""
        self.assertEqual(seconds("1.5"), 1.5)
        for text in ("0", "-1", "1e-300", "nan", "soon"):
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, "a number of seconds above 0"):
                seconds(text)
        for text in ("1000000001", "1e300", "inf"):  # a clock of the system would refuse it, in a thread
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, "up to 1,000,000,000"):
                seconds(text)

    def test_cores(self) -> None:
        """The cores are those that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            self.assertEqual(cores(), len(os.sched_getaffinity(0)))
        with mock.patch("syncws._cli.command.os", mock.Mock(spec=["cpu_count"], cpu_count=lambda: 3)):
            self.assertEqual(cores(), 3)

    def test_certificates(self) -> None:
        """A certificate that cannot be loaded is an error of one line."""
        with self.assertRaisesRegex(
            CommandError, "cannot load the certificate none.pem with the key none.pem: No such"
        ):
            load_certificate(ssl.create_default_context(), "none.pem", None)

    def test_errors(self) -> None:
        """An error ends a command with 1, unless it says otherwise."""
        self.assertEqual((str(CommandError("no")), CommandError("no").status), ("no", 1))
        self.assertEqual(CommandError("no", 3).status, 3)


if __name__ == "__main__":
    unittest.main()
