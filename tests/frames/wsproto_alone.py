"""permessage-deflate under wsproto alone: what the lanes of `Protocol` are compared with.

`InboundDeflate` replaces all three inbound hooks of wsproto's own extension, and inflates as the payload comes.
"""

from __future__ import annotations

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from syncws._frames.deflate import Inflater


class InboundDeflate(PerMessageDeflate):
    """The extension as wsproto's frame decoder meets it, for either role: inflates, bounded by limit.

    limit is how many bytes one message may inflate to; None or 0: any number. It holds from the next bytes on.

    A hook that returns a code ends the connection with it: 1009 for more than limit; 1007 for what is not DEFLATE, or
    is cut short; 1002 for RSV1 on a frame that may not have it. No hook is to be called after that.

    Concurrency: for the thread that reads. `limit` may be set by any thread: it is one reference, read once a piece.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._enabled = True
        self.limit = limit
        # Whether the frame at hand is no part of the message at hand: a control frame, which may stand between
        # fragments, or a data frame out of order, which wsproto is about to refuse. It changes nothing here.
        self._apart = False
        self._message_open = False  # whether the last data frame was without FIN
        self._compressed = False  # whether the message at hand is
        self._inflater: Inflater | None = None

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Say which reserved bits belong to this extension, or refuse the frame.

        wsproto calls it again for the same header if the mask had not arrived, so it counts nothing.
        """
        first = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not first:
            return CloseReason.PROTOCOL_ERROR  # RFC 7692 section 6.1: on the first frame of a message only
        self._apart = opcode.iscontrol() or first is self._message_open
        if first and not self._apart:
            self._compressed = rsv.rsv1
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Inflate a part of a frame's payload, which is unmasked by now."""
        if self._apart or not self._compressed:
            return data
        if self._inflater is None:
            self._inflater = Inflater()
        inflated = self._inflater.inflate(data, self.limit)
        if not isinstance(inflated, bytes):
            self._forget()
            return CloseReason(inflated)
        return inflated

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Take note of the end of a frame, and with fin of its message, which has been handed out by now."""
        if self._apart:
            return None
        self._message_open = not fin
        if not fin or not self._compressed:
            return None
        whole = self._inflater is None or self._inflater.ends_well()
        self._forget()
        return None if whole else CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Compress nothing: the wsproto connection that this extension belongs to only reads."""
        return rsv, data

    def _forget(self) -> None:
        """Back to the state between two messages, which holds no memory of zlib's."""
        self._inflater = None
        self._compressed = False


class LateDeflate(InboundDeflate):
    """As InboundDeflate, but a message is inflated once it is whole: as somebody sees it who reads whole messages."""

    def __init__(self) -> None:
        super().__init__()
        self._payload = b""

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        """Keep the payload of a compressed message."""
        if self._apart or not self._compressed:
            return data
        self._payload += data
        return b""

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Inflate the message with its last frame."""
        if self._apart or not fin or not self._compressed:
            return super().frame_inbound_complete(proto, fin)
        inflated = super().frame_inbound_payload_data(proto, self._payload)
        self._payload = b""
        if isinstance(inflated, CloseReason):
            return inflated
        return super().frame_inbound_complete(proto, fin) or inflated
