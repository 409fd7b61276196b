"""What the tests of the relay share: nodes on a bus in memory, and members that are lists."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterator
from typing import Any

from syncws import PreparedMessage
from syncws._relay.envelope import Envelope
from syncws._relay.gaps import Gap
from syncws._relay.relay import Relay
from syncws.errors import TEXT
from syncws.testing import LeakChecks, MemoryBackplane, MemoryBus, await_


class Members:
    """A `Here` that writes down what it is told."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.in_rooms: set[Hashable] = set()
        self.named: set[Hashable] = set()
        self.connections = 0

    def find(self, id: Hashable) -> list[Hashable]:
        return [id] if id in self.named else []

    def has(self, member: Hashable) -> bool:
        return member in self.named

    def replace(self, member: Hashable) -> None:
        self.named.discard(member)
        self.got.append(("replaced", member))

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        self.got.append((room, message.payload, *exclude))
        return 1

    def remembers(self, room: Hashable) -> bool:
        return False

    def take(self, room: Hashable, envelope: Envelope, data: bytes, position: str | None, *, own: bool) -> None:
        self.got.append(("kept", room, envelope.body, position))

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        self.got.append(("to", id, message.payload))
        return 1

    def close(self, id: Hashable, code: int, reason: str) -> int:
        self.got.append(("close", id, code, reason))
        return 1

    def join(self, id: Hashable, room: Hashable) -> bool:
        self.got.append(("join", id, room))
        return True

    def leave(self, id: Hashable, room: Hashable) -> bool:
        self.got.append(("leave", id, room))
        return True

    def count(self, room: Hashable) -> int:
        return self.connections

    def ids(self, room: Hashable) -> list[Hashable]:
        return sorted(self.named, key=repr)

    def members(self, room: Hashable) -> Iterator[tuple[Hashable, float, float]]:
        return ((id, 2.0, 1.0) for id in self.ids(room))

    def rooms(self) -> set[Hashable]:
        return self.in_rooms

    def names(self) -> set[Hashable]:
        return self.named


class Process:
    """One process of a test: a relay on the bus, and what its application was told."""

    def __init__(self, bus: MemoryBus) -> None:
        self.here = Members()
        self.gaps: list[Gap] = []
        self.told: list[tuple[bool, str]] = []
        self.changed = threading.Semaphore(0)
        self.backplane = MemoryBackplane(bus)
        self.relay = Relay(self.backplane, self.here, on_gap=self._on_gap, on_bus=self._on_bus)

    def _on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def _on_bus(self, up: bool, reason: str) -> None:
        self.told.append((up, reason))

    def join(self, *rooms: Hashable, id: Hashable = None) -> None:
        with self.relay.joining(rooms, id):
            self.here.in_rooms.update(rooms)
            if id is not None:
                self.here.named.add(id)

    @property
    def texts(self) -> list[str]:
        return [got[1].decode() for got in self.here.got if isinstance(got[1], bytes)]

    @property
    def missed(self) -> int:
        return sum(gap.missed or 0 for gap in self.gaps)


def text(words: str) -> PreparedMessage:
    return PreparedMessage(TEXT, words)


class RelayCase(LeakChecks):
    """Processes on a bus in memory: that of Redis by default."""

    bus_options: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus(**self.bus_options)

    def process(self) -> Process:
        process = Process(self.bus)
        self.addCleanup(process.relay.end, 5.0)
        return process

    def two(self, room: Hashable = "lobby") -> tuple[Process, Process]:
        """Two processes that know each other, both with a member in a room."""
        one, other = self.process(), self.process()
        for each in (one, other):
            each.join(room)
        self.assertTrue(await_(lambda: len(one.relay.nodes.alive()) == len(other.relay.nodes.alive()) == 1))
        self.bus.settle()
        return one, other

    def settle(self, *processes: Process) -> None:
        """All that was published has come, and the callbacks are over."""
        self.bus.settle()
        for each in processes:
            self.assertTrue(await_(lambda each=each: not each.relay.gaps._errands._running))  # type: ignore[misc]
            self.assertTrue(await_(lambda each=each: not each.relay.deeds._running))  # type: ignore[misc]
