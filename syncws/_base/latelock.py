"""A lock of a module, made when it is first needed."""

from __future__ import annotations

import threading
from types import TracebackType

from .forks import begin_anew_in_child


class LateLock:
    """A lock as a context manager; open again in the child of a fork.

    Made at first use: gunicorn's gevent worker may patch threading after this package was imported, and a lock from
    before would stop every greenlet. Any thread; two that come first get the same lock, as dict.setdefault is one step.
    """

    _made: threading.Lock

    def __init__(self) -> None:
        begin_anew_in_child(self)  # which refers to it weakly: a Server or a Manager that is gone leaves none

    def __enter__(self) -> None:
        try:
            made = self._made
        except AttributeError:
            made = self.__dict__.setdefault("_made", threading.Lock())
        made.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._made.release()

    def locked(self) -> bool:
        """Whether some thread is inside."""
        made: threading.Lock | None = self.__dict__.get("_made")
        return made is not None and made.locked()

    def begin_anew(self) -> None:
        """In the child of a fork, where the thread that was inside does not exist."""
        self.__dict__.pop("_made", None)
