"""How many courses a machine goes, and which; and whether it finds what is broken on purpose."""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import hypothesis
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

#: So many courses, and others each time; "" for the same few ones.
EXAMPLES = os.environ.get("SYNCWS_EXAMPLES", "")

#: Makes a breakage, for the length of a block.
Fault = Callable[[], AbstractContextManager[Any]]


def leave_no_folder() -> None:
    """Hypothesis would leave a folder where the tests are run. For ``setUpModule``."""
    scratch = tempfile.TemporaryDirectory(prefix="syncws-")
    unittest.addModuleCleanup(scratch.cleanup)
    set_hypothesis_home_dir(scratch.name)
    unittest.addModuleCleanup(set_hypothesis_home_dir, None)


def count(few: int, many: int) -> int:
    """How many courses a test goes: few in `make test`, many in `make test-all`, or what SYNCWS_EXAMPLES says."""
    return int(EXAMPLES or (few if os.environ.get("SYNCWS_HEAVY") == "0" else many))


def go(machine: type[RuleBasedStateMachine], courses: int, *, steps: int = 30) -> None:
    """Have a machine go so many courses. What fails is shown, and shrunk before, if SYNCWS_EXAMPLES is set."""
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if EXAMPLES else [])]
    settings = hypothesis.settings(
        max_examples=courses,
        stateful_step_count=steps,
        phases=phases,
        report_multiple_bugs=False,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(machine, settings=settings)


def finds(machine: type[RuleBasedStateMachine], fault: Fault, courses: int) -> bool:
    """Whether a machine fails within so many courses where something is broken. Its patience is short then."""

    class Impatient(machine):  # type: ignore[misc, valid-type]
        patience = 0.2

    with fault():
        try:
            go(Impatient, courses, steps=20)
        except Exception:
            return True
    return False


def instead(owner: Any, name: str, other: Callable[..., Any]) -> Fault:
    """Have other(original, ...) called in place of a function, for the length of a block."""
    original = getattr(owner, name)

    def broken(*arguments: Any, **keywords: Any) -> Any:
        return other(original, *arguments, **keywords)

    return lambda: mock.patch.object(owner, name, broken)


def never(call: Callable[..., Any], *arguments: Any) -> None:
    """In place of a function: nothing."""
