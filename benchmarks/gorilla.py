"""The program of `go/`: gorilla/websocket as an echo server and as a room, built when it can be."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from .processes import environment

SOURCE = Path(__file__).with_name("go")

#: A GOPATH that has gorilla/websocket: the one of the environment variable GORILLA, or Debian's.
GOPATH = os.environ.get("GORILLA") or "/usr/share/gocode"


def command(kind: str, folder: Path, words: list[str]) -> list[str]:
    """The command that runs the program as an "echo" server or as a "hub", once it is built."""
    return [str(folder / "gorilla"), kind, str(folder), *words]


@functools.cache
def build(folder: Path) -> str:
    """Build the program in a folder. Returns a line that says why that is impossible, or "" if it is there."""
    if shutil.which("go") is None or not Path(GOPATH, "src/github.com/gorilla/websocket").is_dir():
        return "it takes Debian's golang-go and golang-github-gorilla-websocket-dev, or GORILLA=GOPATH"
    # From the packages of GOPATH: nothing from a network, or from the user's settings.
    own = {"GO111MODULE": "off", "GOENV": "off", "GOFLAGS": "", "GOPATH": GOPATH, "GOPROXY": "off"}
    cache = {"GOTOOLCHAIN": "local", "GOCACHE": os.environ.get("GOCACHE") or str(folder / "go")}
    made = subprocess.run(
        ["go", "build", "-o", str(folder / "gorilla"), "."],
        cwd=SOURCE,
        env={**environment(), **own, **cache},
        capture_output=True,
        text=True,
    )
    return (
        f"it does not build: {(made.stderr.strip().splitlines() or ['go says nothing'])[-1]}" if made.returncode else ""
    )


def version() -> str:
    """The version of gorilla/websocket, if Debian's package tells it, and of Go."""
    said = _say("go", "version").split()
    package = _say("dpkg-query", "--show", "--showformat=${Version}", "golang-github-gorilla-websocket-dev")
    known = f" {package}" if package and GOPATH == "/usr/share/gocode" else ""
    return f"gorilla/websocket{known} ({said[2] if len(said) > 2 else 'Go'})"


def _say(*command: str) -> str:
    """What a program prints; "" if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
