"""What is given once and called later, from a thread: checked when it is given, and again by what a call gives.

The call of a coroutine function does nothing. It gives an object that nobody awaits here, and that object is true: a
check of who may connect that is written with ``async def`` would let everybody in. So it is refused where it is given,
in whatever form it comes. What cannot be seen there, such as a plain function that returns a coroutine, is found when
it is called.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterator
from http import HTTPStatus

#: Forms in which a function may be wrapped that pass on what its call gives, and where each keeps the function.
_PASSED_ON: tuple[tuple[type, str], ...] = (
    (functools.partial, "func"),
    (functools.partialmethod, "func"),
    (types.MethodType, "__func__"),
    (staticmethod, "__func__"),
    (classmethod, "__func__"),
    (functools._lru_cache_wrapper, "__wrapped__"),
)


def check_callable(name: str, given: object, rule: str, *, may_yield: bool = False) -> None:
    """Raise TypeError unless it can be called, and has done its work when the call returns.

    Args:
        name: what it is given as, such as "check_origin"; the text begins with it.
        given: what was given.
        rule: what it should be, such as "must be a callable or None"; the text goes on with it.
        may_yield: whether what it returns is iterated over, so that a generator function does its work too.
    """
    if not callable(given):
        raise TypeError(f"{name} {rule}, not {given!r:.200}")
    check_plain(name, given, may_yield=may_yield)


def check_plain(name: str, given: object, *, may_yield: bool = False) -> None:
    """As `check_callable`, of what can be called."""
    kind = _kind_of(given)
    if kind == "a generator function":
        if not may_yield:
            raise TypeError(f"{name} is {kind}, of which a call alone runs nothing: write it without yield")
    elif kind is not None:
        raise TypeError(f"{name} is {kind}: write def, not async def")


def is_async(given: object) -> bool:
    """Whether a call of it gives something that has to be awaited or iterated over asynchronously."""
    return _kind_of(given) not in (None, "a generator function")


def _kind_of(given: object) -> str | None:
    """What kind of function it is whose call alone does nothing; None for any other callable.

    A plain function that was decorated (``__wrapped__``) counts as plain: the decorator may run the coroutine itself,
    as asgiref's async_to_sync does.
    """
    for each in _layers(given):
        if inspect.isasyncgenfunction(each):
            return "an async generator function"
        if inspect.iscoroutinefunction(each) or _is_marked(each) or _has_flag(each, inspect.CO_ITERABLE_COROUTINE):
            return "a coroutine function"
        if inspect.isgeneratorfunction(each):
            return "a generator function"
    return None


def _layers(given: object) -> list[object]:
    """A callable, and what is inside it as far as its call only passes on what that gives."""
    layers = [given]
    while (inner := _inner(layers[-1])) is not None:
        layers.append(inner)
    return layers


def _inner(given: object) -> object:
    for kind, attribute in _PASSED_ON:
        if isinstance(given, kind):
            return getattr(given, attribute)
    if isinstance(given, type | types.FunctionType | types.BuiltinFunctionType):
        return None
    call = inspect.getattr_static(type(given), "__call__", None)
    return call if isinstance(call, types.FunctionType | functools.partialmethod | staticmethod) else None


def _is_marked(given: object) -> bool:
    """Whether it says that it is a coroutine function in the way of asyncio before Python 3.12; AsyncMock does."""
    coroutines = sys.modules.get("asyncio.coroutines")
    mark = getattr(coroutines, "_is_coroutine", None)
    return mark is not None and getattr(given, "_is_coroutine", None) is mark


def _has_flag(given: object, flag: int) -> bool:
    return isinstance(given, types.FunctionType) and bool(given.__code__.co_flags & flag)


# What a call has given

#: What callbacks return most: no look at it is needed.
_RESULTS = frozenset({type(None), bool, int, str, bytes})


def unfinished(result: object, *, may_yield: bool = False) -> str | None:
    """What kind of work it is that a call has returned and not done, such as "a coroutine"; None for a result.

    A coroutine or a generator is closed here, so that Python does not warn of it as well.
    """
    if type(result) in _RESULTS:
        return None
    if isinstance(result, Coroutine):
        return _closed("a coroutine", result)
    if isinstance(result, types.GeneratorType):
        if inspect.isawaitable(result):  # of types.coroutine
            return _closed("a coroutine", result)
        return None if may_yield else _closed("a generator", result)
    if isinstance(result, AsyncGenerator):
        return "an async generator"
    return "an awaitable" if isinstance(result, Awaitable) else None


def _closed(kind: str, work: Coroutine[object, object, object] | types.GeneratorType[object, object, object]) -> str:
    with contextlib.suppress(Exception):  # of one that has begun, and does not like its end
        work.close()
    return kind


def check_done(name: str, result: object, *, may_yield: bool = False) -> None:
    """Raise TypeError if what was called has returned work that nobody does. It is closed then; see `unfinished`."""
    kind = unfinished(result, may_yield=may_yield)
    if kind is not None:
        raise TypeError(f"{name} returned {kind}, which nothing runs: it has to be a plain function that does the work")


#: Types of what is always true, or cannot be asked.
_NO_ANSWERS = (BaseException, tuple, Iterator, HTTPStatus, types.EllipsisType, types.NotImplementedType)


def _is_future(answer: object) -> bool:
    """Whether it is work that another thread does; `concurrent.futures` need not be imported for it."""
    return hasattr(answer, "add_done_callback")


def undecided(answer: object) -> str | None:
    """Why an answer is neither a yes nor a no, although Python would take it for true; None for one that is.

    A yes is what is true to Python, and a no what is not, None among it. But these are always true, and most of them
    were meant as a no: work that is not done or is done elsewhere, a function that was not called, a response, a
    status, an exception, a tuple such as (False, reason), the iterator of filter() or any other, Ellipsis.
    """
    if answer is None or isinstance(answer, bool):
        return None
    if (kind := unfinished(answer)) is not None:
        return f"it returned {kind}, which nothing runs"
    if callable(answer) or isinstance(answer, _NO_ANSWERS) or hasattr(answer, "headers") or _is_future(answer):
        return f"it returned {answer!r:.200}, where True or False is expected"
    return None
