"""Waiting for what no event tells."""

from __future__ import annotations

import time
from collections.abc import Callable

from .._base.callables import check_callable, check_done


def await_(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until a condition holds, for at most so many seconds; returns whether it does. Where no event tells it.

    Raises TypeError for a condition that is a coroutine function, or that returns a coroutine.
    """
    check_callable("condition", condition, "is a callable without arguments")
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    check_done("condition", answer)
    return True
