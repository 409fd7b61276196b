"""The harnesses by their names."""

from __future__ import annotations

from .accelerator import Accelerator
from .answers import Answers
from .buses import Buses
from .cookies import Cookies
from .envelopes import Envelopes
from .frames import Frames
from .harness import Harness
from .lists import Lists
from .origins import Origins
from .proxies import Proxies
from .requests import Requests
from .urls import URLs
from .writes import Writes

HARNESSES: dict[str, type[Harness]] = {
    each.name: each
    for each in (
        Frames,
        Writes,
        Accelerator,
        Requests,
        Answers,
        Proxies,
        Envelopes,
        Buses,
        Lists,
        Cookies,
        Origins,
        URLs,
    )
}
