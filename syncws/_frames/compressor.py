"""The compressor that a connection keeps from message to message: context takeover of what this side sends.

RFC 7692 section 7.2.3.2: a message may refer back to those before it, so small messages that resemble each other shrink
several times as much. Two rules hold here:

* **What is compressed is sent, whole and in that order.** The peer's window has all that came, and the compressor
  believes that it has all that it made. So it is used by the holder of the frame lock alone, when nothing is left that
  might go first; and after anything that it made and that may not have left it begins anew.
* **It begins anew after a compressed message that it has not made.** One that is shared by many connections is made
  once, by itself, and means nothing to their compressors. A message that was sent plain is in no window at all.

To begin anew is always allowed: the peer does not notice. So the memory, 256 KiB at the defaults, can be let go at any
time between two messages, and costs nobody anything who sends nothing.

To make it takes 50 microseconds, ten times as long as to compress a small message by itself, which needs little memory.
So the first message is compressed by itself, if it is small, and remembered; only the next one in a row has the
compressor made, and refers back to both. A member of a room that hears broadcasts, and now and then a word of its own,
never pays for more.
"""

from __future__ import annotations

from .deflate import Deflater, compress
from .frame import RSV1

#: Bytes of a message up to which it costs less to compress it by itself.
_SMALL = 4096


class Compressor:
    """Compresses messages that may refer back to those before them.

    Concurrency: none of its own; the connection's frame lock guards it.
    """

    __slots__ = ("_bits", "_deflater", "_first", "_made_with", "_memory", "level")

    def __init__(self, level: int, bits: int, memory: int) -> None:
        self._bits = bits
        self._memory = memory
        self.level = level  # of the messages from now on; any thread may set it
        self._made_with = level
        self._deflater: Deflater | None = None
        self._first = b""  # a message that was compressed by itself, and left as the latest

    @property
    def is_live(self) -> bool:
        """Whether `begin_anew` would free memory. A hint, for any thread."""
        return self._deflater is not None

    def begin_anew(self) -> None:
        """Let the next message refer to nothing before it."""
        self._deflater, self._first = None, b""

    def whole(self, first: int, payload: bytes) -> tuple[int, bytes]:
        """(first byte, payload) of the frame of a message.

        It is compressed even if that makes it longer, by 5 bytes for each 16 KiB: to send it plain would be to begin
        anew, and cost the next messages the context, and 50 microseconds.
        """
        if self._deflater is None and not self._first and len(payload) <= _SMALL:
            self._first = payload
            return first | RSV1, compress(payload, self.level, self._bits)
        deflater = self.stream()
        return first | RSV1, deflater.compress(payload) + deflater.finish()

    def stream(self) -> Deflater:
        """What compresses the next message in pieces. Until its end nothing else of this is used but `begin_anew`."""
        if self._deflater is None or self._made_with != self.level:
            self._made_with = self.level
            self._deflater = Deflater(self._made_with, self._bits, self._memory, past=self._first)
            self._first = b""
        return self._deflater

    def shared(self, first: int, payload: bytes) -> tuple[int, bytes]:
        """(first byte, payload) of the frame of a message that was compressed by itself, if it was: as they are."""
        if first & RSV1:
            self.begin_anew()
        return first, payload
