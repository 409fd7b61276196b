"""Mistakes of a manager's caller: each is refused by an error that names it, before anything has changed."""

from __future__ import annotations

import unittest

from syncws import Manager

from .support import ManagerCase


class ArgumentTests(ManagerCase):
    """Mistakes of the caller."""

    def test_options(self) -> None:
        """An option that cannot work is refused by an error that names it."""
        for name, value, error in (
            ("on_open", 5, TypeError),
            ("on_message", "x", TypeError),
            ("on_close", [], TypeError),
            ("duplicate", "keep", ValueError),
            ("duplicate", None, ValueError),
            ("overflow", "drop", ValueError),
            ("send_queue", 0, ValueError),
            ("send_queue", "5", TypeError),
            ("send_queue_bytes", -1, ValueError),
            ("heartbeat", 60, TypeError),
        ):
            with self.subTest(name, value=value), self.assertRaisesRegex(error, f"^{name} "):
                Manager(**{name: value})

    def test_arguments(self) -> None:
        """So is an argument, before anything has changed."""
        manager = Manager(**self.log.options())
        conn, _ = self.connect()
        member = manager.register(self.connect()[0], "there")
        for call, error, said in (
            (lambda: manager.register(5), TypeError, "conn"),  # type: ignore[arg-type]
            (lambda: manager.run("conn"), TypeError, "conn"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, member), TypeError, "Member"),
            (lambda: manager.register(conn, []), TypeError, "unhashable"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, "x", "lobby"), TypeError, "rooms"),
            (lambda: manager.register(conn, "x", 5), TypeError, "rooms"),  # type: ignore[arg-type]
            (lambda: manager.register(conn, "x", [None]), TypeError, "room"),
            (lambda: manager.register(conn, "x", [{}]), TypeError, "unhashable"),
            (lambda: manager.join("there", None), TypeError, "room"),
            (lambda: manager.broadcast("x", exclude="there"), TypeError, "exclude"),
            (lambda: manager.broadcast("x", exclude=member), TypeError, "exclude"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(error, said):
                call()
        self.assertEqual((manager.ids(), manager.rooms()), (["there"], frozenset()))
        self.assertEqual(self.log.calls, [("open", "there", None)])


if __name__ == "__main__":
    unittest.main()
