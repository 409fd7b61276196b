"""Sixteen threads take seats among the guests of a process and give them back: never too many, and none is lost."""

from __future__ import annotations

import random
import threading
import time
from functools import partial

from syncws._wsgi.guests import Full, Guests
from syncws._wsgi.taken import Taken

from .breaks import Break, both, slowly, without_lock
from .trial import Trial, Wrong

_THREADS = 16
_SEATS = 5
_VIEWS = 3  # of a pool of four
_TURNS = 100


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        guests = Guests()
        inside = _Inside()
        seeds = [trial.random.random() for _ in range(_THREADS)]
        seats = sum(trial.together(*(partial(_come, guests, inside, seed) for seed in seeds)))
        trial.same("seats that are taken", (len(guests), guests._seats, guests._views), (0, set(), {}))
        if inside.most > _SEATS or inside.most_in_view > _VIEWS:
            raise Wrong(f"{inside.most} of {_SEATS} seats were taken, {inside.most_in_view} of {_VIEWS} by views")
        trial.counts["seats"] += seats


class _Inside:
    """How many are seated at once. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self._in_view = 0
        self.most = self.most_in_view = 0

    def add(self, count: int, in_view: bool) -> None:
        with self._lock:
            self._now += count
            self._in_view += count if in_view else 0
            self.most, self.most_in_view = max(self.most, self._now), max(self.most_in_view, self._in_view)


def _come(guests: Guests, inside: _Inside, seed: float) -> int:
    """Take a seat and give it back, again and again; how often there was one."""
    drawn, seats = random.Random(seed), 0
    taken = Taken(server="stress", sock=None, fd=-1, pool=4)
    for _ in range(_TURNS):
        in_view = drawn.random() < 0.5
        try:
            seat = guests.admit(taken, in_view=in_view, limit=_SEATS)
        except Full:
            continue
        seats += 1
        inside.add(1, in_view)
        time.sleep(0)
        inside.add(-1, in_view)
        if drawn.random() < 0.5:
            seat.leave_view()
        seat.leave()
    return seats


BREAKS: dict[str, Break] = {
    "no lock": both(without_lock(Guests, "_lock", condition="_changed"), slowly(Guests, "_check_room"))
}
