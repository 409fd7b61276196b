"""callables.py: what is given once and called later does its work when it is called, or is refused."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import types
import unittest
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any
from unittest import mock

from syncws._base.callables import check_callable, check_done, is_async, undecided, unfinished


async def coroutine(*arguments: object) -> bool:
    return False


async def async_generator(*arguments: object) -> AsyncIterator[bool]:
    yield False


def generator(*arguments: object) -> Iterator[bool]:
    yield False


@types.coroutine
def old_coroutine(*arguments: object) -> Generator[None, None, bool]:
    yield
    return False


def plain(*arguments: object) -> bool:
    return False


class Asynchronous:
    """A callable object, and the methods of one."""

    async def __call__(self, *arguments: object) -> bool:
        return False

    async def method(self, *arguments: object) -> bool:
        return False

    @classmethod
    async def of_class(cls, *arguments: object) -> bool:
        return False

    @staticmethod
    async def static(*arguments: object) -> bool:
        return False

    partial = functools.partialmethod(method, 1)


class Yielding:
    def __call__(self, *arguments: object) -> Iterator[bool]:
        yield False


class Derived(Asynchronous):
    """It inherits what it does."""


class PartialCall:
    __call__ = functools.partialmethod(coroutine, 1)


class StaticCall:
    __call__ = staticmethod(coroutine)


class Marked:
    """What says so by itself, as Django's View.as_view() and asgiref's SyncToAsync do."""

    def __call__(self, *arguments: object) -> Awaitable[bool]:
        return coroutine()


def marked() -> Callable[..., Any]:
    if hasattr(inspect, "markcoroutinefunction"):  # from Python 3.12 on
        made = Marked()
        inspect.markcoroutinefunction(made)
        return made
    return coroutine


#: Every form in which a coroutine function can be given and be seen.
ASYNC: dict[str, Callable[..., Any]] = {
    "async def": coroutine,
    "async generator": async_generator,
    "types.coroutine": old_coroutine,
    "partial": functools.partial(coroutine, 1),
    "partial of a partial": functools.partial(functools.partial(coroutine, 1), key=2),
    "partial of a callable object": functools.partial(Asynchronous(), 1),
    "partial of a method": functools.partial(Asynchronous().method, 1),
    "callable object": Asynchronous(),
    "inherited": Derived(),
    "partialmethod as __call__": PartialCall(),
    "staticmethod as __call__": StaticCall(),
    "bound method": Asynchronous().method,
    "class method": Asynchronous.of_class,
    "static method": Asynchronous.static,
    "staticmethod object": staticmethod(coroutine),
    "partial method": Asynchronous().partial,
    "__call__ of an object": Asynchronous().__call__,
    "cached": functools.cache(coroutine),
    "lru_cache of a method": functools.lru_cache(Asynchronous().method),
    "marked": marked(),
    "AsyncMock": mock.AsyncMock(),
    "async generator object": functools.partial(async_generator),
}

YIELDING: dict[str, Callable[..., Any]] = {
    "generator": generator,
    "partial": functools.partial(generator),
    "callable object": Yielding(),
    "bound method": types.MethodType(generator, 1),
}


@functools.wraps(coroutine)
def running(*arguments: object) -> bool:
    return asyncio.run(coroutine(*arguments))


#: What looks like one, and does its work when it is called.
PLAIN: dict[str, Callable[..., Any]] = {
    "def": plain,
    "lambda": lambda *_: False,
    "partial": functools.partial(plain),
    "class": Asynchronous,
    "built-in": print,
    "method of a built-in": "".join,
    "wrapper that runs the coroutine": running,
    "Mock": mock.Mock(),
    "MagicMock": mock.MagicMock(),
    "cached": functools.cache(plain),
}


class GivenTests(unittest.TestCase):
    def test_asynchronous(self) -> None:
        """What has to be awaited is refused in whatever form it comes; the text names it, and the plain form."""
        for form, given in ASYNC.items():
            with self.subTest(form):
                self.assertTrue(is_async(given))
                with self.assertRaisesRegex(
                    TypeError, "^hook is an? (coroutine|async.*) function: write def, not async"
                ):
                    check_callable("hook", given, "is a callable")
                with self.assertRaises(TypeError):
                    check_callable("hook", given, "is a callable", may_yield=True)

    def test_generators(self) -> None:
        """A generator function does nothing either, unless what it returns is iterated over."""
        for form, given in YIELDING.items():
            with self.subTest(form):
                self.assertFalse(is_async(given))
                check_callable("hook", given, "is a callable", may_yield=True)
                with self.assertRaisesRegex(TypeError, "^hook is a generator function, .*: write it without yield$"):
                    check_callable("hook", given, "is a callable")

    def test_plain(self) -> None:
        """What does its work when it is called passes, a wrapper around a coroutine function too that runs it."""
        for form, given in PLAIN.items():
            with self.subTest(form):
                check_callable("hook", given, "is a callable")
                self.assertFalse(is_async(given))

    def test_no_callable(self) -> None:
        """What cannot be called is refused with the rule."""
        for wrong in (None, 5, "name", [], coroutine):
            if callable(wrong):
                continue
            with self.assertRaisesRegex(TypeError, "^hook must be a callable that takes a Conn, not "):
                check_callable("hook", wrong, "must be a callable that takes a Conn")


class ResultTests(unittest.TestCase):
    """What a call has given."""

    def setUp(self) -> None:
        # A coroutine that nobody awaits is a warning when it is freed.
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("error")

    def test_work_that_nobody_does(self) -> None:
        """It is named, and closed: Python does not warn of it as well."""

        class Awaited:
            def __await__(self) -> Iterator[None]:
                yield

        for result, kind in (
            (coroutine(), "a coroutine"),
            (old_coroutine(), "a coroutine"),
            (async_generator(), "an async generator"),
            (generator(), "a generator"),
            (Awaited(), "an awaitable"),
        ):
            with self.subTest(kind):
                self.assertEqual(unfinished(result), kind)
        self.assertEqual(inspect.getcoroutinestate(closed := coroutine()), inspect.CORO_CREATED)
        with self.assertRaisesRegex(TypeError, "^on_open returned a coroutine, which nothing runs: "):
            check_done("on_open", closed)
        self.assertEqual(inspect.getcoroutinestate(closed), inspect.CORO_CLOSED)

    def test_a_generator_that_is_iterated_over(self) -> None:
        """Where that is a result, it is left as it is."""
        result = generator()
        check_done("before", result, may_yield=True)
        self.assertEqual(list(result), [False])

    def test_work_that_does_not_like_its_end(self) -> None:
        """What a generator raises when it is closed goes no further."""

        def stubborn() -> Iterator[int]:
            try:
                yield 1
            finally:
                raise KeyError("stubborn")

        begun = stubborn()
        next(begun)
        self.assertEqual(unfinished(begun), "a generator")

    def test_results(self) -> None:
        """What is no work is a result."""
        for result in (None, 0, True, "", b"", [], object(), mock.Mock(), mock.MagicMock(), iter([])):
            with self.subTest(result):
                self.assertIsNone(unfinished(result))
                check_done("hook", result)

    def test_decisions(self) -> None:
        """A yes or no counts as in Python, None as a no."""
        for answer in (True, False, None, 1, 0, "", "yes", [], ["a"], re.match("a", "a")):
            with self.subTest(answer):
                self.assertIsNone(undecided(answer))

    def test_what_decides_nothing(self) -> None:
        """What is always true is no yes: work not done, a function not called, a response, a pair, an exception; a
        status, work of another thread, an iterator, Ellipsis."""

        class Response:
            headers: tuple[()] = ()

        for answer in (
            coroutine(),
            async_generator(),
            generator(),
            plain,
            Response(),
            (False, "not here"),
            ValueError("no"),
            Asynchronous,
            Future(),
            HTTPStatus.FORBIDDEN,
            ...,
            NotImplemented,
            filter(None, ()),
            map(bool, ()),
        ):
            with self.subTest(answer):
                self.assertRegex(undecided(answer) or "", "^it returned ")


if __name__ == "__main__":
    unittest.main()
