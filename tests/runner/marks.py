"""What a test module says of its tests for the runner."""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable
from typing import TypeVar

Case = TypeVar("Case", bound=type[unittest.TestCase])


#: For tests that weigh memory or count calls to the last one: coverage.py adds its own.
exact = unittest.skipIf(os.environ.get("COVERAGE_RUN"), "not while coverage is taken")


def alone(reason: str) -> Callable[[Case], Case]:
    """Mark a class of tests that must have the machine to itself, and say why: it runs last, with nothing beside it."""

    def mark(case: Case) -> Case:
        case._runs_alone = reason  # type: ignore[attr-defined]
        return case

    return mark


def runs_alone(case: type) -> bool:
    """Whether a class is marked so. A subclass is, if its base is."""
    return bool(getattr(case, "_runs_alone", ""))
