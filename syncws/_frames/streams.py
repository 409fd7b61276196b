"""Views of one message that need not fit in memory: `MessageReader` and `MessageWriter`.

Neither does I/O: the reader asks its connection for the next piece, the writer hands it fragments.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MessageType

Bytes = bytes | bytearray | memoryview

_NOTHING = memoryview(b"")


class MessageReader(io.RawIOBase):
    """The bytes of one message, as they arrive (gorilla's io.Reader of NextReader); made by `Conn.next_reader`.

    A raw stream: `read(n)` returns what is there, `read()` all of it, b"" is the end of the message. TEXT is given as
    UTF-8, already checked; `io.TextIOWrapper(reader)` decodes it. Closing the reader discards the rest. Reads raise
    what `Conn.read_message` raises. Once the connection's next message is asked for, an old reader is at its end.

    Concurrency: as reading the connection: one thread at a time.
    """

    def __init__(self, message_type: MessageType, next_piece: Callable[[MessageReader], object]) -> None:
        super().__init__()
        self.message_type = message_type
        #: Whether the last piece of the message has come from the connection. Guarded by its read turn.
        self.complete = False
        self._next_piece = next_piece  # supplies the next piece, once there is one
        self._piece = memoryview(b"")  # has come, and was not read
        self._abandoned = False  # the connection skips the rest; guarded by its read turn, and never goes back

    def __repr__(self) -> str:
        state = "closed" if self.closed else "complete" if self.complete else "open"
        return f"<syncws.MessageReader {self.message_type.name} {state}>"

    def readable(self) -> bool:
        """True; io asks this of a raw stream."""
        return True

    if TYPE_CHECKING:

        def read(self, size: int = -1, /) -> bytes:
            """As io.RawIOBase has it; but never None, as this waits."""

    def readinto(self, buffer: Any, /) -> int:  # a buffer that can be written to has no name before Python 3.12
        """Fill the buffer with what is there, waiting for a byte at least; returns how many, 0 at the message's end."""
        target = memoryview(buffer).cast("B")
        if not target or not self._has_piece():
            return 0
        count = min(len(self._piece), len(target))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def readall(self) -> bytes:
        """All that is left of the message. When it raises, nothing is lost: a later read begins where this one did."""
        data = bytearray()
        try:
            while self._has_piece():
                piece, self._piece = self._piece, _NOTHING  # no call before the next line: an interrupt finds all of it
                data += piece
            return bytes(data)
        except BaseException:
            self._piece = memoryview(b"".join((data, self._piece)))
            raise

    def supply(self, piece: bytes, complete: bool) -> None:
        """For the connection: a piece of the message, complete if it was the last."""
        self._piece = memoryview(piece)
        self.complete = complete

    def abandon(self) -> None:
        """For the connection: the rest is skipped; the reader is at its end, even if the skipping is yet to finish."""
        self._piece = memoryview(b"")
        self._abandoned = True

    def _has_piece(self) -> bool:
        """Whether there is anything left to read; waits for it."""
        if self.closed:
            raise ValueError("read of a closed message")
        while not self._piece:
            if self.complete or self._abandoned:
                return False
            self._next_piece(self)
        return True


class MessageSink(Protocol):
    """What a MessageWriter writes to."""

    def whole(self, payload: bytes) -> None:
        """Send the message: it is complete, and nothing of it has left."""

    def fragment(self, payload: bytes, final: bool) -> None:
        """Send a part of the message."""

    def flush(self, payload: bytes) -> None:
        """Send a part of the message, and what compression has held back of those before it; nothing for nothing."""

    def release(self) -> None:
        """Let other messages go on: this one is over, whatever became of it. Called once."""

    def cut(self) -> None:
        """Fail the connection: fragments have left, and the rest of the message never comes."""


class MessageWriter:
    """One message, written piece by piece (gorilla's io.WriteCloser of NextWriter); made by `Conn.next_writer`.

    Use it as a context manager. Pieces are collected up to write_buffer_size bytes and then leave as fragments; leaving
    the block sends the last. Leaving it by an exception, and a fragment that could not be sent, end the message there:
    if nothing had left, it is dropped, else the connection is failed with 1011, since a cut message must not look
    whole.

    `io.TextIOWrapper(writer, "utf-8", write_through=True)` writes text to it, for what wants a file: print, csv, json.
    Its `detach()` or `flush()` comes before the end of the block: the wrapper may hold back what was written last.

    Concurrency: for the one thread that opened it; other threads' messages wait until it is closed.
    """

    def __init__(self, message_type: MessageType, size: int, sink: MessageSink) -> None:
        self.message_type = message_type
        self._size = size
        self._sink = sink
        self._buffer = bytearray()
        self._begun = False  # a fragment has left
        self._closed = False
        text = message_type is MessageType.TEXT
        self._checker = codecs.getincrementaldecoder("utf-8")() if text else None

    def __repr__(self) -> str:
        return f"<syncws.MessageWriter {self.message_type.name} {'closed' if self._closed else 'open'}>"

    def write(self, data: str | Bytes) -> int:
        """Add data to the message: str for TEXT, bytes for any type (for TEXT they must be UTF-8).

        Returns the number of bytes added. Raises ValueError for a closed writer or invalid UTF-8, TypeError for str
        in a binary message: nothing is added then. Raises what `Conn.write_message` raises when a fragment has to
        leave and cannot: the writer is closed then.
        """
        if self._closed:
            raise ValueError("write to a closed message")
        added = self._bytes_of(data)
        if len(self._buffer) + len(added) <= self._size:
            self._buffer += added
        elif len(added) >= self._size:
            self._send_fragment(bytes(self._buffer) + added if self._buffer else added)
            self._buffer.clear()
        else:
            self._buffer += added
            self._send_fragment(bytes(self._buffer[: self._size]))
            del self._buffer[: self._size]
        return len(added)

    def flush(self) -> None:
        """Send what was written so far, as a fragment, so that the peer can read it before the message ends.

        Does nothing where nothing waits. Raises ValueError for a closed writer, and for a control frame, which has no
        fragments; and what `Conn.write_message` raises when the fragment cannot leave: the writer is closed then.
        """
        if self._closed:
            raise ValueError("flush of a closed message")
        if self._buffer or self._begun:
            self._send_fragment(bytes(self._buffer), flush=True)
            self._buffer.clear()

    def close(self) -> None:
        """Send the rest and end the message; does nothing the second time.

        Raises ValueError for TEXT that ends in the middle of a character, and as `Conn.write_message` does. The message
        is over all the same.
        """
        if self._closed:
            return
        if self._checker is not None and self._checker.getstate()[0]:
            self.discard()
            raise ValueError("the message ends in the middle of a UTF-8 character")
        try:
            if self._begun:
                self._sink.fragment(bytes(self._buffer), True)
            else:
                self._sink.whole(bytes(self._buffer))
        except BaseException:
            self.discard()
            raise
        self._end()

    def discard(self) -> None:
        """End the message without its rest; does nothing once it is over."""
        if self._closed:
            return
        try:
            if self._begun:
                self._sink.cut()
        finally:
            self._end()

    @property
    def closed(self) -> bool:
        """Whether the message is over."""
        return self._closed

    def writable(self) -> bool:
        """True; io asks this of what it writes to."""
        return True

    def readable(self) -> bool:
        """False: it is written only."""
        return False

    def seekable(self) -> bool:
        """False: what has left cannot be changed."""
        return False

    def __enter__(self) -> MessageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _bytes_of(self, data: str | Bytes) -> bytes:
        if isinstance(data, str):
            if self._checker is None:
                raise TypeError("a binary message takes bytes: encode the str, or open a TEXT message")
            added = data.encode()
        elif isinstance(data, bytes | bytearray | memoryview):
            added = bytes(data)
        else:
            raise TypeError(f"a message is written in str or bytes, not {type(data).__name__}")
        if self._checker is not None:
            try:
                self._checker.decode(added)
            except UnicodeDecodeError as error:
                raise ValueError(f"a TEXT message takes str, or bytes that are UTF-8: {error}") from None
        return added

    def _send_fragment(self, payload: bytes, *, flush: bool = False) -> None:
        try:
            if flush:
                self._sink.flush(payload)
            else:
                self._sink.fragment(payload, False)
        except BaseException:
            # Nobody may go on: the peer would get the next fragment without this one, or a continuation of nothing.
            self.discard()
            raise
        self._begun = True

    def _end(self) -> None:
        self._closed = True
        self._buffer.clear()
        self._sink.release()


class _Readable(Protocol):
    """A Conn, as far as it matters here."""

    def next_reader(self) -> MessageReader: ...


def join_messages(conn: _Readable, term: bytes = b"") -> Iterator[bytes]:
    """All messages of a connection, conn, as one stream of bytes, term after each (gorilla's JoinMessages).

    Yields pieces as they arrive and ends by raising what the connection ended with, a normal close too.
    """
    while True:
        reader = conn.next_reader()
        while piece := reader.read(1 << 16):
            yield piece
        if term:
            yield term
