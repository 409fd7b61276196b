"""The reading half of a connection: one reader at a time, control frames and their handlers, keepalive, deadlines.

The caller's thread pulls: no thread and no queue of ours stands between the socket and the handler, and backpressure
is TCP's own. In the steady state a read is one `recv` in the kernel and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from .._base.options import ConnOptions, check_call_timeout
from .._frames.frame import MAX_HEADER
from .._frames.keepalive import Keepalive
from .._frames.payloads import MAX_REASON, format_close_message, is_sendable
from .._frames.protocol import Protocol
from .._frames.streams import MessageReader
from .._net.transport import Transport
from ..errors import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseError,
    ConcurrencyError,
    ConnectionClosed,
    MessageType,
    ProtocolError,
    ReadLimitError,
    ReadTimeout,
    WebSocketError,
    WriteTimeout,
)
from .ending import Ending
from .wire import Wire, acquire_until

_logger = logging.getLogger("syncws.conn")

PingHandler = Callable[[bytes], object]
CloseHandler = Callable[[int, str], object]


#: What a read asks for first. An idle connection blocks in recv with a buffer of the size it asked for, so it asks for
#: little (this much comes from Python's own allocator, with no page of its own); a read that fills its buffer asks for
#: four times as much the next time, up to read_buffer_size and a header.
_FIRST_READ = 448

#: Seconds between two looks at a socket that cannot be waited for any more.
_SLICE = 0.02


class Inbound:
    """Reads a connection.

    Concurrency: one thread at a time, the one that holds the read turn; a second one is refused at once. The turn
    guards everything here but the handlers and the read deadline, which may be set at any time.
    """

    __slots__ = (
        "_client",
        "_closing",
        "_ending",
        "_first_read",
        "_handling",
        "_in_place",
        "_is_tls",
        "_keepalive",
        "_looked",
        "_most",
        "_options",
        "_read_size",
        "_reader",
        "_transport",
        "_wire",
        "close_handler",
        "deadline",
        "error",
        "idle_handler",
        "latency",
        "ping_handler",
        "pong_handler",
        "protocol",
        "turn",
    )

    def __init__(
        self,
        transport: Transport,
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
        self._wire = wire
        self._ending = ending
        self.turn = turn
        self._options = options
        self._client = client
        self.protocol = protocol
        self._keepalive = Keepalive(options.ping_interval, options.ping_timeout)
        self._reader: MessageReader | None = None  # of the message that is read as a stream
        self.error: Exception | None = None  # a handler's exception: final for reads only
        self.latency: float | None = None  # seconds
        self.deadline: float | None = None  # the application's, an instant of time.monotonic()
        self._most = options.read_buffer_size + MAX_HEADER  # so that a message of just that size needs one read
        self._first_read = self._read_size = min(_FIRST_READ, self._most)
        self._looked = False  # this read has looked at the socket, so that its timeout may end it
        self._in_place = False  # close or close_read reads, in place of the application: its deadline plays no part
        self._closing = False  # a thread inside close wants the turn, or has it: another reader waits for the end
        self._handling: int | None = None  # the thread that runs a handler now
        self.idle_handler: Callable[[], object] | None = None
        self.ping_handler: PingHandler | None = None
        self.pong_handler: PingHandler | None = None
        self.close_handler: CloseHandler | None = None

    # A message at a time

    def message(self, timeout: float | None) -> tuple[MessageType, Any]:
        """The next message: (TEXT, str) or (BINARY, bytes).

        Nearly always nothing is to be minded but the peer's silence, and one frame comes, or several at once. That case
        is written out here; it is what `read`, `_advance` and `_receive` make of it, in half the steps.
        """
        protocol = self.protocol
        message: tuple[MessageType, Any] | None
        if timeout is not None or not self.turn.acquire(False):
            message = self.read(protocol.next_event, timeout)
            return message
        try:
            if (
                self.deadline is not None
                or self.idle_handler is not None
                or self._keepalive.silent_since is not None
                or self._reader is not None
                or self.error is not None
                or self._ending.end is not None
            ):
                message = self._read_on(protocol.next_event, None, None)
                return message
            if protocol.idle:
                data = self._receive_data(self._keepalive.interval)
                if data:
                    message = protocol.only(data)
                    if message is not None:
                        return message
                    protocol.receive(data)
            message = self._advance(protocol.next_event, None)
            return message
        finally:
            self.turn.release()  # here, not in leave_turn: a KeyboardInterrupt may come as that is entered
            if self._ending.cut:
                self._ending.close_socket()

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
            if self._ending.cut:
                self._ending.close_socket()

    def _read_on(self, step: Callable[[], Any], deadline: float | None, reader: MessageReader | None) -> Any:
        """As `read`, by the holder of the turn."""
        self._looked = False
        if self._reader is not reader:
            if reader is not None:
                return BINARY, b"", True  # another message has begun since: this one is at its end
            self._skip_message(deadline)
        self._raise_end()
        return self._advance(step, deadline)

    def take_turn(self, deadline: float | None) -> None:
        """Become the one reader. Raises ConcurrencyError, or the end; ReadTimeout while another thread closes."""
        if self.turn.acquire(blocking=False):
            return
        if self._ending.end is not None:
            raise (self.error or self._ending.end).with_traceback(None)  # whoever has the turn only tidies up
        if not self._closing or self.in_handler:
            raise ConcurrencyError("another thread is reading this connection: one thread reads at a time")
        # The one who closes may be reading in our place. That ends at its deadline, and we get the same end.
        if not acquire_until(self.turn, deadline):
            raise ReadTimeout("the connection was still being closed when the timeout was over")

    def leave_turn(self) -> None:
        """Let another thread read."""
        self.turn.release()
        if self._ending.cut:
            self._ending.close_socket()

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
        self._in_place = True
        self._raise_end()
        self._advance(self.protocol.next_piece, None)

    def finish(self, deadline: float) -> bool:
        """Read until the end, whatever the peer still sends: in this thread, unless another one is reading already.

        False when that one has not ended by the deadline, an instant of time.monotonic().
        """
        self._closing = True  # before the turn is asked for: a reader that finds it taken must know why
        if not acquire_until(self.turn, deadline):
            return False
        try:
            self._discard(deadline)
        finally:
            self.turn.release()
        return True

    def linger(self, deadline: float) -> None:
        """Receive until the peer has closed TCP: closing with bytes unread would reset what it has yet to read."""
        if not acquire_until(self.turn, deadline):
            return
        try:
            while not self._ending.cut and (left := deadline - time.monotonic()) > 0:
                if self._transport.receive(self._read_size, left) == b"":
                    return
        except OSError:
            pass
        finally:
            self.turn.release()

    def await_answer(self, deadline: float) -> None:
        """After a dismissal: pass over what the peer still sends, until its close, or an instant.

        In slices, as receiving does not wait any more.
        """
        if not acquire_until(self.turn, deadline):
            return
        try:
            while not self._ending.cut and time.monotonic() < deadline:
                if data := self._transport.receive(self._read_size, _SLICE):
                    self.protocol.receive(data)
                else:
                    time.sleep(_SLICE)
                while (event := self.protocol.next_piece()) is not None:
                    if event[0] == CLOSE:
                        return
        except (OSError, ProtocolError):
            pass
        finally:
            self.turn.release()

    def _discard(self, deadline: float) -> None:
        assert self.turn.locked()
        self._in_place = True
        while self._ending.end is None and time.monotonic() < deadline:
            try:
                self._advance(self.protocol.next_piece, deadline)
            except WebSocketError:
                pass  # the end, the deadline, or a handler that writes although this side has closed
            except Exception:  # kept for the next read, if there is one
                _logger.exception("%s: a handler failed while this side closed", self._transport.remote_address)

    # The turn's holder

    def _raise_end(self) -> None:
        """Raise what every read raises once it is over, or after a handler's exception; nothing before."""
        error = self.error or self._ending.end
        if error is not None:
            raise error.with_traceback(None)

    def _advance(self, step: Callable[[], Any], deadline: float | None) -> Any:
        """What step gives next, past control frames, receiving as needed."""
        while True:
            try:
                if self.protocol.idle:
                    self._receive(deadline)
                event = step()
                while event is None:
                    self._receive(deadline)
                    event = step()
            except ProtocolError as error:
                # Not of a handler: that may be the end of another connection.
                end = self._refuse_peer(error)
                raise end from end.__cause__
            kind = event[0]
            if kind is TEXT or kind is BINARY:
                return event
            self._handle(kind, event[1])

    def _refuse_peer(self, error: ProtocolError) -> ConnectionClosed:
        """The peer broke the protocol: say so in a close frame (a code without reason for 1009, as gorilla does)."""
        reason = "" if isinstance(error, ReadLimitError) else error.reason[:MAX_REASON]
        self._wire.close(format_close_message(error.code, reason))
        return self._ending.store(error)

    def _receive(self, deadline: float | None) -> None:
        """Wait for bytes, once. Raises ReadTimeout, or the end."""
        if self._ending.end is not None:
            raise self._ending.end.with_traceback(None)
        if self.idle_handler is not None and not self._in_place:
            self._call(self.idle_handler)
        keepalive = self._keepalive
        wait = keepalive.interval
        if deadline is not None or self.deadline is not None or keepalive.silent_since is not None:
            wait = self._seconds_to_wait(deadline)
        protocol = self.protocol
        if protocol.partial is not None and (room := protocol.destination()) is not None:
            self._receive_into(room, wait)
        elif data := self._receive_data(wait):
            protocol.receive(data)

    def _receive_data(self, wait: float | None) -> bytes | None:
        """What comes within so many seconds; None where nothing did. Raises the end."""
        try:
            data = self._transport.receive(self._read_size, wait)
        except OSError as error:
            self._lose(error)
        if not data:
            self._nothing_came(data, wait or 0.0)
        elif len(data) == self._read_size:
            self._read_size = min(4 * self._read_size, self._most)
        if self._keepalive.silent_since is not None and data:
            self._keepalive.heard()
        if self._is_tls and self._transport.pending:
            self._wire.nudge()
        return data

    def _receive_into(self, room: memoryview, wait: float | None) -> None:
        """As `_receive_data`, in place, and the protocol is told."""
        with room:
            try:
                came = self._transport.receive_into(room, wait)
            except OSError as error:
                self._lose(error)
        if came:
            self.protocol.received(came)
            if self._keepalive.silent_since is not None:
                self._keepalive.heard()
        else:
            self._nothing_came(came, wait or 0.0)
        if self._is_tls and self._transport.pending:
            self._wire.nudge()

    def _lose(self, error: OSError) -> NoReturn:
        """The socket is broken: that is the end."""
        lost = self._ending.give_up(self._ending.vanished(str(error), error))
        raise lost from lost.__cause__

    def _seconds_to_wait(self, deadline: float | None) -> float | None:
        """Raises ReadTimeout; but a call's own timeout only after one look at the socket, so that 0 is of use."""
        now = time.monotonic()
        standing = None if self._in_place else self.deadline
        if (standing is not None and standing <= now) or (deadline is not None and deadline <= now and self._looked):
            raise ReadTimeout("no message came before the read deadline; the connection can still be used")
        self._looked = True
        waits = [max(0.0, at - now) for at in (deadline, standing) if at is not None]
        until_judged = self._keepalive.seconds_left(now)
        if until_judged is not None:
            waits.append(until_judged)
        return min(waits, default=None)

    def _nothing_came(self, came: bytes | int | None, waited: float) -> None:
        """A wait ended without bytes: with nothing (None), or at the end of the stream."""
        if came is not None:
            if self._ending.end is not None:  # and this side had woken us
                raise self._ending.end.with_traceback(None)
            # No frame can follow, and a writer that is stuck would stay so: a peer may have closed one way only.
            raise self._ending.give_up(self._ending.vanished("the peer left without a close frame"))
        if self._transport.heard_part:
            self._keepalive.heard()  # a TLS record that arrives slowly is no silence
            return
        self._read_size = self._first_read
        verdict = self._keepalive.nothing_came(time.monotonic(), waited, self._transport.taken_by_peer())
        if verdict == "ping" and self._wire.open:
            try:
                self._wire.ping(b"")
            except (ConnectionClosed, WriteTimeout):
                pass  # closed in this instant: the next read says how
        elif verdict == "dead":
            raise self._ending.give_up(
                self._ending.vanished(f"no answer to a ping for {self._options.ping_timeout:g} s")
            )

    # Control frames

    @property
    def in_handler(self) -> bool:
        """Whether this thread runs a handler of ours: it is the reader then."""
        return self._handling == threading.get_ident()

    def answer_ping(self, data: bytes) -> None:
        """The default ping handler: a pong, as soon as the wire allows (RFC 6455 section 5.5.2)."""
        if self._wire.open:
            self._wire.pong(data)

    def _handle(self, kind: MessageType, payload: Any) -> None:
        if kind is PING:
            self._call(self.ping_handler or self.answer_ping, payload)
        elif kind is PONG:
            self.latency = self._wire.round_trip(payload) or self.latency
            self._call(self.pong_handler or ignore, payload)
        else:
            self._peer_closed(*payload)

    def _peer_closed(self, code: int, reason: str) -> None:
        with self._wire.state_lock:
            self._wire.closings.append(("received", code, reason))
        try:
            self._call(self.close_handler or ignore, code, reason)
        finally:
            # The code comes back without the reason (gorilla's C-1); no code for no code.
            self._wire.close(format_close_message(code) if is_sendable(code) else b"")
            end = self._ending.store(CloseError(code, reason, self._wire.closings))
            if not self._client:
                # The server ends TCP first, so that the client need not hold the port (section 7.1.1); at once, as
                # the handler may take its time before it closes.
                self._wire.half_close()
        raise end

    def _call(self, handler: Callable[..., object], *arguments: Any) -> None:
        """Run a handler; `close` called by it knows that this thread is the reader."""
        self._handling = threading.get_ident()
        try:
            handler(*arguments)
        except Exception as error:
            self.error = self.error or error
            raise
        finally:
            self._handling = None


def ignore(*arguments: object) -> None:
    """The default pong and close handler."""
