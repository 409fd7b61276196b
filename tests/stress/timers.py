"""Threads set timers of the drain thread and cancel some: each fires once, and one that was cancelled in time never."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import chain

from syncws._net.drain import Timer, drain

from .breaks import Break, replaced
from .trial import Trial

_THREADS = 8
_TIMERS = 60

#: Seconds until the farthest is due that fires, and until those are due that are cancelled.
_FAR = 0.01
_LATER = 0.05


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        fired, lock = [0] * (_THREADS * _TIMERS), threading.Lock()

        def fire(number: int, fired: list[int] = fired, lock: threading.Lock = lock) -> None:
            with lock:
                fired[number] += 1

        seeds = [trial.random.random() for _ in range(_THREADS)]
        told = trial.together(*(partial(_set, who, fire, seed) for who, seed in enumerate(seeds)))
        to_fire, never = (list(chain(*each)) for each in zip(*told, strict=True))
        trial.comes("all have fired", _all_have, fired, to_fire)
        time.sleep(_LATER)  # those that were cancelled would be due
        trial.same("how often", {fired[number] for number in to_fire}, {1})
        trial.same("fired although it was cancelled", [number for number in never if fired[number]], [])
        trial.counts["fired"] += len(to_fire)
        trial.counts["cancelled"] += len(never)


def _all_have(fired: list[int], to_fire: list[int]) -> bool:
    return all(fired[number] for number in to_fire)


def _set(who: int, fire: Callable[[int], None], seed: float) -> tuple[list[int], list[int]]:
    """Set timers, and cancel some; which must fire, and which must not."""
    drawn = random.Random(seed)
    to_fire, never = [], []
    for number in range(who * _TIMERS, (who + 1) * _TIMERS):
        if drawn.random() < 0.7:
            drain.call_at(time.monotonic() + drawn.random() * _FAR, partial(fire, number))
            to_fire.append(number)
            continue
        timer = drain.call_at(time.monotonic() + _LATER, partial(fire, number))
        timer.cancel()
        if time.monotonic() < timer.instant:  # a machine under load may cancel too late
            never.append(number)
    return to_fire, never


def _in_vain(timer: Timer) -> None:
    """A timer that goes on."""


BREAKS: dict[str, Break] = {"cancelling does nothing": replaced(Timer, "cancel", _in_vain)}
