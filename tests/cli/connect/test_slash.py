"""The commands that can be typed."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from syncws._cli.connect.session import Session
from syncws._cli.connect.slash import CannotRun, SlashCommands
from syncws.testing import LeakChecks


class SlashTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.session: Any = mock.Mock(spec=Session)
        self.session.record.return_value = None
        self.sent: list[str | bytes] = []
        self.commands = SlashCommands(self.session, self.sent.append, 4000, "so long")

    def refused(self, line: str) -> str:
        with self.assertRaises(CannotRun) as caught:
            self.commands.run(line)
        return str(caught.exception)

    def test_help(self) -> None:
        """The list names every command."""
        for name in self.commands.names:
            self.assertIn(f"{name} ", self.commands.run("/help"))
        self.assertIn("there is no command /halp: see /help", self.refused("/halp"))

    def test_messages(self) -> None:
        """Text, bytes in hex and JSON, typed or from a file."""
        path = self.folder / "file"
        path.write_text("[1]")
        for line in (
            "/text  hello ",
            "/binary 00 ff0A",
            '/json {"a": 1}',
            f"/text @{path}",
            f"/binary @{path}",
            f"/json @{path}",
        ):
            self.assertEqual(self.commands.run(line), "")
        self.assertEqual(self.sent, ["hello", b"\0\xff\n", '{"a": 1}', "[1]", b"[1]", "[1]"])

    def test_what_cannot_be_sent(self) -> None:
        """Each mistake is said, and nothing is sent."""
        path = self.folder / "file"
        path.write_bytes(b"\xff")
        self.assertIn("two hex digits", self.refused("/binary 0"))
        self.assertIn("two hex digits", self.refused("/binary zz"))
        self.assertIn("this is no JSON", self.refused("/json {"))
        self.assertIn("this is no JSON", self.refused(f"/json {'[' * 100_000}"))
        self.assertIn("is no UTF-8", self.refused(f"/text @{path}"))
        self.assertIn("cannot read /no/such: No such file", self.refused("/text @/no/such"))
        self.assertIn("there is no user 'no-such-user'", self.refused("/text @~no-such-user/x"))
        self.assertIn("there is no user 'no-such-user'", self.refused("/record ~no-such-user"))
        self.assertIn("no UTF-8", self.refused("/ping \udcff"))
        for name in ("text", "binary", "json", "record"):
            self.assertIn(f"/{name}", self.refused(f"/{name}"))
        self.assertEqual(self.sent, [])

    def test_closing(self) -> None:
        """/close takes a code and a reason, /quit those of --close; a code that may not be sent is refused."""
        self.commands.run("/close")
        self.commands.run("/close 4001 see  you ")
        self.commands.run("/quit")
        calls = [call.args for call in self.session.close_soon.call_args_list]
        self.assertEqual(calls, [(1000, ""), (4001, "see  you"), (4000, "so long")])
        self.assertIn("is a number", self.refused("/close now"))
        self.assertIn("1006", self.refused("/close 1006"))

    def test_the_session(self) -> None:
        """/ping and /reconnect reach the session."""
        self.session.ping.return_value = "no ping"
        self.assertEqual(self.commands.run("/ping x"), "no ping")
        self.session.ping.assert_called_with(b"x")
        self.commands.run("/reconnect")
        self.session.reconnect.assert_called_once_with()

    def test_recording(self) -> None:
        """/record begins a file, and ends it with off."""
        path = self.folder / "talk"
        self.assertEqual(self.commands.run(f"/record {path}"), f"recording into {path}")
        recorder = self.session.record.call_args.args[0]
        self.assertIn("is there already", self.refused(f"/record {path}"))
        self.session.record.return_value = recorder
        self.assertEqual(self.commands.run("/record off"), f"recorded into {path}")
        self.session.record.return_value = None
        self.assertEqual(self.commands.run("/record off"), "nothing was being recorded")


if __name__ == "__main__":
    unittest.main()
