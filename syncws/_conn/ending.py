"""How one connection ends: the end is stored, the socket is cut, the file descriptor is closed.

There is one end, the first: the peer's close, its disappearance (1006), its breach of the protocol, or why this side
gave up. Every later read and write raises it. `states` has the table of what may follow what.

To *cut* is to shut the socket down, which wakes whoever is stuck in it. Only then is the fd closed, and only by a
thread that holds both the read turn and the frame lock: closing an fd under a thread gives its number to the next
socket. Every thread that lets go of one of these two locks looks whether the connection is over, and then whether the
fd is for it to close.

    finish          the end is stored                                 OVER
    dismiss         and the reader is woken; the cut follows in time  DISMISSED
    doom            the end is stored, and whoever looks leaves       CUT
    finish_and_cut  and the socket is shut down                       CUT
    cut_now         and the fd is closed, if nobody is inside         CUT, RELEASED
    release         closes the fd, if nobody is inside                RELEASED
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .._base.callables import check_done
from .._base.counters import breaches
from .._net.drain import Timer, drain
from .._net.transport import Transport
from ..errors import ConnectionClosed
from .callbacks import EndCallback, callbacks
from .states import Life, State
from .wire import Wire


class Ending:
    """Ends one connection.

    Concurrency: every method is for any thread. The state lock (`Life.lock`) guards the timer.
    """

    __slots__ = (
        *("_callbacks", "_life", "_on_end", "_on_released", "_over", "_read_turn", "_timer", "_transport", "_wire"),
    )

    def __init__(self, transport: Transport, life: Life, wire: Wire, read_turn: threading.Lock) -> None:
        self._transport = transport
        self._life = life
        self._wire = wire
        self._read_turn = read_turn
        # Guarded by the state lock:
        self._timer: Timer | None = None
        self._over: threading.Event | None = None  # made for the first thread that waits for the end
        self._callbacks: tuple[EndCallback, ...] = ()  # of the application, until there is an end
        self._on_end: Callable[[], object] = _ignore
        self._on_released: Callable[[], object] = _ignore

    def set_callbacks(self, *, on_end: Callable[[], object], on_released: Callable[[], object]) -> None:
        """Say whom to tell that the end is stored, maybe more than once, and that the fd is closed. Neither waits."""
        self._on_end, self._on_released = on_end, on_released

    def wait(self, timeout: float | None) -> bool:
        """Wait until it is over, at most so many seconds; whether it is."""
        with self._life.lock:
            if self._life.end is not None:
                return True
            if self._over is None:
                self._over = threading.Event()
            over = self._over
        return over.wait(None if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX))

    def call_at_end(self, callback: EndCallback) -> None:
        """Have the end told to the application, once, by a thread of `callbacks`; by this one if it is over already."""
        with self._life.lock:
            end = self._life.end
            if end is None:
                self._callbacks += (callback,)
                return
        check_done("a callback", callback(end.exception()))

    def finish(self, end: ConnectionClosed, *, drop: bool = True) -> None:
        """It is over, for this reason unless there was one before.

        What waits to leave is dropped, or, with drop=False, kept until the cut; our close is kept in any case.
        """
        life = self._life
        with life.lock:
            if life.finish(end) and drop:
                self._wire.drop_waiting()
            # In the same step as the end: whoever comes later finds that.
            over, self._over = self._over, None
            told, self._callbacks = self._callbacks, ()
        if over is not None:
            over.set()
        self._on_end()
        if told and life.end is not None:
            callbacks.hand_over(told, life.end)

    def dismiss(self, end: ConnectionClosed, seconds: float, *, drop: bool) -> None:
        """It is over, and the reader is woken; cut after so many seconds, so that what waits to leave may leave."""
        self.finish(end, drop=drop)
        with self._life.lock:
            self._life.dismiss()
        # After the state: a close that begins now must know why receiving does not wait any more.
        self._transport.shutdown_read()
        self.cut_after(seconds)

    def doom(self, end: ConnectionClosed) -> None:
        """It is over, and every thread that is not stuck in the socket leaves it at its next look. No system call.

        `cut_now` is to follow, for those that are stuck.
        """
        self.finish(end)
        self._wire.mark_cut()

    def finish_and_cut(self, end: ConnectionClosed) -> None:
        """It is over and cut, by a thread that is inside the socket and closes the fd when it leaves."""
        self.doom(end)  # before the shutdown, which wakes those who look at it: the last of them is to close the fd
        self._transport.shutdown()

    def cut_now(self, end: ConnectionClosed) -> None:
        """It is over and cut, and the fd is closed as soon as nobody is inside."""
        self.finish_and_cut(end)
        self._cancel_timer()
        self.release()

    def cut_after(self, seconds: float) -> None:
        """Cut after so many seconds, unless it was cut by then or somebody asked for that before."""
        # Not under the lock: it may log, and a handler of the log may come back to this connection.
        timer = drain.call_at(time.monotonic() + seconds, self.cut_at_deadline)
        with self._life.lock:
            if needed := self._timer is None and self._life.state < State.CUT:
                self._timer = timer
        if not needed:
            timer.cancel()

    def _cancel_timer(self) -> None:
        """It is cut: nobody has to do that any more. No timer follows, as none is set once the state is CUT."""
        with self._life.lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def cut_at_deadline(self) -> None:
        """This side has closed, and waits for the peer no longer."""
        if self._life.end is None:  # two threads that close may both count it
            breaches.add("close_timeout")
        self.cut_now(self._life.vanished("this side closed, and the peer did not answer in time"))

    def release_if_cut(self) -> None:
        """`release`, if the connection is cut: for whoever has let go of the read turn and found that it is over.

        A thread that lets go of the turn asks for the end only, which costs less. That is enough: the end is stored
        before the state is CUT, and whoever cuts tries the turn after that. If the try fails, the turn's holder has
        yet to let go of it, and then finds the end.
        """
        if self._life.state >= State.CUT:
            self.release()

    def release(self) -> None:
        """Close the fd of a connection that is cut, if no other thread is inside; else the last one inside does it."""
        frame_lock = self._wire.frame_lock
        while not self._transport.closed and self._read_turn.acquire(blocking=False):
            try:
                if frame_lock.acquire(blocking=False):
                    try:
                        self._close_socket()
                    finally:
                        frame_lock.release()
            finally:
                self._read_turn.release()
            # A writer that left in between found the turn taken, by us, and went: then the fd is ours to close again.
            if frame_lock.locked():
                return

    def _close_socket(self) -> None:
        """The one place where the fd is closed. The caller holds the read turn and the frame lock."""
        drain.forget(self._transport.fileno())  # before the fd is closed, and its number another socket's
        tally = self._wire.tally
        tally.keep_totals(self._transport)  # which a closed socket no longer tells
        self._transport.close()
        with self._life.lock:
            self._life.release()
            tally.end(self._life)
        self._cancel_timer()  # which would keep the connection until it is due
        self._wire.drop_callbacks()
        self._on_released()
        self._on_end = self._on_released = _ignore
        # After the state lock was let go. Whoever leaves the connection takes that lock too before he looks: so either
        # this finds the ledger, or he finds that the connection is released.
        tally.tell()


def _ignore() -> None:
    pass
