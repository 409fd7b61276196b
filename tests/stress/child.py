"""The process of one program: runs it, looks what is left, and tells it as JSON in the last line."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import sys
import traceback
import unittest
from typing import Any

from syncws._frames.masking import mask
from syncws.testing import pair

from .leaks import Leaks
from .programs import PROGRAMS
from .trial import Trial, Wrong, switching

#: Seconds that broken copies have for what should happen: nobody else needs the machine meanwhile.
_BROKEN_PATIENCE = 3.0

#: And what is whole: a machine that is busy with other work may take its time.
_PATIENCE = 120.0

#: Seconds after which a program hangs that should be over: a broken copy, and what is whole.
_BROKEN_HANGS, _HANGS = 20.0, 150.0


def most(seconds: float, broken: str) -> float:
    """Seconds after which the process of a program that goes on for so long hangs."""
    return seconds + (_BROKEN_HANGS if broken else _HANGS)


def work(name: str, seconds: float, seed: int, broken: str) -> dict[str, Any]:
    """Run a program; its verdict, "right", "wrong", "left" or "skipped", with its counts and why."""
    program = PROGRAMS[name]
    try:
        with switching():
            mask(bytes(1 << 20), b"mask")  # what is made once for each process, and numpy's libraries, are there before
            with pair():
                program.run(Trial(0, seed, _PATIENCE))
            leaks = Leaks()
            trial = Trial(seconds, seed, _BROKEN_PATIENCE if broken else _PATIENCE)
            with program.BREAKS[broken]() if broken else contextlib.nullcontext():
                program.run(trial)
    except unittest.SkipTest as skipped:
        return {"verdict": "skipped", "why": str(skipped)}
    except Wrong as wrong:
        cause = "" if wrong.__cause__ is None else "".join(traceback.format_exception(wrong.__cause__))
        return {"verdict": "wrong", "why": f"{wrong}\n{cause}".strip()}
    except Exception:
        return {"verdict": "wrong", "why": traceback.format_exc()}
    left = leaks.found()
    return {"verdict": "left" if left else "right", "counts": trial.counts, "why": "\n".join(left)}


def main() -> None:
    name, seconds, seed, broken = sys.argv[1:]
    logging.getLogger("syncws").setLevel(logging.CRITICAL)
    faulthandler.dump_traceback_later(most(float(seconds), broken), exit=True)
    print(json.dumps(work(name, float(seconds), int(seed), broken)), flush=True)
    sys.stderr.flush()
    os._exit(0)  # a thread that is stuck keeps nobody waiting


if __name__ == "__main__":
    main()
