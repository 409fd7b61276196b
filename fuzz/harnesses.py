"""The harnesses by their names."""

from __future__ import annotations

from .answers import Answers
from .cookies import Cookies
from .envelopes import Envelopes
from .frames import Frames
from .harness import Harness
from .lists import Lists
from .origins import Origins
from .proxies import Proxies
from .requests import Requests
from .urls import URLs

HARNESSES: dict[str, type[Harness]] = {
    each.name: each for each in (Frames, Requests, Answers, Proxies, Envelopes, Lists, Cookies, Origins, URLs)
}
