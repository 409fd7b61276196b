"""One look at it in a real pseudo-terminal: what a person types, and sees."""

from __future__ import annotations

import stat
import unittest

from tests.partners import heavy

from .support import ConnectCase

OPENED = "* connected; /help, and Ctrl-D ends it"


@heavy
class ScreenTests(ConnectCase):
    def test_a_conversation(self) -> None:
        """What is typed is sent; JSON is laid out in colours; Ctrl-D ends it with 0, and all of it stays."""
        terminal = self.terminal("echo", columns=60)
        terminal.wait_line(OPENED, ">")
        text = '{"name": "a text that is long enough", "count": 12, "ok": true}'
        terminal.type(f"{text}\r")
        terminal.wait_line("  }", '    "count": 12,')
        for line, part, colour in (
            ('    "name": ', '"name"', "blue"),
            ('    "name": ', '"a text', "green"),
            ('    "count": ', "12", "cyan"),
            ('    "ok": ', "true", "magenta"),
        ):
            self.assertEqual(terminal.colour(line, part), colour, part)
        terminal.type("/ping\r")
        terminal.wait(lambda: any(line.startswith("* pong after ") for line in terminal.lines()))
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)
        lines = terminal.lines()
        self.assertEqual(lines[0], OPENED)
        self.assertIn("* closed: sent 1000 (normal closure); then received 1000", " ".join(lines))

    def test_a_message_while_a_line_is_typed(self) -> None:
        """It appears above the line, which stays whole, and can be typed to its end."""
        terminal = self.terminal("later")
        terminal.wait_line(OPENED)
        terminal.type("half a")
        terminal.wait_line("> half a")
        self.peer.go.set()
        terminal.wait_line("< news")
        terminal.wait(lambda: terminal.lines()[-2:] == ["< news", "> half a"])
        terminal.type(" line\r")
        terminal.wait_line("> half a line", "< half a line")
        self.assertEqual(self.peer.received, ["half a line"])
        terminal.type("half")
        terminal.wait_line("> half")
        self.server.shutdown(1)
        self.assertEqual(terminal.end(), 0)  # 1001

    def test_ctrl_c(self) -> None:
        """Ctrl-C takes a line back, and ends it with 130 on an empty one."""
        terminal = self.terminal("echo")
        terminal.wait_line(OPENED, ">")
        terminal.type("secret")
        terminal.wait_line("> secret")
        terminal.type("\x03")
        terminal.wait(lambda: "> secret" not in terminal.lines())
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 130)
        self.assertEqual(self.peer.received, [])

    def test_history(self) -> None:
        """The up key brings back what was typed before, in this run and in an earlier one; nobody else may read it.
        What begins with a space is not in it, and with --no-history nothing is.
        """
        terminal = self.terminal("echo")
        terminal.wait_line(OPENED)
        terminal.type("first\r second\r")
        terminal.wait_line("< first", "<  second")
        terminal.type("\x1b[A\x1b[A")
        terminal.wait_line("> first")
        terminal.type("\x15\x04")
        self.assertEqual(terminal.end(), 0)
        path = self.folder / "state" / "syncws" / "history"
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        before = path.read_text()
        self.assertNotIn("second", before)
        terminal = self.terminal("echo")
        terminal.wait_line(OPENED)
        terminal.type("\x1b[A")
        terminal.wait_line("> first")
        terminal.type("\r")
        terminal.wait_line("< first")
        terminal.type("\x04")
        terminal.end()
        before = path.read_text()
        terminal = self.terminal("echo", "--no-history")
        terminal.wait_line(OPENED)
        terminal.type("third\r")
        terminal.wait_line("< third")
        terminal.type("\x04")
        terminal.end()
        self.assertEqual(path.read_text(), before)

    def test_forty_columns(self) -> None:
        """In a narrow window nothing is torn: a long line that is typed wraps, and a message goes above all of it."""
        terminal = self.terminal("later", columns=40)
        terminal.wait_line(OPENED)
        terminal.type("x" * 60)
        terminal.wait_line("> " + "x" * 38, "x" * 22)
        self.peer.go.set()
        terminal.wait(lambda: terminal.lines()[-3:] == ["< news", "> " + "x" * 38, "x" * 22])
        terminal.type("\x15/binary 00 01 02 03 04 05\r")
        terminal.wait_line("< binary, 6 bytes", "  00000000  00 01 02 03  |....|", "  00000004  04 05        |..|")
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_what_a_peer_may_not_do(self) -> None:
        """No control character of a peer's reaches the terminal: in a message, nor in the reason of its close."""
        terminal = self.terminal("evil", "-v")
        terminal.wait_line("< a\\x1b[2Jb\\x9b31mc\\u202ed")
        terminal.type("\x04")
        terminal.end()
        self.assertNotIn(b"\x1b[2J", terminal.raw)
        self.assertNotIn("\x9b31m".encode(), terminal.raw)
        terminal = self.terminal("bye")
        self.assertEqual(terminal.end(), 3)
        self.assertIn("* closed: received 4001: go\\x1b[2J; then sent 4001", terminal.lines())
        self.assertNotIn(b"\x1b[2J", terminal.raw)

    def test_completion(self) -> None:
        """The tab key completes a command's name."""
        terminal = self.terminal("echo")
        terminal.wait_line(OPENED)
        terminal.type("/pi\t")
        terminal.wait_line("> /ping")
        terminal.type("\r")
        terminal.wait(lambda: any(line.startswith("* pong after ") for line in terminal.lines()))
        terminal.type("/quit\r")
        self.assertEqual(terminal.end(), 0)

    def test_a_flood(self) -> None:
        """A peer that floods is read no faster than it is shown, and Ctrl-C still ends it."""
        terminal = self.terminal("flood")
        terminal.renders = False
        terminal.wait(lambda: len(terminal.raw) > 1_000_000)
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 130)


if __name__ == "__main__":
    unittest.main()
