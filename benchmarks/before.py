"""Another checkout of this library as a side of its own: what a change costs, measured in the same run.

    git worktree add ../before COMMIT
    SYNCWS_BEFORE=../before python -m benchmarks.echo --rounds 7 syncws before

The side `before` runs that checkout's library, its `examples/echo_server.py` among it. It is there only if the
variable names a checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from .processes import ROOT

NAME = "before"


def checkout() -> Path | None:
    """The other checkout, if there is one. Raises SystemExit for a variable that names none."""
    given = os.environ.get("SYNCWS_BEFORE")
    if not given:
        return None
    found = Path(given).resolve()
    if not (found / "syncws" / "__init__.py").is_file():
        raise SystemExit(f"SYNCWS_BEFORE is the folder of a checkout of syncws, not {given!r}")
    return found


CHECKOUT = checkout()

#: Where each side that is this library stands.
OURS: dict[str, Path] = {"syncws": ROOT} | ({NAME: CHECKOUT} if CHECKOUT else {})
