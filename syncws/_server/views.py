"""What the decorators of WebSocket views share, whatever the framework: options and handlers, checked at once.

A view is made once and serves any number of requests, so a wrong argument is an error of the decorator, not of the
first handshake.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypedDict

from .._base.callables import check_callable, check_done, check_plain
from .._base.options import check_count, check_detach
from .._conn.conn import Conn
from .._http.headers import HeaderSource
from .._http.wsgiresponse import WSGIResponse
from .._wsgi.taken import Environ
from .upgrader import Upgrader


class ServingKeywords(TypedDict, total=False):
    """The options of every such decorator, for type checkers and editors."""

    upgrader: Upgrader | None
    detach: bool | None
    max_connections: int | None


class ViewKeywords(ServingKeywords, total=False):
    """Those of a framework's decorator, which has a hook before the handshake."""

    before: Callable[..., object] | None


class Serve(Protocol):
    """`Upgrader.serve`, of one Upgrader and with options that hold for every request."""

    def __call__(
        self, environ: Environ, handler: Callable[[Conn], object], *, response_headers: HeaderSource | None = None
    ) -> WSGIResponse: ...


def serving(upgrader: Upgrader | None, *, detach: bool | None, max_connections: int | None) -> Serve:
    """How to serve with these options. Raises ValueError or TypeError, which name the option that is wrong."""
    check_detach(detach)
    check_count("max_connections", max_connections)
    return partial(chosen_upgrader(upgrader).serve, detach=detach, max_connections=max_connections)


def chosen_upgrader(upgrader: Upgrader | None) -> Upgrader:
    """The Upgrader that was given, or a default one for None. Raises TypeError for anything else."""
    check_upgrader(upgrader)
    return Upgrader() if upgrader is None else upgrader


def check_upgrader(upgrader: Upgrader | None) -> None:
    """Raise TypeError unless it is an Upgrader, or None."""
    if not (upgrader is None or isinstance(upgrader, Upgrader)):
        raise TypeError(f"upgrader must be an Upgrader, such as Upgrader(), or None, not {upgrader!r}")


def check_handler(handler: object, taken_by: str, arguments: str) -> None:
    """Raise TypeError unless it can be called, and does its work then: see `callables`.

    The text begins with taken_by ("websocket decorates") and tells the arguments that a handler gets.
    """
    if not callable(handler):
        advice = ": a path belongs to the framework's own route" if isinstance(handler, str) else ""
        raise TypeError(f"{taken_by} a handler({arguments}), not {handler!r}{advice}")
    check_plain(f"{taken_by} plain functions, and {handler!r}", handler)


def check_before(before: object) -> None:
    """Raise TypeError unless it can be called, and does its work then, or is None."""
    if before is not None:
        check_callable("before", before, "must be a callable that takes the arguments of the view, or None")


def ask_before(before: Callable[..., object] | None, *args: Any, **kwargs: Any) -> Any:
    """What refuses a request before its handshake, in place of the 101; None: nothing does.

    Raises TypeError if before has returned what decides nothing: see `call_before`, or True or False, of which nobody
    would know what it means. The framework's answer to an error is a refusal.
    """
    refusal = call_before(before, *args, **kwargs)
    if isinstance(refusal, bool):
        raise TypeError(f"before returns None to let in, or a response; not {refusal}")
    return refusal


def call_before(before: Callable[..., object] | None, *args: Any, **kwargs: Any) -> Any:
    """What before returns; None if there is none.

    Raises TypeError if that is work that nobody does, such as a coroutine. A generator may be the body of a response.
    """
    if before is None:
        return None
    try:
        refusal = before(*args, **kwargs)
    except TypeError as error:
        if not _takes(before, *args, **kwargs):
            error.add_note(
                f"before is called with the arguments of the view{_say_names(kwargs)}: write before=lambda "
                "**variables: None"
            )
        raise
    check_done("before", refusal, may_yield=True)
    return refusal


def _takes(called: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
    """Whether it can be called with these arguments, as far as it tells."""
    try:
        inspect.signature(called).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # of one that has no signature
        pass
    return True


def _say_names(kwargs: Mapping[str, object]) -> str:
    return f", here {', '.join(kwargs)}" if kwargs else ""


def is_refusal(before: object, status: int) -> bool:
    """Whether before, which has returned None, has refused by the status that it set on the framework's response.

    A redirect or an error is meant as the answer, and the 101 would replace it.
    """
    return before is not None and status >= 300
