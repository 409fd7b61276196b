"""Where a connection stands, from open to released: one state, and what its reads and writes raise in it.

    OPEN --our close is queued--> CLOSING --it leaves--> CLOSE_SENT --the peer's close, or its breach--> OVER
      |  `--our close is written at once (write_control)------^
      |--the peer's close, or its breach: our close is queued first, then the end is stored-----------> OVER
      |--a write failed for good--> WRITE_LOST --the peer's close is read after all-------------------> OVER
      `--this side is done with the peer---------------------------------------------------------> DISMISSED

    any state before CUT --close_now, a deadline, the stream's end, a stall, a dead peer, a timer--> CUT
    CUT --the last thread inside the socket leaves it--> RELEASED

| state      | reads raise | writes raise         | our close       | socket        | descriptor |
|------------|-------------|----------------------|-----------------|---------------|------------|
| OPEN       | -           | -                    | -               | open          | open       |
| CLOSING    | -           | CloseSentError       | waits to leave  | open          | open       |
| CLOSE_SENT | -           | CloseSentError       | has left        | open          | open       |
| WRITE_LOST | -           | why the write failed | cannot leave    | open          | open       |
| OVER       | the end     | the end              | maybe, in order | open          | open       |
| DISMISSED  | the end     | the end              | maybe, in order | reads woken   | open       |
| CUT        | the end     | the end              | as it was       | shut down     | open       |
| RELEASED   | the end     | the end              | as it was       | shut down     | closed     |

A state never goes back: each step leads to a later line of the table, and a step to an earlier line does nothing.
From WRITE_LOST on reads go on, since the peer's close may have arrived before the write failed.

Being over is not being cut: after the closing handshake the peer has yet to read our close. Nor have all messages been
read: where nobody read as the end came (`attendant`), reads give what had come before it, and then raise it.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import Generic, NoReturn, TypeVar

from .._base.copies import copy_of
from .._base.logs import Told
from ..errors import (
    CloseCode,
    CloseError,
    CloseSentError,
    Closing,
    ConnectionClosed,
    ProtocolError,
    ReadTimeout,
    WebSocketError,
    WriteTimeout,
)


class State(IntEnum):
    """The lines of the table above, in the order that a connection passes them."""

    OPEN = 0
    CLOSING = 1
    CLOSE_SENT = 2
    WRITE_LOST = 3
    OVER = 4
    DISMISSED = 5
    CUT = 6
    RELEASED = 7

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


_T = TypeVar("_T", bound="ReadTimeout | WriteTimeout | ProtocolError | CloseError")
_E = TypeVar("_E", bound="ConnectionClosed | WriteTimeout", covariant=True)


class End(Generic[_E]):
    """Why nothing can be read or written any more: a record that makes an exception of its own for each raise.

    Several threads raise the end of one connection at the same time. One exception object for all of them would mix
    their tracebacks, and crashes a Python without the GIL. The cause is an object of its own as well.

    Immutable, so for any thread.
    """

    __slots__ = ("_args", "_cause", "_fields", "_kind")

    def __init__(self, error: _E, owner: object) -> None:
        self._kind = type(error)
        self._args = error.args
        self._fields = {**vars(error), "_owner": owner}
        # A copy, without the traceback: its frames know the connection, which would wait for the collector.
        self._cause = None if error.__cause__ is None else copy_of(error.__cause__)

    def exception(self) -> _E:
        """A new exception that says why, with the cause chained."""
        error = self._kind(*self._args)
        vars(error).update(self._fields)
        if self._cause is not None:  # else the assignment would hide what was being handled when it is raised
            error.__cause__ = copy_of(self._cause)
        return error

    def __repr__(self) -> str:
        return f"<End {self.exception()!r}>"


class Owner:
    """Marks the exceptions that one connection raises as its own. It refers to nothing, so that an exception which
    somebody keeps does not keep the connection; a pickle of one has None in its place.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class Life:
    """The state of one connection, its end, and the story of who closed with what.

    Concurrency: `lock` guards everything here, as well as what the `Wire` lets wait, and is never held across I/O.
    `state`, `end` and `refusal` are also read without it. Each is one reference and changes in one direction only: a
    reader that misses a change has come before it, and finds it at its next look, which is after its next system call
    or lock at the latest. That holds without the GIL too.
    """

    __slots__ = ("_owner", "about", "closings", "end", "lock", "refusal", "state")

    def __init__(self, about: Told | None = None) -> None:
        self.about = about  #: whose life it is, for the log; it never changes
        self.lock = threading.Lock()
        self.state = State.OPEN
        #: What reads raise; None before OVER.
        self.end: End[ConnectionClosed] | None = None
        #: What writes raise; None while OPEN, and only then.
        self.refusal: End[ConnectionClosed | WriteTimeout] | None = None
        #: Who closed with what, in order.
        self.closings: tuple[Closing, ...] = ()
        self._owner: Owner | None = None  # made for the first exception, and the same from then on

    # Steps: the caller holds the lock. The reason is stored before the state, since both are read without it: whoever
    # sees the state finds the reason.

    def queue_close(self) -> bool:
        """Our close waits to leave: OPEN becomes CLOSING; False, and nothing is done, in any other state."""
        assert self.lock.locked()
        if self.state is not State.OPEN:
            return False
        self.refusal = End(CloseSentError(), self._mark())
        self.state = State.CLOSING
        return True

    def close_left(self) -> None:
        """Our close has left: CLOSE_SENT, unless the connection is further on already."""
        assert self.lock.locked()
        if self.refusal is None:
            self.refusal = End(CloseSentError(), self._mark())
        self._step(State.CLOSE_SENT)

    def lose_writes(self, why: ConnectionClosed | WriteTimeout) -> None:
        """Nothing can be written any more: WRITE_LOST, unless the connection is further on already."""
        assert self.lock.locked()
        if self.state < State.WRITE_LOST:
            self.refusal = End(why, self._mark())
            self.state = State.WRITE_LOST

    def finish(self, end: ConnectionClosed) -> bool:
        """The end: OVER; False, and nothing is done, where there was one before."""
        assert self.lock.locked()
        if self.end is not None:
            return False
        self.refusal = self.end = End(end, self._mark())
        self._step(State.OVER)
        return True

    def dismiss(self) -> None:
        """The reader of a connection that is over is about to be woken: DISMISSED."""
        assert self.lock.locked() and self.end is not None
        self._step(State.DISMISSED)

    def cut(self) -> None:
        """The socket of a connection that is over is about to be shut down: CUT."""
        assert self.lock.locked() and self.end is not None
        self._step(State.CUT)

    def release(self) -> None:
        """The descriptor of a connection that is cut was closed: RELEASED."""
        assert self.lock.locked() and self.state >= State.CUT
        self._step(State.RELEASED)

    def _step(self, state: State) -> None:
        if state > self.state:
            self.state = state

    def _mark(self) -> Owner:
        assert self.lock.locked()
        self._owner = self._owner or Owner()
        return self._owner

    # Questions: for any thread, without the lock

    def raise_end(self) -> NoReturn:
        """Raise the end of a connection that is over.

        No frame that an end passes keeps it in a variable: with the traceback that would be a cycle, and what the frame
        knows, the connection, would wait for the collector.
        """
        assert self.end is not None
        raise self.end.exception()

    def check_readable(self) -> None:
        """Raise the end, if there is one."""
        if self.end is not None:
            raise self.end.exception()

    def check_writable(self) -> None:
        """Raise why nothing may be written any more, if so."""
        if self.refusal is not None:
            raise self.refusal.exception()

    def own(self, error: _T) -> _T:
        """An error of this connection that is not its stored end, marked as its own, to be raised. Takes the lock."""
        with self.lock:
            error._owner = self._mark()
        return error

    def is_own(self, error: BaseException) -> bool:
        """Whether a read or write of this connection raised this error: its end, a breach, a timeout; not another's."""
        return isinstance(error, WebSocketError) and self._owner is not None and error._owner is self._owner

    def vanished(self, reason: str, cause: BaseException | None = None) -> CloseError:
        """The end of a connection whose peer did not close: 1006, with the story so far."""
        with self.lock:
            end = CloseError(CloseCode.ABNORMAL_CLOSURE, reason, self.closings)
        end.__cause__ = cause
        return end
