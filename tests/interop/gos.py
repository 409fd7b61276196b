"""The program of `go/`: gorilla/websocket as a client or a server, told what to do like the programs of `node/`."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.partners import need

from .nodes import Program

FOLDER = Path(__file__).with_name("go")

#: A GOPATH that has gorilla/websocket: the one of the environment variable GORILLA, or Debian's.
GOPATH = os.environ.get("GORILLA") or "/usr/share/gocode"


class GoProgram(Program):
    """The program at work. role: "client" or "server", whose commands it knows. For one thread."""

    def __init__(self, role: str) -> None:
        need(
            shutil.which("go") is not None and Path(GOPATH, "src/github.com/gorilla/websocket").is_dir(),
            "no Go or no gorilla/websocket: install Debian's golang-go and golang-github-gorilla-websocket-dev, "
            "or let the environment variable GORILLA name a GOPATH that has it",
        )
        super().__init__(build(), role)


@functools.cache
def build() -> str:
    """The path of the program, which is built at the first call and removed with this process."""
    folder = tempfile.TemporaryDirectory(prefix="syncws-")
    atexit.register(folder.cleanup)
    program = str(Path(folder.name, "program"))
    made = subprocess.run(
        ["go", "build", "-o", program, "."], cwd=FOLDER, env=environment(folder.name), capture_output=True, text=True
    )
    if made.returncode:
        raise AssertionError(f"go build failed:\n{made.stderr}")
    return program


def environment(folder: str) -> dict[str, str]:
    """An environment in which Go takes the packages of GOPATH, and nothing from a network or the user's settings."""
    return {
        **os.environ,
        "GO111MODULE": "off",
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPATH": GOPATH,
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOCACHE": os.environ.get("GOCACHE") or str(Path(folder, "cache")),
    }
