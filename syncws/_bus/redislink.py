"""What the two threads of a backplane on Redis share."""

from __future__ import annotations

from dataclasses import dataclass

from .backplane import Sink
from .outbox import Outbox
from .redisarchive import RedisArchive
from .trouble import Trouble
from .watchdog import Watchdog


@dataclass(frozen=True)
class RedisLink:
    """One start of a backplane. Immutable; `outbox`, `watchdog` and `trouble` say which threads use them.

    Attributes:
        sink: what is told.
        node: the name of this process.
        prefix: what the names of channels and keys begin with.
        beat: seconds between two beats.
        patience: seconds for which an answer is waited for, and a message kept.
        archive: what keeps messages; None: nothing does.
        outbox: what waits to be sent.
    """

    sink: Sink
    node: str
    prefix: str
    beat: float
    patience: float
    archive: RedisArchive | None
    outbox: Outbox
    watchdog: Watchdog
    trouble: Trouble

    @property
    def own_channel(self) -> str:
        """The channel of this process's beats, without the prefix."""
        return f"w:{self.node}"

    @property
    def own_key(self) -> str:
        """The key that is there while this process is."""
        return f"{self.prefix}node:{self.node}"
