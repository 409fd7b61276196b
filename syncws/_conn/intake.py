"""The bytes of a peer as they come: how many are asked for, what silence means, what the end of the stream does.

An idle connection waits in `recv`, so it asks for little; one to which much comes asks for more at a time. What comes
is life. A wait that ends without a byte is part of a silence, which is judged here: a ping first, and 1006 in the end.
"""

from __future__ import annotations

import math
import time
from typing import Any, NoReturn

from .._base.counters import breaches
from .._base.options import ConnOptions
from .._frames import accelerator
from .._frames.frame import MASKED, MAX_HEADER
from .._frames.keepalive import Keepalive
from .._net.transport import Transport
from ..errors import ConnectionClosed, WriteTimeout
from .contexts import Contexts
from .ending import Ending
from .states import Life
from .wire import Wire

#: What a read asks for first. An idle connection blocks in recv with a buffer of the size it asked for, so it asks for
#: little (this much comes from Python's own allocator, with no page of its own); a read that fills its buffer asks for
#: four times as much the next time, up to read_buffer_size and a header.
_FIRST_READ = 448

#: The bytes of a read of a peer whose frames make no message.
_SMALL_READ = 1 << 14

#: Seconds for a kernel to acknowledge a ping, at least: it may delay that, and send it again where a packet was lost.
_ACKNOWLEDGED = 1.0


def _shorter(first: float | None, second: float | None) -> float | None:
    """The shorter of two waits, of which None is one without end.

    Each thread of a connection comes here, and so nothing is called that calls Python in turn, as min() does with a
    generator: that would take one more page of stack, for good.
    """
    if first is None or second is None:
        return second if first is None else first
    return first if first < second else second


