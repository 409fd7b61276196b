"""How one connection ends: the stored end, the cut, and the file descriptor.

There is one stored end, the first: the peer's close, its disappearance (1006), its breach of the protocol, or what
this side gave up for. Every later read and write raises it.

Being over is not being cut: after the closing handshake the peer has yet to read our close. To *cut* is to shut the
socket down, which wakes whoever is stuck in it. Only then is the fd closed, and only by a thread that holds both the
read turn and the frame lock: closing an fd under a thread gives its number to the next socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .._net.drain import Timer, drain
from .._net.transport import Transport
from ..errors import CloseCode, CloseError, ConnectionClosed
from .wire import Wire


class Ending:
    """The end of one connection.

    Concurrency: every method is for any thread. The wire's state_lock guards the end and the timer.
    """

    __slots__ = ("_on_end", "_read_turn", "_timer", "_transport", "_wire", "cut", "dismissed", "end")

    def __init__(self, transport: Transport, read_turn: threading.Lock) -> None:
        self._transport = transport
        self._read_turn = read_turn
        self._wire: Wire
        self._on_end: Callable[[], object]
        self._timer: Timer | None = None  # guarded by state_lock
        self.end: ConnectionClosed | None = None  # guarded by state_lock; set once
        #: The socket was shut down, after the end was stored: whoever leaves it last closes the fd.
        self.cut = False
        #: The reader was woken by ourselves: from now on receiving does not wait.
        self.dismissed = False

    def attach(self, wire: Wire, on_end: Callable[[], object]) -> None:
        """Complete it: the wire and whatever else has to know were made after it, since they call it.

        on_end is called once the end is stored, maybe more than once; it must not wait.
        """
        self._wire = wire
        self._on_end = on_end

    def store(self, end: ConnectionClosed, *, drop: bool = True) -> ConnectionClosed:
        """It is over, for this reason unless there was one before; the one that counts, ready to be raised.

        What waits to leave is dropped, unless it is to be kept until the cut.
        """
        with self._wire.state_lock:
            if self.end is None:
                self.end = end
                self._wire.refuse(end, drop=drop)
        self._on_end()
        return self.end.with_traceback(None)

    def give_up(self, end: ConnectionClosed) -> ConnectionClosed:
        """It is over and cut, by a thread that is inside the socket: that one closes the fd when it leaves."""
        end = self.store(end)
        self.cut = True
        self._wire.abandon()
        self._transport.shutdown()
        return end

    def dismiss(self, end: ConnectionClosed, seconds: float, *, drop: bool) -> None:
        """It is over, and the reader is woken; cut after so many seconds, so that what waits to leave may leave."""
        self.store(end, drop=drop)
        self.dismissed = True
        self._transport.shutdown_read()
        self.cut_later(seconds)

    def lose(self, end: ConnectionClosed) -> None:
        """As `give_up`: for the wire, whose peer takes nothing any more."""
        self.give_up(end)

    def shut_down(self, end: ConnectionClosed) -> None:
        """It is over, cut, and the fd is closed as soon as nobody is inside."""
        self.give_up(end)
        with self._wire.state_lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.close_socket()

    def cut_later(self, seconds: float) -> None:
        """Cut after so many seconds what nobody waits for."""
        # Not under the lock: it may log, and a handler of the log may come back to this connection.
        timer = drain.call_at(time.monotonic() + seconds, self.cut_unanswered)
        with self._wire.state_lock:
            if needed := self._timer is None and not self.cut:
                self._timer = timer
        if not needed:
            timer.cancel()

    def cut_unanswered(self) -> None:
        """This side has closed, and that is as long as it waits for the peer."""
        self.shut_down(self.vanished("this side closed, and the peer did not answer in time"))

    def vanished(self, reason: str, cause: BaseException | None = None) -> CloseError:
        """The end of a connection whose peer did not close: 1006, with the story so far."""
        with self._wire.state_lock:
            end = CloseError(CloseCode.ABNORMAL_CLOSURE, reason, self._wire.closings)
        end.__cause__ = cause
        return end

    def close_socket(self) -> None:
        """Give the fd back, if no other thread is inside; else the one that is comes here when it leaves."""
        frame_lock = self._wire.frame_lock
        while not self._transport.closed and self._read_turn.acquire(blocking=False):
            try:
                if frame_lock.acquire(blocking=False):
                    try:
                        drain.forget(self._transport.fileno())
                        self._transport.close()
                        self._wire.detach()
                        self._on_end = _ignore
                    finally:
                        frame_lock.release()
            finally:
                self._read_turn.release()
            # A writer that left in between was kept out by our holding the turn: then it is up to us again.
            if frame_lock.locked():
                return


def _ignore() -> None:
    pass
