"""Whose an option is: who is given one that another takes, or one that is misspelt, is told where it belongs."""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

#: What other WebSocket libraries call an option, and what it is called here. Alike names would mislead: open_timeout is
#: no ping_timeout.
_ELSEWHERE = {
    "additional_headers": "headers",
    "certfile": "ssl_context",
    "compress": "enable_compression",
    "compression": "enable_compression",
    "connect_timeout": "handshake_timeout",
    "extra_headers": "headers",
    "header": "headers",
    "keyfile": "ssl_context",
    "max_message_size": "read_limit",
    "max_msg_size": "read_limit",
    "max_payload": "read_limit",
    "max_size": "read_limit",
    "open_timeout": "handshake_timeout",
    "origin": "headers",
    "ssl": "ssl_context",
    "sslopt": "ssl_context",
}

#: Options of WebSocket views alone, whose decorators are not imported everywhere: who takes them.
_OF_VIEWS = {
    "before": "a framework's WebSocket view, such as @sock.route(rule, before=...)",
    "detach": "Upgrader.serve, and of a framework's WebSocket view, such as @sock.route(rule, detach=...)",
}

#: What takes options, by name. Filled at import, and only read after that.
_TAKERS: dict[str, Callable[..., Any]] = {}


def takes_options(taker: T) -> T:
    """A class or a function is found for what it takes; as a decorator, after that of a dataclass.

    A class raises TypeError for an option that it does not take, and the text says whose it is, if it is anybody's.
    """
    _TAKERS[taker.__name__] = taker
    if isinstance(taker, type):
        _explain_unknown(taker)
    return taker


def explains_options(called: T) -> T:
    """A class, a function or a method raises TypeError as `takes_options` has it, and is itself nobody's advice.

    For what is called with options of its own, beside which those of an Upgrader and of others are often looked for.
    """
    if isinstance(called, type):
        _explain_unknown(called)
        return called
    known = frozenset(inspect.signature(called).parameters)
    most, first_by_name = _by_place(called)

    @functools.wraps(called)
    def explaining(*arguments: Any, **options: Any) -> Any:
        try:
            return called(*arguments, **options)
        except TypeError:  # only then is it looked at: a call without a mistake does not pay for it
            is_unknown = not known.issuperset(options)
            if not (is_unknown or (first_by_name and len(arguments) > most)):
                raise
        if is_unknown:
            name = next(each for each in options if each not in known)
            told = f"{called.__qualname__}() got an unexpected keyword argument {name!r}"  # Python's words
            raise TypeError(f"{told}{_advice(name, known)}")
        given = f"{first_by_name}={arguments[most]!r:.50}"
        raise TypeError(f"{called.__qualname__}() takes {first_by_name} by name: write {given}")

    return explaining  # type: ignore[return-value]


def _by_place(called: Any) -> tuple[int, str]:
    """How many arguments may be given without their names, and the first that may not; "" if there is none."""
    parameters = inspect.signature(called).parameters.values()
    kinds = [each.kind for each in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return sys.maxsize, ""
    by_name = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    return sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds), next(iter(by_name), "")


def _explain_unknown(taker: Any) -> None:
    begin = taker.__init__
    known = frozenset(inspect.signature(begin).parameters)

    @functools.wraps(begin)
    def __init__(self: object, *arguments: object, **options: object) -> None:
        for name in options:
            if name not in known:
                told = f"{type(self).__name__}() got an unexpected keyword argument {name!r}"  # Python's words
                raise TypeError(f"{told}{_advice(name, known)}")
        begin(self, *arguments, **options)

    __init__.__annotations__ = begin.__annotations__  # one dict for both, whoever resolves it
    taker.__init__ = __init__


def _advice(name: str, known: Collection[str]) -> str:
    """Whose an option is, or which one was meant; "" if that is not to be told."""
    taken = {owner: inspect.signature(taker).parameters for owner, taker in _TAKERS.items()}
    owners = [owner for owner, names in taken.items() if name in names]
    if owners:
        return f": it is one of {', '.join(owners)}"
    if name in _ELSEWHERE:
        here = _ELSEWHERE[name]
        whose = "" if here in known else f", of {', '.join(owner for owner, names in taken.items() if here in names)}"
        return f": did you mean {here}{whose}?"
    if name in _OF_VIEWS:
        return f": it is one of {_OF_VIEWS[name]}"
    meant = difflib.get_close_matches(name, known, 1)
    if meant:
        return f": did you mean {meant[0]}?"
    for owner, names in taken.items():
        meant = difflib.get_close_matches(name, names, 1)
        if meant:
            return f": did you mean {meant[0]}, of {owner}?"
    return ""
