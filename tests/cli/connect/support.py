"""A server with a behaviour for each path, and the command against it: in this process, in another, in a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyte

import syncws
from syncws._cli.connect import pipes
from syncws._cli.main import main
from syncws.testing import running
from tests.cli.support import CLICase
from tests.tasks import PATIENCE, linger_briefly

ROOT = Path(__file__).resolve().parents[3]

#: What a peer may send to a terminal that is not careful: clear the screen, colours in one byte, text turned round.
EVIL = "a\x1b[2Jb\x9b31mc\u202ed"


class Peer:
    """The server: each path is a method, which gets the connection."""

    def __init__(self) -> None:
        self.requests: list[syncws.Request] = []
        self.received: list[str | bytes] = []
        self.ends: list[syncws.ConnectionClosed] = []
        self.go = threading.Event()  # what `later` waits for
        self._upgrader = syncws.Upgrader(subprotocols=["chat"], enable_compression=True, allowed_origins=["*"])

    def __call__(self, request: syncws.Request) -> syncws.Response | None:
        self.requests.append(request)
        name = request.path.strip("/")
        if name == "refused":
            return syncws.Response.json({"error": "no\x1b[2Jentry"}, 403)
        if name.isdecimal():
            return syncws.Response("the first line\nthe second", int(name))
        if name == "moved":
            return syncws.Response("", 302, headers={"Location": "/echo"})
        conn = self._upgrader.upgrade(request)
        with contextlib.suppress(syncws.ConnectionClosed):
            getattr(self, name)(conn)
        return None

    def _each(self, conn: syncws.Conn) -> Any:
        try:
            while True:
                message = conn.receive()
                self.received.append(message)
                yield message
        except syncws.ConnectionClosed as end:
            self.ends.append(end)

    def echo(self, conn: syncws.Conn) -> None:
        for message in self._each(conn):
            conn.send(message)

    def greet(self, conn: syncws.Conn) -> None:
        conn.send("welcome")
        self.echo(conn)

    def silent(self, conn: syncws.Conn) -> None:
        for _ in self._each(conn):
            pass

    def later(self, conn: syncws.Conn) -> None:
        self.go.wait(PATIENCE)
        conn.send("news")
        self.echo(conn)

    def bye(self, conn: syncws.Conn) -> None:
        conn.send("last words")
        conn.close(4001, "go\x1b[2J")

    def one(self, conn: syncws.Conn) -> None:
        conn.send(conn.receive())
        conn.close(1000, "that was it")

    def cut(self, conn: syncws.Conn) -> None:
        conn.receive()
        conn.close_now()

    def evil(self, conn: syncws.Conn) -> None:
        conn.send(EVIL)
        self.echo(conn)

    def pinging(self, conn: syncws.Conn) -> None:
        conn.ping(b"\x1bpeer")
        self.echo(conn)

    def flood(self, conn: syncws.Conn) -> None:
        while True:
            conn.send("x" * 1000)


class ConnectCase(CLICase):
    """For tests of the command, with a server."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)
        self.enterContext(mock.patch.object(pipes, "_MOMENT", 0.02))
        self.peer = Peer()
        self.server = self.enterContext(running(syncws.Server(self.peer, "127.0.0.1", 0)))
        self.addCleanup(self.peer.go.set)
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def url(self, path: str = "echo") -> str:
        return f"ws://127.0.0.1:{self.server.port}/{path}"

    def connect(self, path: str, *arguments: str, input: bytes = b"") -> tuple[int, bytes, str]:
        """(exit status, standard output, standard error) of the command in this process, with pipes."""
        return self.connect_to(self.url(path), *arguments, input=input)

    def connect_to(self, url: str, *arguments: str, input: bytes = b"") -> tuple[int, bytes, str]:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
            given.write(input)
            given.seek(0)
            return self._connect_with(given, out, url, *arguments)

    def _connect_with(self, given: Any, out: Any, *arguments: str) -> tuple[int, bytes, str]:
        err = io.StringIO()
        with (
            mock.patch.object(sys, "stdin", given),
            mock.patch.object(sys, "stdout", out),
            contextlib.redirect_stderr(err),
        ):
            given.isatty = out.isatty = lambda: False
            try:
                status = main(["connect", *arguments])
            except SystemExit as exit:
                status = int(exit.code or 0)
        out.seek(0)
        return status, out.read(), err.getvalue()

    def start(self, path: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """The command in a process of its own, with pipes."""
        process = subprocess.Popen(
            [*COMMAND, self.url(path), *arguments],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
            env=self.environment(),
        )
        self.addCleanup(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / "state"), "TERM": "xterm-256color"}
        return {**os.environ, **own}

    def terminal(self, path: str, *arguments: str, columns: int = 80, before: str = "") -> Terminal:
        """The command in a terminal, after some statements of Python."""
        command = [sys.executable, "-W", "error", "-c", f"{_TAKE_TERMINAL}{before}{_RUN}", "connect", self.url(path)]
        command += arguments
        terminal = Terminal(command, self.environment(), columns)
        self.addCleanup(terminal.close)
        return terminal


COMMAND = [sys.executable, "-W", "error", "-m", "syncws", "connect"]


#: What runs in a pseudo-terminal: its terminal is the one that Ctrl-C comes from.
_TAKE_TERMINAL = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
_RUN = "from syncws._cli.main import main; sys.exit(main())\n"


class Terminal:
    """A program in a pseudo-terminal, and what a person sees there."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int) -> None:
        self.screen = pyte.Screen(columns, 30)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""  # all that was written
        self.renders = True  # the screen shows it, which takes its time
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def lines(self) -> list[str]:
        """The lines on the screen, without those that are empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Look at the screen until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self._take(deadline - time.monotonic()) and not condition():
                raise AssertionError(f"the screen is\n{chr(10).join(self.lines())}")

    def wait_line(self, *lines: str) -> None:
        """Wait until these are lines on the screen."""
        self.wait(lambda: all(line in self.lines() for line in lines))

    def colour(self, beginning: str, text: str) -> str:
        """The colour of a text on the line that begins so."""
        for number, line in enumerate(self.screen.display):
            if line.startswith(beginning) and (column := line.find(text)) >= 0:
                return self.screen.buffer[number][column].fg
        raise AssertionError(f"there is no {text!r} on a line {beginning!r}")

    def end(self) -> int:
        """Wait for the end, and take what was written up to it. Returns the exit status."""
        while self._take(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def _take(self, seconds: float) -> bool:
        """Take what is written next; False after so many seconds without it, and at the end."""
        if not select.select([self._fd], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # Linux: nobody has the other side any more
            return False
        self.raw += data
        if self.renders:
            self._stream.feed(data)
        return bool(data)
