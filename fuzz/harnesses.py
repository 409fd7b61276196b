"""The harnesses by their names."""

from __future__ import annotations

from .cookies import Cookies
from .frames import Frames
from .harness import Harness
from .lists import Lists
from .origins import Origins
from .urls import URLs

HARNESSES: dict[str, type[Harness]] = {each.name: each for each in (Frames, Lists, Cookies, Origins, URLs)}
