"""The harnesses by their names."""

from __future__ import annotations

from .frames import Frames
from .harness import Harness

HARNESSES: dict[str, type[Harness]] = {each.name: each for each in (Frames,)}
