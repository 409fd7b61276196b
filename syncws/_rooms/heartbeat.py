"""Heartbeats that are messages, for clients that cannot send pings of the protocol: browsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._base.callables import check_callable, check_done, undecided
from .._base.options import check_timeout
from .._base.owners import explains_options


@explains_options
@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Which messages a `Manager` takes for heartbeats: it answers them, and does not deliver them.

    A member of `Manager.run` that sends no message for ``timeout`` seconds, be it a heartbeat or another one, is closed
    with 1008. The pings of the protocol, which every connection sends by itself, go on beside this.

    Immutable; one object serves any number of managers and threads.

    Args:
        timeout: seconds of silence after which a member is closed; None: never.
        is_ping: the message that is a heartbeat, or a callable that gets a message (str or bytes) and returns whether
            it is one. It is called by the thread in `Manager.run`; what it raises closes that connection with 1011.
        pong: the answer, or a callable that gets the heartbeat and returns the answer (str or bytes), called as
            is_ping; None: no answer.

    Raises:
        TypeError, ValueError: an option is wrong; the message names it.
    """

    timeout: float | None = 60.0
    is_ping: str | bytes | Callable[[str | bytes], bool] = "ping"
    pong: str | bytes | Callable[[str | bytes], str | bytes] | None = "pong"

    def __post_init__(self) -> None:
        check_timeout("timeout", self.timeout)
        if not isinstance(self.is_ping, str | bytes):
            check_callable("is_ping", self.is_ping, "is a message (str or bytes), or a callable that gets one")
        if not (self.pong is None or isinstance(self.pong, str | bytes)):
            check_callable("pong", self.pong, "is a message (str or bytes), a callable that returns one, or None")

    def matches(self, message: str | bytes) -> bool:
        """Whether a message is a heartbeat. Raises what the application's callable raises.

        Raises TypeError if that returns what is neither a yes nor a no: see `undecided`.
        """
        if not callable(self.is_ping):
            return message == self.is_ping
        answer = self.is_ping(message)
        if mistake := undecided(answer):
            raise TypeError(f"is_ping decides nothing: {mistake}")
        return bool(answer)

    def answer(self, message: str | bytes) -> str | bytes | None:
        """The answer to a message that is a heartbeat; None: there is none.

        Raises what the application's callable raises, and TypeError if that returns a coroutine.
        """
        if not callable(self.pong):
            return self.pong
        answer = self.pong(message)
        check_done("pong", answer)
        return answer
