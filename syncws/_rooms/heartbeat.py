"""Heartbeats made of messages, for clients that cannot send pings of the protocol: browsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._base.options import check_timeout


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a `Manager` takes for a heartbeat: a message that is answered and not delivered.

    A member of `Manager.run` of which no message comes for ``timeout`` seconds, no heartbeat and no other, is closed
    (1008). This is beside the pings of the protocol, which every connection sends by itself.

    Immutable; one object serves any number of managers and threads.

    Args:
        timeout: seconds of silence; None: silence is no matter.
        is_ping: the message that is a heartbeat, or a callable that gets a message and says whether it is one.
        pong: the answer, or a callable that gets the heartbeat and returns the answer; None: no answer.

    Raises TypeError or ValueError, naming the option, for a value that cannot work.
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
        """Whether a message is a heartbeat. What the application's callable raises leaves here."""
        return self.is_ping(message) if callable(self.is_ping) else message == self.is_ping

    def answer(self, message: str | bytes) -> str | bytes | None:
        """What a heartbeat is answered with, if anything. What the application's callable raises leaves here."""
        return self.pong(message) if callable(self.pong) else self.pong
