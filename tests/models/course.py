"""How many courses a machine goes, and which."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any

import hypothesis
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

#: So many courses, and others each time; "" for the same few ones.
EXAMPLES = os.environ.get("SYNCWS_EXAMPLES", "")


def leave_no_folder() -> None:
    """Hypothesis would leave a folder where the tests are run. For ``setUpModule``."""
    scratch = tempfile.TemporaryDirectory(prefix="syncws-")
    unittest.addModuleCleanup(scratch.cleanup)
    set_hypothesis_home_dir(scratch.name)
    unittest.addModuleCleanup(set_hypothesis_home_dir, None)


def count(few: int, many: int) -> int:
    """How many courses a test goes: few in `make test`, many in `make test-all`, or what SYNCWS_EXAMPLES says."""
    return int(EXAMPLES or (few if os.environ.get("SYNCWS_HEAVY") == "0" else many))


def go(machine: type[RuleBasedStateMachine], courses: int, *, steps: int = 30, **options: Any) -> None:
    """Have a machine go so many courses. What fails is shrunk and shown."""
    settings = hypothesis.settings(
        max_examples=courses,
        stateful_step_count=steps,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        **{"phases": [each for each in hypothesis.Phase if each is not hypothesis.Phase.explain], **options},
    )
    run_state_machine_as_test(machine, settings=settings)
