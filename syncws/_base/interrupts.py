"""Exceptions in the middle of a read, such as a KeyboardInterrupt: whether one may have cost bytes of the stream.

A signal's handler may raise between any two steps, also when the system has given bytes which nothing refers to yet.
These are lost then, and whoever reads on is out of step. It cannot be told afterwards where an exception came from. So
it is marked where it is known that nothing was lost: it ended the wait itself, or it came out of a handler of the
application. Every other one is the end of the reads (`Inbound`).
"""

from __future__ import annotations

import contextlib

#: The name of the attribute; `fast.c` sets it too.
_MARK = "_syncws_spared"


def spare(error: BaseException) -> None:
    """Mark an exception: it has cost the stream nothing. It is about to be raised on."""
    with contextlib.suppress(Exception):  # of a class that allows no attributes: then it counts as one that has
        setattr(error, _MARK, True)


def is_spared(error: BaseException) -> bool:
    """Whether it is marked."""
    return _MARK in vars(error)


def take_mark(error: BaseException) -> bool:
    """Whether it was marked; it is so no more, as the same object may be raised again elsewhere."""
    return vars(error).pop(_MARK, False) is True
