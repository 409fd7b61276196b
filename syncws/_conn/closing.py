"""The closing handshake (RFC 6455 section 7) as one call of `Conn.close` performs it, in its own thread and in time.

    _wait_for_end      until a reader has seen the peer's close; if no thread reads, this one does
    _await_answer      only after a dismissal, which has ended reads before the peer could answer
    Wire.flush         what waits leaves, our close last; a server then ends its side of TCP
    _linger            until the peer has closed TCP, a second at most

Our close was queued before. Whatever comes in between, the connection is cut at the deadline.
"""

from __future__ import annotations

import time

from .._net.transport import Transport
from ..errors import CLOSE, ConnectionClosed, ProtocolError, WriteTimeout
from .ending import Ending
from .inbound import Inbound
from .states import Life, State
from .wire import Wire

#: Seconds for the peer to close TCP once both close frames are through (RFC 6455 section 7.1.1).
_LINGER = 1.0

#: Seconds between two looks at a socket that cannot be waited for any more.
_LOOK = 0.02

#: Bytes that a peer may have on the way when it reads our close. One that sends more does not read.
_FLOOD = 1 << 16

#: Bytes received at a time of what is passed over.
_PORTION = 4096


class ClosingHandshake:
    """What is left to do once our close is queued.

    Concurrency: `perform` is for any thread, and several may be inside at the same time; the read turn decides which
    one of them reads.
    """

    __slots__ = ("_client", "_ending", "_inbound", "_life", "_transport", "_wire")

    def __init__(
        self, transport: Transport, life: Life, wire: Wire, ending: Ending, inbound: Inbound, *, client: bool
    ) -> None:
        self._transport = transport
        self._life = life
        self._wire = wire
        self._ending = ending
        self._inbound = inbound
        self._client = client

    def perform(self, timeout: float) -> None:
        """Close within so many seconds. Raises no error of the connection; it is over and cut afterwards.

        Where `Transport.lingers_behind` says so a timer cuts it a second later instead.
        """
        if self._transport.torn:
            timeout = min(timeout, _LINGER)  # our close cannot be said any more: only what has arrived is of interest
        lingers = False
        try:
            lingers = self._finish(time.monotonic() + timeout)
        finally:
            if not lingers:
                self._ending.cut_at_deadline()

    def _finish(self, deadline: float) -> bool:
        """Wait for the end, and for the peer to close TCP; True if a timer is left to do the latter."""
        if not self._wait_for_end(deadline):
            return False
        try:
            if self._life.state is State.DISMISSED:
                # Before this side ends TCP: after that, whatever the peer still sends is answered by a reset.
                self._wire.flush(deadline, finish=False)
                self._await_answer(min(deadline, time.monotonic() + _LINGER))
            self._wire.flush(deadline, finish=not self._client)
        except (ConnectionClosed, WriteTimeout):
            return False
        if self._transport.lingers_behind:
            self._ending.cut_after(_LINGER)
            return True
        self._linger(min(deadline, time.monotonic() + _LINGER))
        return False

    def _wait_for_end(self, deadline: float) -> bool:
        """Read until the end, or wait for the thread that does; False if that has not ended by the deadline."""
        if not self._inbound.take_turn_to_close(deadline):
            return False
        try:
            self._inbound.pass_over(deadline)
        finally:
            self._inbound.turn.release()
        return True

    def _await_answer(self, deadline: float) -> None:
        """Pass over what the peer still sends until its close, or until an instant.

        In slices, since receiving does not wait any more after a dismissal.
        """
        if not self._inbound.take_turn_to_close(deadline):
            return
        try:
            while self._life.state < State.CUT and time.monotonic() < deadline:
                if self._receives_close():
                    return
        except (OSError, ProtocolError):
            pass
        finally:
            self._inbound.turn.release()

    def _receives_close(self) -> bool:
        """Look once at what has come; whether the peer's close was in what had come before."""
        protocol = self._inbound.protocol
        # First, as the attendant may have left something there: what comes now is after it.
        while (event := protocol.next_piece()) is not None:
            if event[0] == CLOSE:
                return True
        if data := self._transport.receive(_PORTION, _LOOK):
            protocol.receive(data)
        else:
            time.sleep(_LOOK)
        return False

    def _linger(self, deadline: float) -> None:
        """Receive until the peer has closed TCP: closing with bytes unread would reset what it has yet to read."""
        if not self._inbound.take_turn_to_close(deadline):
            return
        passed = 0
        try:
            while self._life.state < State.CUT and (left := deadline - time.monotonic()) > 0:
                data = self._transport.receive(_PORTION, left)
                if data == b"":
                    return
                passed += len(data or b"")
                if passed > _FLOOD:  # a peer that does not listen, and costs the less the less is taken from it
                    time.sleep(_LOOK)
        except OSError:
            pass
        finally:
            self._inbound.turn.release()
