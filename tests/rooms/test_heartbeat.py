"""Heartbeat: which messages are heartbeats, and what they are answered with."""

from __future__ import annotations

import dataclasses
import unittest

from syncws._rooms.heartbeat import Heartbeat


class HeartbeatTests(unittest.TestCase):
    def test_defaults(self) -> None:
        """The text "ping" is answered with "pong"; nothing else is a heartbeat, not even the same as bytes."""
        heartbeat = Heartbeat()
        self.assertTrue(heartbeat.matches("ping"))
        self.assertEqual((heartbeat.answer("ping"), heartbeat.timeout), ("pong", 60))
        for message in ("Ping", "ping ", "", b"ping", "pong"):
            self.assertFalse(heartbeat.matches(message), message)

    def test_messages_of_the_application_s(self) -> None:
        """Any message may be the heartbeat, and any the answer; None is no answer."""
        heartbeat = Heartbeat(is_ping=b"\x00", pong=None, timeout=None)
        self.assertTrue(heartbeat.matches(b"\x00"))
        self.assertFalse(heartbeat.matches("ping"))
        self.assertIsNone(heartbeat.answer(b"\x00"))
        self.assertIsNone(heartbeat.timeout)

    def test_callables(self) -> None:
        """A callable decides, and a callable answers with the heartbeat in hand."""
        heartbeat = Heartbeat(
            is_ping=lambda message: isinstance(message, str) and message.startswith("ping "),
            pong=lambda message: message.replace("ping", "pong"),  # type: ignore[arg-type, union-attr]
        )
        self.assertTrue(heartbeat.matches("ping 7"))
        self.assertFalse(heartbeat.matches(b"ping 7"))
        self.assertEqual(heartbeat.answer("ping 7"), "pong 7")

    def test_what_cannot_work(self) -> None:
        """An option that cannot work is refused by an error that names it; nobody changes one that is made."""
        for name, value, error in (
            ("timeout", 0, ValueError),
            ("timeout", "60", TypeError),
            ("is_ping", None, TypeError),
            ("is_ping", 5, TypeError),
            ("pong", 5, TypeError),
        ):
            with self.assertRaisesRegex(error, f"^{name} "):
                Heartbeat(**{name: value})
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Heartbeat().timeout = 5  # type: ignore[misc]


if __name__ == "__main__":
    unittest.main()
