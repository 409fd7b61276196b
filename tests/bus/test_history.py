"""The options of a room's history."""

from __future__ import annotations

import unittest

from syncws import History


class HistoryTests(unittest.TestCase):
    def test_what_is_wrong_is_named(self) -> None:
        """Each option that is wrong is refused where it is given, by its name."""
        for options, error in (
            ({"size": 0}, ValueError),
            ({"size": True}, TypeError),
            ({"size": "100"}, TypeError),
            ({"ttl": 0}, ValueError),
            ({"ttl": float("nan")}, ValueError),
            ({"ttl": float("inf")}, ValueError),
            ({"ttl": "5"}, TypeError),
            ({"rooms": ["lobby"]}, TypeError),
            ({"stamp": 1}, TypeError),
            ({"memory": 0}, ValueError),
        ):
            with self.subTest(options), self.assertRaisesRegex(error, f"^{next(iter(options))} "):
                History(**options)  # type: ignore[arg-type]

    def test_async_rooms(self) -> None:
        """A coroutine function would say yes to every room."""

        async def rooms(room: object) -> bool:
            return False

        with self.assertRaisesRegex(TypeError, "write def, not async def"):
            History(rooms=rooms)


if __name__ == "__main__":
    unittest.main()
