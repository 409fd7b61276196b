"""What tests of backplanes have told: a sink that keeps it, and waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tests.tasks import PATIENCE


class Told:
    """A Sink that keeps what it is told, in order: ("up", instant), ("down", reason), ("vanished", node), ...

    `hold` keeps a received message from returning, as a slow fan-out does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()  # reentrant: a condition may ask again
        self._told: list[tuple[str, object]] = []
        self._messages: list[tuple[str, bytes]] = []
        self.hold: threading.Event | None = None

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        with self._changed:
            self._messages.append((channel, data))
            self._changed.notify_all()
        if (hold := self.hold) is not None:
            hold.wait(PATIENCE)

    def up(self, proven: float) -> None:
        self._note("up", proven)

    def down(self, reason: str) -> None:
        self._note("down", reason)

    def dropped(self, counts: Mapping[str, int]) -> None:
        self._note("dropped", dict(counts))

    def vanished(self, node: str) -> None:
        self._note("vanished", node)

    def _note(self, what: str, value: object) -> None:
        with self._changed:
            self._told.append((what, value))
            self._changed.notify_all()

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        with self._changed:
            return list(self._messages)

    def told(self, what: str) -> list[object]:
        """The values that it was told under a name."""
        with self._changed:
            return [value for name, value in self._told if name == what]

    @property
    def names(self) -> list[str]:
        """What it was told, in order, except messages."""
        with self._changed:
            return [name for name, _ in self._told]

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until a condition on what was told holds; AssertionError if it never does."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                last = [(channel, data[:20]) for channel, data in self._messages[-3:]]
                raise AssertionError(f"told {self._told}, and {len(self._messages)} messages, the last of them {last}")

    def wait_for(self, what: str, count: int = 1) -> list[object]:
        """Wait until it was told something so often; the values."""
        self.wait(lambda: sum(name == what for name, _ in self._told) >= count)
        return self.told(what)

    def wait_for_messages(self, count: int) -> list[tuple[str, bytes]]:
        """Wait until so many messages have come; all of them."""
        self.wait(lambda: len(self._messages) >= count)
        return self.messages
