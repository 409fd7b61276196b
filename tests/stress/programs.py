"""The list of the programs."""

from __future__ import annotations

from typing import Protocol

from . import (
    addresses,
    attendants,
    buses,
    closes,
    descriptors,
    ends,
    fanout,
    guests,
    histories,
    masks,
    members,
    prepared,
    publishers,
    readers,
    reconnects,
    rooms,
    shutdowns,
    silence,
    slow,
    snapshots,
    timers,
    tls,
    together,
    writers,
)
from .breaks import Break
from .trial import Trial


class Program(Protocol):
    """One of the modules."""

    __doc__: str | None
    BREAKS: dict[str, Break]

    def run(self, trial: Trial) -> None:
        """Go on for the rounds of a trial; raises Wrong."""


PROGRAMS: dict[str, Program] = {
    "ends": ends,
    "writers": writers,
    "together": together,
    "silence": silence,
    "closes": closes,
    "descriptors": descriptors,
    "readers": readers,
    "prepared": prepared,
    "slow": slow,
    "timers": timers,
    "attendants": attendants,
    "tls": tls,
    "masks": masks,
    "members": members,
    "rooms": rooms,
    "fanout": fanout,
    "histories": histories,
    "buses": buses,
    "publishers": publishers,
    "shutdowns": shutdowns,
    "snapshots": snapshots,
    "addresses": addresses,
    "guests": guests,
    "reconnects": reconnects,
}
