"""Whose an option is: who is given one that another takes, or one that is misspelt, is told where it belongs."""

from __future__ import annotations

import difflib
import functools
import inspect
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

    @functools.wraps(called)
    def explaining(*arguments: Any, **options: Any) -> Any:
        if not known.issuperset(options):
            name = next(each for each in options if each not in known)
            told = f"{called.__qualname__}() got an unexpected keyword argument {name!r}"  # Python's words
            raise TypeError(f"{told}{_advice(name, known)}")
        return called(*arguments, **options)

    return explaining  # type: ignore[return-value]


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
