"""Sixteen threads mask at the same moment where nobody has before, so that each finds numpy on its own way in."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from functools import partial
from types import ModuleType
from typing import Any

from syncws._frames import masking

from .breaks import Break, replaced
from .trial import Trial

_THREADS = 16
_SIZES = (10, 1_000, 40_000, 300_000)


def run(trial: Trial) -> None:
    key = b"\x01\x02\xf3\x80"
    for _ in trial.rounds():
        fresh = _load()
        cases = [(bytes(range(256)) * (_SIZES[who % 4] // 256 + 1))[: _SIZES[who % 4]] for who in range(_THREADS)]
        masked = trial.together(*(partial(_mask, fresh, data, key) for data in cases))
        for data, found in zip(cases, masked, strict=True):
            trial.same("masked", found == _plainly(data, key), True)
        trial.counts["masked"] += len(masked)


def _mask(module: ModuleType, data: bytes, key: bytes) -> bytes:
    masked: bytes = module.mask(data, key)
    return masked


def _load() -> Any:
    """The module, as it is when it was just imported."""
    spec = importlib.util.find_spec(masking.__name__)
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


def _plainly(data: bytes, key: bytes) -> bytes:
    size = len(data)
    return (int.from_bytes(data) ^ int.from_bytes((key * (size // 4 + 1))[:size])).to_bytes(size)


_whole = _load


def _load_hasty() -> Any:
    """The module, with what says that numpy is there before its type is."""
    fresh = _whole()

    def hasty(size: int) -> bool:
        if fresh._numpy is not ...:
            return fresh._numpy is not None
        if size < fresh._NUMPY:
            return False
        fresh._numpy = importlib.import_module("numpy") if importlib.util.find_spec("numpy") else None
        time.sleep(0)
        if fresh._numpy is not None:
            fresh._word = fresh._numpy.dtype(fresh._numpy.uint64)
        return fresh._numpy is not None

    fresh._uses_numpy = hasty
    return fresh


BREAKS: dict[str, Break] = {"numpy before its type": replaced(sys.modules[__name__], "_load", _load_hasty)}
