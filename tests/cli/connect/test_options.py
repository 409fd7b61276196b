"""The command line: what is refused, and which kind of run it is."""

from __future__ import annotations

import argparse
import unittest

from syncws._cli.connect import options

from .support import ConnectCase


class OptionTests(ConnectCase):
    def test_help(self) -> None:
        """--help names the options, and the exit statuses."""
        status, out, _ = self.run_main("connect", "--help")
        self.assertEqual(status, 0)
        for text in (
            "--record FILE",
            "--wait SECONDS",
            "--insecure",
            "exit status: 0 closed normally",
        ):
            self.assertIn(text, out)

    def test_what_is_refused(self) -> None:
        """Each wrong argument is an error that says what is right, with status 2; nothing is connected."""
        for says, arguments in (
            ("must begin with ws:// or wss://", ["ftp://x"]),
            ("a close code is a number, with a reason after a colon", ["ws://x", "--close", "now"]),
            ("1006", ["ws://x", "--close", "1006"]),
            ("a number of bytes, such as 64K", ["ws://x", "--max-size", "big"]),
            ("a number of seconds above 0", ["ws://x", "--wait", "-1"]),
            ("a number of seconds above 0", ["ws://x", "--ping", "0"]),
            ("a number of seconds above 0", ["ws://x", "--speed", "fast"]),
            ("not allowed with argument", ["ws://x", "--text", "--binary"]),
            ("not allowed with argument", ["ws://x", "--null", "--whole"]),
            ("are for --replay", ["ws://x", "--expect"]),
            ("exclude each other", ["ws://x", "--replay", "x", "--reconnect"]),
            ("a header is 'Name: value'", ["ws://x", "-H", "x"]),
        ):
            with self.subTest(arguments):
                self.assertRefused(says, "connect", *arguments, status=2)

    def test_values(self) -> None:
        """Sizes have units, waits may be for ever, speeds without a pause, closes with a reason."""
        sizes = [options._size(text) for text in ("0", "1", "64k", "16M", "1G")]
        self.assertEqual(sizes, [None, 1, 65536, 16 << 20, 1 << 30])
        self.assertEqual([options._wait(text) for text in ("0", "1.5", "forever")], [0.0, 1.5, float("inf")])
        self.assertEqual([options._speed(text) for text in ("2", "max")], [2.0, float("inf")])
        self.assertEqual([options._closing(text) for text in ("1000", "4000:a:b")], [(1000, ""), (4000, "a:b")])
        with self.assertRaises(argparse.ArgumentTypeError):
            options._closing(f"4000:{'x' * 124}")

    def test_a_url_as_people_have_it(self) -> None:
        """http:// and no scheme at all are taken for ws://."""
        for url in (self.url().replace("ws:", "http:"), self.url().replace("ws://", "")):
            self.assertEqual(self.connect_to(url, input=b"hi\n"), (0, b"hi\n", ""))


if __name__ == "__main__":
    unittest.main()
