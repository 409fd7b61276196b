"""The file that has the lines that were typed: where it is, that nobody else may read it, and that it does not grow."""

from __future__ import annotations

import os
from pathlib import Path

#: Bytes of the file; of a longer one the second half is kept.
_MOST = 1 << 20

#: How an entry begins, in the format of prompt_toolkit.
_ENTRY = b"\n# "


def history_path() -> Path:
    """Where it is: in the user's directory for state, by the rules of XDG; on Windows in that for local data."""
    if os.name == "nt":  # pragma: no cover - Windows
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "syncws" / "history"
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"  # a relative one is to be ignored
    return base / "syncws" / "history"


def prepare_history(path: Path) -> None:
    """Make the file, or shorten it, so that its owner alone may read it (0600). Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with open(fd, "r+b") as file:
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)  # it may have been there with another mode
        if os.fstat(fd).st_size > _MOST:
            file.seek(-_MOST // 2, os.SEEK_END)
            rest = file.read()
            file.seek(0)
            file.write(rest[max(rest.find(_ENTRY), 0) :])
            file.truncate()
