"""A data frame that arrives in parts: received in place, unmasked and checked as it comes."""

from __future__ import annotations

import codecs
import io

from ..errors import TEXT, MessageType
from .accelerator import mask_into

#: From this size on a payload is received straight into its place.
IN_PLACE = 1 << 16

# Looked up once: asking for it by name takes as long as the rest of beginning a frame.
_new_checker = codecs.getincrementaldecoder("utf-8")


class PartialFrame:
    """A data frame that is arriving: what is there so far, unmasked and checked.

    A BytesIO lends its buffer to be received and unmasked in, and gives it away as bytes without a copy.
    """

    __slots__ = ("_checker", "_data", "_key", "_size", "filled", "missing", "received", "type")

    def __init__(self, type: MessageType, length: int, key: bytes | None) -> None:
        self.type = type
        self.missing = length  # bytes yet to come
        self.received = 0  # bytes that came, those already taken included: the mask's position
        self._data = io.BytesIO()  # the first `filled` bytes are there, the rest is room
        self._size = 0  # of _data
        self.filled = 0
        self._key = key
        self._checker = _new_checker() if type is TEXT else None

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return self._size

    def room(self) -> memoryview | None:
        """Where to receive: room for three times what is there, within the declared length; None while that is little.

        The view is to be released before anything else is called.
        """
        if self.filled == self._size:
            spare = min(3 * self.filled, self.missing)
            if spare < IN_PLACE:
                return None
            self._data.seek(self._size + spare - 1)
            self._data.write(b"\0")
            self._size += spare  # at last: there may be no memory for it
        return self._data.getbuffer()[self.filled : self._size]

    def add(self, piece: bytes) -> bool:
        """Take bytes that were received elsewhere; as `absorb`."""
        self._data.seek(self.filled)
        self._data.write(piece)
        self._size = max(self._size, self.filled + len(piece))
        return self.absorb(len(piece))

    def absorb(self, count: int) -> bool:
        """Unmask and check count bytes that were put after what was there; False for invalid UTF-8."""
        start, self.filled = self.filled, self.filled + count
        if self._key is not None or self._checker is not None:
            with self._data.getbuffer() as data:
                if self._key is not None:
                    mask_into(data, start, self.filled, self._key, self.received)
                if self._checker is not None and not self._check(data[start : self.filled], count == self.missing):
                    return False
        self.received += count
        self.missing -= count
        return True

    def _check(self, piece: memoryview, final: bool) -> bool:
        assert self._checker is not None
        with piece:
            try:
                self._checker.decode(piece, final)
            except UnicodeDecodeError:
                return False
        return True

    def take(self) -> bytes:
        """Hand out what is there; of TEXT whole characters only, so that each piece is valid UTF-8 by itself."""
        kept = len(self._checker.getstate()[0]) if self._checker is not None else 0
        end = self.filled - kept
        if end == 0:
            return b""
        taken = self._data.getvalue()  # uncopied
        rest = taken[end : self.filled]
        self._data = io.BytesIO()
        self._data.write(rest)
        self._size = self.filled = kept
        return taken if end == len(taken) else taken[:end]
