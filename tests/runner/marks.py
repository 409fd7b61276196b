"""What a test module says of its tests for the runner."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import TypeVar

Case = TypeVar("Case", bound=type[unittest.TestCase])


def alone(reason: str) -> Callable[[Case], Case]:
    """Mark a class of tests that must have the machine to itself, and say why: it runs last, with nothing beside it."""

    def mark(case: Case) -> Case:
        case._runs_alone = reason  # type: ignore[attr-defined]
        return case

    return mark


def runs_alone(case: type) -> bool:
    """Whether a class is marked so. A subclass is, if its base is."""
    return bool(getattr(case, "_runs_alone", ""))
