"""Programs that are told what to do, a line of JSON at a time; those of `node/`, run by Node, and a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.partners import need

FOLDER = Path(__file__).with_name("node")


class ProgramError(Exception):
    """A command failed; the message is the program's."""


class Program:
    """A program that takes commands on standard input. For one thread."""

    def __init__(self, *command: str) -> None:
        # A home of its own, as a browser leaves files there.
        self._home = tempfile.TemporaryDirectory(prefix="syncws-", ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "HOME": self._home.name, "TMPDIR": self._home.name},
            )
        except BaseException:
            self._home.cleanup()
            raise

    def call(self, method: str, *args: Any) -> Any:
        """Run one command and return its result. Raises ProgramError if it failed, or if the program is gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"method": method, "args": args}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()  # it comes within seconds: see commands.js
        if not line:
            raise ProgramError(f"the program ended, exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ProgramError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the program and all it started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._home.cleanup()


class NodeProgram(Program):
    """A running program of `node/`."""

    def __init__(self, script: str, *args: str) -> None:
        node = shutil.which("node")
        need(node is not None, "Node is not installed")
        need((FOLDER / "node_modules" / "ws").is_dir(), "Node's packages are not installed: run `make node`")
        super().__init__(str(node), str(FOLDER / script), *args)


def start_browser() -> NodeProgram:
    """A headless Chromium: the one of the environment variable CHROMIUM, or the system's."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    need(browser is not None, "no Chromium: install it, or let the environment variable CHROMIUM say where it is")
    return NodeProgram("browser.js", str(browser))
