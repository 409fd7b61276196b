"""A compressed message that comes in fragments or in parts: it stays compressed until somebody asks for it."""

from __future__ import annotations

import codecs

from ..errors import TEXT, CloseCode, MessageType
from .accelerator import mask
from .deflate import Inflater
from .window import Window

#: Bytes that `take` inflates at a time.
_PORTION = 1 << 16

# Looked up once, as in partial.py.
_new_checker = codecs.getincrementaldecoder("utf-8")


class CompressedMessage:
    """What has arrived of a compressed message and was not handed out.

    `finish` inflates all of it, `take` a portion. So a message that is held back in the middle costs what has come of
    it, and not what that would become: 1 KiB on the wire may be 1 MiB.

    Concurrency: none; as its Protocol.
    """

    __slots__ = ("_checker", "_inflater", "_rest", "key", "type")

    def __init__(self, type: MessageType, window: Window | None = None) -> None:
        self.type = type
        self.key = b""  # the mask of the current frame's payload, from its next byte on; empty where it has none
        self._inflater = Inflater(window)
        self._checker = _new_checker() if type is TEXT else None
        self._rest = b""  # inflated: the beginning of a character whose end was not

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return self._inflater.held

    @property
    def refers_back(self) -> bool:
        """Whether it failed since it refers to an earlier message."""
        return self._inflater.refers_back

    @property
    def waiting(self) -> int:
        """How much of what has come was not inflated, in bytes."""
        return self._inflater.waiting

    @property
    def more(self) -> bool:
        """Whether `take` may have something to give."""
        return self._inflater.more

    def feed(self, payload: bytes | bytearray) -> None:
        """Add what has come, unmasked."""
        self._inflater.feed(payload)

    def feed_masked(self, piece: bytes) -> None:
        """Add the next piece of the current frame's payload, as it came."""
        if not self.key:
            self._inflater.feed(piece)
            return
        self._inflater.feed(mask(piece, self.key, imports=False))  # inflating takes longer than numpy would save
        turned = len(piece) & 3
        self.key = self.key[turned:] + self.key[:turned]

    def take(self, limit: int | None) -> bytes | CloseCode:
        """The next of the message, of TEXT whole characters; empty where what has come makes nothing.

        The limit is that of the whole message. A code instead is what the connection fails with.
        """
        inflated = self._inflater.take(_PORTION, limit)
        if self._checker is None or not isinstance(inflated, bytes):
            return inflated
        try:
            self._checker.decode(inflated)
        except UnicodeDecodeError:
            return CloseCode.INVALID_FRAME_PAYLOAD_DATA
        piece, cut = self._rest + inflated, len(self._checker.getstate()[0])
        self._rest = piece[len(piece) - cut :]
        return piece[: len(piece) - cut]

    def finish(self, limit: int | None) -> bytes | CloseCode:
        """All that was not handed out, once the last byte has come; of TEXT, whether that is UTF-8 is not judged yet.

        As `take` otherwise.
        """
        inflated = self._inflater.take(None, limit)
        if not isinstance(inflated, bytes):
            return inflated
        if not self._inflater.ends_well():
            return CloseCode.INVALID_FRAME_PAYLOAD_DATA
        return self._rest + inflated
