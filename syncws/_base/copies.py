"""Exceptions that are kept: raised as a copy, since one object that two threads raise is not safe; and let go."""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar, cast

_E = TypeVar("_E", bound=BaseException)

#: Set in `type.__flags__` of classes that Python code makes (Py_TPFLAGS_HEAPTYPE); not of Python's own exceptions.
_HEAP_TYPE = 1 << 9


def copy_of(error: _E) -> _E:
    """A copy of an exception that was raised before, to be raised now; without the traceback.

    No exception object is raised by two threads: they mix their tracebacks in it, and without the GIL they crash
    Python. `tests.test_raised_once` looks at every `raise`. The copy has the class, the arguments, the attributes and
    the notes; no code of the exception's class is run for it. What is chained to it is copied as well, since
    `forget_frames` changes that too. Of a class that makes no second instance (it is written in C) it is a copy in the
    nearest of its base classes.
    """
    copies = {id(error): _copy(error)}
    waiting: list[BaseException] = [error]
    while waiting:
        each = waiting.pop()
        for name in ("__cause__", "__context__"):
            chained = getattr(each, name)
            if chained is None:
                continue
            if id(chained) not in copies:
                copies[id(chained)] = _copy(chained)
                waiting.append(chained)
            object.__setattr__(copies[id(each)], name, copies[id(chained)])
        object.__setattr__(copies[id(each)], "__suppress_context__", each.__suppress_context__)  # a cause sets it
    return cast(_E, copies[id(error)])


def _copy(error: BaseException) -> BaseException:
    for kind in type(error).__mro__:
        with contextlib.suppress(Exception):
            if issubclass(kind, BaseException):
                return _copy_as(kind, error)
    raise AssertionError("BaseException makes any number of instances")


def _copy_as(kind: type[BaseException], error: BaseException) -> BaseException:
    """Not copy.copy: that calls the class with `args`, which an __init__ of the application may take for others."""
    builtin: Any = kind
    while builtin.__flags__ & _HEAP_TYPE:
        builtin = builtin.__base__
    _, arguments, *state = builtin.__reduce__(error)  # with what args lacks, such as the file name of an OSError
    made: BaseException = builtin.__new__(kind, *arguments)
    builtin.__init__(made, *arguments)
    for name, value in (state[0] if state and state[0] else {}).items():  # the attributes, and those of an ImportError
        object.__setattr__(made, name, list(value) if name == "__notes__" else value)
    object.__setattr__(made, "args", error.args)
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
