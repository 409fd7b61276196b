"""The pictures of README: `python docs/pictures.py` makes them anew, with what `pip install '.[cli,test]'` installs.

* badges.svg: what is true of the project wherever it is. A badge of CI would need an address of the project.
* connect.svg: `syncws connect` in a terminal of its own, talking to README's first server. What is shown was said.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

COLUMNS, LINES = 78, 24
SECONDS = 30  # that anything may take

#: What is typed, and what the screen then shows.
SESSION = (
    ("hello", "< hello"),
    (json.dumps({"name": "ann", "rooms": ["lobby", "garden"], "age": 42}), "< {"),
    ("/ping", "* pong after"),
)

_PIXELS = 6.6  # that a letter of a badge is wide


def badges() -> str:
    """An SVG that says what the project is, from what its files say."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    metadata = settings["metadata"]
    version = re.search(r'"([\d.]+)"', (ROOT / "syncws" / "_base" / "version.py").read_text())
    pythons = re.findall(r"Python :: (3\.\d+)", metadata["classifiers"])
    cases = re.search(r"puts (\d+) cases", (DOCS / "conformance.md").read_text())
    assert version is not None and cases is not None
    values = (
        ("version", version[1]),
        ("Python", f"{pythons[0]} to {pythons[-1]}"),
        ("types", "mypy --strict, pyright"),
        ("Autobahn|Testsuite", f"{cases[1]} of {cases[1]}"),
        ("licence", metadata["license_expression"]),
    )
    parts, left = [], 0
    for name, value in values:
        parts.append(_badge(left, name, value))
        left += _width(name) + _width(value) + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left}" height="20" role="img"'
        f' font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">\n'
        f"<title>{escape(', '.join(f'{name}: {value}' for name, value in values))}</title>\n{''.join(parts)}</svg>\n"
    )


def _width(text: str) -> int:
    return round(_PIXELS * len(text)) + 12


def _badge(left: int, name: str, value: str) -> str:
    first, second = _width(name), _width(value)
    return (
        f'<rect x="{left}" width="{first + second}" height="20" rx="3" fill="#555"/>'
        f'<path d="M{left + first} 0h{second - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{second - 3}z" fill="#0f6e84"/>'
        f'<text x="{left + first / 2}" y="14" fill="#fff" textLength="{first - 12}">{escape(name)}</text>'
        f'<text x="{left + first + second / 2}" y="14" fill="#fff" textLength="{second - 12}">{escape(value)}</text>\n'
    )


class Terminal:
    """A program on a terminal of its own. For one thread; used as a context manager, which ends the program."""

    def __init__(self, *command: str, shown: str) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self.screen)
        self._stream.feed(f"$ {shown}\r\n".encode())
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "no_proxy": "127.0.0.1"}
        environment.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\r".encode())

    def wait_for(self, text: str) -> None:
        """Read until a line of the screen begins with this text."""
        deadline = time.monotonic() + SECONDS
        while not any(line.startswith(text) for line in self.screen.display):
            self._read(deadline)

    def wait_for_prompt(self) -> None:
        """Read until the cursor stands behind a prompt, which is where the program takes what is typed."""
        deadline = time.monotonic() + SECONDS
        while self.screen.display[self.screen.cursor.y].rstrip() != ">" or self.screen.cursor.x != 2:
            self._read(deadline)

    def end(self) -> None:
        """Type Ctrl-D, and read to the end of the program."""
        os.write(self._master, b"\x04")
        deadline = time.monotonic() + SECONDS
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while True:
                self._read(deadline)

    def _read(self, deadline: float) -> None:
        """Read what is there, or wait a moment. Raises TimeoutError after the deadline."""
        if time.monotonic() > deadline:
            raise TimeoutError("\n".join(["the screen still shows:", *self.screen.display]))
        ready, _, _ = select.select([self._master], [], [], 0.1)
        if ready:
            output = os.read(self._master, 65536)
            self._stream.feed(output)
            if b"\x1b[6n" in output:  # where is the cursor?
                os.write(self._master, f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R".encode())

    def svg(self, title: str) -> str:
        """What the screen shows, as a picture."""
        console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor")
        last = max(number for number, line in enumerate(self.screen.display) if line.strip())
        for number in range(last + 1):
            console.print(self._line(number))
        drawn = console.export_svg(title=title, unique_id="connect")
        return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # no font from elsewhere

    def _line(self, number: int) -> Text:
        text = Text(no_wrap=True)
        cells = [self.screen.buffer[number][column] for column in range(COLUMNS)]
        for (color, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
            text.append("".join(cell.data for cell in run), Style(color=_color(color), bold=bold))
        text.rstrip()
        return text


def _color(name: str) -> str | None:
    """A color of pyte, as rich calls it."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow", "brightbrown": "bright_yellow"}.get(name, name.replace("bright", "bright_"))


def first_server() -> str:
    """The first program of README."""
    found = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def session() -> str:
    """`syncws connect` with the first server of README, which listens on another port than the one that is shown."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-c", first_server().replace("8080", port)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        _wait_for_port(int(port))
        command = [sys.executable, "-m", "syncws", "connect", "--no-history", f"ws://127.0.0.1:{port}/"]
        with Terminal(*command, shown="syncws connect ws://127.0.0.1:8080/") as terminal:
            terminal.wait_for("* connected")
            for typed, shown in SESSION:
                terminal.wait_for_prompt()
                terminal.type(typed)
                terminal.wait_for(shown)
            terminal.wait_for_prompt()
            terminal.end()
            return terminal.svg("syncws connect")
    finally:
        server.kill()
        server.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    (DOCS / "badges.svg").write_text(badges())
    (DOCS / "connect.svg").write_text(session())
