"""Losses on the bus, and who is told of them: `Gap`, on_gap, on_bus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from .._base.advice import advisor
from .._base.errands import Errands
from .._base.forks import begin_anew_in_child
from .._base.logs import logger

_logger = logger("syncws.relay")

#: Gaps that wait for a callback that takes its time; all others become one, of any room and any process.
MOST_PENDING = 10_000


def say_no_thread(error: RuntimeError) -> None:
    """Of `Errands` for what came from the bus."""
    _logger.error("no thread for what came from the bus (%s); trying again with the next of it", error)


def say_raised() -> None:
    """Of `Errands` for what came from the bus: inside the except block."""
    _logger.exception("what a callback raised is lost, as it was called for the bus")


@dataclass(frozen=True)
class Gap:
    """Messages of other processes that did not reach the members here, or may not have; immutable.

    Attributes:
        room: whose messages; None: of all rooms and ids. What was sent to one id has None too.
        missed: how many; None: unknown, perhaps none. Of gaps that became one while on_gap took its time it is how many
            are known of.
        since, until: between which instants of time.time() they were sent; since is when the bus last worked for sure.
        node: the name of the process that sent them; None: any.
        reason: why, in one line.
    """

    room: Hashable
    missed: int | None
    since: float
    until: float
    node: str | None
    reason: str

    def _with(self, later: Gap) -> Gap:
        """Both as one."""
        missed = later.missed if self.missed is None else self.missed + (later.missed or 0)
        return replace(later, missed=missed, since=min(self.since, later.since), until=max(self.until, later.until))


class Gaps:
    """Tells the application of losses and of the state of the bus, in a thread of its own.

    Any thread may report. While a callback takes its time, the gaps of one room and process become one, and too many
    become one of all. `_lock` guards the fields that say so and is a leaf.
    """

    def __init__(
        self, on_gap: Callable[[Gap], object] | None, on_bus: Callable[[bool, str], object] | None, name: str
    ) -> None:
        self._on_gap = on_gap
        self._on_bus = on_bus
        self._errands = Errands(name, say_no_thread, say_raised)
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Nothing was lost, as in the child of a fork."""
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._pending: dict[tuple[Hashable, str | None], Gap] = {}
        self.count = 0  # gaps
        self.missed = 0  # messages in them, as far as they are known

    def report(
        self, reason: str, *, missed: int | None, since: float, room: Hashable = None, node: str | None = None
    ) -> None:
        """Something was lost, or may have been. since: an instant of time.time()."""
        gap = Gap(room, missed, since, time.time(), node, reason)
        key = (room, node)
        with self._lock:
            self.count += 1
            self.missed += missed or 0
            if len(self._pending) >= MOST_PENDING and key not in self._pending:
                key, gap = (None, None), replace(gap, room=None, node=None)
            before = self._pending.get(key)
            self._pending[key] = gap if before is None else before._with(gap)
        if before is None:
            self._errands.run(lambda: self._tell(key))
        else:
            self._errands.go_on()

    def _tell(self, key: tuple[Hashable, str | None]) -> None:
        with self._lock:
            gap = self._pending.pop(key)
        if self._on_gap is not None:
            self._on_gap(gap)
            return
        advisor.warn(
            _logger,
            "gap",
            gap.reason,
            "messages of other processes %s (%s): give the Manager on_gap to have its members fetch what they missed",
            "may be missing" if gap.missed is None else f"are missing, {gap.missed:,} of them",
            gap.reason,
        )

    def bus(self, up: bool, reason: str) -> None:
        """The bus is lost, or back."""
        if up:
            _logger.info("the bus is up: %s", reason)
        else:
            _logger.error("the bus is lost, and members here get nothing of other processes: %s", reason)
        on_bus = self._on_bus
        if on_bus is not None:
            self._errands.run(lambda: on_bus(up, reason))
