"""The list of mutants that may live, each with its reason: `survivors.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


def read(file: Path = FILE) -> dict[str, str]:
    """The reason why a mutant may live, by the mutant's name. Raises ValueError for a list that is not in order."""
    found: dict[str, str] = {}
    for entry in tomllib.loads(file.read_text()).get("because", []):
        reason, names = entry.get("reason", ""), entry.get("mutants", [])
        if not reason or not names:
            raise ValueError(f"a reason and the mutants it is for belong together: {entry}")
        for name in names:
            if name in found:
                raise ValueError(f"this mutant is listed twice: {name}")
            found[name] = reason
    return found


def stale(listed: Iterable[str], existing: Iterable[str], modules: Iterable[str]) -> list[str]:
    """What is listed of these modules and does not exist."""
    existing, modules = set(existing), set(modules)
    return [name for name in listed if name.partition(":")[0] in modules and name not in existing]
