"""Where the workers of a server meet: a directory that the parent makes before the first fork, and removes at last."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from .._base.logs import logger

_log = logger("syncws.server")

#: Bytes that the path of the directory of temporary files may have: the paths of Unix sockets are short, and those of
#: workers have the directories of a server and of a Manager in them.
_MOST = 39


class MeetingPlace:
    """A directory of this user alone (0700). Concurrency: as `Workers`, whose it is."""

    def __init__(self) -> None:
        self.path: str | None = None  # None: there is none, or not yet

    def make(self) -> None:
        """Make it. Where that cannot be, the log says why, and each worker is for itself."""
        error: OSError | None = None
        for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
            if len(os.fsencode(parent)) > _MOST:
                continue
            try:
                self.path = tempfile.mkdtemp(prefix="syncws-", dir=parent)
                return
            except OSError as failure:
                error = failure
        _log.warning("no directory in which workers could meet (%s): a broadcast reaches those of one worker", error)

    def leave(self) -> None:
        """In a worker whose parent is gone, and removes nothing any more: remove it, if nobody else is left in it."""
        if self.path is None:
            return
        with contextlib.suppress(OSError):  # the last one succeeds
            for manager in os.listdir(self.path):
                os.rmdir(os.path.join(self.path, manager))
            os.rmdir(self.path)

    def remove(self) -> None:
        """Remove it, with all that workers that were killed have left in it. Idempotent; never raises."""
        path, self.path = self.path, None
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
