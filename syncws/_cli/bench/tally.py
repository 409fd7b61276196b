"""What a load came to: `Tally`, for each process, and added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .recorder import Recorder


@dataclass
class Busy:
    """What one process of the generator did in the time that was measured. Shares of that time, 0 to 1."""

    cpu: float  # its thread was computing
    waiting: float  # it waited, for an answer or for the next message to be due


@dataclass
class Tally:
    """Counts of a load. Those of messages are of the time that was measured, all others of the whole run.

    Concurrency: for one thread.
    """

    opened: int = 0
    opening: Recorder = field(default_factory=Recorder)  # handshakes, name lookup and TLS included
    opening_seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)  # connections that were not opened, by why
    seconds: float = 0.0  # that were measured
    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    latency: Recorder = field(default_factory=Recorder)
    late: Recorder = field(default_factory=Recorder)  # of a rate: how long after its time a message was sent
    unlike: int = 0  # answers that were not what was sent
    unasked: int = 0  # messages that answer nothing
    unanswered: int = 0  # messages whose answer has not come in time, or never will
    closes: Counter[int] = field(default_factory=Counter)  # by code; 1006: without a close frame
    errors: Counter[str] = field(default_factory=Counter)  # connections that broke, by why
    busy: list[Busy] = field(default_factory=list)

    def begin(self) -> None:
        """Measure from here on: forget the messages so far."""
        self.sent = self.received = self.bytes_sent = self.bytes_received = 0
        self.unlike = self.unasked = self.unanswered = 0
        self.latency, self.late = Recorder(), Recorder()

    def merge(self, other: Tally) -> None:
        """Add what another process has counted."""
        for name in ("opened", "sent", "received", "bytes_sent", "bytes_received", "unlike", "unasked", "unanswered"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("opening", "latency", "late"):
            getattr(self, name).merge(getattr(other, name))
        for name in ("failures", "closes", "errors"):
            getattr(self, name).update(getattr(other, name))
        self.opening_seconds = max(self.opening_seconds, other.opening_seconds)
        self.seconds = max(self.seconds, other.seconds)
        self.busy += other.busy

    @property
    def lost(self) -> int:
        """Connections that ended before the load did."""
        return sum(self.closes.values()) + sum(self.errors.values())

    @property
    def flaws(self) -> bool:
        """Whether anything went wrong with the connections or the answers."""
        return bool(self.failures or self.lost or self.unlike or self.unanswered)
