"""Rooms and ids as text between processes."""

from __future__ import annotations

import unittest
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncws._relay.names import MOST, name_of, text_of

NAMES: Any = st.recursive(st.text() | st.integers(), lambda each: st.lists(each, max_size=3).map(tuple), max_leaves=8)


class NameTests(unittest.TestCase):
    @given(NAMES)
    def test_there_and_back(self, name: Any) -> None:
        """Every name comes back as it was, and its text is printable ASCII, as channels are."""
        text = text_of(name)
        self.assertEqual(name_of(text), name)
        self.assertTrue(text.isascii() and text.isprintable())

    @given(NAMES, NAMES)
    def test_names_that_differ(self, one: Any, other: Any) -> None:
        """Two names have one text if and only if they are equal: 42 and "42" are two rooms."""
        self.assertEqual(text_of(one) == text_of(other), one == other)

    def test_other_types(self) -> None:
        """What another process could not have as the same name is refused, with what may be used instead."""
        text_of(1)
        for name in (None, True, 1.0, b"lobby", frozenset(), ("a", None), ("a", (b"b",)), object()):
            with self.subTest(name), self.assertRaisesRegex(TypeError, "a room is a str, an int or a tuple"):
                text_of(name)

    def test_too_long(self) -> None:
        """A name whose text is too long for a channel is refused; so is one that is nested too deep."""
        text_of("x" * (MOST - 2))
        with self.assertRaisesRegex(ValueError, "at most"):
            text_of("x" * MOST)
        deep: Any = ()
        for _ in range(100):
            deep = (deep,)
        with self.assertRaises(TypeError):
            text_of(deep)

    def test_texts_of_none(self) -> None:
        """What comes from a bus and is no name, or is written in another way than ours, is a ValueError."""
        for text in ("", "lobby", "null", "true", "1.0", "NaN", '{"a":1}', '"a" ', "[1, 2]", '"\\u0041"', "[" * 10_000):
            with self.subTest(text[:20]), self.assertRaises(ValueError):
                name_of(text)


if __name__ == "__main__":
    unittest.main()
