"""What has come while nobody reads: control frames are taken out where they stand, the rest waits for the reader.

An answer to a ping need not wait for the messages before it (RFC 6455 section 5.5), and a peer whose ping is not
answered leaves. So the headers of the data frames are looked at, to find where the next frame begins, and nothing else:
their payload is neither unmasked, inflated nor judged before the reader asks for it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..errors import CLOSE, PING, PONG, MessageType, ProtocolError
from .accelerator import unmask
from .frame import FIN, MASKED, MAX_CONTROL_PAYLOAD, OP_BINARY, OP_CLOSE, OP_PONG
from .payloads import received_close

_CONTROLS: dict[int, MessageType] = {int(kind): kind for kind in (CLOSE, PING, PONG)}

#: The bits of a first byte that no control frame has: those reserved.
_RESERVED = 0x70


class Ahead:
    """Received bytes that the protocol has not seen yet, and how far they were looked through.

    Concurrency: as `Protocol`, which it is a part of.
    """

    __slots__ = ("_closed", "_head_size", "_mask_bit", "_next", "close", "data")

    def __init__(self, data: bytes, owed: int, mask_bit: int) -> None:
        self.data = data
        self._next = owed  # where the next frame begins, maybe far behind the end: what is before belongs to others
        self._mask_bit = mask_bit
        self._head_size = 6 if mask_bit else 2
        self.close: tuple[int, str] | None = None  # code and reason of a close that is kept for the reader
        self._closed = False  # the peer has: nothing counts that comes after a close

    def take_controls(self, kept: Collection[MessageType]) -> list[tuple[MessageType, Any]]:
        """Take out the control frames that are all there, except those of the kinds that the reader is to see.

        As `Protocol.next_event` gives them. What breaks the rules is left for the reader, with all that follows.
        """
        events: list[tuple[MessageType, Any]] = []
        pieces: list[bytes] = []  # what stays, up to `start`
        start = 0
        while not self._closed and (header := self._header()) is not None:
            opcode, length, head = header
            begin, end = self._next, self._next + head + length
            if opcode < OP_CLOSE:
                self._next = end
                continue
            if end > len(self.data):
                break
            kind = _CONTROLS[opcode]
            event = self._event(kind, begin + head, end)
            if event is None:
                break
            self._next = end
            if kind in kept:
                if kind is CLOSE:
                    self.close, self._closed = event, True
                continue
            events.append((kind, event))
            pieces.append(self.data[start:begin])
            start = end
            if kind is CLOSE:
                start, self._closed = len(self.data), True
        if events:
            length = len(self.data)
            self.data = b"".join((*pieces, self.data[start:]))
            self._next -= length - len(self.data)
        return events

    def _header(self) -> tuple[int, int, int] | None:
        """(opcode, length, bytes of the header) of the next frame; None where it is not all there, or no header."""
        data, begin = self.data, self._next
        if len(data) - begin < 2:
            return None
        first, second = data[begin], data[begin + 1]
        opcode, length, size = first & 0x0F, second & 0x7F, 0
        is_frame = opcode <= OP_BINARY or (opcode >= OP_CLOSE and _is_control(first, length))
        if not is_frame or second & MASKED != self._mask_bit:
            return None
        if length > MAX_CONTROL_PAYLOAD:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[begin + 2 : begin + 2 + size])
        head = self._head_size + size
        return (opcode, length, head) if len(data) - begin >= head else None

    def _event(self, kind: MessageType, begin: int, end: int) -> Any:
        """What a control frame with this payload says; None for a close that is none."""
        payload = unmask(self.data, begin, end) if self._mask_bit else self.data[begin:end]
        if kind is not CLOSE:
            return payload
        closed = received_close(payload)
        return None if isinstance(closed, ProtocolError) else closed


def _is_control(first: int, length: int) -> bool:
    """Whether a frame that begins so is a control frame that may be (RFC 6455 section 5.5)."""
    return first & 0x0F <= OP_PONG and first & FIN == FIN and not first & _RESERVED and length <= MAX_CONTROL_PAYLOAD
