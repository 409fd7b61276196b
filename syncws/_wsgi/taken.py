"""What a server's taker tells of a request's connection: the socket, and how the server treats it.

Everything that the rest of the package knows of a WSGI server is a field of its `Taken`: a value, or a callable that
asks the server. `servers` fills them in, `takers` finds the server of a request; nobody else names one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._base.callables import check_callable

Environ = dict[str, Any]

#: Where the classes of sockets come from that suspend a greenlet, and not the thread, while they wait.
_GREEN = ("gevent", "eventlet")


class Untakeable(Exception):
    """The server's socket cannot be taken over; ``advice`` says what the operator can do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def _no_bytes() -> bytes:
    return b""


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The socket of a request, as its server holds it.

    Args:
        server: its name, for people: "gunicorn gthread".
        sock: its socket object. None: nothing is known but the descriptor.
        fd: the descriptor.
        read_early: gives, once and without waiting, what the server has received after the request.
        detachable: whether a connection may outlive the view. It may where the server has the descriptor in no selector
            while a view runs, and makes nothing of it when the client is gone as the view returns.
        pool: how many requests the server serves at a time; None: not known, or as many as come.
        swallow: the server logs a response that it cannot write: let it write into nothing.
        on_taken: called when the connection is taken, in the thread of the view; tells the server, or prepares what is
            asked of it later.
        environ_keys: how the keys of the environ begin under which the server keeps objects of its own, such as its
            streams. The request of a detached connection goes without them. Keys of WSGI itself need not be named.
        is_ending: tells whether the server is about to end, if it then waits for the views under way. Asked a few
            times a second while there are any, by another thread.
        say_alive: called as often as that, for a server that kills whoever it has not heard of for too long.
        is_replaced: tells, when the process ends, whether another one takes its place at once. Peers are told 1012
            (service restart) then, and 1001 otherwise.

    Raises TypeError for what cannot be called.
    """

    server: str
    sock: Any
    fd: int
    read_early: Callable[[], bytes] = _no_bytes
    detachable: bool = True
    pool: int | None = None
    swallow: bool = False
    on_taken: Callable[[], object] = _nothing
    environ_keys: tuple[str, ...] = ()
    is_ending: Callable[[], bool] | None = None
    say_alive: Callable[[], object] | None = None
    is_replaced: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("read_early", "on_taken"):
            check_callable(name, getattr(self, name), "is a callable without arguments")
        for name in ("is_ending", "say_alive", "is_replaced"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name), "is a callable without arguments, or None")

    @property
    def is_tls(self) -> bool:
        """Whether the server itself speaks TLS on it."""
        return getattr(self.sock, "_sslobj", None) is not None

    @property
    def is_green(self) -> bool:
        """Whether it belongs to gevent or eventlet: then the view is a greenlet, beside others in one thread."""
        return type(self.sock).__module__.startswith(_GREEN)


#: Gives what it has found, or None if the request is not of its server; or raises `Untakeable`. It changes nothing.
Taker = Callable[[Environ], Taken | None]
