"""A stream of frames as each implementation reads it: what comes of each frame, and how it ends.

A reading is a list of (number of the frame, event). An event is (kind, data), or (FAIL, code) for what the connection
fails with, which is the last. Text is str; a close is (CLOSE, (code, reason)).
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import wsproto.connection
import wsproto.events
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from .wire import BINARY, CLOSE, CONTINUATION, FIN, RSV1, TEXT, Arrival, written

#: How an event says that the connection fails: (FAIL, code).
FAIL = -1

Event = tuple[int, Any]
Reading = list[tuple[int, Event]]

_URI = WebSocketURI(False, "localhost", 80, "/", "")

#: For websockets, whose assertions fail at some inputs. Nobody reads that.
_QUIET = logging.getLogger("fuzz.quiet")
_QUIET.disabled = True


class Theirs:
    """`websockets`, without I/O. It leaves fragments and the check for UTF-8 to its users, so that is done here.

    Args:
        client: whether this side is the client.
        compression: whether permessage-deflate was agreed on.
        takeover: whether the peer keeps its context.
        bits: the window that the peer has promised, as a power of two.
    """

    def __init__(self, *, client: bool, compression: bool, takeover: bool, bits: int = 15) -> None:
        if client:
            self.protocol: ClientProtocol | ServerProtocol = ClientProtocol(
                _URI, state=State.OPEN, max_size=None, logger=_QUIET
            )
        else:
            self.protocol = ServerProtocol(state=State.OPEN, max_size=None, logger=_QUIET)
        if compression:
            self.protocol.extensions = [PerMessageDeflate(not takeover, True, bits, 15)]
        self._kind = TEXT
        self._message = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self, frames: Iterable[Arrival]) -> Reading:
        """What comes of these frames."""
        found: Reading = []
        for number, arrival in enumerate(frames):
            self.protocol.receive_data(arrival.data)
            for event in self.protocol.events_received():
                assert isinstance(event, Frame)
                if (taken := self._take(event)) is not None:
                    found.append((number, taken))
            if self.protocol.parser_exc is not None:
                assert self.protocol.close_sent is not None
                found.append((number, (FAIL, int(self.protocol.close_sent.code))))
            if found and found[-1][1][0] in (FAIL, CLOSE):
                break
        return found

    def _take(self, frame: Frame) -> Event | None:
        opcode, data = int(frame.opcode), bytes(frame.data)
        if opcode == CLOSE:
            assert self.protocol.close_rcvd is not None
            return CLOSE, (int(self.protocol.close_rcvd.code), self.protocol.close_rcvd.reason)
        if opcode not in (CONTINUATION, TEXT, BINARY):
            return opcode, data
        if opcode != CONTINUATION:
            self._kind, self._message = opcode, b""
            self._decoder.reset()
        self._message += data
        if self._kind == TEXT:
            try:
                self._decoder.decode(data, frame.fin)
            except UnicodeDecodeError:
                return FAIL, 1007
        if not frame.fin:
            return None
        return self._kind, self._message.decode() if self._kind == TEXT else self._message


def by_wsproto(frames: Sequence[Arrival], *, client: bool) -> Reading:
    """wsproto, without compression: its own extension forgets at a ping that a message is compressed."""
    kind = wsproto.connection.ConnectionType.CLIENT if client else wsproto.connection.ConnectionType.SERVER
    connection = wsproto.connection.Connection(kind)
    found: Reading = []
    message: list[Any] = []
    for number, arrival in enumerate(frames):
        connection.receive_data(arrival.data)
        for event in connection.events():
            match event:
                case wsproto.events.Message():
                    message.append(event.data)
                    if event.message_finished:
                        is_text = isinstance(event, wsproto.events.TextMessage)
                        found.append((number, (TEXT, "".join(message)) if is_text else (BINARY, b"".join(message))))
                        message.clear()
                case wsproto.events.CloseConnection():
                    # Both a close that came and the complaint about a fault.
                    if connection.state is wsproto.connection.ConnectionState.OPEN:
                        found.append((number, (FAIL, int(event.code))))
                    else:
                        found.append((number, (CLOSE, (int(event.code), event.reason or ""))))
                    return found
                case wsproto.events.Ping():
                    found.append((number, (9, bytes(event.payload))))
                case wsproto.events.Pong():
                    found.append((number, (10, bytes(event.payload))))
    return found


def completed(frame: Arrival) -> bytes:
    """A frame that is there in part, with the rest of it: zeros, and few of them where it is long."""
    if frame.has_head and frame.length - len(frame.payload) < 1 << 17:
        return frame.data + bytes(frame.length - len(frame.payload))
    few = 126 if frame.form else 0
    payload = frame.payload + bytes(max(0, few - len(frame.payload)))
    return written(frame.first, payload, b"\0\0\0\0" if frame.masked else None)


class Inflation:
    """The compressed messages of a stream as RFC 7692 has them, by zlib alone.

    Args:
        takeover: whether the sender may refer to earlier messages.
        bits: the sender's window, as a power of two.
    """

    def __init__(self, takeover: bool, bits: int) -> None:
        self._takeover = takeover
        self._bits = bits
        self._zlib: zlib._Decompress | None = None
        self.is_open = False  # a compressed message is under way
        self.inflated = b""  # of the message at hand
        self.wire = 0
        self.is_corrupt = False
        self.was_empty = False  # a message of the context had no payload at all
        self.is_cut = False  # it stops in the middle of a block
        self.restarted = False  # something followed a block with BFINAL set, also in an earlier message of the context

    def add(self, frame: Arrival) -> None:
        """The next frame of the stream, which is complete."""
        if frame.opcode in (TEXT, BINARY):
            self.is_open = bool(frame.first & RSV1)
            self.inflated, self.wire = b"", 0
            self.is_corrupt = self.is_cut = False
            if not self._takeover:
                self._zlib = None
                self.restarted = False
        if not self.is_open or frame.opcode > BINARY:
            return
        self.wire += frame.length
        if not self.is_corrupt:
            self._inflate(frame.payload)
        if frame.first & FIN:
            self.is_open = False
            self.was_empty = self.was_empty or (self._takeover and not self.wire)
            self._end()

    def _inflate(self, payload: bytes) -> None:
        while payload:
            if self._zlib is None or self._zlib.eof:
                self.restarted = self.restarted or self._zlib is not None
                self._zlib = zlib.decompressobj(-self._bits)
            before = self._zlib.copy()
            try:
                self.inflated += self._zlib.decompress(payload)
            except zlib.error:
                self.inflated += _salvaged(before, payload)
                self.is_corrupt = True
                return
            payload = self._zlib.unused_data

    def _end(self) -> None:
        """Its empty block put back, the stream stands between two blocks, or the message was cut."""
        if self._zlib is None or self._zlib.eof or self.is_corrupt or not self.wire:
            return
        probe = self._zlib.copy()
        try:
            surplus = probe.decompress(b"\x00\x00\xff\xff\x03\x00")
            self.is_cut = bool(surplus) or not probe.eof or bool(probe.unused_data)
            self._zlib.decompress(b"\x00\x00\xff\xff")
        except zlib.error:
            self.is_cut = True


def _salvaged(inflater: zlib._Decompress, payload: bytes) -> bytes:
    """What comes out before the error that is there."""
    found = b""
    with contextlib.suppress(zlib.error):
        for byte in payload:
            found += inflater.decompress(bytes((byte,)))
    return found
