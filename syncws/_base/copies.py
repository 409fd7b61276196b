"""Raising an exception that was kept: as a copy, since one object that two threads raise is not safe."""

from __future__ import annotations

import copy
from typing import TypeVar

_E = TypeVar("_E", bound=BaseException)


def copy_of(error: _E) -> _E:
    """A copy of an exception that was raised before, to be raised now; without the traceback.

    Two threads that raise one object mix their tracebacks in it, and without the GIL they crash Python. The copy has
    the class, the arguments, the attributes and the chained exceptions. An exception that cannot be copied, such as one
    whose class makes no second instance, is returned as it is.
    """
    try:
        made = _copy(error)
    except Exception:
        return error
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made


def _copy(error: _E) -> _E:
    try:
        return copy.copy(error).with_traceback(None)
    except Exception:  # a class whose __init__ takes other arguments than it passes on
        made = type(error).__new__(type(error), *error.args)
        made.args = error.args
        vars(made).update(vars(error))
        return made
