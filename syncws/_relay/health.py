"""How a Manager's bus is: what the bus says of itself, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .._bus.backplane import BusHealth


@dataclass
class Counts:
    """What came from the bus."""

    received: int = 0
    echoes: int = 0
    duplicates: int = 0
    bad: int = 0
    foreign: int = 0


@dataclass(frozen=True)
class BackplaneHealth:
    """How the bus of a `Manager` is, at one moment; immutable. Instants are of time.time(), seconds since the epoch.

    Attributes:
        up: whether it is connected, with every channel acknowledged.
        since: when that began to be so, or not to be so; None: it was not used yet.
        error: why it is not up, in one line; None while it is.
        last_proof: when the bus was last known to carry what this process sends to what it reads; None: never.
        lag: seconds from sending to reading, as last measured; None: never measured.
        nodes: processes that are alive, this one included.
        queued_messages: messages that the bus has not taken yet.
        queued_bytes: their bytes.
        published: messages that the bus has taken.
        received: messages of other processes that came, copies not counted.
        echoes: messages of this process that came back.
        duplicates: copies that were dropped: the bus was given them again, as it might have lost them.
        gaps: losses that were found.
        missed: messages in them, as far as they are known.
        dropped_out: messages that were not sent: the queue was full, or the bus was away for too long.
        bad: what came and was no envelope.
        foreign: what came and was of another version of syncws.
        reconnects: how often a connection to the bus was made again.
    """

    up: bool
    since: float | None
    error: str | None
    last_proof: float | None
    lag: float | None
    nodes: int
    queued_messages: int
    queued_bytes: int
    published: int
    received: int
    echoes: int
    duplicates: int
    gaps: int
    missed: int
    dropped_out: int
    bad: int
    foreign: int
    reconnects: int

    @classmethod
    def of(
        cls, bus: BusHealth, *, nodes: int, gaps: int, missed: int, not_queued: int, counts: Counts
    ) -> BackplaneHealth:
        """What the bus says of itself and what was seen of it, as one record.

        Args:
            bus: what it says.
            nodes: processes that are alive.
            gaps: losses that were found.
            missed: messages in them.
            not_queued: messages that were not sent.
            counts: what came from it.
        """
        of_bus = {field.name: getattr(bus, field.name) for field in fields(bus)}
        of_relay = {field.name: getattr(counts, field.name) for field in fields(counts)}
        of_bus["dropped_out"] = not_queued
        return cls(**(of_bus | of_relay), nodes=nodes, gaps=gaps, missed=missed)
