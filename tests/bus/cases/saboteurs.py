"""What the cases are tried on: backplanes that are wrong in one way each."""

from __future__ import annotations

import contextlib
import os
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
        fds: descriptors that it leaves open, which are closed when it was caught.
    """

    caught: Collection[str] = ()
    options: dict[str, Any] = {}

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.fds: list[int] = []

    def open_another(self) -> None:
        """Open a descriptor. Any thread."""
        self.fds.append(os.open(os.devnull, os.O_RDONLY))

    def close_all(self) -> None:
        """Close the descriptors. Any thread."""
        with contextlib.suppress(IndexError):
            while True:
                os.close(self.fds.pop())


def all_cases() -> list[str]:
    """The names of all cases."""
    return [name for name in dir(BackplaneCases) if name.startswith("test_")]


def failing(saboteur: type[Saboteur], names: Collection[str], patience: float) -> set[str]:
    """Which of these cases fail for a saboteur, when each waits so many seconds for what does not come."""

    made: list[Saboteur] = []

    class Cases(BackplaneCases, unittest.TestCase):
        joins_processes = False

        def setUp(self) -> None:
            super().setUp()
            self.patience = patience
            self.bus = MemoryBus(**{"max_message": 1 << 16, **saboteur.options})

        def make(self) -> MemoryBackplane:
            made.append(saboteur(self.bus))
            return made[-1]

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
    for each in made:
        each.close_all()
    return {test.id().rpartition(".")[2] for test, _ in (*result.failures, *result.errors)}
