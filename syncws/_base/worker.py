"""Whether this process is one of several workers that serve the same port. Set once, right after the fork."""

from __future__ import annotations

_is_worker = False


def in_worker() -> bool:
    """Whether this process is one of several workers, each with connections of its own.

    For any thread, without a lock: the answer is set before there is a second one.
    """
    return _is_worker


def become_worker() -> None:
    """Make the answer yes, for good. To be called by the new process, before it has a second thread."""
    global _is_worker
    _is_worker = True
