"""The lanes of a stream of frames: the way of each frame from bytes to a message (RFC 6455 section 5).

The stream is split into frames (two bytes and the length, no more), so it is always known where a frame ends, and each
has its lane:

* *whole*: a final, unfragmented, uncompressed data frame that is all there. Decoded straight from the buffer. Nearly
  every message in practice, and the reason a message costs microseconds.
* *partial*: the same kind of frame, not all there yet. Received in place, unmasked and, for TEXT, checked as UTF-8
  piece by piece as it arrives, so that bad text fails at once (Autobahn 6.4.3). Its buffer grows with what has
  arrived: a header that declares a gigabyte costs nothing.
* *inflate*: a whole compressed message that is all there. Inflated at once.
* *compressed*: other frames of compressed messages: fragments, and what comes in parts. Kept as it came until somebody
  asks for the message, or for a piece of it: then it is inflated, and no more than is asked for.
* *control*: a control frame, once it is all there. wsproto takes ten times as long for a ping, refuses a close code
  that IANA has added to the list (1014), and its complaint tells neither code nor reason.
* *engine*: fragments of messages that are not compressed go as they arrive into wsproto, which checks and decodes them.
  Those that are all there are joined before, to one frame: wsproto takes 15 microseconds for each, also for an empty
  one, and a peer needs 6 bytes to send that.

`_lane` says where the stream stands. Four more values have no frame in them:

| lane | the next byte is | then |
|---|---|---|
| whole | the first of a frame, between two messages | any lane, by the frame's header |
| partial | of the payload that `partial` collects | whole, once the frame is all there |
| inflate | the first of a frame that is all there | whole, in the same step |
| compressed | of a payload of which `_owed` bytes are missing | `_after`: whole, ending or fragmented |
| control | the first of a frame that is all there | `_after`, or closed, in the same step |
| engine | of a frame of which wsproto lacks `_owed` bytes | `_after`: whole or fragmented |
| fragmented | the first of a frame, inside a fragmented message | compressed, engine, control |
| ending | the first of a frame, after a compressed message of which pieces are still to be handed out | whole |
| closed | after the peer's close, so it does not count (RFC 6455 section 5.5.1) | - |
| failed | after a breach, which is raised by every later call | - |

A header that breaks the rules is refused here, at its first two bytes or its length, before wsproto sees it: then the
verdict and its words do not depend on how the stream was cut. (A test holds it against wsproto's own verdict.)
`_begin_frame` is where headers are judged, and `_count` where the limits of a message are.

**The read limit** holds for one message: by declared length where nothing is compressed, before a byte of it is
kept; for compressed messages by their bytes on the wire (`deflate.wire_limit`) and by the inflated size. **The fragment
limit** holds for one message too, since an empty fragment costs this side more than the peer and adds to no length.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from .._base.copies import copy_of
from .._base.counters import breaches
from ..errors import BINARY, TEXT, CloseCode, MessageType, ProtocolError, ReadLimitError
from .accelerator import unmask
from .ahead import Ahead
from .compressed import CompressedMessage
from .deflate import Inflater, wire_limit
from .frame import CONTINUATION, FIN, MASKED, OP_BINARY, OP_CLOSE, RSV1, WHOLE_TEXT, is_minimal
from .partial import PartialFrame
from .payloads import received_close
from .plain import PlainMessage
from .runs import SMALL, join_fragments
from .verdicts import LONG_LENGTH, NOT_UTF8, compressed_fault, header_fault, too_large
from .window import Window

#: Frames that one which is interrupted goes on with: the answer to a close, and what an honest peer sends before it.
_FIRST_PORTION = 64

#: What `Protocol.next_event` returns: TEXT with str, BINARY, PING and PONG with bytes, CLOSE with (code, reason).
Event = tuple[MessageType, Any]

#: Bytes of payload from which on a fragment is worth what it costs.
_WORTH = 64

_CONTROL = {each.value: each for each in (MessageType.PING, MessageType.PONG)}

#: Where the stream stands: see the table above. Strings, as comparing them counts no reference and looks up no name.
Lane = Literal[
    "whole", "partial", "inflate", "compressed", "control", "engine", "fragmented", "ending", "closed", "failed"
]


class Lanes:
    """Where a stream stands, and what is done with the frames that `Protocol` does not take by its short ways.

    Concurrency: none; it is the lower half of `Protocol`.
    """

    __slots__ = (
        "_after",
        "_ahead",
        "_buffer",
        "_compressed",
        "_compression",
        "_failure",
        "_fragment_limit",
        "_fragments",
        "_head",
        "_head_size",
        "_lane",
        "_limit",
        "_mask_bit",
        "_message_size",
        "_message_type",
        "_owed",
        "_plain",
        "_start",
        "idle",
        "interrupted",
        "partial",
        "portion",
        "strays",
        "window",
    )

    def __init__(
        self,
        *,
        client: bool,
        read_limit: int | None,
        compression: bool,
        window: Window | None = None,
        fragment_limit: int | None = None,
        data: bytes = b"",
    ) -> None:
        self._mask_bit = 0 if client else MASKED  # what the peer's frames must have (RFC 6455 section 5.1)
        self._head_size = 2 if client else 6  # of a frame with a length below 126
        self._compression = compression
        #: What compressed messages may refer back to; None: each stands by itself.
        self.window = window
        self._limit = read_limit or None
        self._fragment_limit = fragment_limit
        self._buffer = data  # received, not yet consumed from _start on
        self._start = 0
        self._ahead: Ahead | None = None  # what comes after the buffer, which is empty then; see `look_ahead`
        #: True: the stream stands between two messages, and no byte of the next one is there. So there is nothing to
        #: ask `next_event` for before bytes have come, and they may be given to `only`. False: ask `next_event`, which
        #: sets this where it finds the stream so.
        self.idle = not data
        #: Frames that made no message and brought little: pings, pongs and small fragments; the reader sets it back.
        self.strays = 0
        self._lane: Lane = "whole"
        self._failure: ProtocolError | None = None  # why the lane is "failed"
        self.partial: PartialFrame | None = None  # what the lane "partial" collects
        #: True: `next_event` returns None after a few frames that are no whole messages, whatever has arrived, until it
        #: is given a `portion`. Any thread may set it; the reader clears it.
        self.interrupted = False
        #: How many such frames may be begun while it is interrupted; the reader's.
        self.portion = _FIRST_PORTION
        self._owed = 0  # bytes of the current frame that the message at hand has yet to get
        self._after: Lane = "whole"  # the lane once it has got them
        # The message at hand: the one that a fragmented message or the current data frame belongs to.
        self._compressed: CompressedMessage | None = None  # what the lane "compressed" collects
        self._plain: PlainMessage | None = None  # what the lane "engine" collects
        self._message_type = BINARY
        self._message_size = 0  # its declared bytes so far
        self._fragments = 0  # its small frames so far
        self._head = 0  # bytes of the header of the frame at hand, unless it went through the lane "whole"

    # The lanes other than "whole"

    def _go_on(self, raw: bool) -> Event | None:
        """Take what has arrived through the lane of the current frame, until there is an event or no byte is left."""
        self._go_back()
        while True:
            match self._lane:
                case "partial":
                    return self._fill_partial(raw)
                case "inflate":
                    return self._text_or_bytes(self._inflate_whole(), raw)
                case "control":
                    return self._take_control()
                case "compressed":
                    if not self._feed_compressed():
                        return None
                case "ending":
                    return None if raw else self._text_or_bytes(self._finish_compressed(), raw)
                case "engine":
                    if self._start == len(self._buffer):
                        return None
                    event = self._feed_engine(raw)
                    if event is not None:
                        return event
                case "fragmented":
                    if self._is_message_left(raw) or (self.interrupted and not self.use_portion()):
                        return None
                    if self._join_fragments():
                        self.portion = 0  # they may have been thousands
                    elif not self._begin_frame(raw):
                        return None
                case "whole":
                    if (self.interrupted and not self.use_portion()) or not self._begin_frame(raw):
                        return None
                case "closed":
                    self._forget()
                    return None
                case _:  # failed
                    self._raise_failure()

    def use_portion(self) -> bool:
        """Whether one more frame may be begun while this is interrupted; it is counted."""
        if self.portion == 0:
            return False
        self.portion -= 1
        return True

    def _begin_partial(self, first: int, length: int, body: int, raw: bool) -> Event | None:
        """Begin to collect a message in one frame, of which `next_event` has judged all but what is judged here."""
        if body > len(self._buffer):
            return None  # _begin_frame: the header is not all there
        limit = self._limit  # once: any thread may set it
        if limit is not None and length > limit:  # _count
            self._exceed(length)
        key = self._buffer[body - 4 : body] if self._mask_bit else None
        self._start = body
        self.partial = PartialFrame(TEXT if first == WHOLE_TEXT else BINARY, length, key)
        self._lane = "partial"
        return self._fill_partial(raw)

    def _is_message_left(self, raw: bool) -> bool:
        """Whether `next_piece` has something to hand out before the next frame, which may be a control frame."""
        if not raw:
            return False
        if self._compressed is not None:
            return self._compressed.more
        return self._plain is not None and self._plain.waiting > 0

    def _begin_frame(self, raw: bool) -> bool:
        """Judge the header of the next frame and pick the frame's lane; False while the header is not all there.

        An uncompressed message in one frame comes here only if there is a fault in its header: see `next_event`.
        """
        buffer, start = self._buffer, self._start
        arrived = len(buffer) - start
        if arrived < 2:
            return False
        first, second = buffer[start], buffer[start + 1]
        inside = self._lane == "fragmented"
        fault = header_fault(first, second, self._mask_bit, inside=inside, compression=self._compression)
        if fault is not None:
            self._fail(CloseCode.PROTOCOL_ERROR, fault)
        length, size = second & 0x7F, 0
        if length > 125:
            size = 2 if length == 126 else 8
            if arrived < 2 + size:
                return False
            length = int.from_bytes(buffer[start + 2 : start + 2 + size])
            if not is_minimal(length, size):
                self._fail(CloseCode.PROTOCOL_ERROR, LONG_LENGTH)
        head = self._head_size + size
        opcode = first & 0x0F
        # A control frame is begun as a whole: one that comes in parts is left where `look_ahead` finds it.
        if arrived < (head + length if opcode >= OP_CLOSE else head):
            return False
        self._head = head
        self._owed = head + length
        if opcode >= OP_CLOSE:
            self._after, self._lane = self._lane, "control"
            self.strays += 1
            return True
        self._count(first, length)
        if length < _WORTH:
            self.strays += 1
        # A frame with RSV1 is the first of its message (header_fault); with FIN it is all of it.
        if first & RSV1 and first & FIN and arrived >= self._owed and not raw:
            self._lane = "inflate"
            return True
        if first & RSV1:
            self._compressed = CompressedMessage(self._message_type, self.window)
        if self._compressed is None:
            self._after, self._lane = "whole" if first & FIN else "fragmented", "engine"
        else:
            self._after, self._lane = "ending" if first & FIN else "fragmented", "compressed"
            self._start, self._owed = start + head, length
            self._compressed.key = buffer[start + head - 4 : start + head] if self._mask_bit else b""
        return True

    def _count(self, first: int, length: int) -> None:
        """Hold a data frame against the read limit by its declared length; keep what its first byte says."""
        opcode = first & 0x0F
        if opcode != CONTINUATION:
            self._message_type = BINARY if opcode == OP_BINARY else TEXT
            self._message_size = self._fragments = 0
        if length < SMALL:
            self._count_small()
        self._message_size += length
        limit = self._limit
        if limit is None:
            return
        is_compressed = first & RSV1 or self._compressed is not None
        if self._message_size > (wire_limit(limit) if is_compressed else limit):
            self._exceed(self._message_size)

    def _count_small(self) -> None:
        """One more fragment that brings less than it costs; one that is empty adds to no length."""
        self._fragments += 1
        if self._fragment_limit is not None and self._fragments > self._fragment_limit:
            breaches.add("fragment_limit")
            why = f"a message of more than {self._fragment_limit} fragments of less than {SMALL} bytes"
            self._fail(CloseCode.POLICY_VIOLATION, why)

    def _fill_partial(self, raw: bool) -> Event | None:
        """Add what has come to the frame that arrives in parts; its message, once it is all there."""
        partial = self.partial
        assert partial is not None
        if self._start < len(self._buffer):
            piece = self._take(partial.missing)
            if not partial.add(piece):
                self._refuse_text()
        if partial.missing:
            return None
        self.partial = None
        self._lane = "whole"
        data = partial.take()
        return partial.type, data.decode() if partial.type is TEXT and not raw else data

    def _take_control(self) -> Event:
        """The control frame that is all there."""
        opcode = self._buffer[self._start] & 0x0F
        payload = self._take_payload()
        if opcode != OP_CLOSE:
            self._lane = self._after
            return _CONTROL[opcode], payload
        closed = received_close(payload)
        if isinstance(closed, ProtocolError):
            self._end_with(closed)
        self._lane = "closed"
        self._let_message_go()
        self.window = None
        return MessageType.CLOSE, closed

    def _take_payload(self) -> bytes:
        """Consume the frame that is all there; its payload, unmasked."""
        body = self._start + self._head
        self._start += self._owed
        self._owed = 0
        return unmask(self._buffer, body, self._start) if self._mask_bit else self._buffer[body : self._start]

    def _go_back(self) -> bool:
        """Read on in what `look_ahead` left, if it left anything."""
        ahead = self._ahead
        if ahead is None:
            return False
        # In one step, without a call: an interrupt between them would lose these bytes, or give them twice.
        self._buffer, self._start, self._ahead = ahead.data, 0, None
        return bool(self._buffer)

    # Compressed messages

    def _inflate_whole(self) -> bytes:
        """The message of the compressed frame that is all there."""
        self._lane = "whole"
        inflater = Inflater(self.window)
        inflated = inflater.whole(self._take_payload(), self._limit)
        if not isinstance(inflated, bytes):
            self._refuse_compressed(inflated, inflater.refers_back)
        if self.window is not None:
            self._note_inflated(inflated)
        return inflated

    def _note_inflated(self, inflated: bytes) -> None:
        """A compressed message was inflated. On trial none was handed out in pieces: this is all of it."""
        window = self.window
        if window is not None and window.on_trial and not window.note(inflated):
            self.window = None

    def _feed_compressed(self) -> bool:
        """Keep what is there of the payload of a compressed message; False while it is not all there."""
        assert self._compressed is not None
        piece = self._take(self._owed)
        self._owed -= len(piece)
        self._compressed.feed_masked(piece)
        if self._owed:
            return False
        self._lane = self._after
        return True

    def _finish_compressed(self) -> bytes:
        """What was not handed out of the compressed message that is all there."""
        assert self._compressed is not None
        inflated = self._compressed.finish(self._limit)
        if not isinstance(inflated, bytes):
            self._refuse_compressed(inflated, self._compressed.refers_back)
        self._compressed = None
        self._lane = "whole"
        if self.window is not None:
            self._note_inflated(inflated)
        return inflated

    def _text_or_bytes(self, data: bytes, raw: bool) -> Event:
        """The event of a compressed message that was inflated."""
        if self._message_type is BINARY:
            return BINARY, data
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:  # out here: see next_event
            self._refuse_compressed(CloseCode.INVALID_FRAME_PAYLOAD_DATA)
        return TEXT, data if raw else text

    # Fragments

    def _join_fragments(self) -> bool:
        """Take the fragments that are all there, joined to one; False where the next frame is none of these.

        The last of a message is none of them, nor is what is larger than a read or breaks a limit.
        """
        most = room = len(self._buffer)
        if self._fragment_limit is not None:
            most = self._fragment_limit - self._fragments
        limit = self._limit
        if limit is not None:
            room = (limit if self._compressed is None else wire_limit(limit)) - self._message_size
        run = join_fragments(self._buffer, self._start, self._mask_bit, most, room)
        if not run.fragments:
            return False
        self._start = run.end
        self._fragments += run.small
        self._message_size += len(run.payload)
        self.strays += max(0, run.fragments - len(run.payload) // _WORTH)
        if run.payload:
            self._add_fragment(run.payload)
        return True

    def _add_fragment(self, payload: bytearray) -> None:
        """Add to the message at hand the payload of one of its fragments, not the last."""
        if self._compressed is not None:
            self._compressed.feed(payload)
            return
        assert self._plain is not None
        if not self._plain.add_fragment(payload):
            self._refuse_text()

    # The lane "engine"

    def _feed_engine(self, raw: bool) -> Event | None:
        """Hand what is there of the current frame to wsproto; the message, if this was the last of it."""
        if self._plain is None:
            self._plain = PlainMessage(self._mask_bit)
        piece = self._take(self._owed)
        self._owed -= len(piece)
        if not self._plain.feed(piece):
            self._refuse_text()
        if self._owed:
            return None
        self._lane = self._after
        if self._lane != "whole":
            return None
        data = self._plain.take()
        self._plain = None
        return self._message_type, data.decode() if self._message_type is TEXT and not raw else data

    def _take(self, most: int) -> bytes:
        """Consume up to that many bytes of what has come."""
        piece = self._buffer[self._start : self._start + most]
        self._start += len(piece)
        return piece

    # Failures: `verdicts` has the words

    def _refuse_text(self) -> NoReturn:
        self._fail(CloseCode.INVALID_FRAME_PAYLOAD_DATA, NOT_UTF8)

    def _refuse_compressed(self, code: int, refers_back: bool = False) -> NoReturn:
        if code == CloseCode.MESSAGE_TOO_BIG:
            self._exceed(None)
        self._fail(code, compressed_fault(is_text=self._message_type is TEXT, refers_back=refers_back))

    def _exceed(self, size: int | None) -> NoReturn:
        breaches.add("read_limit")
        self._end_with(ReadLimitError(too_large(size, self._limit)))

    def _fail(self, code: int, reason: str) -> NoReturn:
        self._end_with(ProtocolError(int(code), reason))

    def _end_with(self, error: ProtocolError) -> NoReturn:
        """Raise it, and from now on an equal one. What has come is let go: an ended connection may be kept for long."""
        self._failure = error
        self._lane = "failed"
        self._forget()
        self.window = None
        self.idle = False
        self._raise_failure()

    def _raise_failure(self) -> NoReturn:
        assert self._failure is not None
        raise copy_of(self._failure)

    def _forget(self) -> None:
        """Keep nothing of what was read: a connection between two messages, or an ended one, needs none of it."""
        self._buffer, self._start = b"", 0
        self._ahead = None
        self._let_message_go()

    def let_go(self) -> None:
        """Nothing has come for long: what messages may refer back to is put to rest, unless one is under way."""
        if self.window is not None and self._compressed is None:
            self.window.let_go()

    def abandon(self) -> None:
        """Keep nothing of what has come: the connection is over, and nobody reads any more."""
        self._lane = "closed"
        self._forget()
        self.window = None

    def _let_message_go(self) -> None:
        self.partial = self._plain = self._compressed = None
