"""Reading WebSocket without I/O: bytes to events (RFC 6455 section 5). No socket, no thread, no clock.

`Protocol` takes what has come and gives messages and control frames. Nearly every message in practice is a final,
unfragmented, uncompressed data frame that is all there: it is decoded straight from the buffer, here, by `next_event`,
or by `only`, which has no buffer. That is the lane *whole*, and the reason a message costs microseconds. Everything
else goes on in another lane: `lanes` has them, and the table of where the stream may stand.

`Lanes._begin_frame` is where headers are judged. `next_event` and `only` each have a fast copy of it, for uncompressed
messages in one frame: beside each of their conditions stands the slow line that it takes the place of. The accelerator
has a third copy: where it is there, `Protocol` asks it first, and `PureProtocol` for whatever it does not take.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..errors import BINARY, TEXT, MessageType
from . import accelerator
from .accelerator import unmask
from .ahead import Ahead
from .frame import FIN, MASKED, WHOLE_BINARY, WHOLE_TEXT, is_minimal
from .lanes import Event, Lanes
from .runs import controls_ahead


class PureProtocol(Lanes):
    """`Protocol`, in Python alone.

    Concurrency: none; one thread at a time, the one that holds the connection's read turn.
    """

    __slots__ = ()

    @property
    def read_limit(self) -> int | None:
        """The largest message accepted, in bytes; None for no limit."""
        return self._limit

    @read_limit.setter
    def read_limit(self, limit: int | None) -> None:
        self._limit = limit or None

    @property
    def held(self) -> int:
        """Bytes of memory that an unfinished message takes; 0 between two messages."""
        held = 0 if self._plain is None else self._plain.waiting
        if self.partial is not None:
            held += self.partial.held
        if self._compressed is not None:
            held += self._compressed.held
        return held

    @property
    def arrived(self) -> int:
        """How much of the unfinished message has come, in bytes of its payload; less what was handed out in pieces."""
        if self.partial is not None:
            return self.partial.received
        message = self._plain if self._compressed is None else self._compressed
        return 0 if message is None else message.waiting

    def controls_ahead(self, kind: MessageType) -> int:
        """How many pings, or pongs, stand next in what has come, one after another."""
        return controls_ahead(self._buffer, self._start, self._mask_bit, FIN | kind)

    # Bytes in

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self.idle = False
        if not self._buffer:
            self._buffer = data
            return
        # What was left is short: the first bytes of a frame, or frames that were not asked for yet.
        self._buffer = self._buffer[self._start :] + data
        self._start = 0

    def destination(self) -> memoryview | None:
        """Where the next bytes can be received in place, or None where `receive` is to be used.

        To be asked once `next_event` or `next_piece` has returned None. After receiving n bytes into it, release the
        view and call `received(n)`.
        """
        return self.partial.room() if self.partial is not None else None

    def received(self, count: int) -> None:
        """Say that count bytes were received into `destination`. Raises ProtocolError for text that is not UTF-8."""
        assert self.partial is not None
        if not self.partial.absorb(count):
            self._refuse_text()

    @property
    def unread(self) -> int:
        """How many bytes were received and not consumed."""
        return len(self._buffer) - self._start if self._ahead is None else len(self._ahead.data)

    @property
    def unseen(self) -> bool:
        """Whether there is something unread that `look_ahead` has not seen. A hint, for any thread."""
        return len(self._buffer) > self._start

    def look_ahead(self, data: bytes, kept: Collection[MessageType]) -> list[Event]:
        """Take bytes without reading on: the control frames in what is unread, except those of the kinds that are kept.

        They may come before messages that the peer sent earlier. Everything else is left for `next_event` as it came.
        What breaks the rules raises there, and not here.
        """
        ahead = self._ahead
        if ahead is None:
            owed = (
                self._owed
                if self._lane in ("engine", "compressed")
                else 0
                if self.partial is None
                else self.partial.missing
            )
            ahead = Ahead(self._buffer[self._start :], owed, self._mask_bit)
            self.idle = False  # first: an interrupt must not let new bytes pass these
            self._ahead = ahead
            self._buffer, self._start = b"", 0
        ahead.data += data
        return ahead.take_controls(kept)

    @property
    def close_ahead(self) -> tuple[int, str] | None:
        """Code and reason of a close that `look_ahead` found and kept."""
        return None if self._ahead is None else self._ahead.close

    # Events out

    def next_event(self, raw: bool = False) -> Event | None:
        """The next control frame or whole message, or None where more bytes are needed.

        With raw, TEXT comes as (valid) UTF-8 bytes instead of str. Of a message that `next_piece` has begun to hand
        out, the rest. After CLOSE there is nothing more, whatever the peer still sends. Raises ProtocolError or
        ReadLimitError, and an equal one at every later call.
        """
        if self._lane != "whole":
            return self._go_on(raw)
        buffer = self._buffer
        start = self._start
        arrived = len(buffer)
        if arrived - start < 2:  # _begin_frame: the first two bytes
            if start == arrived and not self.idle:
                if self._go_back():
                    return self.next_event(raw)
                self._forget()
                self.idle = True
            return None
        first = buffer[start]
        second = buffer[start + 1]
        # _begin_frame: not a message in one frame; or compressed; or header_fault finds one in these bytes
        if (first != WHOLE_TEXT and first != WHOLE_BINARY) or second & MASKED != self._mask_bit:
            return self._go_on(raw)
        length = second & 0x7F
        body = start + self._head_size
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(buffer[start + 2 : start + 2 + size])
            body += size
            if not is_minimal(length, size):  # _begin_frame: the length is not all there, or not in its shortest form
                return self._go_on(raw)
        end = body + length
        if end > arrived:
            return self._begin_partial(first, length, body, raw)
        limit = self._limit  # once: any thread may set it
        if limit is not None and length > limit:  # _count
            self._exceed(length)
        payload = buffer[body:end] if not self._mask_bit else unmask(buffer, body, end)
        if end == arrived:
            self._buffer, self._start = b"", 0
            self.idle = True
        else:
            self._start = end
        if first == WHOLE_BINARY:
            return BINARY, payload
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:  # out here, so that the stored error does not hold on to that one, which holds the payload
            self._refuse_text()
        return TEXT, payload if raw else text

    def only(self, data: bytes) -> Event | None:
        """The message, if data is one frame of it, whole and nothing else, and at most 64 KiB. None: `receive` it.

        To be asked while `idle`. It is what `receive` and `next_event` make of such data, in half their steps: nearly
        every read brings just that. Whatever it does not take is judged by them; it raises nothing.
        """
        # _begin_frame: the first two bytes are there. header_fault: the mask is right, else length is over 127 now.
        length = data[1] ^ self._mask_bit if len(data) > 1 else 0x80
        body = self._head_size
        if length == 126:
            length = int.from_bytes(data[2:4])
            body += 2
            if length < 126:  # is_minimal
                return None
        elif length > 126:
            return None
        # _begin_frame: the frame is all there (and nothing after it). _count: the limit.
        limit = self._limit  # once, as in next_event
        if length + body != len(data) or (limit is not None and length > limit):
            return None
        # _begin_frame: a message in one frame that is not compressed. header_fault: opcode and reserved bits.
        first = data[0]
        if first == WHOLE_BINARY:
            return BINARY, unmask(data, body, len(data)) if self._mask_bit else data[body:]
        if first != WHOLE_TEXT:
            return None
        try:
            return TEXT, (unmask(data, body, len(data)) if self._mask_bit else data[body:]).decode()
        except UnicodeDecodeError:  # _refuse_text
            return None

    def next_piece(self) -> tuple[MessageType, Any, bool] | None:
        """The next control frame, or as much of the current message as has arrived: (type, data, final).

        Data is bytes, for TEXT too, in whole characters. None where more bytes are needed. Raises as `next_event`.
        """
        while True:
            event = self.next_event(raw=True)
            if event is not None:
                return (*event, True)
            if self.partial is not None:
                piece = self.partial.take()
                return (self.partial.type, piece, False) if piece else None
            if self._plain is not None and self._plain.waiting:
                return self._message_type, self._plain.take(), False
            if self._compressed is None or not (self._compressed.more or self._lane == "ending"):
                return None
            taken = self._compressed.take(self._limit)
            if not isinstance(taken, bytes):
                self._refuse_compressed(taken, self._compressed.refers_back)
            if self._lane == "ending" and not self._compressed.more:
                return *self._text_or_bytes(taken + self._finish_compressed(), True), True
            if taken:
                return self._message_type, taken, False


_decode: Any = accelerator.decode
_only: Any = accelerator.only


class Protocol(PureProtocol):
    """The reading half of one connection: `receive` bytes, take events with `next_event` or `next_piece`.

    Concurrency: none; one thread at a time, the one that holds the connection's read turn.
    """

    __slots__ = ()

    if _decode is not None:

        def next_event(self, raw: bool = False) -> Event | None:
            if self._lane == "whole":
                buffer = self._buffer
                decoded = _decode(buffer, self._start, self._mask_bit, self._limit, raw)
                if decoded is not None:
                    event: Event
                    event, end = decoded
                    if end == len(buffer):
                        self._buffer, self._start = b"", 0
                        self.idle = True
                    else:
                        self._start = end
                    return event
            return PureProtocol.next_event(self, raw)

    if _only is not None:

        def only(self, data: bytes) -> Event | None:
            event: Event | None = _only(data, self._mask_bit, self._limit)
            return event
