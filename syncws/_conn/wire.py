"""The writing half of a connection: who may write, and what waits to leave. Six rules.

1. What waits lives under the state lock (`Life.lock`): one control record (the latest ping to answer, our ping, our
   close) and the send queue of whole frames.
2. The transport keeps the rest of a frame cut short, and nothing may pass it. An answer that is kept for the next one
   (see `batch`) is such a rest, which nobody has tried to send yet: whoever writes next takes it along.
3. Whoever holds the frame lock writes in this order: the transport's rest, pong and ping, the send queue, our close,
   then its own frame. So one thread's posts and writes keep their order, and what was posted before a close leaves
   before it. What a blocking writer sends for others is never torn by its deadline: the rest leaves without it.
4. While a fragmented message is open no other begins, and the send queue waits; its last fragment releases it. Control
   frames pass.
5. Whoever lets go of the frame lock looks again; whoever lets something wait tries the lock once more afterwards. So
   no wake-up is lost. What is left goes to the drain thread only when the *socket* was full.
6. The drain thread takes the frame lock by try only and never waits in a send.

After our close nothing leaves any more. A write that failed in the middle of a frame is final for all later writes.
`states` has the table of what they then raise.

**Rule 5 rests on one flag,** `_look_again`: there is something to do for whoever lets go of the frame lock.

| who sets it, under the state lock     | what is to be done                                       |
|---------------------------------------|----------------------------------------------------------|
| `pong`, `ping`, `queue_close`, `post` | what waits is to leave                                   |
| `nudge`                               | the reader has left bytes of its own in the transport    |
| `send_kept`, by `nudge`               | the courier came before who keeps an answer had let go   |
| `mark_cut`                            | the fd is to be closed by the last thread inside         |

`_next_frame` alone clears it, under both locks, once nothing waits and the connection is not cut.

It is read without a lock: by who has just let go of the frame lock, and as a hint before the lock is tried. That is
safe, with the GIL and without: a thread sets the flag first and then tries the frame lock; a holder lets go of the lock
first and then reads the flag. Locks order memory on every Python. So if the try fails, the holder has yet to let go,
and then sees the flag.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

from .._base.counters import breaches
from .._base.logs import logger
from .._base.options import ConnOptions
from .._frames import accelerator
from .._frames.accelerator import encode
from .._frames.compressor import Compressor
from .._frames.frame import FIN
from .._frames.payloads import parse_close_payload
from .._net.drain import drain
from .._net.transport import Transport
from ..errors import CloseCode, CloseError, Closing, ConnectionClosed, MessageType, WriteTimeout
from .batch import Batch
from .courier import courier
from .states import End, Life, State
from .tally import Tally

_logger = logger("syncws.conn")

_PING = FIN | MessageType.PING
_PONG = FIN | MessageType.PONG
_CLOSE = FIN | MessageType.CLOSE

#: What makes a frame (first byte, payload) of what it is to be; called by the holder of the frame lock.
Make = Callable[[int, bytes], tuple[int, bytes]]


class Wire:
    """Writes frames to a transport, for any number of threads at the same time.

    Concurrency: every method is for any thread. `frame_lock` guards the transport's writing side and `_message_open`,
    and is held while one frame is written; the state lock, `Life.lock`, guards what waits and is never held across I/O.
    Order: frame lock, then state lock.
    """

    __slots__ = (
        "_client",
        "_close",
        "_life",
        "_look_again",
        "_message_open",
        "_on_left",
        "_on_overflow",
        "_on_stall",
        "_ping",
        "_ping_left",
        "_pong",
        "_queue",
        "_sender",
        "_stall",
        "_transport",
        "_turned_away",
        "batch",
        "compressor",
        "frame_lock",
        "is_watched",
        "tally",
    )

    _on_stall: Callable[[ConnectionClosed], object]
    _on_overflow: Callable[[], object]
    _on_left: Callable[[], object]

    def __init__(
        self,
        transport: Transport,
        life: Life,
        options: ConnOptions,
        tally: Tally,
        *,
        client: bool,
        compressor: Compressor | None = None,
    ) -> None:
        self._transport = transport
        self._life = life
        self._client = client
        #: What messages are compressed with that may refer back to those before them; guarded by frame_lock.
        self.compressor = compressor
        # What encodes and sends in one step; None where the socket is no plain one, or the accelerator not there.
        self._sender = accelerator.send if transport.is_direct else None
        self._stall = options.stall_limit
        self.drop_callbacks()

        self.frame_lock = threading.Lock()
        self._message_open = False  # guarded by frame_lock: a fragmented message has begun and not ended

        #: The messages that have come with the one that the reader is at; None: it has no more. Written by the holder
        #: of the read turn. A writer that misses a change sends at once, or keeps what `is_watched` sees to.
        self.batch: Batch | None = None
        #: The courier will look whether something is kept. Set under the frame lock, cleared by the courier.
        self.is_watched = False

        # Guarded by the state lock:
        self._pong: bytes | None = None  # the answer to the latest ping (RFC 6455 section 5.5.3)
        self._ping: bytes | None = None
        self._close: bytes | None = None
        self._queue = tally.queue
        #: What is counted of the connection; see there who writes which number.
        self.tally = tally
        self._ping_left: tuple[bytes, float] | None = None  # our latest ping on its way, and when it left
        #: Whoever lets go of the frame lock has something to do; see the top of this module.
        self._look_again = False
        # The drain thread found the frame lock taken and left the socket alone: the lock's holder looks again. Set by
        # the drain thread, cleared under the frame lock.
        self._turned_away = False

    def set_callbacks(
        self,
        *,
        on_stall: Callable[[ConnectionClosed], object],
        on_overflow: Callable[[], object],
        on_left: Callable[[], object],
    ) -> None:
        """Say whom to tell: of a peer that takes nothing any more, of a queue that is full where the policy is to
        close, and of the last thread that leaves a socket which was cut. Before any other method is called.
        """
        self._on_stall, self._on_overflow, self._on_left = on_stall, on_overflow, on_left

    def drop_callbacks(self) -> None:
        """Tell nobody anything any more: the fd is closed, and the connection is to be freed without a collection."""
        self._on_stall = self._on_overflow = self._on_left = _ignore
        self.batch = None
        if self.compressor is not None:
            self.compressor.begin_anew()  # nothing will: its memory is of no use now

    # Blocking writes

    def send(self, first: int, payload: bytes, deadline: float | None, make: Make | None = None) -> bool:
        """Write one frame, after what waits, and wait until the kernel has it.

        make gives the frame's first byte and payload, with a compressor that is kept, once the frame is the next.

        False, and nothing is done, for a frame that begins a message while a fragmented one is open. Raises
        WriteTimeout (sticky only if part of the frame is on the wire), ConnectionClosed.
        """
        sender = self._sender
        if self.batch is not None or self._transport.kept or make is not None or first == _CLOSE:
            sender = None  # the frame itself is wanted: to be kept, or to take along what is; or it is a close
        if sender is None and make is None:
            head, body = encode(first, payload, self._client)
        begun = False
        if not self.frame_lock.acquire(False):
            self._life.check_writable()  # before the wait, which may be as long as the peer likes
            self._wait_for_frame_lock(deadline)
        try:
            if self._look_again or (self._transport.rest and not self._transport.kept):
                self._life.check_writable()  # as above
                self._flush_until(deadline)
            if self._life.refusal is not None:  # maybe by now: our close was among what waited
                raise self._life.refusal.exception()
            if self._message_open and 0 < first & 0x0F < 0x8:
                return False
            begun = True
            if first == _CLOSE:
                self._send_close(head, payload, deadline)
            else:
                if make is not None:
                    head, body = encode(*make(first, payload), self._client)
                if sender is not None:
                    self._transport.send_by(sender, first, payload, self._client, deadline, self._stall)
                elif self.batch is None or body or not self._keep(first, head):
                    self._transport.send(head, body, deadline, self._stall)
                # Only now: a first fragment that never left opens no message, and what never left is not counted.
                if first & 0x8:
                    self.tally.pings += first == _PING
                elif first & FIN:
                    self._message_open = False
                    self.tally.messages_out += 1
                else:
                    self._message_open = True
            return True
        except BaseException as error:
            if begun and not isinstance(error, Exception):
                # Maybe after the last byte: then the peer has a frame (a close!) that nobody here knows of.
                self._transport.torn = True
            if make is not None and self.compressor is not None:
                self.compressor.begin_anew()  # it may have made what never left
            self._raise_failure(error)
        finally:
            self.frame_lock.release()
            # Rule 5, as in flush_if_needed, except for what this thread keeps.
            if self._look_again or (self._transport.rest and not self._transport.kept):
                self.flush_soon()

    def _keep(self, first: int, frame: bytes) -> bool:
        """Let an answer wait for the next one (see `batch`), if that is allowed. The caller holds the frame lock."""
        batch = self.batch  # once: the reader may let go of it meanwhile
        if first & 0x88 != FIN or not first & 0x7 or batch is None or not batch.may_keep():
            return False  # a fragment or a control frame; or the courier might come too late
        if not self._transport.keep(frame):
            return False
        # After it is kept: a courier that was about to look at this wire has found it, or is asked again.
        if not self.is_watched:
            self.is_watched = True
            if not courier.look_after(self):
                self._transport.flush()  # no thread is to be had for it
        return True

    def send_kept(self) -> None:
        """Send what is kept, if anything is; never waits."""
        self.is_watched = False  # before the look: whoever keeps something after it asks the courier again
        if self._transport.kept:
            self.flush_soon()
            if self._transport.kept:  # by a thread that has yet to let go of the frame lock: it sends it then (rule 5)
                self.nudge()

    def flush(self, deadline: float, finish: bool) -> None:
        """Write all that waits, our close too; with finish, then tell the peer that no more bytes come.

        Raises as `send`.
        """
        self._wait_for_frame_lock(deadline)
        try:
            self._flush_until(deadline)
            if finish and not self._transport.closed:
                self._transport.shutdown_write()
        except BaseException as error:
            self._raise_failure(error)
        finally:
            self.frame_lock.release()
            self.flush_if_needed()

    def wait_for_turn(self, deadline: float | None) -> None:
        """Wait until nobody who came before is writing. Raises WriteTimeout, or why nothing may be written."""
        if self.frame_lock.locked():
            self._life.check_writable()  # as in `send`
            self._wait_for_frame_lock(deadline)
            self.frame_lock.release()
            self.flush_if_needed()

    def _wait_for_frame_lock(self, deadline: float | None) -> None:
        if not acquire_until(self.frame_lock, deadline):
            late = WriteTimeout("the write deadline passed while another thread was writing; nothing was sent")
            raise self._life.own(late)

    # Writes that never wait

    def post(self, frame: bytes) -> bool:
        """Send a whole frame or let it wait in the send queue; False when the overflow policy refused it.

        If it is compressed it is so by itself: what waits may be dropped, so nothing may refer back to it.

        Raises ConnectionClosed or WriteTimeout when nothing may be written any more.
        """
        if not self._look_again and self.frame_lock.acquire(blocking=False):
            try:
                taken = self._try_post(frame)
            finally:
                self.frame_lock.release()
                self.flush_if_needed()
            if taken:
                return True
        return self._enqueue(frame)

    def post_encoded(self, first: int, payload: bytes) -> bool:
        """As `post`, for a frame yet to be made: a client's, with a mask of its own."""
        return self.post(b"".join(encode(first, payload, self._client)))

    def post_made(self, first: int, payload: bytes, make: Make) -> bool:
        """Send a frame that make gives, as for `send`, if it can leave at once; whether it has. Raises as `post`."""
        compressor = self.compressor
        assert compressor is not None
        if self._look_again or not self.frame_lock.acquire(blocking=False):
            return False
        try:
            return self._try_post_made(first, payload, make, compressor)
        finally:
            self.frame_lock.release()
            self.flush_if_needed()

    def pong(self, payload: bytes) -> None:
        """Answer a ping as soon as the wire allows; a later ping's answer replaces one that still waits."""
        with self._life.lock:
            if self._life.refusal is not None:
                return  # closed since the caller looked: a pong must not follow a close
            self._pong = payload
            self._look_again = True
        self.flush_soon()

    def ping(self, payload: bytes) -> None:
        """Ping as soon as the wire allows. Raises ConnectionClosed when nothing may be written any more."""
        with self._life.lock:
            self._life.check_writable()
            self._ping = payload
            self._look_again = True
        self.flush_soon()

    def queue_close(self, payload: bytes) -> None:
        """Let our close leave after what was posted; from now on writes are refused. The first close counts."""
        if self.announce_close(payload):
            self.flush_soon()

    def announce_close(self, payload: bytes) -> bool:
        """As `queue_close`, and it leaves at the next `flush_soon`: no system call. False if there was one before."""
        with self._life.lock:
            if not self._life.queue_close():
                return False
            self._close = payload
            self._look_again = True
        return True

    def let_go(self) -> None:
        """Have the compressor begin anew, which frees its memory; not in the middle of a message. Never waits."""
        compressor = self.compressor
        if compressor is None or not self.frame_lock.acquire(blocking=False):
            return  # whoever has it is about to send
        try:
            if not self._message_open:
                compressor.begin_anew()
        finally:
            self.frame_lock.release()
            self.flush_if_needed()

    def half_close(self) -> None:
        """Tell the peer that no more bytes come, if our close has left and nobody is writing. Never waits."""
        if not self.frame_lock.acquire(blocking=False):
            return
        try:
            if self._close is None and not self._transport.pending and not self._transport.closed:
                self._transport.shutdown_write()
        finally:
            self.frame_lock.release()
            self.flush_if_needed()

    def drop_waiting(self) -> None:
        """Drop what waits, except our close. The caller holds the state lock."""
        assert self._life.lock.locked()
        self._queue.drop()
        self._pong = self._ping = None

    def mark_cut(self) -> None:
        """Nothing leaves any more; a thread that is inside a write calls on_left when it leaves. Before the cut itself.

        The state comes before the flag: whoever sees the flag without a lock is to find the state.
        """
        if self._transport.kept:
            self.flush_soon()  # it counts as sent; never waits
        with self._life.lock:
            self._life.cut()
            # Else a writer whose send succeeds all the same would not look again: then nobody closes the fd.
            self._look_again = True
            self.drop_waiting()

    def flush_soon(self) -> None:
        """Send what can leave without waiting, unless somebody is writing: that one does it then (rule 5)."""
        life = self._life
        while life.state < State.CUT and self._can_leave() and self.frame_lock.acquire(blocking=False):
            try:
                self._turned_away = False
                flushed = self._try_flush()
            finally:
                self.frame_lock.release()  # the loop looks again
            if not flushed:
                drain.tell()  # now that the lock is free, which a handler of the log may want
                if not self._turned_away:
                    break
        if life.state >= State.CUT:  # maybe while we held the lock, so that the one who cut could not close the fd
            self._on_left()

    def nudge(self) -> None:
        """There are bytes in the transport that nobody knows of: they leave now, or by whoever is writing."""
        with self._life.lock:
            self._look_again = True
        self.flush_soon()

    def flush_if_needed(self) -> None:
        """Rule 5, for whoever has just let go of the frame lock.

        The release itself stands in each `finally`: a KeyboardInterrupt may come as this function is entered. `send`
        and `post_to_wires` have these two lines written out, as every message passes them.
        """
        if self._look_again or self._transport.rest:
            self.flush_soon()

    def set_queue(self, options: ConnOptions) -> None:
        """Change the limits of the send queue, and what happens at them."""
        with self._life.lock:
            self._queue.set_limits(options)

    # What is known of it

    @property
    def queued(self) -> tuple[int, int]:
        """(messages, bytes) in the send queue."""
        with self._life.lock:
            return len(self._queue), self._queue.size

    @property
    def dropped(self) -> int:
        """Messages that were dropped: by the overflow policy, or from the queue at the end."""
        return self._queue.dropped

    def round_trip(self, payload: bytes) -> float | None:
        """Seconds since our latest ping left, if payload is its answer."""
        with self._life.lock:
            if self._ping_left is None or self._ping_left[0] != payload:
                return None
            left_at = self._ping_left[1]
            self._ping_left = None
        return time.monotonic() - left_at

    # The holder of the frame lock

    def _flush(self) -> bool:
        """Send what waits, in the order of rule 3, as far as the socket takes it; False when it is full."""
        transport = self._transport
        if transport.torn or transport.closed:
            return True  # nothing can leave any more
        while transport.flush():
            try:
                frame = self._next_frame()
                if frame is None:
                    return True
                # Whatever the socket takes of it: in the transport it keeps its place, and no deadline cuts it.
                transport.take(frame)
                self._count(frame[0])
            except BaseException as error:
                if not isinstance(error, Exception):
                    transport.torn = True  # an interrupt: a frame, maybe our close, is neither here nor there
                raise
        return False

    def _count(self, first: int) -> None:
        """A frame that had waited was taken. What waits is never a fragment."""
        if not first & 0x8:
            self.tally.messages_out += 1
        elif first == _PING:
            self.tally.pings += 1

    def _flush_until(self, deadline: float | None) -> None:
        """As `_flush`, waiting for the socket. Raises WriteTimeout, which costs nothing but time, and OSError."""
        while not self._flush():
            self._transport.flush_until(deadline, self._stall)

    def _next_frame(self) -> bytes | None:
        """What leaves next; it is taken, not looked at, so that nobody drops it."""
        with self._life.lock:
            if self._pong is not None:
                first, payload, self._pong = _PONG, self._pong, None
            elif self._ping is not None:
                first, payload, self._ping = _PING, self._ping, None
                self._ping_left = payload, time.monotonic()
            elif self._queue and not self._message_open:
                frame = self._queue.pop()
                if self.compressor is not None:
                    self.compressor.shared(frame[0], frame)
                return frame
            elif self._close is not None:
                first, payload = _CLOSE, self._close
                self._record_close(payload)
                self._end_writing()
            else:
                self._look_again = bool(self._queue) or self._life.state >= State.CUT
                return None
        return b"".join(encode(first, payload, self._client))

    def _send_close(self, frame: bytes, payload: bytes, deadline: float | None) -> None:
        """Write our close. Raises as `Transport.send`; after a WriteTimeout that tore nothing it was never sent."""
        with self._life.lock:
            closing = self._record_close(payload)
        try:
            self._transport.send(frame, b"", deadline, self._stall)
        except WriteTimeout:
            if not self._transport.torn:
                with self._life.lock:
                    self._life.closings = tuple(each for each in self._life.closings if each is not closing)
            raise
        with self._life.lock:
            self._end_writing()

    def _record_close(self, payload: bytes) -> Closing:
        """Tell our close before it leaves: the peer's answer may be read before the system's call returns."""
        assert self._life.lock.locked()
        closing: Closing = ("sent", *parse_close_payload(payload))
        self._life.closings += (closing,)
        return closing

    def _end_writing(self) -> None:
        """Nothing may follow a close: no posts of an open message, no pong, and no other close.

        The reader may have left either of these here while a close of `send` was on its way.
        """
        self._life.close_left()
        self._close = None
        self.drop_waiting()

    def _try_flush(self) -> bool:
        """As `_flush`; what a full socket leaves behind goes to the drain thread. Errors become the refusal."""
        try:
            if self._flush():
                return True
        except BaseException as error:
            self._failure(error)
            if not isinstance(error, OSError):
                raise
            return True
        # Under the frame lock, so that the fd is not closed and given to another before it is watched.
        drain.watch(self._transport.fileno(), self._continue)
        return False

    def _continue(self) -> bool:
        """The drain thread's call: the socket can be written. True when there is nothing left to do here."""
        if not self.frame_lock.acquire(blocking=False):
            self._turned_away = True  # before the lock is tried once more, as the holder looks at it after letting go
            if not self.frame_lock.acquire(blocking=False):
                return True  # whoever holds it looks again when letting go, and comes back if the socket is full
        try:
            done = self._flush()
        except BaseException as error:
            self._failure(error)
            if not isinstance(error, OSError):
                raise
            done = True
        finally:
            self.frame_lock.release()
        if done:
            self.flush_soon()
        return done

    def _try_post(self, frame: bytes) -> bool:
        self._life.check_writable()
        if self._look_again or self._message_open:
            return False
        try:
            # Its rest goes to the drain thread when the lock is let go (rule 5).
            if taken := self._transport.try_send(frame):
                self.tally.messages_out += 1
                if self.compressor is not None:
                    self.compressor.shared(frame[0], frame)
            return taken
        except BaseException as error:
            self._raise_failure(error)

    def _try_post_made(self, first: int, payload: bytes, make: Make, compressor: Compressor) -> bool:
        """As `_try_post`, of a frame that is compressed with what is kept."""
        self._life.check_writable()
        if self._look_again or self._message_open:
            return False
        taken = False
        try:
            if taken := self._transport.try_send(b"".join(encode(*make(first, payload), self._client))):
                self.tally.messages_out += 1
            return taken
        except BaseException as error:
            self._raise_failure(error)
        finally:
            if not taken:
                compressor.begin_anew()  # it has made what never left

    def _can_leave(self) -> bool:
        """A hint, read without locks: whether the holder of the frame lock would find something to do."""
        transport = self._transport
        return not (transport.torn or transport.closed) and (
            self._pong is not None
            or self._ping is not None
            or self._close is not None
            or (bool(self._queue) and not self._message_open)
            or transport.pending
        )

    def _raise_failure(self, error: BaseException) -> NoReturn:
        """Raise what a failed write means to its caller."""
        failure = self._failure(error)
        try:
            if failure is error:
                raise error
            raise failure from failure.__cause__  # an end keeps the cause it has
        finally:
            del failure, error  # else they and this frame, which is in their traceback, would be a cycle

    def _failure(self, error: BaseException) -> BaseException:
        """What a failed write means to its caller. A failure that nothing may follow becomes final for all writes."""
        if isinstance(error, ConnectionClosed):
            return error
        if isinstance(error, OSError) and not isinstance(error, WriteTimeout):
            return self._socket_failure(error)
        if isinstance(error, WriteTimeout):
            self._life.own(error)
        if self._transport.torn:
            self._lose_writes(error if isinstance(error, WriteTimeout) else _gone("a write was interrupted", error))
        return error

    def _socket_failure(self, error: OSError) -> BaseException:
        """As `_failure`, of a socket that is broken for writing.

        Reads go on, since the peer's close may have arrived before; except from a peer that takes nothing any more.
        """
        stalled = error.errno == errno.ETIMEDOUT
        lost = _gone("the peer takes no data" if stalled else "the connection is lost", error)
        refusal = self._lose_writes(lost)
        if stalled:
            breaches.add("ping_timeout")
            self._on_stall(lost)
        return refusal.exception()

    def _lose_writes(self, why: ConnectionClosed | WriteTimeout) -> End[ConnectionClosed | WriteTimeout]:
        """Nothing can leave any more; what writes raise from now on: why, unless the connection was over already."""
        with self._life.lock:
            self._life.lose_writes(why)
            self._close = None
            self.drop_waiting()
            assert self._life.refusal is not None
            return self._life.refusal

    # The send queue

    def _enqueue(self, frame: bytes) -> bool:
        queue = self._queue
        with self._life.lock:
            self._life.check_writable()
            dropped_before = queue.dropped
            if taken := queue.put(frame):
                self._look_again = True
            dropped, overflow = queue.dropped, queue.overflow
        if dropped.bit_length() != dropped_before.bit_length():  # 1, 2, 4, 8...: a full queue must not flood the log
            about = {"about": self._life.about}
            _logger.info(
                "the send queue is full (overflow=%s): %d messages dropped so far", overflow, dropped, extra=about
            )
        if taken:
            self.flush_soon()
        elif overflow == "close":
            self._on_overflow()
        return taken


