"""What the tests of the fuzzing share: the harnesses, if what they compare with is installed."""

from __future__ import annotations

from typing import Any

from tests.partners import need

try:
    from fuzz.harnesses import HARNESSES
except ModuleNotFoundError as error:
    HARNESSES: dict[str, Any] = {}  # type: ignore[no-redef]
    _missing = f"{error.name} (PyPI) is not installed"


def need_harnesses() -> None:
    """Skip, or fail, where what the harnesses compare with is not there."""
    need(bool(HARNESSES), _missing if not HARNESSES else "")
