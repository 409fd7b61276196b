"""The text of JSON, laid out: nothing of it is changed except its blanks."""

from __future__ import annotations

import json
import unittest

from syncws._cli.connect import jsontext
from syncws._cli.connect.jsontext import compact, laid_out, tokens_of


def lines(text: str) -> list[str]:
    tokens = tokens_of(text)
    assert tokens is not None
    return ["".join(part for _, part in line) for line in laid_out(tokens)]


class LayoutTests(unittest.TestCase):
    def test_layout(self) -> None:
        """It is that of json.dumps, two spaces for each level; empty objects and arrays stand on one line."""
        value = {"a": [1, {"b": None}], "c": {}, "d": [], "e": 'x"y\\', "f": [[], [{}]], "g": "{[,:"}
        self.assertEqual("\n".join(lines(json.dumps(value))), json.dumps(value, indent=2))

    def test_what_came_stays(self) -> None:
        """Numbers are spelled as they came, equal keys stay, and large numbers are no harm."""
        text = f'{{"a":1.10,"a":1E400,"b":{"9" * 5000}}}'
        self.assertEqual("".join(lines(text)).replace(" ", ""), text)

    def test_on_one_line(self) -> None:
        """A short one may stand on one line."""
        tokens = tokens_of('{"a" :[1,2] }')
        assert tokens is not None
        self.assertEqual("".join(part for _, part in compact(tokens)), '{"a": [1, 2]}')

    def test_styles(self) -> None:
        """Each kind of token has a style."""
        tokens = tokens_of('{"a": ["b", -1e5, true, null]}')
        assert tokens is not None
        styles = [(style, part) for style, part in compact(tokens) if style]
        expected = [("key", '"a"'), ("string", '"b"'), ("number", "-1e5"), ("literal", "true"), ("literal", "null")]
        self.assertEqual(styles, expected)

    def test_what_is_none(self) -> None:
        """Other texts are not laid out: no JSON, a bare value, nesting that is too deep, and what is too long."""
        too_long = f'["{"x" * jsontext.MOST}"]'
        for text in ("", "hello", "{", '{"a" 1}', "42", '"text"', "[" * 100_000, too_long, "[1] [2]"):
            self.assertIsNone(tokens_of(text), text[:20])


if __name__ == "__main__":
    unittest.main()
