"""Where and with what it was measured: the machine, the Python, the versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import ssl
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from . import gorilla
from .processes import ROOT
from .servers import SERVERS


def summary() -> str:
    """The machine in a few words."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}{_threading()}"


def dated() -> str:
    """The day, what was measured, and the machine."""
    return f"{datetime.datetime.now(datetime.UTC).date().isoformat()}, {_ours()}; {summary()}"


def describe(sides: Iterable[str], packages: Iterable[str], cores: tuple[int | None, int | None]) -> list[str]:
    """The lines about it, for what was measured of these sides, with these packages as well."""
    server, load = cores
    pinned = f"server on core {server}, load generator on core {load}"
    return [
        f"{_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}; "
        + (pinned if server is not None else "server and load generator on any core: this system does not pin"),
        f"{platform.python_implementation()} {platform.python_version()}{_threading()}, "
        f"{platform.python_compiler()}, built {platform.python_build()[1]}; {ssl.OPENSSL_VERSION}",
        f"{_ours()}; {', '.join(versions(sides, packages))}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _threading() -> str:
    """Said where the interpreter runs threads at the same time."""
    return " without GIL" if not getattr(sys, "_is_gil_enabled", lambda: True)() else ""


def _ours() -> str:
    """syncws by its commit; whether what is measured was changed since."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "syncws", "examples/echo_server.py")
    return f"syncws of commit {commit}{' and changes' if changed else ''}" if commit else "syncws"


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def versions(sides: Iterable[str], packages: Iterable[str] = ()) -> list[str]:
    """Those of the packages that matter for these sides, and of more packages."""
    of_sides = (package for side in sides if side in SERVERS for package in SERVERS[side].packages)
    found = []
    for package in dict.fromkeys([*of_sides, *packages]):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return [*found, *([gorilla.version()] if "gorilla" in sides else [])]
