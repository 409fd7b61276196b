"""What a connection remembers from message to message is let go, once it has been silent: its zlib memory.

The compressor begins anew with the next message, which the peer does not notice. The window of a peer that keeps its
context is put to rest: compressed, it takes a few KiB. So a connection that is idle costs about what one without
compression does.

Nobody keeps a timer for that, and no message pays for it. Whoever finds the connection silent anyway has a `look`: the
reader whose wait ended without a byte, and the attendant of a connection that nobody reads. Two looks far enough apart
that find the same number of messages have found a silence. Each direction has its own.
"""

from __future__ import annotations

import time

from .._frames.protocol import Protocol
from .._net.heap import heap
from .wire import Wire


class Contexts:
    """The memory of one connection, and how long it has not been used.

    Concurrency: `look` is for the holder of the read turn; `is_due` is a hint for any thread.
    """

    __slots__ = ("_due", "_protocol", "_received", "_sent", "_wire", "after")

    def __init__(self, wire: Wire, protocol: Protocol, after: float) -> None:
        self._wire = wire
        self._protocol = protocol
        #: Seconds without a message after which the memory is let go.
        self.after = after
        self._received = _Silence()
        self._sent = _Silence()
        self._due = 0.0  # when to look next

    def is_due(self, now: float) -> bool:
        """Whether there is memory that a look at this instant may let go, or find unused."""
        return now >= self._due and self._is_live()

    def seconds_left(self, now: float) -> float | None:
        """Seconds until `is_due`; None while no memory is held."""
        return max(0.0, self._due - now) if self._is_live() else None

    def look(self) -> None:
        """Let go what has not been used for so long."""
        if not self._is_live():
            return
        now, tally = time.monotonic(), self._wire.tally
        is_silent = self._received.lasted(tally.messages_in, now) >= self.after
        has_said_nothing = self._sent.lasted(tally.messages_out, now) >= self.after
        if is_silent:
            self._protocol.let_go()
        if has_said_nothing:
            self._wire.let_go()
        if is_silent or has_said_nothing:
            heap.give_back_soon()
        self._due = now + self.after / 2

    def _is_live(self) -> bool:
        window, compressor = self._protocol.window, self._wire.compressor
        return (window is not None and window.is_live) or (compressor is not None and compressor.is_live)


class _Silence:
    """How long a number has stayed the same."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count = -1
        self._since = 0.0

    def lasted(self, count: int, now: float) -> float:
        """Seconds for which count has been what it is, as far as is known."""
        if count != self._count:
            self._count, self._since = count, now
        return now - self._since
