"""The other processes on the bus: who is alive, by the beats that each sends."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._base.printable import printable

#: Seconds between two beats of a process.
BEAT = 3.0

#: Beats that may be missing.
MISSING = 3

#: Seconds after which the numbers of a process that is gone are forgotten.
FORGOTTEN = 600.0

#: Processes that are looked at: who writes to the bus could invent any number.
MOST = 10_000


@dataclass(frozen=True)
class Node:
    """A process on the bus, as it said with its last beat; immutable.

    Attributes:
        name: 16 hexadecimal digits, new in each process and each fork.
        host: of which host.
        pid: its id there.
        connections: members that it has.
        rooms: rooms that somebody there is in.
        seen: when its last beat came, an instant of time.time().
        here: whether it is this process.
        lag: seconds from a question of this process to its answer, as last measured; None: it was not asked.
    """

    name: str
    host: str
    pid: int
    connections: int
    rooms: int
    seen: float
    here: bool = False
    lag: float | None = None


class Nodes:
    """The other processes that are alive.

    Any thread. `_lock` guards every field and is a leaf.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._alive: dict[bytes, Node] = {}
        self._deadlines: dict[bytes, float] = {}  # of time.monotonic(): when each counts as gone
        self._gone: dict[bytes, float] = {}  # those that are gone, with when
        self._left: dict[bytes, float] = {}  # those of them that have left, with when they were last seen

    def beat(self, boot: bytes, said: Mapping[str, Any]) -> bool:
        """A beat came; whether its process was not known to be alive. Raises ValueError for what is no beat."""
        node = Node(
            boot.hex(),
            printable(_text(said, "host"), 100),
            _number(said, "pid"),
            _number(said, "connections"),
            _number(said, "rooms"),
            time.time(),
        )
        with self._lock:
            is_new = boot not in self._alive
            if is_new and len(self._alive) >= MOST:
                raise ValueError("too many processes")
            self._alive[boot] = node if is_new else replace(node, lag=self._alive[boot].lag)
            self._deadlines[boot] = time.monotonic() + BEAT * MISSING
            self._gone.pop(boot, None)
            self._left.pop(boot, None)
        return is_new

    def answered(self, boot: bytes, lag: float) -> None:
        """It answered a question that was asked so many seconds ago."""
        with self._lock:
            if (node := self._alive.get(boot)) is not None:
                self._alive[boot] = replace(node, lag=lag)

    def leave(self, boot: bytes) -> Node | None:
        """A process said goodbye, or is known to have ended; as it was, if it was alive until now."""
        with self._lock:
            self._deadlines.pop(boot, None)
            if (was := self._alive.pop(boot, None)) is not None:  # else it is not heard of here, or anybody's invention
                self._gone[boot] = time.monotonic()
                self._left[boot] = was.seen
            return was

    def vanish(self, boot: bytes) -> float | None:
        """A process has ended without a goodbye: when it was last seen, once; None if nobody has heard of it here."""
        self.leave(boot)
        with self._lock:
            return self._left.pop(boot, None)

    def alive(self) -> dict[bytes, Node]:
        """Those that are alive, by boot."""
        with self._lock:
            return dict(self._alive)

    def late(self) -> list[bytes]:
        """Those whose beats are missing."""
        now = time.monotonic()
        with self._lock:
            return [boot for boot, deadline in self._deadlines.items() if deadline < now]

    def postpone(self, seconds: float) -> None:
        """Nobody could be heard for so long."""
        with self._lock:
            for boot in self._deadlines:
                self._deadlines[boot] += seconds

    def listen_again(self) -> None:
        """The bus is back: everybody has the whole time for the next beat."""
        deadline = time.monotonic() + BEAT * MISSING
        with self._lock:
            for boot in self._deadlines:
                self._deadlines[boot] = deadline

    def forgettable(self, boots: set[bytes], spoke: set[bytes]) -> list[bytes]:
        """Those of these processes that are not alive, and have been gone or silent for long.

        spoke: those that have sent something since the last call, as a Publisher does, which has no beats.
        """
        now = time.monotonic()
        with self._lock:
            for boot in boots - self._alive.keys():
                if boot in spoke:
                    self._gone[boot] = now
                else:
                    self._gone.setdefault(boot, now)
            forgotten = [boot for boot, since in self._gone.items() if since < now - FORGOTTEN]
            for boot in forgotten:
                del self._gone[boot]
                self._left.pop(boot, None)
        return forgotten


def beat_of(connections: int, rooms: int) -> dict[str, Any]:
    """What a beat of this process says."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "connections": connections, "rooms": rooms}


def _number(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{name} is no count")
    return value


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value
