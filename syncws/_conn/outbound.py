"""Messages out: whole ones, prepared ones, streamed ones; one at a time, compressed as agreed.

A message is one frame here, unless it is streamed; `wire` puts frames on the wire, one at a time. The message lock is
held for a streamed message, from its `next_writer` to its end, so that no other message gets between its fragments.
A message of one frame needs it only while another is being streamed. Control frames, and the frames of `wire`'s send
queue, find their place by themselves.
"""

from __future__ import annotations

import threading
from functools import partial

from .._frames.agreement import Agreement
from .._frames.compressor import Compressor
from .._frames.deflate import Deflater, check_level
from .._frames.frame import CONTINUATION, FIN, MAX_CONTROL_PAYLOAD, RSV1
from .._frames.payloads import format_close_message, parse_close_payload
from .._frames.prepared import Compression, PreparedMessage, encode_payload
from .._frames.streams import MessageWriter
from ..errors import CloseCode, ConcurrencyError, MessageType, WriteTimeout
from .ending import Ending
from .states import Life
from .wire import Make, Wire, acquire_until


class Outbound:
    """Writes messages.

    Concurrency: every method is for any thread. `_message_lock` is held for one streamed message, across I/O.
    """

    __slots__ = (
        "_agreement",
        "_client",
        "_close_timeout",
        "_compressor",
        "_ending",
        "_level",
        "_life",
        "_message_lock",
        "_open_sink",
        "_threshold",
        "_wire",
        "_writer_size",
        "compress",
        "deadline",
    )

    def __init__(
        self,
        life: Life,
        wire: Wire,
        ending: Ending,
        *,
        client: bool,
        agreement: Agreement | None,
        level: int,
        threshold: int,
        writer_size: int,
        close_timeout: float,
    ) -> None:
        check_level(level)
        self._life = life
        self._wire = wire
        self._ending = ending
        self._client = client
        self._agreement = agreement
        # Where messages refer back to those before them; None: each is compressed by itself.
        self._compressor = wire.compressor
        self._threshold = threshold
        self._writer_size = writer_size
        self._close_timeout = close_timeout
        self._message_lock = threading.Lock()
        self._open_sink: _MessageSink | None = None  # guarded by the state lock: of the next_writer that is open
        self.deadline: float | None = None  # the application's, an instant of time.monotonic()
        self._level = level
        self.compress = True

    def message(self, message_type: int, payload: bytes, deadline: float | None) -> None:
        """Write a whole message of TEXT or BINARY."""
        first = FIN | message_type
        if self._agreement is not None:
            if self._compressor is not None:
                self._whole(first, payload, deadline, self._make(payload))
                return
            first, payload = encode_payload(message_type, payload, self.compression(len(payload)))
        # As in _whole, written out: every message comes here.
        if self._open_sink is not None or not self._wire.send(first, payload, deadline):
            self._whole(first, payload, deadline)

    def prepared(self, prepared: PreparedMessage, deadline: float | None) -> None:
        """Write a message that was encoded before."""
        encoded = prepared.encoded(self.compression(len(prepared.payload)))
        self._whole(*encoded, deadline, None if self._compressor is None else self._compressor.shared)

    def post(self, prepared: PreparedMessage, is_own: bool = False) -> bool:
        """Write without waiting; see `Wire.post`. is_own: the message is for this connection alone."""
        compression = self.compression(len(prepared.payload))
        if is_own and self._compressor is not None:
            make = self._make(prepared.payload)
            if make is not None and self._wire.post_made(FIN | prepared.message_type, prepared.payload, make):
                return True
        if self._client:  # each of a client's frames has a mask of its own
            return self._wire.post_encoded(*prepared.encoded(compression))
        return self._wire.post(prepared.frame(compression))

    def control(self, message_type: int, payload: bytes, deadline: float | None) -> None:
        """Write a control frame, between the fragments of a message if need be."""
        if message_type == MessageType.CLOSE:
            parse_close_payload(payload)
        self._wire.send(FIN | message_type, payload, deadline)
        if message_type == MessageType.CLOSE:
            self.end_writer()

    def queue_close(self, payload: bytes) -> None:
        """Let our close leave after what was posted; an open writer is ended.

        In this order: the threads that wait for the writer's end are to find the connection closed. The other way one
        of them could still send, or take the closed writer for one that was left without its end.
        """
        self._wire.queue_close(payload)
        self.end_writer()

    def announce_close(self, payload: bytes) -> None:
        """As `queue_close`, and nothing leaves yet: no system call."""
        self._wire.announce_close(payload)
        self.end_writer()

    def writer(self, message_type: MessageType, deadline: float | None) -> MessageWriter:
        """Write a message piece by piece; other messages wait until its writer is closed."""
        if message_type >= MessageType.CLOSE:
            return MessageWriter(message_type, MAX_CONTROL_PAYLOAD, _ControlSink(self, message_type))
        self._take_message_lock(deadline)
        try:
            self._wire.wait_for_turn(deadline)  # messages of one frame hold no message lock
        except BaseException:
            self._message_lock.release()
            raise
        sink = _MessageSink(self, message_type)
        with self._life.lock:  # a close has come before, and refuses this writer, or comes after, and ends it
            if opened := self._life.refusal is None:
                self._open_sink = sink
        if not opened:
            self._message_lock.release()
            self._life.check_writable()
        return MessageWriter(message_type, self._writer_size, sink)

    def end_writer(self, sink: _MessageSink | None = None) -> None:
        """Let other messages pass: a writer is closed (its sink is given), or a close has left it no use."""
        with self._life.lock:
            if self._open_sink is None or (sink is not None and sink is not self._open_sink):
                return
            self._open_sink = None
        self._message_lock.release()

    def _whole(self, first: int, payload: bytes, deadline: float | None, make: Make | None = None) -> None:
        # A writer that another thread opens in this instant begins later, or the wire knows of its first fragment.
        if self._open_sink is None and self._wire.send(first, payload, deadline, make):
            return
        self._take_message_lock(deadline)
        try:
            self._send(first, payload, deadline, make)
        finally:
            self._message_lock.release()

    def _send(self, first: int, payload: bytes, deadline: float | None, make: Make | None = None) -> None:
        """Send a frame by the holder of the message lock, who should find no message open but its own."""
        if not self._wire.send(first, payload, deadline, make):
            raise ConcurrencyError("a next_writer was left without its end: nothing can be sent after it")

    def _take_message_lock(self, deadline: float | None) -> None:
        if self._message_lock.acquire(blocking=False):
            return
        sink = self._open_sink
        if sink is not None and sink.thread == threading.get_ident():
            raise ConcurrencyError("this thread has a next_writer open: close it before writing another message")
        if not acquire_until(self._message_lock, deadline):
            late = WriteTimeout("the write deadline passed while another thread's message was under way")
            raise self._life.own(late)

    def compression(self, size: int) -> Compression:
        """How a message of that many bytes is to be compressed: (level, window bits), or None."""
        agreement = self._agreement
        if agreement is None or not self.compress or size < self._threshold or not agreement.outbound_bits:
            return None
        return self._level, agreement.outbound_bits

    def set_level(self, level: int) -> None:
        """Compress messages with this level from now on."""
        self._level = level
        if self._compressor is not None:
            self._compressor.level = level

    def _make(self, payload: bytes) -> Make | None:
        """What compresses a message with the compressor that is kept; None: it is sent plain."""
        assert self._compressor is not None
        return self._compressor.whole if payload and self.compression(len(payload)) is not None else None


