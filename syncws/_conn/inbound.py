"""The reading half of a connection: one reader at a time, control frames and their handlers, keepalive, deadlines.

The caller's thread pulls: no thread and no queue of this library stands between the socket and the handler, and
backpressure is TCP's own. In the steady state a read is one `recv` in the kernel and nothing else.

Whoever reads has the *turn*, and reads for one of three (`ReadsFor`): for the application, for `Conn.close_read`, or
for a close, which passes over what the peer still sends. The last two never give the turn back to the application.
While nobody has it, the attendant takes it now and then, for a moment (`attendant`); a reader that comes then waits.

A read goes down these steps, and each is written once, except that `message` has the usual case written out:

    message, reader       what the application asks for
      read                takes the turn, and lets go of it
        _read_on          skips the rest of a message that was read as a stream; raises the end
          _advance        asks the protocol; handles control frames on the way; receives as needed
            _receive      waits for bytes once: deadline, keepalive, what the end of the stream means
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn

from .._base.callables import check_done
from .._base.copies import copy_of
from .._base.counters import breaches
from .._base.options import ConnOptions, check_call_timeout
from .._base.printable import printable
from .._base.unfinished import unfinished
from .._frames.allowance import Allowance
from .._frames.frame import MAX_HEADER
from .._frames.keepalive import Keepalive
from .._frames.payloads import clipped_reason, format_close_message, is_sendable
from .._frames.protocol import Protocol
from .._frames.streams import MessageReader
from .._net.transport import Transport
from ..errors import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseCode,
    CloseError,
    ConcurrencyError,
    ConnectionClosed,
    MessageType,
    ProtocolError,
    ReadLimitError,
    ReadTimeout,
    WriteTimeout,
)
from .ending import Ending
from .states import Life
from .turnstile import turnstile
from .wire import Wire, acquire_until

_logger = logging.getLogger("syncws.conn")

PingHandler = Callable[[bytes], object]
CloseHandler = Callable[[int, str], object]


#: What a read asks for first. An idle connection blocks in recv with a buffer of the size it asked for, so it asks for
#: little (this much comes from Python's own allocator, with no page of its own); a read that fills its buffer asks for
#: four times as much the next time, up to read_buffer_size and a header.
_FIRST_READ = 448


#: Pings that are answered where more have come one after another: the last of them. RFC 6455 section 5.5.3 asks for no
#: more than the very last, and an answer costs more than all else about a ping.
ANSWERED = 16

#: Frames that made no message, after which a reader is in no hurry; and the bytes of a read from then on.
_STRAYS = 64
_SMALL_READ = 1 << 14

#: Seconds of processor time that it takes to end a connection, about.
_END_OF_FLOOD = 0.001

#: Seconds for the peer to read that its unfinished message was too much, before the connection is cut.
_LAST_WORDS = 1.0

#: Seconds after which a reader that waits for the attendant looks whether it is another reader that it waits for.
_VISIT = 0.001

#: Frames that make no message, of which a reader that was interrupted reads so many between two pauses.
_PORTION = 500


class ReadsFor(Enum):
    """Whom the holder of the turn reads for."""

    APPLICATION = "messages go to the caller; its read deadline and its idle handler count"
    CLOSE_READ = "control frames are handled; a message is the end"
    CLOSE = "everything is passed over, until the end"


class Inbound:
    """Reads a connection.

    Concurrency: one thread at a time, the one that holds the read turn; a second one is refused at once. The turn
    guards everything here, except the handlers and the read deadline, which any thread may set at any time, and
    `_is_closing`, which has the state lock (`Life.lock`).
    """

    __slots__ = (
        "__weakref__",
        "_client",
        "_control_limit",
        "_control_rate",
        "_controls",
        "_counted",
        "_ending",
        "_handling",
        "_held",
        "_is_closing",
        "_is_tls",
        "_keepalive",
        "_least_rate",
        "_least_rate_grace",
        "_life",
        "_looked",
        "_most",
        "_read_size",
        "_reader",
        "_reads_for",
        "_received",
        "_rest",
        "_rested_at",
        "_tick",
        "_transport",
        "_waited",
        "_wire",
        "close_handler",
        "deadline",
        "ended_unread",
        "error",
        "idle_handler",
        "latency",
        "ping_handler",
        "pong_handler",
        "protocol",
        "turn",
        "visits",
    )

    def __init__(
        self,
        transport: Transport,
        life: Life,
        wire: Wire,
        ending: Ending,
        turn: threading.Lock,
        protocol: Protocol,
        options: ConnOptions,
        *,
        client: bool,
    ) -> None:
        self._transport = transport
        self._is_tls = transport.is_tls
        self._life = life
        self._wire = wire
        self._ending = ending
        self.turn = turn
        self._client = client
        self.protocol = protocol
        self._keepalive = Keepalive(options.ping_interval, options.ping_timeout)
        self._control_limit = options.control_limit
        self._control_rate = options.control_rate
        self._controls: Allowance | None = None  # of pings and pongs; made for the first
        self._counted = 0  # pings and pongs that are still to be handled and were counted already
        self._least_rate = options.least_rate
        self._least_rate_grace = options.least_rate_grace
        self._waited = 0.0  # seconds that reads have waited for the message that has begun to come
        self._received = 0  # bytes of the latest read inside a message
        self._rested_at = 0.0  # what the turnstile said at the latest rest
        self._held = 0  # bytes that `unfinished` knows of
        self._tick = (
            self._keepalive.interval
        )  # how long a wait for bytes is: the same one mostly, as a change is a call
        self._reader: MessageReader | None = None  # of the message that is read as a stream
        self.error: Exception | None = None  # a handler's exception: final for reads only
        self.latency: float | None = None  # seconds
        self.deadline: float | None = None  # the application's, an instant of time.monotonic()
        self._most = options.read_buffer_size + MAX_HEADER  # so that a message of just that size needs one read
        self._read_size = min(_FIRST_READ, self._most)
        self._rest: Callable[[], bool] | None = None  # see `interrupt`, which any thread may call
        self._looked = False  # this read has looked at the socket, so that its timeout may end it
        self._reads_for = ReadsFor.APPLICATION
        self._is_closing = False  # a close wants the turn, or has it; guarded by the state lock
        self._handling: int | None = None  # the thread that runs a handler now
        #: How often the attendant has come and gone: odd while it may have the turn. Written by its thread alone.
        self.visits = 0
        #: The attendant found the end; what had come before it is read first. Set before the end is stored: whoever
        #: finds that without having the turn, since it was cut at once, must find this.
        self.ended_unread = False
        self.idle_handler: Callable[[], object] | None = None
        self.ping_handler: PingHandler | None = None
        self.pong_handler: PingHandler | None = None
        self.close_handler: CloseHandler | None = None

    # A message at a time

    def message(self, timeout: float | None) -> tuple[MessageType, Any]:
        """The next message: (TEXT, str) or (BINARY, bytes).

        The usual case is written out here: no deadline, a peer that was not silent, and one read that brings one whole
        message. `read`, `_read_on`, `_advance` and `_receive` do the same in twice the steps, and everything else.
        """
        protocol = self.protocol
        message: tuple[MessageType, Any] | None
        if timeout is not None or not self.turn.acquire(False):
            message = self.read(protocol.next_event, timeout)
            return message
        try:
            if (
                self.deadline is not None  # _receive: how long to wait
                or self.idle_handler is not None  # _receive: it is called before the wait
                or self._keepalive.silent_since is not None  # _receive: how long until silence is judged
                or self._reader is not None  # _read_on: the rest of a streamed message is skipped
                or self.error is not None  # _read_on: it is raised
                or self._life.refusal is not None  # _read_on: the end is raised; and who is interrupted pauses
            ):
                message = self._read_on(protocol.next_event, None, None)
                return message
            if protocol.idle:
                data = self._receive_data(self._tick)
                if data:
                    message = protocol.only(data)
                    if message is not None:
                        return message
                    protocol.receive(data)
            message = self._advance(protocol.next_event, None)
            return message
        finally:
            self.turn.release()  # here, not in leave_turn: a KeyboardInterrupt may come as that is entered
            if self._life.end is not None:  # looked at once the turn is free: see release_if_cut
                self._ending.release_if_cut()

    def reader(self, timeout: float | None) -> MessageReader:
        """The next message as a stream, once part of it is there."""
        reader: MessageReader = self.read(self._open_reader, timeout)[1]
        return reader

    def read(self, step: Callable[[], Any], timeout: float | None, reader: MessageReader | None = None) -> Any:
        """Take the turn and read what step gives; reader is the message being read, if it is a piece of one.

        step asks the protocol: its `next_event` gives a whole message, (TEXT, str) or (BINARY, bytes).
        """
        deadline = None
        if timeout is not None:
            check_call_timeout(timeout)
            deadline = time.monotonic() + timeout
        if not self.turn.acquire(False):
            self.take_turn(deadline)
        try:
            return self._read_on(step, deadline, reader)
        finally:
            self.turn.release()  # here, not in leave_turn: a KeyboardInterrupt may come as that is entered
            if self._life.end is not None:  # looked at once the turn is free: see release_if_cut
                self._ending.release_if_cut()

    def _read_on(self, step: Callable[[], Any], deadline: float | None, reader: MessageReader | None) -> Any:
        """As `read`, by the holder of the turn."""
        self._looked = False
        if self._reader is not reader:
            if reader is not None:
                return BINARY, b"", True  # another message has begun since: this one is at its end
            self._skip_message(deadline)
        self._raise_end()
        self._pause_if_interrupted()
        return self._advance(step, deadline)

    def take_turn(self, deadline: float | None) -> None:
        """Become the one reader. Raises ConcurrencyError, or the end; ReadTimeout while another thread closes."""
        if self._take_turn_from_attendant():
            return
        is_over = self._life.end is not None
        if is_over:
            self._raise_end()  # whoever has the turn only tidies up
        with self._life.lock:  # taken after the try that failed: the close has set the flag before it took the turn
            is_closing = self._is_closing
        if not (is_closing or is_over) or self.in_handler:
            raise ConcurrencyError("another thread is reading this connection: one thread reads at a time")
        # The close reads in place of this thread. It ends at its deadline, and this thread then finds the end. Or it is
        # over, and whoever has the turn only tidies up, while there is more to read.
        if not acquire_until(self.turn, deadline):
            raise self._life.own(ReadTimeout("the connection was still being closed when the timeout was over"))

    def _take_turn_from_attendant(self) -> bool:
        """Try to take the turn; False if another thread than the attendant's has it.

        Told apart without a lock: the attendant counts a visit before it tries the turn, and again after it has let go.
        So if the count was even and is the same after a try that failed, the attendant did not have the turn.
        """
        while True:
            visits = self.visits
            if self.turn.acquire(blocking=False):
                return True
            if visits % 2 == 0 and visits == self.visits:
                return False
            if self.turn.acquire(timeout=_VISIT):
                return True

    def leave_turn(self) -> None:
        """Let another thread read."""
        self.turn.release()
        if self._life.end is not None:
            self._ending.release_if_cut()

    def _open_reader(self) -> tuple[Any, ...] | None:
        piece = self.protocol.next_piece()
        if piece is None or piece[0] >= CLOSE:
            return piece
        self._reader = reader = MessageReader(piece[0], self._next_piece_of)
        reader.supply(piece[1], piece[2])
        return piece[0], reader

    def _next_piece_of(self, reader: MessageReader) -> tuple[bytes, bool]:
        _, data, final = self.read(self.protocol.next_piece, None, reader)
        return data, final

    def _skip_message(self, deadline: float | None) -> None:
        """Pass over what is left of the message that a reader was reading; a timeout leaves the rest to skip later."""
        reader = self._reader
        assert reader is not None
        reader.abandon()
        while not reader.complete:
            self._raise_end()
            reader.complete = self._advance(self.protocol.next_piece, deadline)[2]
        self._reader = None

    # In place of the application

    def read_control(self) -> None:
        """Handle control frames until the end, or a message, which is passed over. The caller has the turn."""
        self._reads_for = ReadsFor.CLOSE_READ
        self._raise_end()
        self._advance(self.protocol.next_piece, None)

    def take_turn_to_close(self, deadline: float) -> bool:
        """Become the reader on behalf of a close; False when another thread still reads at the deadline.

        The deadline is an instant of time.monotonic(). Give the turn back with `turn.release`: a close cuts afterwards.
        """
        with self._life.lock:  # before the turn is asked for: a reader that finds the turn taken must know why
            self._is_closing = True
        return acquire_until(self.turn, deadline)

    def pass_over(self, deadline: float) -> None:
        """Read until the end, whatever the peer still sends, or until an instant. The caller has the turn."""
        assert self.turn.locked()
        self._reads_for = ReadsFor.CLOSE
        while self._life.end is None and time.monotonic() < deadline:
            try:
                self._pause_if_interrupted()
                self._advance(self.protocol.next_piece, deadline)
            except Exception as error:
                if self._life.is_own(error):
                    continue  # the end, the deadline, or a handler that writes although this side has closed
                # Of a handler, and kept for the next read, if there is one.
                _logger.exception(
                    "%s: a handler failed while this side closed", printable(self._transport.remote_address)
                )

    # The turn's holder

    def _raise_end(self) -> None:
        """Raise a handler's exception, or else the end; do nothing before either, nor while there is more to read."""
        if self.error is not None:
            raise copy_of(self.error)
        if not self.ended_unread:  # else the end is raised where bytes are missing
            self._life.check_readable()

    def _advance(self, step: Callable[[], Any], deadline: float | None) -> Any:
        """What step gives next, past control frames, receiving as needed."""
        controls = 0
        while True:
            try:
                if self.protocol.idle:
                    self._receive(deadline)
                event = step()
                while event is None:
                    self._receive_more(step, deadline)
                    event = step()
            except ProtocolError as error:
                # Not of a handler: that may be the end of another connection.
                if self.ended_unread:  # the peer's close came after this, and must not tell that all is well
                    self._life.own(error)
                    raise
                self._refuse(error)
                event = None
            if event is None:  # not inside the except block, where the breach would be told twice
                self._life.raise_end()
            kind = event[0]
            if kind is TEXT or kind is BINARY:
                if self._held:
                    self._hold(self.protocol.held)
                self._waited = 0.0
                if len(event) == 2 or event[2]:  # the last of a message
                    self.protocol.strays = 0
                return event
            self._handle(kind, event[1])
            controls += 1
            if controls % ANSWERED == 0:
                self._seconds_to_wait(deadline)  # raises at the deadline, though there is no wait

    def _refuse(self, error: ProtocolError) -> None:
        """As `refuse_peer`; a flood, which is seldom alone, has to wait until others are refused."""
        if error.code == CloseCode.POLICY_VIOLATION:
            turnstile.rest(_END_OF_FLOOD)
        self.refuse_peer(error)

    def refuse_peer(self, error: ProtocolError) -> None:
        """The peer broke the protocol: say so in a close frame (a code without reason for 1009, as gorilla does)."""
        reason = "" if isinstance(error, ReadLimitError) else clipped_reason(error.reason)
        # Our close is queued before the end is stored: after that no close is taken, and the peer would see 1006.
        self._wire.queue_close(format_close_message(error.code, reason))
        self._ending.finish(error)

    def interrupt(self, rest: Callable[[], bool] | None = None) -> None:
        """Have the reader leave what has arrived, and call rest(), or else look for the end. Any thread; never waits.

        rest() may wait, and returns whether it is to be called again, after some more frames. A reader that waits for
        the peer goes on waiting.
        """
        self._rest = rest
        self.protocol.interrupted = True

    def _pause_if_interrupted(self) -> None:
        """Before a whole message, of which `Protocol` counts none. Raises the end."""
        if self.protocol.interrupted and not self.protocol.use_portion():
            self._pause()

    def _pause(self) -> None:
        """Somebody has interrupted this read. Raises the end."""
        rest, protocol = self._rest, self.protocol
        protocol.interrupted = rest is not None and rest()
        protocol.portion = _PORTION
        self._raise_end()  # after it was cleared, which may have missed another interruption

    def _receive_more(self, step: Callable[[], Any], deadline: float | None) -> None:
        """As `_receive`, where a message may have begun. Raises ProtocolError if it is too slow, or too large."""
        protocol = self.protocol
        if protocol.idle:  # control frames only
            self._receive(deadline)
            return
        if protocol.held != self._held:
            self._hold(protocol.held)
        if self._least_rate is None or self._reads_for is not ReadsFor.APPLICATION or step != protocol.next_event:
            self._receive(deadline)
        else:
            self._receive_in_time(deadline, self._least_rate)

    def _receive_in_time(self, deadline: float | None, rate: int) -> None:
        """As `_receive`, while a message is kept until it is whole: it must come with so many bytes a second.

        Only what reads have waited for it counts, and it is judged right after a wait that found nothing: what came
        while the handler was busy lies in the socket.
        """
        grace = self._least_rate_grace
        if self._waited * 8 < grace:  # mostly; and a wait of another length would cost a call of the system
            self._tick = most = grace if self._tick is None else min(self._tick, grace)
        else:
            most = max(0.0, grace + self.protocol.arrived / rate - self._waited)
        began = time.monotonic()
        came = self._receive(deadline, most)
        self._waited += time.monotonic() - began
        if not came and self._waited >= grace + self.protocol.arrived / rate:
            breaches.add("least_rate")
            raise ProtocolError(
                CloseCode.POLICY_VIOLATION, f"a message that comes with less than {rate} bytes a second"
            )

    def _receive(self, deadline: float | None, most: float | None = None) -> bool:
        """Wait for bytes, once, at most so many seconds; whether any came. Raises ReadTimeout, or the end."""
        if self._life.end is not None:
            if self.ended_unread:  # no longer: what is left makes no message
                self.ended_unread = False
                self.forget()
            self._life.raise_end()
        if self.protocol.interrupted and not self.protocol.portion:
            self._pause()
            return True
        if self.idle_handler is not None and self._reads_for is ReadsFor.APPLICATION:
            self._call(self.idle_handler)
        if self.protocol.strays > _STRAYS:
            # The peer sends frames that make no message: let others go on, and read little at a time.
            self._rested_at = turnstile.pass_through(self._rested_at, self._received)
            self._read_size = min(self._read_size, _SMALL_READ)
        wait = self._tick
        if deadline is not None or self.deadline is not None or self._keepalive.silent_since is not None:
            wait = self._seconds_to_wait(deadline)
        if most is not None and (wait is None or most < wait):
            wait = most
        protocol = self.protocol
        if protocol.partial is not None and (room := protocol.destination()) is not None:
            return self._receive_into(room, wait)
        data = self._receive_data(wait)
        if not data:
            return False
        self._received = len(data)
        protocol.receive(data)
        return True

    def hold_unread(self) -> None:
        """Count what the attendant has received, as `_hold` does, until a read has taken it. For the turn's holder."""
        size = self.protocol.held + self.protocol.unread
        if size != self._held:
            self._hold(size)

    def _hold(self, size: int) -> None:
        """Say that the message that has begun to come takes so many bytes. Raises ReadLimitError if it has to go."""
        self._held = size
        too_large = unfinished.hold(self, size)
        if too_large is None:
            return
        breaches.add("unfinished_limit")
        if too_large is not self:
            too_large.give_up()
            return
        self._held = 0
        raise _no_room()

    def give_up(self) -> None:
        """End the connection, since its unfinished message is the largest of all. For any thread; waits for nothing."""
        # The close is queued before the end is stored: after that no close is taken, and the peer would see 1006.
        self._wire.queue_close(format_close_message(CloseCode.MESSAGE_TOO_BIG))
        self._ending.dismiss(_no_room(), _LAST_WORDS, drop=True)

    def forget(self) -> None:
        """The fd is closed, and nobody reads any more: nothing of an unfinished message is kept."""
        if not self.ended_unread:  # else what had come is read first
            self.protocol.abandon()
            if self._held:
                self._hold(0)

    def _receive_data(self, wait: float | None) -> bytes | None:
        """What comes within so many seconds; None where nothing did. Raises the end."""
        try:
            data = self._transport.receive(self._read_size, wait)
        except OSError as error:
            self._end_broken(error)
        if not data:
            self._nothing_came(data, wait or 0.0)
        elif len(data) == self._read_size:
            self._read_size = min(4 * self._read_size, self._most)
        if self._keepalive.silent_since is not None and data:
            self._keepalive.heard()
        if self._is_tls and self._transport.pending:
            self._wire.nudge()
        return data

    def _receive_into(self, room: memoryview, wait: float | None) -> bool:
        """As `_receive_data`, in place, and the protocol is told; whether anything came."""
        with room:
            try:
                came = self._transport.receive_into(room, wait)
            except OSError as error:
                self._end_broken(error)
        if came:
            self.protocol.received(came)
            if self._keepalive.silent_since is not None:
                self._keepalive.heard()
        else:
            self._nothing_came(came, wait or 0.0)
        if self._is_tls and self._transport.pending:
            self._wire.nudge()
        return bool(came)

    def _end_broken(self, error: OSError) -> NoReturn:
        """The socket is broken: that is the end."""
        self._ending.finish_and_cut(self._life.vanished(str(error), error))
        self._life.raise_end()

    def _seconds_to_wait(self, deadline: float | None) -> float | None:
        """Raises ReadTimeout; but a call's own timeout only after one look at the socket, so that 0 is of use."""
        now = time.monotonic()
        standing = self.deadline if self._reads_for is ReadsFor.APPLICATION else None
        if (standing is not None and standing <= now) or (deadline is not None and deadline <= now and self._looked):
            late = ReadTimeout("no message came before the read deadline; the connection can still be used")
            raise self._life.own(late)
        self._looked = True
        waits = [max(0.0, at - now) for at in (deadline, standing) if at is not None]
        until_judged = self._keepalive.seconds_left(now)
        if until_judged is not None:
            waits.append(until_judged)
        return min(waits, default=None)

    def _nothing_came(self, came: bytes | int | None, waited: float) -> None:
        """A wait ended without bytes: with nothing (None), or at the end of the stream."""
        if came is not None:
            self._life.check_readable()  # this side has woken the reader
            # No frame can follow, and a writer that is stuck would stay so: a peer may have closed one way only.
            self._ending.finish_and_cut(self._life.vanished("the peer left without a close frame"))
            self._life.raise_end()
        if self._transport.heard_part:
            self._keepalive.heard()  # a TLS record that arrives slowly is no silence
            return
        self._read_size = min(_FIRST_READ, self._most)
        self._tick = self._keepalive.interval
        if self.judge_silence(waited):
            self._ending.finish_and_cut(self._life.vanished(self.silence))
            self._life.raise_end()

    def heard(self) -> None:
        """Bytes have come: the peer lives. For the turn's holder."""
        self._keepalive.heard()

    def judged_at(self) -> float:
        """When the silence of a peer that says nothing is next to be judged, an instant. For the turn's holder."""
        now = time.monotonic()
        left = self._keepalive.seconds_left(now)
        return math.inf if left is None else now + left

    @property
    def is_unattended(self) -> bool:
        """Whether a reader has left something to look after, or has heard the peer since. A hint, for any thread."""
        return self.protocol.unseen or not self._keepalive.is_counting

    def judge_silence(self, waited: float) -> bool:
        """After a wait without a byte: ping the peer, if it is time; whether it is dead. For the turn's holder."""
        verdict = self._keepalive.nothing_came(time.monotonic(), waited, self._transport.taken_by_peer())
        if verdict == "ping" and self._life.refusal is None:
            try:
                self._wire.ping(b"")
            except (ConnectionClosed, WriteTimeout):
                pass  # closed since the look above: the next read says how
        if verdict == "dead":
            breaches.add("ping_timeout")
        return verdict == "dead"

    @property
    def silence(self) -> str:
        """What is said of a peer that is dead."""
        return f"no answer to a ping for {self._keepalive.timeout:g} s"

    # Control frames

    @property
    def in_handler(self) -> bool:
        """Whether this thread is inside a handler that a read has called; then it is the reader."""
        return self._handling == threading.get_ident()

    def answer_ping(self, data: bytes) -> None:
        """The default ping handler: a pong, as soon as the wire allows (RFC 6455 section 5.5.2)."""
        if self._life.refusal is None:
            self._wire.pong(data)

    def _handle(self, kind: MessageType, payload: Any) -> None:
        if kind is not CLOSE:
            self._count_controls(kind)
        if kind is PING:
            if self.ping_handler is not None:
                self._call(self.ping_handler, payload)
            elif self._counted < ANSWERED:
                self.answer_ping(payload)
        elif kind is PONG:
            self.note_pong(payload)
            self._call(self.pong_handler or ignore, payload)
        elif self.ended_unread:  # its close handler is called, and that is all
            self._call(self.close_handler or ignore, *payload)
            self._life.raise_end()
        else:
            self._peer_closed(*payload)

    def _count_controls(self, kind: MessageType) -> None:
        """Count a ping, and those that have come right after it: a flood ends before it is answered. Or pongs."""
        if self._counted:
            self._counted -= 1
            return
        ahead = self.protocol.controls_ahead(kind)
        breach = self.count_control(1 + ahead)
        if breach is not None:
            self._refuse(breach)
            self._life.raise_end()
        self._counted = ahead

    def recount_controls(self) -> None:
        """Pings or pongs that a read has counted and left where they are: whoever handles them counts them anew."""
        if self._counted and self._controls is not None:
            self._controls.give_back(self._counted)
        self._counted = 0

    def count_control(self, count: int = 1) -> ProtocolError | None:
        """Count pings and pongs: they reach no handler of messages, and each costs more than it brings.

        What to refuse the peer with, if these were too many. For the turn's holder.
        """
        if self._control_limit is None:
            return None
        if self._controls is None:
            self._controls = Allowance(self._control_limit, self._control_rate, time.monotonic())
        if self._controls.spend(count):
            return None
        self._controls.refill(time.monotonic())
        if self._controls.spend(count):
            return None
        breaches.add("control_limit")
        rate = f"{self._control_limit} control frames, and {self._control_rate} more a second"
        return ProtocolError(CloseCode.POLICY_VIOLATION, f"more than {rate}")

    def note_pong(self, data: bytes) -> None:
        """A pong has come: maybe the answer to our latest ping."""
        self.latency = self._wire.round_trip(data) or self.latency

    def _peer_closed(self, code: int, reason: str) -> None:
        self.note_close(code, reason)
        try:
            self._call(self.close_handler or ignore, code, reason)
        finally:
            self.answer_close(code, reason)
        self._life.raise_end()

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

    def _call(self, handler: Callable[..., object], *arguments: Any) -> None:
        """Run a handler of the application; a `close` inside it knows that this thread is the reader."""
        self._handling = threading.get_ident()
        try:
            result = handler(*arguments)
            if result is not None:
                check_done("a handler", result)
        except Exception as error:
            if self.error is None:
                self.error = copy_of(error)  # without the traceback, whose frames know this connection
            raise
        finally:
            self._handling = None


def _no_room() -> ReadLimitError:
    return ReadLimitError("the unfinished messages of this process were too much, and this was the largest")


def ignore(*arguments: object) -> None:
    """The default pong and close handler."""
