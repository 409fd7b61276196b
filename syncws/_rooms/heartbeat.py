"""Heartbeats that are messages, for clients that cannot send pings of the protocol: browsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._base.options import check_timeout


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
        if not (callable(self.is_ping) or isinstance(self.is_ping, str | bytes)):
            raise TypeError(f"is_ping is a message (str or bytes), or a callable that gets one, not {self.is_ping!r}")
        if not (self.pong is None or callable(self.pong) or isinstance(self.pong, str | bytes)):
            raise TypeError(
                f"pong is a message (str or bytes), a callable that returns one, or None, not {self.pong!r}"
            )

    def matches(self, message: str | bytes) -> bool:
        """Whether a message is a heartbeat. Raises what the application's callable raises."""
        return self.is_ping(message) if callable(self.is_ping) else message == self.is_ping

    def answer(self, message: str | bytes) -> str | bytes | None:
        """The answer to a heartbeat; None: there is none. Raises what the application's callable raises."""
        return self.pong(message) if callable(self.pong) else self.pong
