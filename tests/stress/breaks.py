"""What the programs break the product with, to show that they would see it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol
from unittest import mock

#: Seconds: so much longer takes what is done slowly.
_WHILE = 0.0005


class Break(Protocol):
    """Makes a broken copy of the product, for the length of the block."""

    def __call__(self) -> AbstractContextManager[object]: ...


class NoLock:
    """A lock that keeps nobody out. Whoever takes it lets the others go on first, so that they meet inside."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        time.sleep(0)
        return True

    def release(self) -> None:
        time.sleep(0)

    def locked(self) -> bool:
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class HeldLonger:
    """A lock that is held for a while longer than it need be, so that others come meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire = self._lock.acquire
        self.locked = self._lock.locked

    def release(self) -> None:
        time.sleep(_WHILE)
        self._lock.release()


class NoCondition(threading.Condition):
    """A condition of such a lock. Nobody is told: whoever waits looks again after a while."""

    def __init__(self) -> None:
        super().__init__(NoLock())  # type: ignore[arg-type]

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(_WHILE)
        return True

    def notify(self, n: int = 1) -> None:
        pass


def without_lock(
    kind: type, name: str, made_in: str = "__init__", make: Callable[[], object] = NoLock, condition: str = ""
) -> Break:
    """The objects of a class have a lock that keeps nobody out. name: of the lock; made_in: the method that makes it.

    make: what is in its place, where that is several of them. condition: the name of the lock's own condition.
    """
    made = getattr(kind, made_in)

    @functools.wraps(made)
    def without(self: Any, *arguments: Any, **keywords: Any) -> Any:
        value = made(self, *arguments, **keywords)
        setattr(self, name, make())
        if condition:
            setattr(self, condition, NoCondition())
        return value

    return replaced(kind, made_in, without)


def slowly(kind: type, name: str) -> Break:
    """A method takes longer than it need, so that others come meanwhile: what is right stays right."""
    method = getattr(kind, name)

    @functools.wraps(method)
    def slow(*arguments: Any, **keywords: Any) -> Any:
        value = method(*arguments, **keywords)
        time.sleep(_WHILE)
        return value

    return replaced(kind, name, slow)


def both(one: Break, other: Break) -> Break:
    """Two breaks at once."""

    @contextmanager
    def broken() -> Iterator[None]:
        with one(), other():
            yield

    return broken


def replaced(where: Any, name: str, by: Any) -> Break:
    """Something has another thing in its place."""

    @contextmanager
    def broken() -> Iterator[None]:
        with mock.patch.object(where, name, by):
            yield

    return broken
