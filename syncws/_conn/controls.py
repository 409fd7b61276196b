"""The control frames of a peer: how many it may send, and what this side answers to them (RFC 6455 section 5.5).

Whoever has the read turn calls this: a reader (`inbound`), or the attendant while nobody reads (`attendant`). Which
handler of the application a frame goes to first is theirs to say, and so is what a breach ends.
"""

from __future__ import annotations

import time

from .._base.counters import breaches
from .._base.options import ConnOptions
from .._frames.allowance import Allowance
from .._frames.payloads import clipped_reason, format_close_message, is_sendable
from ..errors import CloseCode, CloseError, ProtocolError, ReadLimitError
from .ending import Ending
from .states import Life
from .wire import Wire

#: Pings that are answered where more have come one after another: the last of them. RFC 6455 section 5.5.3 asks for no
#: more than the very last, and an answer costs more than all else about a ping.
ANSWERED = 16


class Controls:
    """What is counted of the peer's control frames, and what is answered.

    Concurrency: one thread at a time, the one that holds the read turn; `latency` is read by any.
    """

    __slots__ = ("_allowance", "_client", "_ending", "_life", "_options", "_wire", "ahead", "latency")

    def __init__(self, life: Life, wire: Wire, ending: Ending, options: ConnOptions, *, client: bool) -> None:
        self._life = life
        self._wire = wire
        self._ending = ending
        self._options = options
        self._client = client
        self._allowance: Allowance | None = None  # of pings and pongs; made for the first
        self.ahead = 0  # pings and pongs that were counted and are still to be handled
        self.latency: float | None = None  # seconds

    # How many

    def count(self, count: int) -> ProtocolError | None:
        """Count pings and pongs: they reach no handler of messages, and each costs more than it brings.

        What to refuse the peer with, if these were too many.
        """
        limit, rate = self._options.control_limit, self._options.control_rate
        if limit is None:
            return None
        if self._allowance is None:
            self._allowance = Allowance(limit, rate, time.monotonic())
        if self._allowance.spend(count):
            return None
        self._allowance.refill(time.monotonic())
        if self._allowance.spend(count):
            return None
        breaches.add("control_limit")
        return ProtocolError(CloseCode.POLICY_VIOLATION, f"more than {limit} control frames, and {rate} more a second")

    def recount(self) -> None:
        """Pings or pongs that a read has counted and left where they are: whoever handles them counts them anew."""
        if self.ahead and self._allowance is not None:
            self._allowance.give_back(self.ahead)
        self.ahead = 0

    # What is answered

    def answer_ping(self, data: bytes) -> None:
        """The default ping handler: a pong, as soon as the wire allows (RFC 6455 section 5.5.2)."""
        if self._life.refusal is None:
            self._wire.pong(data)

    def note_pong(self, data: bytes) -> None:
        """A pong has come: maybe the answer to our latest ping."""
        tally = self._wire.tally
        tally.pongs += 1
        seconds = self._wire.round_trip(data)
        if seconds is not None:
            self.latency = seconds
            tally.round_trip(seconds)

    def note_close(self, code: int, reason: str) -> None:
        """The peer has closed: keep it for the story."""
        with self._life.lock:
            self._life.closings += (("received", code, reason),)

    def answer_close(self, code: int, reason: str) -> None:
        """Let our close leave, if none has, and store the end: the peer's close, which was noted."""
        # The answer has the code and not the reason, as gorilla's default close handler answers; no code for none.
        # It is queued before the end is stored: after that no close is taken, and the peer would wait for ours.
        self._wire.queue_close(format_close_message(code) if is_sendable(code) else b"")
        self._ending.finish(CloseError(code, reason, self._life.closings))
        if not self._client:
            # The server ends TCP first, so that the client need not hold the port (section 7.1.1); at once, as the
            # handler may take its time before it closes.
            self._wire.half_close()

    def refuse_peer(self, error: ProtocolError) -> None:
        """The peer broke the protocol: say so in a close frame (a code without reason for 1009, as gorilla does)."""
        reason = "" if isinstance(error, ReadLimitError) else clipped_reason(error.reason)
        # Our close is queued before the end is stored: after that no close is taken, and the peer would see 1006.
        self._wire.queue_close(format_close_message(error.code, reason))
        self._ending.finish(error)
