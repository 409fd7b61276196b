"""A conversation at a terminal, with a screen that a test reads."""

from __future__ import annotations

import queue
import threading
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from syncws._cli.connect.jsontext import Piece
from syncws._cli.connect.session import Plan
from syncws._cli.connect.talk import Talk
from syncws._cli.connect.view import View, plain
from syncws._client.dialer import Dialer
from syncws._http.headers import Headers
from tests.tasks import PATIENCE, Task

from .support import ConnectCase


class Screen:
    """What is typed comes from the test, which sees what is shown. None is the end of the input."""

    def __init__(self) -> None:
        self.typed: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self._shown = threading.Condition()
        self.text = ""

    def write(self, pieces: list[Piece]) -> None:
        with self._shown:
            self.text += plain(pieces)
            self._shown.notify_all()

    say = echo = write

    def lines(self) -> Iterator[str]:
        while (line := self.typed.get()) is not None:
            if isinstance(line, BaseException):
                raise line
            yield line

    def stop(self) -> None:
        self.typed.put(None)

    def flush(self) -> None:
        pass

    def wait(self, text: str) -> None:
        """Wait until this was shown."""
        with self._shown:
            if not self._shown.wait_for(lambda: text in self.text, PATIENCE):
                raise AssertionError(f"it shows {self.text!r}")


class TalkTests(ConnectCase):
    def talk(self, path: str, *, binary: bool = False, verbose: bool = False, reconnects: bool = False) -> Task:
        self.screen = Screen()
        plan = Plan(self.url(path), Headers(()), Dialer(proxy=None), reconnects)
        with mock.patch.object(Talk, "_make_screen", return_value=self.screen):
            talk = Talk(
                plan, View(lambda: 80), None, binary=binary, code=1000, reason="", verbose=verbose, history=False
            )
        task = Task(talk.run)
        self.addCleanup(self.screen.stop)
        return task

    def type(self, *lines: str | BaseException | None) -> None:
        for line in lines:
            self.screen.typed.put(line)

    def test_messages(self) -> None:
        """What is typed is sent, and shown; an answer too. An empty line is nothing; two slashes send one."""
        task = self.talk("echo")
        self.type("hello", "", "//x", "/text /y")
        self.screen.wait("< /y\n")
        self.type(None)
        self.assertEqual(task.result(), 0)
        self.assertEqual(self.peer.received, ["hello", "/x", "/y"])
        self.assertTrue(self.screen.text.startswith("* connected; /help, and Ctrl-D ends it\n"), self.screen.text)
        self.assertIn("> hello\n", self.screen.text)
        self.assertTrue(
            self.screen.text.endswith("* closed: sent 1000 (normal closure); then received 1000 (normal closure)\n")
        )

    def test_bytes(self) -> None:
        """With --binary what is typed goes as bytes."""
        task = self.talk("echo", binary=True)
        self.type("\udcff", "hi")
        self.screen.wait("* not sent: what was typed is no UTF-8\n")
        self.screen.wait("< binary, 2 bytes")
        self.type(None)
        task.result()
        self.assertEqual(self.peer.received, [b"hi"])

    def test_commands(self) -> None:
        """A command is run, and shown with what it says; a mistake is said."""
        task = self.talk("echo")
        self.type("/ping", "/nothing")
        self.screen.wait("* pong after ")
        self.screen.wait("* there is no command /nothing")
        self.type("/close 4000 bye")
        self.assertEqual(task.result(), 0)
        self.assertIn("> /close 4000 bye\n* closed: sent 4000: bye; then received 4000\n", self.screen.text)

    def test_ends(self) -> None:
        """The peer's end ends it, with 3 for a code that is not normal; Ctrl-C with 130."""
        self.assertEqual(self.talk("bye").result(), 3)
        self.assertIn("* closed: received 4001: go\\x1b[2J; then sent 4001\n", self.screen.text)
        task = self.talk("echo")
        self.type(KeyboardInterrupt())
        self.assertEqual(task.result(), 130)

    def test_verbose(self) -> None:
        """With --verbose the handshake's answer is shown, and pings and pongs."""
        task = self.talk("pinging", verbose=True)
        self.screen.wait("* ping b'\\x1bpeer'\n")
        self.assertIn("* HTTP/1.1 101 Switching Protocols\n  ", self.screen.text)
        self.type(None)
        task.result()

    def test_reconnecting(self) -> None:
        """With --reconnect it says that it connects again; what the library logs of it is shown, too."""
        task = self.talk("cut", reconnects=True)
        self.type("x")
        self.screen.wait("* closed: 1006")
        self.server.shutdown(0)
        self.screen.wait("the next attempt is in")
        self.type("y")
        self.screen.wait("* not sent: there is no connection just now")
        self.type("/quit")
        self.assertEqual(task.result(), 3)


class ScreenTests(unittest.TestCase):
    def made(self, history: bool, **environment: str) -> tuple[str, list[str]]:
        plan: Any = mock.Mock(reconnects=False)
        plan.url, plan.headers, plan.dialer = "ws://localhost", None, Dialer()
        with mock.patch.dict("os.environ", environment), mock.patch("syncws._cli.connect.screen.PromptSession"):
            talk = Talk(
                plan, View(lambda: 80), None, binary=False, code=1000, reason="", verbose=False, history=history
            )
        return type(talk._screen).__name__, talk._hints

    def test_a_dumb_terminal(self) -> None:
        """A terminal that cannot move its cursor gets no line editing."""
        self.assertEqual(self.made(False, TERM="dumb"), ("PlainScreen", []))

    def test_a_history_that_cannot_be(self) -> None:
        """Where there can be no file it says so, and works."""
        kind, hints = self.made(True, TERM="xterm", XDG_STATE_HOME="/dev/null/state")
        self.assertEqual(kind, "Screen")
        self.assertIn("what is typed is not remembered: /dev/null/state/syncws/history", hints[0])


if __name__ == "__main__":
    unittest.main()
