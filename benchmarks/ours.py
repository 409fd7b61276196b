"""This library in several ways, each a side of its own: what a change or a lever gives, measured in the same run.

    git worktree add ../before COMMIT
    SYNCWS_BEFORE=../before python -m benchmarks.echo --rounds 7 syncws before

| side | is |
|---|---|
| syncws | this checkout as it is: with the accelerator where that is built |
| pure | the same without the accelerator |
| apart | the same with `answers_together=False`: each answer leaves by itself |
| before | the library of the checkout that SYNCWS_BEFORE names, its `examples/echo_server.py` too |
| nogil, nogil-pure, nogil-before | the same three on the Python that SYNCWS_PYTHON names, one without the GIL |

`before` is there only if its variable names a checkout. A question compares all sides that are there where none is
named; the levers are compared only by name, by the questions about echoes and `connect`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .processes import ROOT, environment

NAME = "before"

#: What turns the accelerator off.
PURE = {"SYNCWS_ACCELERATED": "0"}

#: The prefix of the sides that run on the other Python.
NOGIL = "nogil"


@dataclasses.dataclass(frozen=True)
class Ours:
    """One way to run this library.

    Args:
        library: the checkout that it is imported from.
        python: the interpreter.
        extra: what is added to the environment.
    """

    library: Path = ROOT
    python: str = sys.executable
    extra: dict[str, str] = dataclasses.field(default_factory=dict)

    def missing(self) -> str:
        """A line that says why it cannot be run; "" if it can."""
        if not self.python:
            return "SYNCWS_PYTHON names no interpreter"
        return str(_facts(self).get("missing", ""))

    @property
    def is_accelerated(self) -> bool:
        return bool(_facts(self).get("accelerated"))

    def describe(self) -> str:
        """The interpreter and what is on, in a few words."""
        facts = _facts(self)
        how = "accelerated" if facts.get("accelerated") else "pure"
        return f"Python {facts.get('python')}{'' if facts.get('gil') else ' without the GIL'}, {how}"


def checkout() -> Path | None:
    """The other checkout, if there is one. Raises SystemExit for a variable that names none."""
    given = os.environ.get("SYNCWS_BEFORE")
    if not given:
        return None
    found = Path(given).resolve()
    if not (found / "syncws" / "__init__.py").is_file():
        raise SystemExit(f"SYNCWS_BEFORE is the folder of a checkout of syncws, not {given!r}")
    return found


def other_python() -> str:
    """The interpreter that SYNCWS_PYTHON names; "" for none. Raises SystemExit for a variable that names none."""
    given = os.environ.get("SYNCWS_PYTHON", "")
    found = shutil.which(given) if given else ""
    if found is None:
        raise SystemExit(f"SYNCWS_PYTHON is an interpreter, not {given!r}")
    return str(Path(found).absolute()) if found else ""


CHECKOUT = checkout()
PYTHON = other_python()

#: The sides that are always compared, where they are there.
OURS: dict[str, Ours] = {"syncws": Ours()} | ({NAME: Ours(CHECKOUT)} if CHECKOUT else {})

#: The sides that are compared only by name.
LEVERS: dict[str, Ours] = {
    "pure": Ours(extra=PURE),
    "apart": Ours(),
    NOGIL: Ours(python=PYTHON),
    f"{NOGIL}-pure": Ours(python=PYTHON, extra=PURE),
} | ({f"{NOGIL}-{NAME}": Ours(CHECKOUT, PYTHON)} if CHECKOUT else {})

ALL = {**OURS, **LEVERS}

_ASK = """
import json, sys, syncws
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
version = "%d.%d.%d" % sys.version_info[:3]
print(json.dumps({"python": version, "gil": gil, "accelerated": getattr(syncws, "accelerated", False)}))
"""


def _facts(ours: Ours) -> dict[str, object]:
    """What a process of that kind says of itself, or why it says nothing."""
    return _asked(ours.python, ours.library, tuple(ours.extra.items()))


@functools.cache
def _asked(python: str, library: Path, extra: tuple[tuple[str, str], ...]) -> dict[str, object]:
    done = subprocess.run([python, "-c", _ASK], env=environment(library) | dict(extra), capture_output=True, text=True)
    if done.returncode:
        return {"missing": f"{python} cannot import syncws: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"}
    return dict(json.loads(done.stdout))
