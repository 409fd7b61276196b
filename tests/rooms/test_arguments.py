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

    def test_options_that_are_nearly_right(self) -> None:
        """A number of messages, and an address of a bus, are told how they are written; a password is not shown."""
        for options, said in (
            ({"history": 100}, r"such as History\(size=100, ttl=300\), or None, not 100"),
            ({"history": True}, r"such as History\(size=100, ttl=300\), or None, not True"),
            ({"backplane": "redis://x"}, r"write RedisBackplane\('redis://x'\)"),
            ({"backplane": "local:/run/app/bus"}, r"write LocalBackplane\('/run/app/bus'\)"),
            ({"backplane": "redis://:secret@x"}, r"write RedisBackplane\(\.\.\.\)$"),
            ({"backplane": 5}, "or None, not 5$"),
        ):
            with self.subTest(options), self.assertRaisesRegex(TypeError, said):
                Manager(**options)  # type: ignore[arg-type]

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
            (lambda: manager.register(conn, "x", [{}]), TypeError, "a room is one name, such as room='lobby', not {}"),
            (lambda: manager.join("there", None), TypeError, "room"),
            (lambda: manager.join("there", ["attic"]), TypeError, r"such as room='attic', not \['attic'\]"),
            (lambda: manager.leave("there", []), TypeError, "such as room='lobby'"),
            (lambda: manager.members(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.count(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.ids(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.everywhere.count(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.everywhere.ids(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.everywhere.members(["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.broadcast("x", room=["attic"]), TypeError, "such as room='attic'"),
            (lambda: manager.broadcast("x", "attic"), TypeError, "takes room by name: write room='attic'"),  # type: ignore[misc]
            (lambda: manager.broadcast_json({}, "attic"), TypeError, "takes room by name: write room='attic'"),  # type: ignore[misc]
            (lambda: manager.broadcast("x", rooms=["attic"]), TypeError, "'rooms': did you mean room?"),  # type: ignore[call-arg]
            (lambda: manager.close("there", "bye"), TypeError, r"such as close\(id, 4000, 'bye'\)"),  # type: ignore[arg-type]
            (lambda: manager.close_all("bye"), TypeError, r"such as close_all\(4000, 'bye'\)"),  # type: ignore[arg-type]
            (lambda: manager.everywhere.close("there", "bye"), TypeError, "such as close"),  # type: ignore[arg-type]
            (lambda: manager.broadcast("x", exclude="there"), TypeError, "exclude"),
            (lambda: manager.broadcast("x", exclude=member), TypeError, "exclude"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(error, said):
                call()
        self.assertEqual((manager.ids(), manager.rooms()), (["there"], frozenset()))
        self.assertEqual(self.log.calls, [("open", "there", None)])


if __name__ == "__main__":
    unittest.main()
