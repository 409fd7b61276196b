"""The terminal with line editing, fed by a pipe in place of a keyboard: what takes no terminal to be seen."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from syncws.testing import LeakChecks, await_
from tests.partners import need
from tests.tasks import PATIENCE, Task, linger_briefly

#: More than may wait to be shown.
MUCH = "x" * (1 << 16)


class ScreenTests(LeakChecks):
    """A Screen whose keys come from a pipe."""

    def setUp(self) -> None:
        super().setUp()
        need(importlib.util.find_spec("prompt_toolkit") is not None, "prompt_toolkit (PyPI) is not installed")
        from prompt_toolkit.application import create_app_session
        from prompt_toolkit.input import create_pipe_input
        from prompt_toolkit.output import DummyOutput

        from syncws._cli.connect.screen import Screen

        self.keys = self.enterContext(create_pipe_input())
        self.enterContext(create_app_session(input=self.keys, output=DummyOutput()))
        self.folder = self.enterContext(TemporaryDirectory())
        self.history = Path(self.folder, "history")
        self.screen = Screen(self.history, ["/ping", "/quit"])
        self.shown: list[str] = []
        self.screen._paint.painted = lambda pieces: self.shown.append("".join(text for _, text in pieces)) or ""  # type: ignore[method-assign, func-returns-value]

    def test_lines(self) -> None:
        """Lines are given until Ctrl-D; the tab key completes a command; what begins with a space is not remembered."""
        self.keys.send_text("one\r secret\r/pi\tnow\r\x04")
        self.assertEqual(list(self.screen.lines()), ["one", " secret", "/ping now"])
        self.assertNotIn("secret", self.history.read_text())
        self.assertIn("+one", self.history.read_text())

    def test_without_a_history(self) -> None:
        """Nothing is written where there is no file; and a file that cannot be written is no fault."""
        from syncws._cli.connect.screen import Screen

        for history in (None, Path(self.folder, "no", "such", "folder")):
            self.keys.send_text("one\r\x04")
            self.assertEqual(list(Screen(history, []).lines()), ["one"])
        self.assertEqual(list(Path(self.folder).iterdir()), [])

    def test_ctrl_c(self) -> None:
        """It takes a line back that is half typed, and on an empty one ends it all."""
        self.keys.send_text("half\x03")
        self.keys.send_text("\x03")
        with self.assertRaises(KeyboardInterrupt):
            list(self.screen.lines())

    def test_shown(self) -> None:
        """What is said before, while and after a line is typed is shown once, in order."""
        self.screen.say([("", "before")])
        typing = Task(self.type_and_write)
        self.assertEqual(list(self.screen.lines()), ["line"])
        typing.result()
        self.screen.say([("", "after")])
        self.assertEqual(self.shown, ["before", "meanwhile"])
        self.screen.flush()
        self.screen.flush()
        self.assertEqual(self.shown, ["before", "meanwhile", "after"])

    def type_and_write(self) -> None:
        self.await_shown(["before"])
        self.screen.write([("", "meanwhile")])
        self.await_shown(["before", "meanwhile"])
        self.keys.send_text("line\r\x04")

    def await_shown(self, shown: list[str]) -> None:
        assert await_(lambda: self.shown == shown, PATIENCE), self.shown

    def test_stop(self) -> None:
        """Nobody types any more, whether a line was begun or not, and nobody waits for room."""
        stopping = Task(self.stop_once_it_runs)
        self.assertEqual(list(self.screen.lines()), [])
        stopping.result()
        self.assertEqual(list(self.screen.lines()), [])
        self.screen.write([("", MUCH)])
        self.screen.write([("", MUCH)])

    def stop_once_it_runs(self) -> None:
        assert await_(lambda: self.screen._loop is not None, PATIENCE)
        self.screen.stop()

    def test_stopped_before_the_line(self) -> None:
        """A stop that comes just before the line is typed ends it at once."""
        began = self.screen._began

        def stop_first() -> None:
            self.screen._stopped = True
            began()

        self.screen._began = stop_first  # type: ignore[method-assign]
        self.assertEqual(list(self.screen.lines()), [])

    def test_much(self) -> None:
        """Who brings more than may wait has to, until it is shown."""
        self.screen.write([("", MUCH)])
        written = threading.Event()

        def write() -> None:
            self.screen.write([("", "more")])
            written.set()

        writing = Task(write)
        linger_briefly(self)
        self.assertFalse(written.is_set())
        self.screen.flush()
        writing.result()
        self.screen.flush()
        self.assertEqual(self.shown, [MUCH, "more"])

    def test_a_loop_that_has_ended(self) -> None:
        """What is said to a loop that has just been closed is shown later."""
        loop: Any = type("Loop", (), {"call_soon_threadsafe": self.closed})()
        self.screen._loop = loop
        self.screen.say([("", "late")])
        self.screen.flush()
        self.assertEqual(self.shown, ["late"])

    def closed(self, _function: Any) -> None:
        raise RuntimeError("Event loop is closed")
