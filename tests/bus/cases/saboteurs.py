"""What the cases are tried on: backplanes that are wrong in one way each."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Collection
from typing import Any

from syncws._bus.memory import MemoryBackplane, MemoryBus
from syncws.testing import BackplaneCases


class Saboteur(MemoryBackplane):
    """A backplane that is wrong in one way, which its docstring says.

    Attributes:
        caught: the cases that notice.
        options: those of its bus.
    """

    caught: Collection[str] = ()
    options: dict[str, Any] = {}


def all_cases() -> list[str]:
    """The names of all cases."""
    return [name for name in dir(BackplaneCases) if name.startswith("test_")]


def failing(saboteur: type[Saboteur], names: Collection[str], patience: float) -> set[str]:
    """Which of these cases fail for a saboteur, when each waits so many seconds for what does not come."""

    class Cases(BackplaneCases, unittest.TestCase):
        joins_processes = False

        def setUp(self) -> None:
            super().setUp()
            self.patience = patience
            self.bus = MemoryBus(**{"max_message": 1 << 16, **saboteur.options})

        def make(self) -> MemoryBackplane:
            return saboteur(self.bus)

        def break_bus(self) -> None:
            self.bus.cut()

        def mend_bus(self) -> None:
            self.bus.mend()

        def inject(self, channel: str, data: bytes) -> None:
            self.bus.inject(channel, data)

    result = unittest.TestResult()
    for name in names:
        with contextlib.suppress(unittest.SkipTest):
            Cases(name).run(result)
    return {test.id().rpartition(".")[2] for test, _ in (*result.failures, *result.errors)}
