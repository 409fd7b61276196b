"""Java's own client, java.net.http: the program of `java/`, which sends back what comes. It knows no compression."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.partners import need
from tests.tasks import PATIENCE

from .clients import Client

PROGRAM = Path(__file__).with_name("java") / "Echo.java"


class JavaClient(Client):
    """It is told nothing: it echoes by itself, until the server closes."""

    compresses = False
    fragments = False  # not when it is told to: see the program

    @classmethod
    def start(cls) -> None:
        # A file of source is compiled as it is run, for which a Java that only runs is not enough.
        need(shutil.which("javac") is not None, "no JDK, such as Debian's default-jdk-headless, is installed")

    def __init__(self, url: str, **options: Any) -> None:
        self.compression = False
        # The flag: without the files that it else leaves in /tmp.
        command = ["java", "-XX:-UsePerfData", str(PROGRAM), url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def echo(self, count: int) -> None:
        """Nothing is to be done."""

    def close_code(self) -> int:
        """What the server closed with, once the program has ended. Raises ValueError if it ended otherwise."""
        said, _ = self._process.communicate(timeout=PATIENCE)
        return int(said)

    def drop(self) -> None:
        self._process.kill()
        self._process.communicate()
