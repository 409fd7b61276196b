"""How long to wait before the next attempt to reach a bus."""

from __future__ import annotations

import random

#: Seconds: the first delay, and the longest. Half of each is random, so that a thousand processes do not come at once.
_FIRST, _LONGEST = 0.05, 0.5


class Backoff:
    """Delays that grow with each failure. For one thread."""

    def __init__(self) -> None:
        self._delay = 0.0

    def next(self) -> float:
        """Seconds before the next attempt, after one more failure."""
        self._delay = min(max(_FIRST, 2 * self._delay), _LONGEST)
        return self._delay * random.uniform(0.5, 1)

    def reset(self) -> None:
        """An attempt was successful: the next failure is the first one."""
        self._delay = 0.0
