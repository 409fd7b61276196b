"""The reading half of a connection: one reader at a time, its deadlines, and the handlers of control frames.

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
            _receive_more where a message has begun: it must go on (`pace`), and what it takes is counted (`holding`)
              _receive    waits once, until the deadline at most; in a flood it lets others go first (`turnstile`)
                receive   asks the socket, and judges silence and the end of the stream (`intake`)

**An exception that is none of this connection's** may have cost bytes: a KeyboardInterrupt between the system's call
and the count of what came. So unless it is known to have cost none (`interrupts`), it is the end, 1006: reads raise
that from then on, and the connection is cut, as a broken one is. An interrupt of a wait, or of a handler, is as
harmless as it looks. Nothing here is paid by a read that raises nothing.

A control frame is counted and answered by `controls`; the application's handlers are called here, by `_handle`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from .._base.callables import check_done
from .._base.copies import copy_of
from .._base.interrupts import is_spared, spare, take_mark
from .._base.logs import logger
from .._base.options import ConnOptions, check_call_timeout
from .._base.printable import printable
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
    ConcurrencyError,
    MessageType,
    ProtocolError,
    ReadTimeout,
)
from .batch import Batch
from .controls import ANSWERED, Controls
from .ending import Ending
from .holding import Holding
from .intake import Intake
from .pace import Pace
from .states import Life
from .turnstile import turnstile
from .wire import Wire, acquire_until

_logger = logger("syncws.conn")

PingHandler = Callable[[bytes], object]
CloseHandler = Callable[[int, str], object]


#: Frames that made no message, after which a reader is in no hurry.
_STRAYS = 64

#: Seconds of processor time that it takes to end a connection, about.
_END_OF_FLOOD = 0.001

#: Seconds after which a reader that waits for the attendant looks whether it is another reader that it waits for.
_VISIT = 0.001

#: Looks at the socket of a read whose time is over, while each finds something: enough for the largest message that
#: lies there. A peer that never stops sending does not hold such a read.
_LOOKS = 64

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
        "_batch",
        "_ending",
        "_handling",
        "_holding",
        "_is_closing",
        "_life",
        "_looks",
        "_may_keep",
        "_options",
        "_pace",
        "_reader",
        "_reads_for",
        "_received",
        "_rest",
        "_rested_at",
        "_tally",
        "_transport",
        "_unsent",
        "_wire",
        "close_handler",
        "controls",
        "deadline",
        "ended_unread",
        "error",
        "idle_handler",
        "intake",
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
        intake: Intake,
        controls: Controls,
        options: ConnOptions,
    ) -> None:
        self._transport = transport
        self._life = life
        self._wire = wire
        self._tally = wire.tally
        self._ending = ending
        self._options = options
        self.turn = turn
        self.protocol = protocol
        self.intake = intake
        self.controls = controls
        # Of messages that come together, whose answers may leave together; made for the first, None where they may not.
        self._batch: Batch | None = None
        self._may_keep = options.answers_together and transport.waits_in_kernel
        self._unsent = False  # some may be kept, which leave before this thread waits
        self._pace: Pace | None = None  # of messages that are under way while a read waits; made for the first
        self._holding: Holding | None = None  # of what is unfinished or unread; made for the first
        self._received = 0  # bytes of the latest read inside a message
        self._rested_at = 0.0  # what the turnstile said at the latest rest
        self._reader: MessageReader | None = None  # of the message that is read as a stream
        self.error: Exception | None = None  # a handler's exception: final for reads only
        self.deadline: float | None = None  # the application's, an instant of time.monotonic()
        self._rest: Callable[[], bool] | None = None  # see `interrupt`, which any thread may call
        self._looks = 0  # at the socket, which this read may still make once its time is over
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

        The usual cases are written out here: one read that brings one whole message, from a peer that was not silent,
        without a deadline; and one that brings several, of which another is at hand. `read`, `_read_on`, `_advance` and
        `_receive` do the same in twice the steps, and everything else.
        """
        protocol = self.protocol
        message: tuple[MessageType, Any] | None
        if timeout is not None or not self.turn.acquire(False):
            message = self.read(protocol.next_event, timeout)
            return message
        try:
            try:
                if (
                    self._reader is not None  # _read_on: the rest of a streamed message is skipped
                    or self.error is not None  # _read_on: it is raised
                    or self._life.refusal is not None  # _read_on: the end is raised; and who is interrupted pauses
                ):
                    message = self._read_on(protocol.next_event, None, None)
                    return message
                intake = self.intake
                message = None
                if not protocol.idle:
                    try:
                        message = protocol.next_event()
                    except ProtocolError:
                        pass  # _advance: an equal one is raised there (`suppress` would cost a tenth of the time)
                    if message is not None and (message[0] is BINARY or message[0] is TEXT):
                        if self._unsent and not protocol.idle and self._pace is None and self._holding is None:
                            # _note_message, in the middle of a batch
                            protocol.strays = 0
                            self._tally.messages_in += 1
                            self._take_from_batch()
                        else:
                            self._note_message()
                        return message
                elif (
                    self.deadline is None  # _receive: how long to wait
                    and self.idle_handler is None  # _receive: it is called before the wait
                    and intake.keepalive.silent_since is None  # _receive: how long until silence is judged
                    and not self._unsent  # _receive: answers that are kept leave before the wait
                ):
                    if intake.decoder is None:
                        came = intake.receive(intake.tick)
                        message = protocol.only(came) if came else None
                    else:  # both in one step
                        came = intake.receive_message(intake.tick, protocol.read_limit)
                        message = came if type(came) is tuple else None
                    if message is not None:
                        self._tally.messages_in += 1
                        return message
                    if came:
                        protocol.receive(came)
                message = self._advance(protocol.next_event, None, message)
                return message
            except BaseException as error:
                self._look_at(error)
                raise
            finally:
                self.turn.release()  # here, not in leave_turn: a KeyboardInterrupt may come as that is entered
                if self._life.end is not None:  # looked at once the turn is free: see release_if_cut
                    self._ending.release_if_cut()
        except BaseException as error:
            self._look_again_at(error)
            raise

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
            try:
                return self._read_on(step, deadline, reader)
            except BaseException as error:
                self._look_at(error)
                raise
            finally:
                self.turn.release()  # here, not in leave_turn: a KeyboardInterrupt may come as that is entered
                if self._life.end is not None:  # looked at once the turn is free: see release_if_cut
                    self._ending.release_if_cut()
        except BaseException as error:
            self._look_again_at(error)
            raise

    def _look_at(self, error: BaseException) -> None:
        """A read of the turn's holder raises this: unless it is known to be harmless, nothing is read any more."""
        if not (is_spared(error) or self._is_known(error)):
            self.break_off(error)

    def _look_again_at(self, error: BaseException) -> None:
        """As `_look_at`, once the turn was let go: of an interrupt that came after a message, in place of it."""
        if not (take_mark(error) or self._is_known(error)):
            self.break_off(error)

    def _is_known(self, error: BaseException) -> bool:
        """Whether it is of this connection, or reads are over anyway, as after the exception of a handler."""
        return self._life.is_own(error) or self.error is not None

    def break_off(self, cause: BaseException) -> None:
        """Bytes may be lost: read nothing any more, and end the connection. Any thread; never waits."""
        # Stored by itself, and first: what had come before an end that is there already is still to be read.
        self.error = self._life.own(self._life.vanished("a read was interrupted", copy_of(cause)))
        self._ending.cut_now(self._life.vanished("a read was interrupted", cause))

    def _read_on(self, step: Callable[[], Any], deadline: float | None, reader: MessageReader | None) -> Any:
        """As `read`, by the holder of the turn."""
        self._looks = _LOOKS
        if self._reader is not reader:
            if reader is not None:
                reader.supply(b"", True)  # another message has begun since: this one is at its end
                return BINARY, b"", True
            self._skip_message(deadline)
        self._raise_end()
        self._pause_if_interrupted()
        piece = self._advance(step, deadline)
        if reader is not None:
            reader.supply(piece[1], piece[2])  # by the turn's holder: an interrupt after it ends the reads
        return piece

    def take_turn(self, deadline: float | None) -> None:
        """Become the one reader. Raises ConcurrencyError, or the end; ReadTimeout while another thread closes."""
        if self._take_turn_from_attendant():
            return
        if self._transport.is_inherited:  # whoever had the turn at the fork has it for ever
            raise ConcurrencyError("this connection belongs to the parent process, which was reading it at the fork")
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
            if (visits % 2 == 0 and visits == self.visits) or self._transport.is_inherited:
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
        return piece[0], reader, piece[2]

    def _next_piece_of(self, reader: MessageReader) -> None:
        self.read(self.protocol.next_piece, None, reader)

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
                    "%s: a handler failed while this side closed",
                    printable(self._transport.remote_address),
                    extra={"about": self._life.about},
                )

    # The turn's holder

    def _raise_end(self) -> None:
        """Raise a handler's exception, or else the end; do nothing before either, nor while there is more to read."""
        if self.error is not None:
            raise copy_of(self.error)
        if not self.ended_unread:  # else the end is raised where bytes are missing
            self._life.check_readable()

    def _advance(self, step: Callable[[], Any], deadline: float | None, event: Any = None) -> Any:
        """What step gives next, past control frames, receiving as needed; event is what it has given already."""
        controls = 0
        while True:
            try:
                if event is None:
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
                self._note_message(len(event) == 2 or event[2])
                return event
            self._handle(kind, event[1])
            event = None
            controls += 1
            if controls % ANSWERED == 0:
                self._seconds_to_wait(deadline)  # raises at the deadline, though there is no wait

    def _note_message(self, is_whole: bool = True) -> None:
        """A message is given out, or a piece of one."""
        if self._holding is not None and self._holding.size:
            self._hold_less(self._holding)
        if self._pace is not None:
            self._pace.waited = 0.0
        if not is_whole:
            return
        self.protocol.strays = 0
        self._tally.messages_in += 1
        if self.protocol.idle:  # there are no more: its answer is not to wait, and takes along what does
            self._wire.batch = None
        elif self._may_keep:
            self._take_from_batch()

    def _hold_less(self, holding: Holding) -> None:
        """Part of what is held was given out: nobody has to go for that, though others may hold too much by now."""
        holding.keep(self.protocol.held, 0)

    def _take_from_batch(self) -> None:
        """A message is given out, and more are at hand: its answer may wait for theirs."""
        batch = self._batch
        if batch is None:
            batch = self._batch = Batch()
        if batch.take() and self._unsent:
            self._wire.send_kept()
        self._wire.batch, self._unsent = batch, True

    def _end_batch(self) -> None:
        """The reader is about to wait: what is kept leaves first."""
        assert self._batch is not None
        self._batch.end()
        self._wire.batch, self._unsent = None, False
        self._wire.send_kept()

    def _refuse(self, error: ProtocolError) -> None:
        """As `Controls.refuse_peer`; a flood, which is seldom alone, has to wait until others are refused."""
        if error.code == CloseCode.POLICY_VIOLATION:
            turnstile.rest(_END_OF_FLOOD)
        self.controls.refuse_peer(error)

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
        held, holding = protocol.held, self._holding
        if held != (0 if holding is None else holding.size):
            self._hold(held)
        rate = self._options.least_rate
        if rate is None or self._reads_for is not ReadsFor.APPLICATION or step != protocol.next_event:
            self._receive(deadline)
            return
        if self._pace is None:
            self._pace = Pace(rate, self._options.least_rate_grace)
        self._receive_in_time(deadline, self._pace)

    def _receive_in_time(self, deadline: float | None, pace: Pace) -> None:
        """As `_receive`, while a message is kept until it is whole: see `Pace`."""
        intake, protocol = self.intake, self.protocol
        most = pace.usual(intake.tick)
        if most is None:
            most = pace.left(protocol.arrived)
        else:
            intake.tick = most  # a wait of another length would cost a call of the system
        began = time.monotonic()
        came = self._receive(deadline, most)
        pace.waited += time.monotonic() - began
        if not came:
            pace.judge(protocol.arrived)

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
        if self._unsent:
            self._end_batch()
        idle_handler = self.idle_handler  # once: any thread may set it
        if idle_handler is not None and self._reads_for is ReadsFor.APPLICATION:
            self._call(idle_handler)
        if self.protocol.strays > _STRAYS:
            # The peer sends frames that make no message: let others go on, and read little at a time.
            self._rested_at = turnstile.pass_through(self._rested_at, self._received)
            self.intake.ask_for_less()
        intake, protocol = self.intake, self.protocol
        wait = intake.tick
        if deadline is not None or self.deadline is not None or intake.keepalive.silent_since is not None:
            wait = self._seconds_to_wait(deadline)
        if most is not None and (wait is None or most < wait):
            wait = most
        if protocol.partial is not None and (room := protocol.destination()) is not None:
            came = intake.receive_into(room, wait)
            if came:
                protocol.received(came)
            else:
                self._looks = 0
            return bool(came)
        data = intake.receive(wait)
        if not data:
            self._looks = 0
            return False
        self._received = len(data)
        protocol.receive(data)
        return True

    def hold_unread(self) -> None:
        """Count what the attendant has received until a read has taken it; nobody has to go. For the turn's holder."""
        held, unread = self.protocol.held, self.protocol.unread
        if self._holding is None:
            if not held and not unread:
                return
            self._holding = Holding(self._wire, self._ending)
        self._holding.keep(held, unread)

    def _hold(self, size: int) -> None:
        """Say that the message that has begun to come takes so many bytes. Raises ReadLimitError if it has to go."""
        if self._holding is None:
            if not size:
                return
            self._holding = Holding(self._wire, self._ending)
        if size != self._holding.size:
            self._holding.hold(size)

    def forget(self) -> None:
        """The fd is closed, and nobody reads any more: nothing of an unfinished message is kept."""
        if not self.ended_unread:  # else what had come was read first
            self.protocol.abandon()
            self._hold(0)

    def _seconds_to_wait(self, deadline: float | None) -> float | None:
        """Raises ReadTimeout; but a call's own timeout only once the socket is empty, so that 0 gives what is there."""
        now = time.monotonic()
        standing = self.deadline if self._reads_for is ReadsFor.APPLICATION else None
        if (standing is not None and standing <= now) or (deadline is not None and deadline <= now and not self._looks):
            late = ReadTimeout("no message came before the read deadline; the connection can still be used")
            raise self._life.own(late)
        if self._looks:
            self._looks -= 1
        waits = [max(0.0, at - now) for at in (deadline, standing) if at is not None]
        until_look = self.intake.seconds_left(now)
        if until_look is not None:
            waits.append(until_look)
        return min(waits, default=None)

    @property
    def is_unattended(self) -> bool:
        """Whether a reader has left something to look after, or has heard the peer since. A hint, for any thread."""
        return self.protocol.unseen or not self.intake.keepalive.is_counting

    # Control frames

    @property
    def in_handler(self) -> bool:
        """Whether this thread is inside a handler that a read has called; then it is the reader."""
        return self._handling == threading.get_ident()

    def _handle(self, kind: MessageType, payload: Any) -> None:
        if kind is not CLOSE:
            self._count_controls(kind)
        if kind is PING:
            handler = self.ping_handler  # once: any thread may set it
            if handler is not None:
                self._call(handler, payload)
            elif self.controls.ahead < ANSWERED:
                self.controls.answer_ping(payload)
        elif kind is PONG:
            self.controls.note_pong(payload)
            self._call(self.pong_handler or ignore, payload)
        elif self.ended_unread:  # its close handler is called, and that is all
            self._call(self.close_handler or ignore, *payload)
            self._life.raise_end()
        else:
            self._peer_closed(*payload)

    def _count_controls(self, kind: MessageType) -> None:
        """Count a ping, and those that have come right after it: a flood ends before it is answered. Or pongs."""
        controls = self.controls
        if controls.ahead:
            controls.ahead -= 1
            return
        ahead = self.protocol.controls_ahead(kind)
        breach = controls.count(1 + ahead)
        if breach is not None:
            self._refuse(breach)
            self._life.raise_end()
        controls.ahead = ahead

    def _peer_closed(self, code: int, reason: str) -> None:
        self.controls.note_close(code, reason)
        try:
            self._call(self.close_handler or ignore, code, reason)
        finally:
            self.controls.answer_close(code, reason)
        self._life.raise_end()

    def _call(self, handler: Callable[..., object], *arguments: Any) -> None:
        """Run a handler of the application; a `close` inside it knows that this thread is the reader."""
        self._handling = threading.get_ident()
        try:
            result = handler(*arguments)
            if result is not None:
                check_done("a handler", result)
        except BaseException as error:
            if self.error is None and isinstance(error, Exception):
                self.error = copy_of(error)  # without the traceback, whose frames know this connection
            spare(error)  # what had come is on record
            raise
        finally:
            self._handling = None


def ignore(*arguments: object) -> None:
    """The default pong and close handler."""
