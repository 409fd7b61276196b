"""What things look like, as pieces of text."""

from __future__ import annotations

import unittest

from syncws._cli.connect import view
from syncws._cli.connect.view import View, hex_lines, plain, say_bytes
from tests.cli.connect.support import EVIL


class ViewTests(unittest.TestCase):
    def shown(self, message: str | bytes, columns: int = 80, *, full: bool = False, raw: bool = False) -> list[str]:
        text = plain(View(lambda: columns, full=full, raw=raw).received(message))
        self.assertTrue(text.endswith("\n"))
        return text[:-1].split("\n")

    def test_text(self) -> None:
        """A mark says who sent it; further lines are indented, so that none looks like a message of its own."""
        self.assertEqual(self.shown("hello"), ["< hello"])
        self.assertEqual(self.shown("a\n< b\n"), ["< a", "  < b", "  "])
        self.assertEqual(plain(View(lambda: 80).sent("hello")), "> hello\n")

    def test_json(self) -> None:
        """JSON stands on one line if it has room, and is laid out else; with raw it is as it came."""
        self.assertEqual(self.shown('{"a":[1]}'), ['< {"a": [1]}'])
        self.assertEqual(self.shown('{"a":[1]}', 10), ["< {", '    "a": [', "      1", "    ]", "  }"])
        self.assertEqual(self.shown('{"a":[1]}', 10, raw=True), ['< {"a":[1]}'])

    def test_control_characters(self) -> None:
        """No character of a peer's moves the cursor: in text, in JSON, in a note, alone on a terminal."""
        for lines in (
            self.shown(EVIL),
            self.shown(f'["{EVIL[1:].replace(chr(27), "")}", 1]'),
            self.shown(f'["{EVIL.replace(chr(27), "")}", 1]', 5),
            [plain(View(lambda: 80).note(EVIL))[:-1]],
            [plain(View(lambda: 80).command(EVIL))[:-1]],
            [plain(View(lambda: 80).bare(EVIL))[:-1]],
        ):
            for line in lines:
                self.assertTrue(line.isprintable(), lines)
        self.assertEqual(self.shown(EVIL), ["< a\\x1b[2Jb\\x9b31mc\\u202ed"])

    def test_long_bytes(self) -> None:
        """Of long bytes the first lines are shown, also where nothing else is; with full, all of them."""
        for show in (View(lambda: 80).bare, View(lambda: 80).received):
            self.assertTrue(plain(show(bytes(1 << 12))).endswith("  ... 3,840 more bytes (--full shows them)\n"))
        self.assertEqual(len(View(lambda: 80, full=True).bare(bytes(1 << 12))), 256)

    def test_binary(self) -> None:
        """Bytes are a hex dump, with as many on a line as there is room for."""
        self.assertEqual(self.shown(b"AB\x1b"), ["< binary, 3 bytes", f"  00000000  41 42 1b{' ' * 41}|AB.|"])
        for columns, count in ((80, 16), (60, 8), (40, 4), (10, 4)):
            first = next(hex_lines(bytes(100), columns))
            self.assertEqual(first.split("  ")[1].split(), ["00"] * count, first)
            self.assertLessEqual(len(first) + 2, max(columns, 40))

    def test_long_messages(self) -> None:
        """Of a long message the beginning is shown, and how much is missing; with full all of it."""
        long = "x" * 10_000
        self.assertEqual(
            self.shown(long), [f"< {'x' * view.MOST_CHARACTERS}", "  ... 6,000 more characters (--full shows them)"]
        )
        self.assertEqual(self.shown(long, full=True), [f"< {long}"])
        self.assertEqual(len(self.shown("\n" * 500)), view.MOST_LINES + 1)
        self.assertEqual(self.shown("\n" * 500)[-1], "  ... 451 more characters (--full shows them)")
        self.assertEqual(len(self.shown("\n" * 500, full=True)), 501)
        self.assertEqual(self.shown(bytes(1000))[-1], "  ... 744 more bytes (--full shows them)")
        self.assertEqual(len(self.shown(bytes(1000), full=True)), 1 + 63)
        self.assertLess(len(self.shown(str(list(range(5000))))), 60)

    def test_the_time(self) -> None:
        """With timestamps each begins with the time of day."""
        self.assertRegex(plain(View(lambda: 80, timestamps=True).received("x")), r"^\d\d:\d\d:\d\d\.\d{3} < x\n$")

    def test_sizes(self) -> None:
        """A size for people."""
        self.assertEqual([say_bytes(count) for count in (0, 1, 12345)], ["0 bytes", "1 byte", "12,345 bytes"])


if __name__ == "__main__":
    unittest.main()
