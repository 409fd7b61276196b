"""rocket3, the server of web2py and py4web: a pool of threads, which log what they cannot write."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from ..inside import calling_objects
from ..taken import Environ, Taken
from . import by_stream


def find(environ: Environ) -> Taken | None:
    """The socket is inside wsgi.input. The worker that runs the view tells how many threads there are."""
    if not str(environ.get("SERVER_SOFTWARE", "")).startswith("Rocket3 "):
        return None
    taken = by_stream.find(environ)
    return None if taken is None else replace(taken, swallow=True, pool=_pool())


def _pool() -> int | None:
    """How many threads the pool may have. Where max_threads is 0, it stays at min_threads."""
    rocket3: Any = sys.modules.get("rocket3")
    for caller in calling_objects():
        if rocket3 is not None and isinstance(caller, rocket3.Worker):
            return int(caller.app_info["max_threads"] or caller.app_info["min_threads"])
    return None