class _MessageSink:
    """Where a streamed message goes: fragments under the message lock, compressed as a stream."""

    def __init__(self, outbound: Outbound, message_type: MessageType) -> None:
        self.thread = threading.get_ident()
        self._out = outbound
        self._type = message_type
        self._begun = False
        self._deflater: Deflater | None = None

    def whole(self, payload: bytes) -> None:
        out = self._out
        if out._compressor is not None:
            out._send(FIN | self._type, payload, out.deadline, out._make(payload))
        else:
            out._send(*encode_payload(self._type, payload, out.compression(len(payload))), out.deadline)

    def flush(self, payload: bytes) -> None:
        self.fragment(payload, False, flush=True)

    def fragment(self, payload: bytes, final: bool, flush: bool = False) -> None:
        out = self._out
        first = CONTINUATION if self._begun else int(self._type)
        if not self._begun:
            self._begun = True
            compression = out.compression(len(payload))
            if compression is not None:
                first |= RSV1
                if out._compressor is not None:
                    make = partial(self._begin, out._compressor, final=final, flush=flush)
                    out._send(first | (FIN if final else 0), payload, out.deadline, make)
                    return
                self._deflater = Deflater(*compression)
        payload = self._deflated(payload, final, flush)
        if flush and not payload:
            return  # all of it has left
        out._send(first | (FIN if final else 0), payload, out.deadline)

    def _begin(
        self, compressor: Compressor, first: int, payload: bytes, *, final: bool, flush: bool
    ) -> tuple[int, bytes]:
        """The first fragment, by the compressor that is kept: nobody else uses it until the message has ended."""
        self._deflater = compressor.stream()
        return first, self._deflated(payload, final, flush)

    def _deflated(self, payload: bytes, final: bool, flush: bool) -> bytes:
        deflater = self._deflater
        if deflater is None:
            return payload
        return deflater.compress(payload) + (deflater.finish() if final else deflater.flush() if flush else b"")

    def release(self) -> None:
        self._out.end_writer(self)

    def cut(self) -> None:
        self._out.queue_close(format_close_message(CloseCode.INTERNAL_SERVER_ERROR, "a message was cut short"))
        self._out._ending.cut_after(self._out._close_timeout)


class _ControlSink:
    """Where a control frame that is written piece by piece goes: in one piece, past the message lock."""

    def __init__(self, outbound: Outbound, message_type: MessageType) -> None:
        self._out = outbound
        self._type = message_type

    def whole(self, payload: bytes) -> None:
        self._out.control(self._type, payload, self._out.deadline)

    def fragment(self, payload: bytes, final: bool) -> None:
        raise ValueError(f"a control frame carries at most {MAX_CONTROL_PAYLOAD} bytes")

    def flush(self, payload: bytes) -> None:
        raise ValueError("a control frame has no fragments: it leaves when its writer is closed")

    def release(self) -> None:
        pass

    def cut(self) -> None:
        pass  # pragma: no cover, since nothing of it leaves before all does
