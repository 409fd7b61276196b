"""Exceptions that are kept: raised as a copy, since one object that two threads raise is not safe; and let go."""

from __future__ import annotations

from typing import Any, TypeVar

_E = TypeVar("_E", bound=BaseException)

#: Set in `type.__flags__` of classes that Python code makes (Py_TPFLAGS_HEAPTYPE); not of Python's own exceptions.
_HEAP_TYPE = 1 << 9


def copy_of(error: _E) -> _E:
    """A copy of an exception that was raised before, to be raised now; without the traceback.

    Two threads that raise one object mix their tracebacks in it, and without the GIL they crash Python. The copy has
    the class, the arguments, the attributes and the chained exceptions; no code of the exception's class is run for it.
    An exception that cannot be copied, such as one whose class refuses attributes, is returned as it is.
    """
    try:
        made = _copy(error)
    except Exception:
        return error
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made


def _copy(error: _E) -> _E:
    """Not copy.copy: that calls the class with `args`, which an __init__ of the application may take for others."""
    kind = type(error)
    builtin: Any = next(each for each in kind.__mro__ if not each.__flags__ & _HEAP_TYPE)
    _, arguments, *state = builtin.__reduce__(error)  # with what args lacks, such as the file name of an OSError
    made: _E = builtin.__new__(kind, *arguments)
    builtin.__init__(made, *arguments)
    if state and state[0]:
        made.__setstate__(state[0])  # the attributes, and those of an ImportError
    made.args = error.args
    return made


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an exception that was dealt with, and of those that are chained to it.

    A handler that keeps the exception in a variable makes a cycle with its frame, and what the frame knows, such as the
    connection, would wait for the garbage collector. The frames that a chained exception passed know that frame too.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        waiting += [chained for chained in (each.__cause__, each.__context__) if chained is not None]
