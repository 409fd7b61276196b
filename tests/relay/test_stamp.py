"""The position of a message, put into it."""

from __future__ import annotations

import json
import time
import unittest

from syncws._relay.stamp import stamp

POSITION = "0123456789abcdef-12-89abcdef"


class StampTests(unittest.TestCase):
    def test_objects(self) -> None:
        """A JSON object gets the position as its first key, and keeps what it has."""
        for text in (
            '{"text":"hi"}',
            "{}",
            " \t\n\r{ \n} ",
            '{ "a" : {"b": [1, "}"]} }',
            '{"\\"quoted\\\\":1}',
            '{"":null}',
            '{"ключ":"значение \U0001f600"}',
            '{"a":1}\r\n',
        ):
            with self.subTest(text):
                told = json.loads(stamp(text.encode(), "position", POSITION))
                self.assertEqual(list(told.items()), [("position", POSITION), *json.loads(text).items()])

    def test_what_is_no_object(self) -> None:
        """Any other text is left as it is."""
        for text in (
            *(
                "",
                " ",
                "hi",
                "{",
                "}",
                "[]",
                '["{}"]',
                "1",
                "null",
                '"{}"',
                "{hi}",
                "{'a':1}",
                "{a:1}",
                '{"a"}',
                '{"a":1',
            ),
            *('{"a', '{"a\\"}', "{{}}", "{}{}", "{} x", '\ufeff{"a":1}', '\x00{"a":1}', "{,}", '{"a":1} x', "\xa0{}"),
        ):
            with self.subTest(text):
                self.assertEqual(stamp(text.encode(), "position", POSITION), text.encode())

    def test_keys_and_positions_are_escaped(self) -> None:
        """A key may be any text, and so may a position of somebody else's store."""
        for text in ('"', "\\", "\n", "é", "\ud800", "\U0001f600", ""):
            with self.subTest(text):
                told = json.loads(stamp(b'{"a":1}', text, text))
                self.assertEqual(told, {text: text, "a": 1} if text != "a" else {"a": 1})

    def test_a_message_that_has_the_key(self) -> None:
        """What the application has put there itself stays what a reader gets."""
        self.assertEqual(json.loads(stamp(b'{"position":1}', "position", POSITION)), {"position": 1})

    def test_long_texts(self) -> None:
        """Only the beginning is looked at, and no text takes longer than its length."""
        for text in (
            b'{"a":"' + b"x" * 4_000_000 + b'"}',
            b'{"' + b"\\" * 4_000_001,
            b" " * 4_000_000,
            b'{"a' * 999_999,
        ):
            began = time.process_time()
            stamp(text, "position", POSITION)
            self.assertLess(time.process_time() - began, 5)


if __name__ == "__main__":
    unittest.main()