class Intake:
    """Receives, and judges silence.

    Concurrency: one thread at a time, the one that holds the read turn; `is_counting` is a hint for any.
    """

    __slots__ = (
        "_contexts",
        "_ending",
        "_is_tls",
        "_life",
        "_mask_bit",
        "_most",
        "_read_size",
        "_transport",
        "_usual_tick",
        "_wire",
        "decoder",
        "keepalive",
        "tick",
    )

    def __init__(
        self,
        transport: Transport,
        life: Life,
        wire: Wire,
        ending: Ending,
        keepalive: Keepalive,
        options: ConnOptions,
        *,
        client: bool,
        contexts: Contexts | None = None,
    ) -> None:
        self._transport = transport
        self._contexts = contexts  # None where nothing is kept from message to message
        self._is_tls = transport.is_tls
        self._mask_bit = 0 if client else MASKED
        #: What receives and decodes in one step; None where the socket is no plain one, or the accelerator not there.
        self.decoder = accelerator.receive if transport.is_direct else None
        self._life = life
        self._wire = wire
        self._ending = ending
        self._most = options.read_buffer_size + MAX_HEADER  # so that a message of just that size needs one read
        self._read_size = _FIRST_READ if self._most > _FIRST_READ else self._most  # min() goes deep into the stack
        self.keepalive = keepalive
        #: How long a wait for bytes is: the same one mostly, as a change is a call of the system.
        self.tick = self._usual_tick = _shorter(keepalive.interval, None if contexts is None else contexts.after)

    def receive(self, wait: float | None) -> bytes | None:
        """What comes within so many seconds; None where nothing did. Raises the end."""
        try:
            data = self._transport.receive(self._read_size, wait)
        except OSError as error:
            self._end_broken(error)
        if not data:
            self._nothing_came(data, wait or 0.0)
        elif len(data) == self._read_size:
            self._read_size = min(4 * self._read_size, self._most)
        if self.keepalive.silent_since is not None and data:
            self.keepalive.heard()
        if self._is_tls and self._transport.pending:
            self._wire.nudge()
        return data

    def receive_message(self, wait: float | None, limit: int | None) -> Any:
        """As `receive`, by the `decoder`: the message, if what comes is one frame of it, whole and nothing else.

        Else bytes, or None. To be asked while the stream stands between two messages; limit is the read limit.
        """
        decoder = self.decoder
        assert decoder is not None
        try:
            came = self._transport.receive_by(decoder, self._read_size, wait, self._mask_bit, limit)
        except OSError as error:
            self._end_broken(error)
        if type(came) is tuple:
            return came  # it has not filled the buffer
        if not came:
            self._nothing_came(came, wait or 0.0)
        elif len(came) == self._read_size:
            self._read_size = min(4 * self._read_size, self._most)
        return came

    def receive_into(self, room: memoryview, wait: float | None) -> int | None:
        """As `receive`, in place; how many bytes came. The view is released in any case."""
        with room:
            try:
                came = self._transport.receive_into(room, wait)
            except OSError as error:
                self._end_broken(error)
        if not came:
            self._nothing_came(came, wait or 0.0)
        elif self.keepalive.silent_since is not None:
            self.keepalive.heard()
        if self._is_tls and self._transport.pending:
            self._wire.nudge()
        return came

    def ask_for_less(self) -> None:
        """The peer sends frames that make no message: a read is to be short, as others wait for it."""
        self._read_size = min(self._read_size, _SMALL_READ)

    def _end_broken(self, error: OSError) -> NoReturn:
        """The socket is broken: that is the end."""
        self._ending.finish_and_cut(self._life.vanished(str(error), error))
        self._life.raise_end()

    def _nothing_came(self, came: bytes | int | None, waited: float) -> None:
        """A wait ended without bytes: with nothing (None), or at the end of the stream."""
        if came is not None:
            self._life.check_readable()  # this side has woken the reader
            # No frame can follow, and a writer that is stuck would stay so: a peer may have closed one way only.
            self._ending.finish_and_cut(self._life.vanished("the peer left without a close frame"))
            self._life.raise_end()
        if self._transport.heard_part:
            self.keepalive.heard()  # a TLS record that arrives slowly is no silence
            return
        self._read_size = min(_FIRST_READ, self._most)
        self.tick = self._usual_tick
        if self._contexts is not None:
            self._contexts.look()
        if self.judge_silence(waited):
            self._ending.finish_and_cut(self._life.vanished(self.silence))
            self._life.raise_end()

    def judge_silence(self, waited: float) -> bool:
        """After a wait without a byte: ping the peer, if it is time; whether it is dead."""
        return self._carry_out(self.keepalive.nothing_came(time.monotonic(), waited, self._transport.taken_by_peer()))

    def judge_unheard(self) -> bool:
        """As `judge_silence`, of a peer of which nothing is received for want of room: whether its kernel has gone.

        A kernel acknowledges a ping whatever its program does.
        """
        keepalive = self.keepalive
        verdict = keepalive.nothing_came(time.monotonic(), 0.0, self._transport.taken_by_peer(), ping_size=0)
        if verdict == "dead":
            assert keepalive.timeout is not None
            unacknowledged = self._transport.unacknowledged_for()
            if unacknowledged is None:  # it has no room either, or nobody can say
                keepalive.heard()
                return False
            if unacknowledged < max(keepalive.timeout, _ACKNOWLEDGED):
                return False
        return self._carry_out(verdict)

    def _carry_out(self, verdict: str | None) -> bool:
        """Ping the peer if that is the verdict; whether it is dead."""
        if verdict == "ping" and self._life.refusal is None:
            try:
                self._wire.ping(b"")
            except (ConnectionClosed, WriteTimeout):
                pass  # closed since the look above: the next read says how
        if verdict == "dead":
            breaches.add("ping_timeout")
        return verdict == "dead"

    def seconds_left(self, now: float) -> float | None:
        """Seconds until there is something to do though nothing comes; None for never."""
        left = self.keepalive.seconds_left(now)
        return left if self._contexts is None else _shorter(left, self._contexts.seconds_left(now))

    def judged_at(self) -> float:
        """When the silence of a peer that says nothing is next to be judged, an instant."""
        now = time.monotonic()
        left = self.keepalive.seconds_left(now)
        return math.inf if left is None else now + left

    @property
    def silence(self) -> str:
        """What is said of a peer that is dead."""
        return f"no answer to a ping for {self.keepalive.timeout:g} s"