def post_to_wires(wires: Iterable[Wire], frame: bytes) -> list[int]:
    """`Wire.post` of one frame to each of many, where it can leave at once; the numbers of those where it cannot.

    For these `Wire.post` says why, or lets the frame wait. Never waits, and raises nothing of a connection. It is
    `Wire.post` with its calls written out, since a broadcast comes by here for each member: half the time.
    """
    left = []
    first = frame[0]
    for number, wire in enumerate(wires):
        if wire._look_again or not wire.frame_lock.acquire(False):
            left.append(number)
            continue
        try:
            busy = wire._look_again or wire._message_open or wire._life.refusal is not None
            if busy or not wire._transport.try_send(frame):
                left.append(number)
            else:
                wire.tally.messages_out += 1
                if wire.compressor is not None:
                    wire.compressor.shared(first, frame)
        except BaseException as error:
            wire._failure(error)
            if not isinstance(error, OSError):
                raise
            left.append(number)
        finally:
            wire.frame_lock.release()
            if wire._look_again or wire._transport.rest:  # rule 5: what the socket did not take is left to it
                wire.flush_soon()
    return left


def acquire_until(lock: threading.Lock, deadline: float | None) -> bool:
    """Take a lock, waiting until an instant of time.monotonic() at most; whether it was taken."""
    if lock.acquire(blocking=False):
        return True
    if deadline is None:
        return lock.acquire()
    wait = deadline - time.monotonic()
    return wait > 0 and lock.acquire(timeout=min(wait, threading.TIMEOUT_MAX))


def _ignore(*arguments: object) -> None:
    pass


def _gone(reason: str, cause: BaseException) -> CloseError:
    error = CloseError(CloseCode.ABNORMAL_CLOSURE, f"{reason} ({cause})")
    error.__cause__ = cause
    return error
