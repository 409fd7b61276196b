"""Whether others use the core that work is kept on, and which core they leave alone.

What moves freely goes away from a busy core by itself. What is kept on the same core cannot: another server, say.
"""

from __future__ import annotations

from collections.abc import Collection

from .cores import busy_seconds

#: Others use a core if they take so much of its time, and another one is better if they take so much less of that.
_SHARE = 0.25

#: Looks that find it so, one after the other.
_PATIENCE = 3


class Crowd:
    """Compares what a core has done with what this process has, from one look to the next. For one thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The work has moved, or begins: what was seen before tells nothing."""
        self._before: tuple[float, dict[int, float], float] | None = None
        self._found = 0  # looks

    def look(self, now: float, core: int, cores: Collection[int], own: float) -> int | None:
        """A better core of these; None to stay on this one.

        now: an instant, in seconds.
        own: processor seconds that the process has used so far, most of them on this core.
        """
        before, self._before = self._before, (now, busy_seconds(), own)
        if before is None:
            return None
        seconds, busy, used = now - before[0], before[1], own - before[2]
        others = {each: self._before[1].get(each, 0.0) - busy.get(each, 0.0) for each in cores}
        others[core] = others.get(core, 0.0) - used
        best = min(others, key=others.__getitem__)
        is_crowded = others[core] >= _SHARE * seconds and others[best] <= others[core] - _SHARE * seconds
        self._found = self._found + 1 if is_crowded else 0
        if self._found < _PATIENCE:
            return None
        self.forget()
        return best
