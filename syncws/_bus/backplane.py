"""What joins processes: `Backplane`, which carries bytes on named channels, and what it tells, a `Sink`.

    Manager ── Relay ── Backplane ── the bus ── Backplane ── Relay ── Manager
                 │          │
                 │          └ bytes on channels: RedisBackplane, LocalBackplane, one of your own
                 └ envelopes, numbers, gaps, questions, ids: the same over every bus

A backplane is small on purpose, and `syncws.testing.BackplaneCases` are the tests that one of your own has to pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .history import Archive


@dataclass(frozen=True)
class BusHealth:
    """What a backplane knows of itself, at one moment; immutable. Instants are of time.time(), seconds since the epoch.

    Attributes:
        up: whether it is connected, with every subscription acknowledged.
        since: when that began to be so, or not to be so; None: it was not started.
        error: why it is not up, in one line that may stand in a log; None while it is.
        last_proof: when the bus was last known to carry what this process sends to what it reads; None: never.
        lag: seconds from sending to reading, as last measured; None: never measured, or nothing to measure.
        queued_messages: messages that the bus has not taken yet.
        queued_bytes: their bytes.
        published: messages that the bus has taken.
        received: messages that came from the bus.
        dropped_out: messages that were not sent: the queue was full, or the bus was away for too long.
        reconnects: how often a connection to the bus was made again.
    """

    up: bool
    since: float | None = None
    error: str | None = None
    last_proof: float | None = None
    lag: float | None = None
    queued_messages: int = 0
    queued_bytes: int = 0
    published: int = 0
    received: int = 0
    dropped_out: int = 0
    reconnects: int = 0


class Sink(Protocol):
    """What a backplane tells, from threads of its own: one call at a time for each channel, in the bus's order.

    Nothing here waits, runs code of the application, or raises. A call may publish and subscribe: so no lock that those
    take is held meanwhile.
    """

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        """Something came on a channel.

        Args:
            channel: the channel, as it was published on.
            data: the message.
            position: where it stands in the channel's history, if it was kept there.
        """

    def down(self, reason: str) -> None:
        """The bus is lost: what others publish from now on may be missed. reason: one line that may stand in a log."""

    def up(self, proven: float) -> None:
        """The bus is there, with all subscriptions acknowledged: what others publish from now on arrives.

        proven: the instant of time.monotonic() until which nothing was missed; that of the start, at the first time.
        """

    def dropped(self, counts: Mapping[str, int]) -> None:
        """Messages that `Backplane.publish` had taken will not be sent: counts says how many, by channel."""

    def vanished(self, node: str) -> None:
        """The process of the name node ended without a goodbye. Only from a bus that sees its processes by itself."""


class Backplane(Protocol):
    """A bus that joins processes: bytes on named channels, at most once, in each sender's order, never waiting.

    Any thread may call any method. Before `start`, and in the child of a fork, it has no thread, no descriptor and no
    lock that is held. It belongs to one Manager or one Publisher. A message that is lost on the way out is told to
    `Sink.dropped`, one that may be lost on the way in by `Sink.down` and `Sink.up`: no loss is silent.

    Attributes:
        addressed: True: only what is published on subscribed channels arrives. False: everything does.
        echoes: True: what a process publishes arrives at itself too, in an order that is the same for all processes.
            False: it does not.
        max_message: bytes that one message may have, the envelope's head included.
        archive: where the bus keeps the history of channels; None: it keeps none.

    Two more may be left out, and are False then. ``tells_ends``: `Sink.vanished` is called for each process that ends
    without a goodbye; so one that is merely silent has lost nothing. ``one_host``: all its processes run on one host,
    and so have one time.monotonic(), which nobody steps.
    """

    @property
    def addressed(self) -> bool: ...
    @property
    def echoes(self) -> bool: ...
    @property
    def max_message(self) -> int: ...
    @property
    def archive(self) -> Archive | None: ...

    def start(self, sink: Sink, node: str) -> None:
        """Connect, and tell the sink of everything from now on. Returns at once: an unreachable bus is no error.

        Without effect if it is started in this process; after `close`, and in the child of a fork, it begins anew.

        Args:
            sink: what is told.
            node: the name of this process, not that of any other: 16 hexadecimal digits.
        """

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        """Queue a message for a channel; whether it is: if the queue is full it is not sent, and `dropped` is not told.

        Never waits. What is queued is sent in order, and kept until the bus has taken it, at most for a patience of
        the backplane's; what a lost connection may have swallowed is sent again, so it may arrive twice.

        Args:
            channel: text of printable ASCII characters, 4,096 at most. Each of them counts, and none is special.
            data: at most max_message bytes.
            keep: put it into the channel's history too; only with an archive. It then arrives at this process as well.

        Raises ValueError for more than max_message bytes: nothing has changed then.
        """

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """Have what is published on these channels arrive. True: it does from now on; False: not yet, but it will.

        Waits at most timeout seconds for it, and not at all while the bus is known to be lost; in the first second of
        that it may wait for its return. Known channels are no error.
        """

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Let go of these channels. Never waits; unknown ones are no error."""

    def flush(self, timeout: float) -> bool:
        """Wait until the bus has taken all that was published, at most timeout seconds; whether it has."""

    def health(self) -> BusHealth:
        """How it is."""

    def close(self, timeout: float) -> None:
        """Flush, at most timeout seconds; then end: after it there is no thread and no descriptor.

        From a thread of the backplane's own it does not wait for that thread.
        """

    def outlet(self) -> Outlet:
        """A way out for programs that only publish: no thread, no queue. The backplane need not be started."""


class Outlet(Protocol):
    """A way out that waits until the bus has taken what is sent. One thread at a time.

    The child of a fork leaves the parent's connection alone, and connects for itself.
    """

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        """Send messages in order; returns once the bus has taken all.

        Connects at first use. After a failure it connects anew and sends all once more: who listens drops what comes
        twice, by its number.

        Args:
            messages: (channel, data) pairs.
            timeout: seconds that it may take.
            keep: put them into the histories of their channels too; only with an archive.

        Raises:
            BackplaneTimeout: not in timeout seconds; it may have been delivered all the same.
            BackplaneError: the bus refuses, and why.
        """

    def close(self) -> None:
        """Let go of the connection; the next `send` makes a new one."""
