"""An open WebSocket connection, either role: gorilla's Conn, with a contract for threads.

This is the surface: what a program calls. Behind it are

* `states`: where the connection stands, and what reads and writes raise;
* `inbound`: one reader at a time; `intake` receives and judges silence, `protocol` makes messages of bytes, `controls`
  answers control frames;
* `outbound`: whole messages, of any number of threads; `wire` puts their frames on the wire, and what waits to leave;
* `closing`: the closing handshake; `ending`: the end is stored, the socket cut, the file descriptor closed;
* `transport`: the socket.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from .._base.callables import check_callable
from .._base.logs import Told, logger
from .._base.options import ConnOptions, Overflow, check_call_timeout
from .._base.printable import printable
from .._frames.agreement import Agreement
from .._frames.deflate import check_level
from .._frames.keepalive import Keepalive
from .._frames.payloads import format_close_message, message_as, message_payload, wrong_text
from .._frames.prepared import Compression, PreparedMessage, json_text, prepare
from .._frames.protocol import Protocol
from .._frames.streams import MessageReader, MessageWriter
from .._http.httpclient import ReceivedResponse
from .._http.request import Request
from .._http.wsgiresponse import WSGIResponse, switched
from .._net.address import Address
from .._net.transport import Transport
from ..errors import BINARY, CLOSE, PING, PONG, TEXT, CloseCode, CloseError, ConnectionClosed, MessageType, WriteTimeout
from .access import Visit
from .attendant import Attendant
from .callbacks import EndCallback
from .closing import ClosingHandshake
from .contexts import Contexts
from .controls import Controls
from .ending import Ending
from .inbound import CloseHandler, Inbound, PingHandler, ignore
from .intake import Intake
from .outbound import Outbound
from .queue import SendQueue
from .states import Life, State
from .stats import ConnStats, RoundTrips
from .subject import Subject
from .tally import Tally
from .wire import Wire, post_to_wires

_logger = logger("syncws.conn")

Data = str | bytes | bytearray | memoryview

_Handler = TypeVar("_Handler", PingHandler | None, CloseHandler | None)

#: Codes after which iterating over a connection simply ends.
_NORMAL_ENDS = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)

#: A deadline further off than this is no instant of time.monotonic(), but a duration or a date.
_PLAUSIBLE_PAST = 60.0
_PLAUSIBLE_FUTURE = 10 * 365 * 86400.0


class Conn(Told):
    """A WebSocket connection (gorilla's Conn), made by `Upgrader.upgrade` or `Dialer.dial`.

    One thread at a time reads it; any number of threads may write to it, ping it and close it at the same time.

    Reading is done per call: two threads that take turns are fine, two inside a read at once are a ConcurrencyError.
    Deadlines are instants of time.monotonic(); `timeout` arguments are seconds, and a TypeError if they are no number.

    A server's has a `request`, a client's a `response`. `subprotocol` is the one agreed on, or None. An application may
    set attributes of its own.
    """

    #: Whether it goes on after the WSGI view that it was made in has returned (`Upgrader.serve`).
    detached = False

    # Slots, since there may be thousands of connections; a dict, made on first use, for what an application adds.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_agreement",
        "_attendant",
        "_client",
        "_ending",
        "_inbound",
        "_life",
        "_options",
        "_outbound",
        "_request",
        "_response",
        "_subject",
        "_transport",
        "_visit",
        "_wire",
        "subprotocol",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        client: bool,
        options: ConnOptions | None = None,
        early_data: bytes = b"",
        agreement: Agreement | None = None,
        compression_level: int = 1,
        compression_threshold: int = 0,
        subprotocol: str | None = None,
        request: Request | None = None,
        response: ReceivedResponse | None = None,
        id: str | None = None,
    ) -> None:
        self._options = options = options or ConnOptions()
        self._transport = transport
        self._client = client
        self._agreement = agreement
        self._subject = subject = Subject(request, transport.remote_address, id)
        self._visit: Visit | None = None  # what the access log is to say; the state lock guards that it is said once
        self.subprotocol = subprotocol
        self._request = request
        self._response = response

        # Every part is made here, and none by another: what makes objects while it is made goes deep into the stack,
        # and the connection's thread keeps every page of its stack that it has ever used.
        read_turn = threading.Lock()
        self._life = life = Life(subject)
        compressor = None if agreement is None else agreement.compressor(compression_level)
        tally = Tally(SendQueue(options))
        self._wire = wire = Wire(transport, life, options, tally, client=client, compressor=compressor)
        self._ending = ending = Ending(transport, life, wire, read_turn)
        protocol = Protocol(
            client=client,
            read_limit=options.read_limit,
            fragment_limit=options.fragment_limit,
            compression=agreement is not None,
            window=None if agreement is None else agreement.window(),
            data=early_data,
        )
        keepalive = Keepalive(options.ping_interval, options.ping_timeout)
        contexts = None
        if options.context_idle is not None and (compressor is not None or protocol.window is not None):
            contexts = Contexts(wire, protocol, options.context_idle)
        intake = Intake(transport, life, wire, ending, keepalive, options, client=client, contexts=contexts)
        controls = Controls(life, wire, ending, options, client=client)
        self._inbound = Inbound(transport, life, wire, ending, read_turn, protocol, intake, controls, options)
        self._outbound = Outbound(
            life,
            wire,
            ending,
            client=client,
            agreement=agreement,
            level=compression_level,
            threshold=compression_threshold,
            writer_size=options.write_buffer_size,
            close_timeout=options.close_timeout,
        )
        # Each part calls those made before it. Five calls go the other way; they are taken back when the fd is closed.
        wire.set_callbacks(
            on_stall=ending.finish_and_cut,  # a writer has found that the peer takes nothing any more
            on_overflow=self._overflowed,  # the send queue is full, and the policy is to close
            on_left=ending.release,  # a thread was inside the socket when it was cut, and has left it
        )
        self._attendant = attendant = Attendant(transport, life, wire, ending, self._inbound, options, contexts)
        ending.set_callbacks(
            on_end=self._outbound.end_writer,  # a message that is being written piece by piece has no use now
            on_released=self._released,
        )
        attendant.begin()  # at last: it may look at once

    # What it is

    @property
    def id(self) -> str:
        """A random id (32 hex digits)."""
        return self._subject.id

    def log_fields(self) -> dict[str, object]:
        """What records of the log say of it: `connection_id`, `path` and `remote_address`. Any thread."""
        return self._subject.log_fields()

    @property
    def request(self) -> Request:
        """The request that a server's connection was made from.

        AttributeError on a client's, which has none. It is not None there, so that a handler, which only ever sees a
        server's, writes ``conn.request.path`` and no check; ``hasattr(conn, "request")`` tells the two apart.
        """
        if self._request is None:
            raise AttributeError("this connection was not made from a request: a client's has a response instead")
        return self._request

    @property
    def response(self) -> ReceivedResponse:
        """The answer to the handshake of a client's connection; AttributeError on a server's, which has a `request`."""
        if self._response is None:
            raise AttributeError("this connection was not made from a response: a server's has a request instead")
        return self._response

    @property
    def local_address(self) -> Address:
        """This side's address, as socket.getsockname() gives it."""
        return self._transport.local_address

    @property
    def remote_address(self) -> Address:
        """The peer's address, as socket.getpeername() gives it; of a proxy, where one is between."""
        return self._transport.remote_address

    @property
    def socket(self) -> socket.socket:
        """The socket, for its options. Reading, writing or closing it breaks the connection."""
        return self._transport.socket

    @property
    def transport(self) -> Transport:
        """What the connection runs over; under TLS its `ssl_object` can be asked for the certificate."""
        return self._transport

    @property
    def compression(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return self._agreement is not None

    @property
    def context_takeover(self) -> bool:
        """Whether what this side sends may refer back to messages before: it wanted that, and the peer did not object.

        The other direction is the peer's affair: it is understood in any case.
        """
        return self._agreement is not None and self._agreement.takeover

    @property
    def closed(self) -> bool:
        """Whether the connection is over: writes raise its end, and reads once they have given what came before it.

        So it is no condition for a loop of reads, which would leave out the messages before the end: read with
        ``for message in conn``. Noticed also while nobody reads: see `on_end`.
        """
        return self._life.end is not None

    @property
    def end(self) -> ConnectionClosed | None:
        """What reads and writes raise once it is over, as an exception of its own each time; None until then."""
        end = self._life.end
        return None if end is None else end.exception()

    @property
    def latency(self) -> float | None:
        """Seconds from the latest answered `ping` to its pong, those of keepalive included; None before the first."""
        return self._inbound.controls.latency

    @property
    def queued(self) -> tuple[int, int]:
        """(messages, bytes) that wait in the send queue."""
        return self._wire.queued

    @property
    def dropped(self) -> int:
        """How many messages were dropped from the send queue: by the overflow policy, or by the end."""
        return self._wire.dropped

    def stats(self) -> ConnStats:
        """What the connection has seen so far. For any thread, also once it is over; never raises.

        A call of the system asks for the bytes, no message pays for them.
        """
        tally, (messages, size) = self._wire.tally, self.queued
        received, sent = tally.bytes(self._transport)
        return ConnStats(
            id=self.id,
            path=None if self._request is None else self._request.raw_path,
            address=self.remote_address,
            subprotocol=self.subprotocol,
            age=tally.age,
            is_over=self.closed,
            messages_in=tally.messages_in,
            messages_out=tally.messages_out,
            bytes_in=received,
            bytes_out=sent,
            queued_messages=messages,
            queued_bytes=size,
            dropped=self.dropped,
            pings=tally.pings,
            pongs=tally.pongs,
            latency=self.latency,
            round_trips=RoundTrips() if tally.trips is None else tally.trips.snapshot(),
        )

    @property
    def wsgi_response(self) -> WSGIResponse:
        """What a WSGI view returns that has called `Upgrader.upgrade`: an empty 101, which closes this before."""
        return switched(self)

    def __repr__(self) -> str:
        role = "client" if self._client else "server"
        state, end = self._life.state, self.end  # in this order: a state that says it is over has an end
        return f"<syncws.Conn {role} {printable(self.remote_address)} {state}{'' if end is None else f': {end}'}>"

    # Reading

    def read_message(self, timeout: float | None = None) -> tuple[MessageType, str | bytes]:
        """The next message: (TEXT, str) or (BINARY, bytes) (gorilla's ReadMessage).

        Raises ReadTimeout after timeout seconds (0: unless it is there already) or at the read deadline: the connection
        stays usable, and the next read of any kind delivers the message that was under way. Raises CloseError when the
        peer closes or vanishes, ProtocolError or ReadLimitError when it misbehaves, and the same again from then on.
        Raises ConcurrencyError when another thread is reading. Control frames are handled meanwhile; a handler's
        exception leaves here.
        """
        return self._inbound.message(timeout)

    @overload
    def receive(self, timeout: float | None = None, *, text: Literal[True]) -> str: ...

    @overload
    def receive(self, timeout: float | None = None, *, text: Literal[False]) -> bytes: ...

    @overload
    def receive(self, timeout: float | None = None, *, text: bool | None = None) -> str | bytes: ...

    def receive(self, timeout: float | None = None, *, text: bool | None = None) -> str | bytes:
        """The next message: str for TEXT, bytes for BINARY; or, whatever the peer sent, as text says.

        Args:
            timeout: as of `read_message`.
            text: True for str: a BINARY message is decoded as UTF-8. False for bytes: those of a TEXT message are its
                UTF-8.

        Raises UnicodeDecodeError for a BINARY message that is no UTF-8, with text=True: its ``object`` is the message,
        and the connection stays usable. TypeError for another text, before anything is read. Otherwise as
        `read_message`.
        """
        if text is None:
            return self._inbound.message(timeout)[1]  # type: ignore[no-any-return]
        if not isinstance(text, bool):
            raise wrong_text(text)
        message: str | bytes = self._inbound.message(timeout)[1]
        try:
            if isinstance(message, str):
                return message if text else message.encode()
            return message.decode() if text else message
        except BaseException as error:
            self._lose(error)
            raise

    def next_reader(self, timeout: float | None = None) -> MessageReader:
        """The next message as a stream, as soon as part of it is there (gorilla's NextReader).

        What is left of the message before is skipped. Raises as `read_message`.
        """
        return self._inbound.reader(timeout)

    def receive_json(self, timeout: float | None = None) -> Any:
        """The next message, decoded from JSON (gorilla's ReadJSON, but the whole message is one value).

        Raises json.JSONDecodeError for anything else, nesting too deep included: the connection stays usable. Raises
        as `read_message` otherwise.
        """
        message = self.receive(timeout)
        try:
            return json.loads(message)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, deep nesting
            raise json.JSONDecodeError(str(error), repr(message[:100]), 0) from None
        except BaseException as error:
            self._lose(error)
            raise

    def _lose(self, error: BaseException) -> None:
        """A message that was read does not reach the caller: if an interrupt took it, that is the end."""
        if not isinstance(error, Exception):
            self._inbound.break_off(error)

    def __iter__(self) -> Iterator[str | bytes]:
        """The messages, until the peer closes with 1000, 1001 or no code. Any other end is raised."""
        return self._messages(None)

    @overload
    def messages(self, *, text: Literal[True]) -> Iterator[str]: ...

    @overload
    def messages(self, *, text: Literal[False]) -> Iterator[bytes]: ...

    @overload
    def messages(self, *, text: bool | None = None) -> Iterator[str | bytes]: ...

    def messages(self, *, text: bool | None = None) -> Iterator[str | bytes]:
        """As iterating over the connection, with each message as str or as bytes: see `receive`.

        A UnicodeDecodeError ends this loop, and a further one goes on with the next message.
        """
        if not (text is None or isinstance(text, bool)):
            raise wrong_text(text)
        return self._messages(text)

    def _messages(self, text: bool | None) -> Iterator[str | bytes]:
        while True:
            try:
                message = self.receive(text=text)
            except CloseError as end:
                if end.code in _NORMAL_ENDS and self._is_own(end):  # else of another connection, in a handler
                    return
                raise
            yield message

    def close_read(self) -> None:
        """For handlers that only push: a thread reads from now on, and handles control frames (coder's CloseRead).

        The peer may not send messages any more: one closes the connection with 1008. The thread ends with the
        connection; the read deadline plays no part. A handler that raises is logged, and closes it with 1011. Raises
        ConcurrencyError when another thread is reading, RuntimeError when no thread can be had.
        """
        self._inbound.take_turn(None)
        claim = threading.Lock()  # whoever takes it has the turn: an interrupt may come when the thread has begun
        try:
            name = f"syncws-close-read-{self.id[:8]}"
            threading.Thread(target=self._read_control, args=(claim,), name=name, daemon=True).start()
        except BaseException:
            if claim.acquire(blocking=False):
                self._inbound.leave_turn()
            raise

    def _read_control(self, claim: threading.Lock) -> None:
        """The thread of `close_read`, which is given the turn if it takes the claim."""
        if not claim.acquire(blocking=False):
            return
        code, reason = CloseCode.POLICY_VIOLATION, "no messages are expected here"
        try:
            self._inbound.read_control()
        except Exception as error:
            if self._is_own_end(error):
                _logger.debug("%r: %s", self, error)
            else:
                _logger.exception("%r: a handler of control frames failed", self)
                code, reason = CloseCode.INTERNAL_SERVER_ERROR, ""
        finally:
            self._inbound.leave_turn()
        self.close(code, reason)

    def set_read_limit(self, limit: int | None) -> None:
        """The largest message accepted, in bytes, from the next frame on; None, 0 or less for no limit.

        Raises TypeError for what is no integer.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise TypeError(f"a read limit is a number of bytes, or None for none, not {limit!r}")
        self._inbound.protocol.read_limit = None if limit is None else max(limit, 0)

    def set_read_deadline(self, deadline: float | None) -> None:
        """When reads give up: an instant of time.monotonic(), or None for never.

        Looked at before every wait, so a pong handler that moves the deadline takes effect at once; a read that already
        waits in another thread does not see it before its wait ends. Raises TypeError for what is no number, and
        ValueError for what is plainly a duration or a time of day: the deadline is as it was then.
        """
        self._inbound.deadline = _check_deadline(deadline)

    # Control frames

    def set_ping_handler(self, handler: PingHandler | None) -> None:
        """Call handler(data: bytes) for each ping, in the reading thread; None restores the default, a pong.

        An exception that it raises leaves the read and is raised by every later read. Raises TypeError for what cannot
        be called.
        """
        self._inbound.ping_handler = _check_handler(handler, "data")

    def set_pong_handler(self, handler: PingHandler | None) -> None:
        """Call handler(data: bytes) for each pong, as `set_ping_handler`; the default does nothing."""
        self._inbound.pong_handler = _check_handler(handler, "data")

    def set_close_handler(self, handler: CloseHandler | None) -> None:
        """Call handler(code, reason) when the peer's close arrives; 1005 stands for no code.

        A notification: after it the close is answered, unless the handler has closed itself. As `set_ping_handler`.
        """
        self._inbound.close_handler = _check_handler(handler, "code and reason")

    def set_idle_handler(self, handler: Callable[[], object] | None) -> None:
        """Call handler() each time before a read waits for the peer, in the reading thread; None for no handler.

        For what should not be held while nothing happens, such as a connection to a database. It is not called before
        what has been received already. As `set_ping_handler`.
        """
        if handler is not None:
            check_callable("a handler", handler, "is a callable without arguments, or None")
        self._inbound.idle_handler = handler

    @property
    def ping_handler(self) -> PingHandler:
        """The ping handler in force, never None, so that another can wrap it."""
        return self._inbound.ping_handler or self._inbound.controls.answer_ping

    @property
    def pong_handler(self) -> PingHandler:
        """The pong handler in force, never None."""
        return self._inbound.pong_handler or ignore

    @property
    def close_handler(self) -> CloseHandler:
        """The close handler in force, never None."""
        return self._inbound.close_handler or ignore

    # Writing

    def write_message(self, message_type: MessageType | int, data: Data, timeout: float | None = None) -> None:
        """Send one message as one frame (gorilla's WriteMessage): TEXT takes str, BINARY bytes.

        Waits for other threads' messages and for the kernel to take it. An answer to one of several messages that came
        together may wait for the next answer instead, for two milliseconds at most (``answers_together``).

        Args:
            message_type: TEXT or BINARY; a control type is sent as by `write_control`.
            data: str for TEXT, bytes for the others.
            timeout: seconds that it may wait, if the write deadline does not come before; None: until that deadline.

        Raises:
            WriteTimeout: it could not be sent in time. Only once part of it is on the wire does every later write raise
                this, too.
            TypeError, ValueError: it cannot be sent; nothing has been written.
            ConcurrencyError: this thread has a `next_writer` open.
            CloseSentError: this side has closed the connection; reads go on.
            ConnectionClosed: the stored end, once the connection is over.
        """
        deadline = self._outbound.deadline
        if timeout is not None:
            deadline = _earliest(deadline, timeout)
        if message_type is BINARY and type(data) is bytes:  # needs no check, and that is a twentieth of a write
            self._outbound.message(BINARY, data, deadline)
            return
        payload = message_payload(message_type, data)
        if message_type >= CLOSE:
            self._outbound.control(message_type, payload, deadline)
        else:
            self._outbound.message(message_type, payload, deadline)

    def send(self, message: Data, timeout: float | None = None, *, text: bool | None = None) -> None:
        """Send str as TEXT, bytes as BINARY; or either as text says: True for TEXT, False for BINARY.

        With text=True bytes must be UTF-8, or it is a ValueError; with text=False a str is sent as its UTF-8. Raises as
        `write_message`.
        """
        if type(message) is bytes and text is None and timeout is None:  # as in write_message, in half the steps
            self._outbound.message(BINARY, message, self._outbound.deadline)
        elif text is None:
            self.write_message(TEXT if isinstance(message, str) else BINARY, message, timeout)
        else:
            self._outbound.message(*message_as(text, message), _earliest(self._outbound.deadline, timeout))

    def send_json(self, value: Any, timeout: float | None = None) -> None:
        """Send a value as one TEXT message of JSON (gorilla's WriteJSON; no newline, no HTML escapes).

        Raises TypeError or ValueError for a value JSON cannot hold: nothing is sent then. Otherwise as `write_message`.
        """
        self.write_message(TEXT, json_text(value), timeout)

    def write_prepared(self, prepared: PreparedMessage, timeout: float | None = None) -> None:
        """Send a prepared message, one that was encoded before (gorilla's WritePreparedMessage).

        Raises TypeError for what is none, and otherwise as `write_message`, which says what timeout is.
        """
        if not isinstance(prepared, PreparedMessage):
            raise TypeError(f"write_prepared takes a PreparedMessage, not {type(prepared).__name__}: see send")
        deadline = _earliest(self._outbound.deadline, timeout)
        if prepared.is_control:
            self._outbound.control(prepared.message_type, prepared.payload, deadline)
        else:
            self._outbound.prepared(prepared, deadline)

    def write_control(self, message_type: MessageType | int, data: Data = b"", deadline: float | None = None) -> None:
        """Send a ping, pong or close frame, between the fragments of a message if need be (gorilla's WriteControl).

        It waits for another thread's frame, and for what waits before it. Sending a close this way does not wait for
        the peer's: see `close`.

        Args:
            message_type: PING, PONG or CLOSE.
            data: at most 125 bytes; of a close what `format_close_message` gives.
            deadline: an instant of time.monotonic() until which it may wait; None: as long as it takes. The write
                deadline plays no part.

        Raises:
            ValueError: no control type, too much data, or a deadline that is plainly no instant; nothing was sent.
            WriteTimeout, TypeError, CloseSentError, ConnectionClosed: as of `write_message`.
        """
        if message_type not in (CLOSE, PING, PONG):
            raise ValueError(f"a control frame is CLOSE, PING or PONG, not {message_type!r}: see write_message")
        payload = message_payload(message_type, data)
        deadline = _check_deadline(deadline)
        if deadline is not None and time.monotonic() >= deadline:
            late = WriteTimeout("the deadline had passed before the control frame could be sent; nothing was sent")
            raise self._life.own(late)
        self._outbound.control(message_type, payload, deadline)

    def next_writer(self, message_type: MessageType | int, timeout: float | None = None) -> MessageWriter:
        """Write one message piece by piece (gorilla's NextWriter); use the writer in a `with` block.

        Other threads' messages wait until it is closed, control frames pass; a close ends it: what is written then
        raises as `write_message`, and nobody waits for it any longer.

        Args:
            message_type: TEXT or BINARY.
            timeout: seconds to wait for another thread's message, if the write deadline does not come before.

        Raises ValueError for an unknown type, ConcurrencyError when this thread has one open already, WriteTimeout when
        another thread's message does not end in time: nothing has been written then.
        """
        return self._outbound.writer(MessageType(message_type), _earliest(self._outbound.deadline, timeout))

    def send_nowait(self, message: Data | PreparedMessage, *, text: bool | None = None) -> bool:
        """Send without ever waiting: what a slow peer does not take at once waits in the send queue. text: as `send`.

        False when the queue is full and the overflow policy dropped this message or closed the connection. Raises
        TypeError or ValueError for what cannot be sent, CloseSentError and the stored end as `write_message`.
        """
        return self._post(prepare(message, text=text), is_own=not isinstance(message, PreparedMessage))

    def ping(self, data: bytes = b"") -> None:
        """Send a ping as soon as the wire allows; never waits. `latency` tells the round trip when a pong is read.

        A ping that still waits is replaced. data is what the pong brings back, at most 125 bytes: ValueError for more,
        TypeError for what is no bytes. Raises CloseSentError, and the stored end, as `write_message`.
        """
        self._wire.ping(message_payload(PING, data))

    def set_write_deadline(self, deadline: float | None) -> None:
        """When writes of data give up: an instant of time.monotonic(), or None for never.

        A write that waits already keeps the deadline it began with. Raises as `set_read_deadline`.
        """
        self._outbound.deadline = _check_deadline(deadline)

    def set_send_queue(
        self,
        *,
        send_queue: int | None = None,
        send_queue_bytes: int | None = None,
        overflow: Overflow | None = None,
    ) -> None:
        """Change how many messages, and how many bytes, `send_nowait` lets wait, and what happens when that is full.

        None leaves it as it is. What waits already stays. Raises as `ConnOptions`, whose options these are.
        """
        given = {"send_queue": send_queue, "send_queue_bytes": send_queue_bytes, "overflow": overflow}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._options = options = replace(self._options, **changes)
        self._wire.set_queue(options)

    def enable_write_compression(self, enable: bool) -> None:
        """Compress the messages from now on, where that was agreed on, or leave them plain: enable says which."""
        self._outbound.compress = bool(enable)

    def set_compression_level(self, level: int) -> None:
        """zlib's level for the messages from now on: -2 (Huffman only) to 9. ValueError for any other."""
        check_level(level)
        self._outbound.set_level(level)

    # Closing

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "", timeout: float | None = None) -> None:
        """The closing handshake (RFC 6455 section 7): send a close, wait for the peer's, end the connection.

        Idempotent, from any thread; what was posted before leaves first. If the peer's close does not come in time, the
        connection is cut, which wakes every thread that is stuck in it. From inside a handler of control frames it
        sends and returns; the read under way raises the end. An open `next_writer` is ended.

        In the child of a fork it closes the child's copy of the socket: the connection is the parent's, and goes on.

        Args:
            code: the close code, one that may be sent (RFC 6455 section 7.4).
            reason: said to the peer; 123 bytes of UTF-8 at most.
            timeout: seconds to wait for the peer; None: close_timeout. 0 starts the close and returns; the connection
                is cut at close_timeout if nobody has read the peer's answer.

        Raises ValueError or TypeError for a code or reason that may not be sent, or a timeout that is no number: the
        connection is as it was then. Never an error of the connection.
        """
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        payload = format_close_message(code, reason)
        check_call_timeout(timeout)
        if timeout is None:
            timeout = self._options.close_timeout
        self._outbound.queue_close(payload)
        if self._life.state >= State.CUT:
            self._tell_end()
            return
        if timeout <= 0 or self._inbound.in_handler:
            self._ending.cut_after(timeout if timeout > 0 else self._options.close_timeout)
            return
        handshake = ClosingHandshake(
            self._transport, self._life, self._wire, self._ending, self._inbound, client=self._client
        )
        handshake.perform(timeout)
        self._tell_end()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is over, at most timeout seconds; whether it is. For threads that do not read it.

        The end is noticed while nobody reads, too (see `on_end`). For any thread, any number of them. Raises TypeError
        for a timeout that is no number, ValueError for one that no clock can count.
        """
        check_call_timeout(timeout)
        return self._ending.wait(timeout)

    def on_end(self, callback: EndCallback) -> None:
        """Call callback(end) once the connection is over; end is the exception that reads and writes raise, `end`.

        For who does not read: while nobody does, a close is noticed within a second or so, and a peer that is silent as
        by a read; unless read_buffer_size bytes lie unread before that: then it is given up if its machine is gone.
        Each callback is called exactly once, by a short-lived thread of the library's, one after the other: hand over
        what takes long. If it is over already, it is called at once, in this thread. What it raises is logged. Raises
        TypeError for what cannot be called.
        """
        check_callable("a callback", callback, "is a callable that takes the end, an exception")
        self._ending.call_at_end(callback)

    def close_now(self) -> None:
        """End the connection at once, without a handshake (gorilla's Close); the peer sees 1006.

        Idempotent, from any thread: a read or write under way is woken and raises the end.
        """
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        self._ending.cut_now(self._life.vanished("this side cut the connection"))

    def __enter__(self) -> Conn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: with 1000, or 1011 after an exception that is not the connection's own end."""
        failed = error is not None and not self._is_own_end(error)
        self.close(CloseCode.INTERNAL_SERVER_ERROR if failed else CloseCode.NORMAL_CLOSURE)

    def _post(self, prepared: PreparedMessage, *, is_own: bool) -> bool:
        """As `send_nowait`. is_own: the message is for this connection alone, and may refer back to others."""
        return self._outbound.post(prepared, is_own)

    def _enter_log(self, visit: Visit) -> None:
        """There is to be a line in the access log once it is over. Before anybody else has the connection."""
        self._visit = visit
        visit.open(self.id)

    def _tell_end(self) -> None:
        """Tell the access log, if it is over: by whoever closes it last, since no lock of it may be held meanwhile."""
        if self._visit is None:
            return
        with self._life.lock:
            visit, end = self._visit, self.end
            if end is not None:
                self._visit = None
        if visit is not None and end is not None:
            visit.tell(end, self._wire.tally, self._transport)

    def _released(self) -> None:
        """The fd is closed: nothing of an unfinished message is of use now, and there is nothing to attend to."""
        self._attendant.stop()
        self._inbound.forget()

    def _overflowed(self) -> None:
        """The send queue is full and the policy is to close: 1013 in our own story, as such a peer may never read."""
        self._end_without_peer(CloseCode.TRY_AGAIN_LATER, "send queue full", drop=True)

    # For the end of many at once (`farewell`): first what needs no system call, for all of them

    def _hold(self, rest: Callable[[], bool]) -> None:
        """Have a busy reader call rest() before it goes on, again and again until that returns False."""
        self._inbound.interrupt(rest)

    def _announce_close(self, code: int, reason: str) -> None:
        """Queue a close, which leaves with `_start_close`."""
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        self._outbound.announce_close(format_close_message(code, reason))

    def _start_close(self, code: int, reason: str) -> None:
        """Send a close without waiting. The caller sees to the end: no timer cuts what the peer does not answer.

        For the end of a process, where a thread that keeps a timer cannot be started any more.
        """
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        self._outbound.announce_close(format_close_message(code, reason))
        self._wire.flush_soon()

    def _doom(self) -> None:
        """It is over: whoever reads or writes finds that, unless he is stuck in it. `close_now` is to follow."""
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        self._ending.doom(self._life.vanished("this side cut the connection"))
        self._inbound.interrupt()  # after the end is stored, which a reader then finds

    def _end_without_peer(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Be done with the peer without asking it: over at once, with the reader woken; our close may still leave.

        What waits in the send queue leaves before it, unless it is to be dropped.
        """
        if self._transport.is_inherited:
            self._transport.let_go()
            return
        # The close is queued before the end is stored: after that no close is taken, and the peer would see 1006.
        self._start_close(code, reason)
        self._ending.dismiss(CloseError(code, reason), self._options.close_timeout, drop=drop)

    def _is_own_end(self, error: BaseException) -> bool:
        """Whether error is how this connection ended, for reads or for writes, and not another one."""
        return isinstance(error, ConnectionClosed) and self._life.is_own(error)

    def _is_own(self, error: BaseException) -> bool:
        """Whether this connection raised error: its end, or that a deadline of its passed; and not another one."""
        return self._life.is_own(error)


def post_to_all(conns: Sequence[Conn], prepared: PreparedMessage) -> list[Conn]:
    """`Conn.send_nowait` of one message to each of many, where it can leave at once; those where it cannot.

    Encoded once for each kind of compression that the connections use.
    """
    left: list[Conn] = []
    kinds: dict[Compression, list[Conn]] = {}
    size = len(prepared.payload)
    for conn in conns:
        if conn._client:  # each of a client's frames has a mask of its own
            left.append(conn)
            continue
        compression = conn._outbound.compression(size)
        if compression in kinds:
            kinds[compression].append(conn)
        else:
            kinds[compression] = [conn]
    for compression, alike in kinds.items():
        frame = prepared.frame(compression)
        left += [alike[number] for number in post_to_wires([conn._wire for conn in alike], frame)]
    return left


def _earliest(deadline: float | None, timeout: float | None) -> float | None:
    """The earlier of an instant and a number of seconds from now."""
    check_call_timeout(timeout)
    if timeout is None:
        return deadline
    from_now = time.monotonic() + timeout
    return from_now if deadline is None else min(deadline, from_now)


def _check_handler(handler: _Handler, takes: str) -> _Handler:
    if handler is not None:
        check_callable("a handler", handler, f"is a callable that takes {takes}, or None")
    return handler


def _check_deadline(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or math.isnan(deadline):
        raise TypeError(f"a deadline is an instant of time.monotonic(), or None, not {deadline!r}")
    now = time.monotonic()
    if not now - _PLAUSIBLE_PAST <= deadline <= now + _PLAUSIBLE_FUTURE:
        raise ValueError(
            f"a deadline is an instant of time.monotonic(), which is now {now:.0f}, not {deadline!r}: "
            "write time.monotonic() + seconds"
        )
    return float(deadline)
