"""The programs of docs/from-*.md that have a "before" and an "after": both run, and do the same.

A block of "before" says `py` behind its fence, one of "after" says `python program`.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import syncws
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE, written

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("from-*.md"))


def blocks(page: str, fence: str) -> list[str]:
    """The blocks of a page with this fence."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{fence}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class ComingFromTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]

    def start(self, *command: str, stderr: IO[str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def program(self, text: str) -> list[str]:
        return ["-c", text.replace("8080", str(self.port))]

    @contextmanager
    def serving(self, *command: str) -> Iterator[None]:
        with tempfile.TemporaryFile("w+") as log, self.start(*command, stderr=log) as server:
            try:
                self.assertTrue(await_(self.listens, PATIENCE), "it does not listen")
                yield
            finally:
                server.kill()
            self.assertNotIn("Traceback", written(log))

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def says(self, client: str) -> str:
        with self.start(*self.program(client)) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        return said

    def test_every_before_is_python(self) -> None:
        """What is shown of other libraries is Python; there are four pages of this kind."""
        self.assertEqual(len(PAGES), 4)
        for page in PAGES:
            self.assertTrue(blocks(page.name, "py"), page.name)
            for block in blocks(page.name, "py"):
                compile(block, page.name, "exec")

    def test_websockets(self) -> None:
        """The client of websockets and the one that takes its place say the same, to either server."""
        before, after = blocks("from-websockets.md", "py"), blocks("from-websockets.md", "python program")
        for server in (before[0], after[0]):
            with self.serving(*self.program(server)):
                for client in (before[1], after[1]):
                    self.assertEqual(self.says(client), "hello\n")

    def test_broadcast_of_websockets(self) -> None:
        """A message of one client reaches both, with asyncio as with threads."""
        for server in (blocks("from-websockets.md", "py")[2], blocks("from-websockets.md", "python program")[2]):
            with self.serving(*self.program(server)):
                url = f"ws://127.0.0.1:{self.port}/"
                with syncws.dial(url, proxy=None) as ann, syncws.dial(url, proxy=None) as bob:
                    ann.send("I am here")
                    self.assertEqual(ann.receive(timeout=PATIENCE), "I am here")
                    bob.send("hello")  # bob is in before it is read
                    self.assertEqual(ann.receive(timeout=PATIENCE), "hello")

    def test_websocket_client(self) -> None:
        """The programs on websocket-client and those that take their places say the same."""
        before, after = blocks("from-websocket-client.md", "py"), blocks("from-websocket-client.md", "python program")
        with self.serving(*self.program(after[0])):
            for client in (before[0], after[1]):
                self.assertEqual(self.says(client), "hello\n")
            for client in (before[1], after[2]):
                self.assertEqual(self.says(client), "hello\nclosed\n")

    def test_channels(self) -> None:
        """The project in one file serves its room, refuses what is no message, and keeps rooms apart."""
        (app,) = blocks("from-channels.md", "python program")
        (self.folder / "app.py").write_text(app)
        with self.serving("-m", "syncws", "serve", "app:app", "--port", str(self.port)):
            url = f"ws://127.0.0.1:{self.port}/ws/"
            with syncws.dial(f"{url}lobby", proxy=None) as ann, syncws.dial(f"{url}garden", proxy=None) as bob:
                for each, text in ((ann, "in the lobby"), (bob, "in the garden")):
                    each.send_json({"text": text})
                    self.assertEqual(each.receive_json(timeout=PATIENCE), {"text": text})
                ann.send("hello")
                self.assertEqual(ann.receive_json(timeout=PATIENCE), {"error": "send an object with text"})
