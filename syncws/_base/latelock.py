"""A lock of a module, made when it is first needed."""

from __future__ import annotations

import threading

from .forks import begin_anew_in_child


class LateLock:
    """A lock, as `made`; open again in the child of a fork.

    ``with lock.made:`` it is taken, and in no other way: an interrupt finds no gap in which a lock itself is taken and
    the block has not begun, while an `__enter__` in Python would have one.

    Made at first use: gunicorn's gevent worker may patch threading after this package was imported, and a lock from
    before would stop every greenlet. Any thread; two that come first get the same lock, as dict.setdefault is one step.
    """

    _made: threading.Lock

    def __init__(self) -> None:
        begin_anew_in_child(self)  # which refers to it weakly: a Server or a Manager that is gone leaves none

    @property
    def made(self) -> threading.Lock:
        """The lock, the same one each time."""
        try:
            return self._made
        except AttributeError:
            made: threading.Lock = self.__dict__.setdefault("_made", threading.Lock())
            return made

    def locked(self) -> bool:
        """Whether some thread is inside."""
        made: threading.Lock | None = self.__dict__.get("_made")
        return made is not None and made.locked()

    def begin_anew(self) -> None:
        """In the child of a fork, where the thread that was inside does not exist."""
        self.__dict__.pop("_made", None)
