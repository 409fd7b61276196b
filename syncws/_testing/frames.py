"""The raw other end of a connection, which speaks frames as it is told."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from typing import NamedTuple

from .._frames.masking import mask
from ..errors import MessageType

#: Of SO_LINGER: a close drops what was not sent, and resets the connection.
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Frame(NamedTuple):
    """A frame as it was on the wire (RFC 6455 section 5.2).

    Attributes:
        opcode: its type: a `syncws.MessageType`, or another number.
        payload: its payload, unmasked.
        fin: whether it is the last of its message.
        rsv1: whether it is the first of a compressed message.
    """

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


class Peer:
    """The raw other end of a connection: sends bytes and frames as told, and reads frames as they are.

    Every call raises TimeoutError if it has to wait for ten seconds, and OSError if the connection broke. It is the
    peer that your code must survive: frames that are invalid or cut, closes of any code, an end without a word.

    Args:
        sock: its end of the connection; it is ``socket`` afterwards, for what the methods do not do.
        masked: whether it is a client, whose frames are masked.
        received: bytes that came already, which are read first.

    Concurrency: for one thread.
    """

    def __init__(self, sock: socket.socket, *, masked: bool, received: bytes = b"") -> None:
        self.socket = sock
        self.masked = masked
        self._buffer = received
        sock.settimeout(10)  # a test that waits for what never comes fails instead of hanging

    def send(self, data: bytes, *, cut: int | None = None) -> None:
        """Send data; with cut, in pieces of that many bytes."""
        for start in range(0, len(data), cut or len(data) or 1):
            self.socket.sendall(data[start : start + (cut or len(data))])

    def send_frame(
        self,
        opcode: int,
        payload: bytes | str = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        masked: bool | None = None,
        cut: int | None = None,
    ) -> None:
        """Send one frame, valid or not, as `frame` makes it. With cut it is sent in pieces of that many bytes."""
        self.send(self.frame(opcode, payload, fin=fin, rsv1=rsv1, masked=masked), cut=cut)

    def frame(
        self,
        opcode: int,
        payload: bytes | str = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        masked: bool | None = None,
        length: int | None = None,
    ) -> bytes:
        """The bytes of one frame, valid or not.

        Args:
            opcode: its type.
            payload: its payload; a str is encoded as UTF-8.
            fin: whether it is the last of its message.
            rsv1: whether it is the first of a compressed message.
            masked: whether it is masked; None: as this peer's are.
            length: bytes that its header declares; None: as many as the payload has.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        size = len(data) if length is None else length
        second = 0x80 if (self.masked if masked is None else masked) else 0
        head = bytes([(0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode])
        if size < 126:
            head += bytes([second | size])
        elif size < 1 << 16:
            head += bytes([second | 126]) + size.to_bytes(2)
        else:
            head += bytes([second | 127]) + size.to_bytes(8)
        if second:
            key = os.urandom(4)
            return head + key + mask(data, key)
        return head + data

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame with a reason, whatever the code is; None makes an empty one."""
        payload = b"" if code is None else code.to_bytes(2) + reason.encode()
        self.send_frame(MessageType.CLOSE, payload)

    def vanish(self) -> None:
        """End TCP with a reset and no closing handshake, as a process that is killed or a cable that is cut would: the
        other side's reads and writes raise CloseError with 1006. Idempotent."""
        with contextlib.suppress(OSError):  # closed before
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()

    def receive_frame(self) -> Frame:
        """The next frame. Raises EOFError if the connection ends before the frame does."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        key = self._exactly(4) if second & 0x80 else None
        payload = self._exactly(size)
        data = payload if key is None else mask(payload, key)
        return Frame(first & 0x0F, data, bool(first & 0x80), bool(first & 0x40))

    def receive_close(self) -> tuple[int | None, str]:
        """(code, reason) of the next frame; (None, "") if it is empty. Raises AssertionError if it is no close."""
        frame = self.receive_frame()
        if frame.opcode != MessageType.CLOSE:
            raise AssertionError(f"expected a close frame, got {frame}")
        return int.from_bytes(frame.payload[:2]) if frame.payload else None, frame.payload[2:].decode()

    def at_end(self) -> bool:
        """Whether the connection ends here: waits until a byte comes, or the end of the stream, or a reset."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, count: int) -> bytes:
        pieces = [self._buffer]
        missing = count - len(self._buffer)
        try:
            while missing > 0:
                data = self.socket.recv(max(1 << 16, missing))
                if not data:
                    raise EOFError("the connection ended")
                pieces.append(data)
                missing -= len(data)
        finally:
            self._buffer = b"".join(pieces)
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken
