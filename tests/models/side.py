"""What one side of a connection has to do: the specification that the machine of `talk` holds it to.

Written from docs/architecture.md ("The end of a connection"), docs/errors.md and the docstrings of `syncws.Conn`. It
has no threads and no sockets: it is told what the application does and what arrives, and says what is to be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .sight import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Seen
from .wire import Lie

OPEN, CLOSING, CLOSE_SENT, WRITE_LOST = "open", "closing", "close sent", "write lost"
OVER, DISMISSED, RELEASED = "over", "dismissed", "released"
_ORDER = (OPEN, CLOSING, CLOSE_SENT, WRITE_LOST, OVER, DISMISSED, RELEASED)

#: The names of docs/errors.md, of those that the machine uses.
_NAMES = {1000: "normal closure", 1001: "going away", 1002: "protocol error", 1005: "no status received"} | {
    1006: "abnormal closure",
    1007: "invalid frame payload data",
    1009: "message too big",
    1011: "internal server error",
    1013: "try again later",
}

#: Texts of ends, as regular expressions.
CUT_HERE = "this side cut the connection"
NO_ANSWER = "this side closed, and the peer did not answer in time"
LEFT = "the peer left without a close frame"
LOST = r"the connection is lost \(\[Errno \d+\] .+\)"
BROKEN = rf"\[Errno \d+\] .+|{LEFT}"  # a write before may have taken the error from the socket

#: Stands for the reason of a close that answers a breach: it is that of the end, whatever that is.
WHY = b"\0why"

Closing = tuple[str, int, str]


@dataclass(frozen=True)
class Ends:
    """An exception that is to be raised: its class, its code, its reason as a regular expression, the story."""

    kind: str
    code: int | None = None
    reason: str | None = None
    closings: tuple[Closing, ...] = ()

    def matches_text(self, text: str, reason: str) -> bool:
        """Whether ``str()`` of it tells the story in order, as docs/errors.md says; reason is the one that it has."""
        if self.kind != "CloseError":
            return True
        assert self.code is not None
        told = [f"{verb} {_say(code, why)}" for verb, code, why in self.closings]
        if ("received", self.code, reason) not in self.closings:
            told.append(_say(self.code, reason))
        return text == "; then ".join(told)


SENT_ALREADY = Ends("CloseSentError")
READ_LATE = Ends("ReadTimeout")
WRITE_LATE = Ends("WriteTimeout")
CONCURRENT = Ends("ConcurrencyError")


def _say(code: int, reason: str) -> str:
    name = _NAMES.get(code)
    said = f"{code} ({name})" if name else str(code)
    return f"{said}: {reason}" if reason else said


@dataclass(frozen=True)
class Got:
    """A message that a read is to return."""

    opcode: int
    payload: bytes

    @property
    def message(self) -> str | bytes:
        """As `Conn.receive` gives it."""
        return self.payload.decode() if self.opcode == TEXT else self.payload


@dataclass
class Writer:
    """A message that is written piece by piece."""

    opcode: int
    written: bytes = b""  # all of it
    waiting: bytes = b""  # what has not left
    has_begun: bool = False


@dataclass
class Side:
    """One side. ``entries`` is what its end of the wire has in line for it, ``arrived`` how many bytes of that came."""

    client: bool
    overflow: str
    send_queue: int
    queue_bytes: int | None  # None: not looked at, since frames are compressed
    entries: list[Seen | Lie]
    arrived: Callable[[], int]

    phase: str = OPEN
    end: Ends | None = None
    lost: Ends | None = None
    closings: list[Closing] = field(default_factory=list)
    # What waits to leave:
    is_full: bool = False  # the socket takes nothing
    is_broken: bool = False  # it was reset
    pong: bytes | None = None
    ping: bytes | None = None
    queue: list[tuple[int, bytes]] = field(default_factory=list)
    close: bytes | None = None
    writer: Writer | None = None
    stranger: Got | None = None  # another thread's message, which waits
    # What has left, and what was counted:
    left: list[tuple[int, bytes]] = field(default_factory=list)
    open_message: bytes = b""
    is_ended: bool = False  # its stream: a server ends it after both closes
    messages_out: int = 0
    messages_in: int = 0
    pings: int = 0
    pongs: int = 0
    dropped: int = 0
    breaches: list[str] = field(default_factory=list)
    pinged: bytes | None = None
    has_latency: bool = False
    has_timer: bool = False
    # What is read:
    cursor: int = 0
    attended: set[int] = field(default_factory=set)  # control frames that were handled while nobody read
    ended_unread: bool = False
    end_arrived: str = ""  # how the stream ends: LEFT, or BROKEN
    has_pong_handler: bool = False
    heard: list[tuple[str, object]] = field(default_factory=list)  # by handlers

    # Writing

    @property
    def refusal(self) -> Ends | None:
        """What writes raise."""
        if self.end is not None:
            return self.end
        if self.phase == WRITE_LOST:
            return self.lost
        return None if self.phase == OPEN else SENT_ALREADY

    @property
    def is_message_open(self) -> bool:
        """Whether a fragmented message has begun and not ended."""
        return self.writer is not None and self.writer.has_begun

    def breaks(self) -> bool:
        """Something is to be put on the wire now: whether that fails, which is then known."""
        if not self.is_broken:
            return False
        self.lose(Ends("CloseError", 1006, LOST))
        return True

    def lose(self, why: Ends) -> None:
        """Nothing can be written any more."""
        if _ORDER.index(self.phase) < _ORDER.index(WRITE_LOST):
            self.phase, self.lost = WRITE_LOST, why
        self.close = None
        self.drop()

    def drop(self) -> None:
        """What waits is lost, and counted; except a close."""
        self.dropped += len(self.queue)
        self.queue.clear()
        self.pong = self.ping = None

    def send(self, opcode: int, payload: bytes) -> Ends | None:
        """A whole message, by a caller who finds the way free; what it raises."""
        if (refusal := self.refusal) is not None:
            return refusal
        if self.breaks():
            return self.refusal
        self.put(opcode, payload)
        return None

    def put(self, opcode: int, payload: bytes) -> None:
        """A frame leaves."""
        self.left.append((opcode, payload))
        self.messages_out += opcode < CLOSE
        self.pings += opcode == PING

    def post(self, opcode: int, payload: bytes) -> Ends | bool:
        """`send_nowait`: what it raises, or returns."""
        if (refusal := self.refusal) is not None:
            return refusal
        if not (self.is_full or self.is_message_open or self.queue):
            return self.send(opcode, payload) or True
        if self.overflow == "drop_oldest":
            while self._no_room(payload):
                self._count_drop()
                self.queue.pop(0)
        elif self._no_room(payload):
            self._count_drop()
            if self.overflow == "close":
                self.dismiss(Ends("CloseError", 1013, "send queue full"))
            return False
        self.queue.append((opcode, payload))
        return True

    def _no_room(self, payload: bytes) -> bool:
        if not self.queue:
            return False
        return len(self.queue) >= self.send_queue or self._is_large(payload)

    def _is_large(self, payload: bytes) -> bool:
        return self.queue_bytes is not None and self.queued_bytes + self._size(payload) > self.queue_bytes

    def _count_drop(self) -> None:
        self.dropped += 1
        self.breaches.append("send_queue" if len(self.queue) >= self.send_queue else "send_queue_bytes")

    @property
    def queued_bytes(self) -> int:
        """Bytes of the frames that wait."""
        return sum(self._size(payload) for _, payload in self.queue)

    def _size(self, payload: bytes) -> int:
        size = len(payload)
        return size + (2 if size < 126 else 4 if size < 1 << 16 else 10) + 4 * self.client

    def settle(self) -> Ends | bool | None:
        """What can leave leaves. What becomes of the stranger's message: what it raises, True if it has left."""
        self._flush()
        if self.stranger is None:
            return None
        if self.is_full and not self.is_broken and self.phase != RELEASED:
            return None  # it is inside the socket, until that takes something or is cut
        if self.refusal is not None:
            self.stranger = None
            return self.refusal
        if self.writer is not None:
            return None
        waiting, self.stranger = self.stranger, None
        return self.send(waiting.opcode, waiting.payload) or True

    def _flush(self) -> None:
        waits = self.pong is not None or self.ping is not None or self.close is not None
        waits = waits or bool(self.queue and not self.is_message_open)
        if self.phase in (WRITE_LOST, RELEASED) or self.lost is not None or not (waits or self.is_full):
            return
        first = self.pong is None and self.ping is None and not self.queue and not self.is_full
        if self.is_broken and self.close is not None and first:
            self.closings.append(("sent", *_parsed(self.close)))  # it was handed to the socket, which then said so
        if self.breaks() or self.is_full:
            return
        if self.pong is not None:
            self.put(PONG, self.pong)
        if self.ping is not None:
            self.put(PING, self.ping)
            self.pinged = self.ping
        self.pong = self.ping = None
        while self.queue and not self.is_message_open:
            self.put(*self.queue.pop(0))
        if self.close is not None:
            close, self.close = self.close, None
            self.put(CLOSE, close)
            self.closings.append(("sent", *_parsed(close)))
            self._step(CLOSE_SENT)
            self.drop()  # nothing may follow it

    def _step(self, phase: str) -> None:
        if _ORDER.index(phase) > _ORDER.index(self.phase):
            self.phase = phase

    def queue_close(self, payload: bytes) -> None:
        """A close is to leave; the first one counts. It ends a message that is being written."""
        if self.phase == OPEN:
            self.phase, self.close = CLOSING, payload
        self._flush()

    # Its end

    def finish(self, end: Ends) -> None:
        """It is over; the first end counts."""
        if self.end is None:
            self.end = end
            self.drop()
        self._step(OVER)

    def vanish(self, reason: str) -> None:
        """It is over without the peer's close, and cut."""
        self.finish(Ends("CloseError", 1006, reason, tuple(self.closings)))
        self.cut()

    def cut(self) -> None:
        """The socket is shut down, and given back as soon as nobody is inside: at once, for all that can be seen."""
        self.drop()
        self.close = None
        self.has_timer = False
        self.phase = RELEASED

    def dismiss(self, end: Ends) -> None:
        """This side is done with the peer."""
        code = (end.code or 0).to_bytes(2) + (end.reason or "").encode()
        self.queue_close(code)
        self.finish(end)
        self._step(DISMISSED)
        self.has_timer = True

    # Reading

    def take(self, *, passing: bool = False) -> Got | None:
        """What a read finds in what has arrived: a message, or None: then it is at the end, or waits."""
        while self.cursor < len(self.entries) and self.entries[self.cursor].end <= self.arrived():
            index, entry = self.cursor, self.entries[self.cursor]
            self.cursor += 1
            if isinstance(entry, Lie):
                self._refuse(entry.code)
                return None
            if entry.opcode == CONTINUATION or index in self.attended:
                continue
            assert entry.payload is not None
            if entry.opcode < CLOSE:
                self.messages_in += 1
                if not passing:
                    return Got(entry.opcode, entry.payload)
            elif self.end is not None or self.control(entry.opcode, entry.payload):
                return None
        if self.end is None and self.end_arrived and self.arrived_all:
            self.vanish(self.end_arrived)
        return None

    @property
    def arrived_all(self) -> bool:
        """Whether everything that arrived in whole frames was read, and no more of it comes."""
        return self.cursor == len(self.entries) or self.entries[self.cursor].end > self.arrived()

    @property
    def unread(self) -> int:
        """Bytes that have arrived after the last message that was read; 0 once nothing more is read."""
        if self.phase == RELEASED and not self.ended_unread:
            return 0
        read = [
            each.end for each in self.entries[: self.cursor] if isinstance(each, Seen) and each.opcode in (TEXT, BINARY)
        ]
        return self.arrived() - (read[-1] if read else 0)

    def control(self, opcode: int, payload: bytes) -> bool:
        """A control frame is handled; whether it is the end."""
        if opcode == PING:
            if self.refusal is None:
                self.pong = payload
                self._flush()
        elif opcode == PONG:
            self.pongs += 1
            if payload == self.pinged:
                self.has_latency, self.pinged = True, None
            if self.has_pong_handler:
                self.heard.append(("pong", payload))
        else:
            self._answer(*_parsed(payload))
            return True
        return False

    def _answer(self, code: int, reason: str) -> None:
        """The peer has closed: it is answered with its code, and that is the end."""
        self.closings.append(("received", code, reason))
        self.queue_close(b"" if code == 1005 else code.to_bytes(2))
        self.finish(Ends("CloseError", code, reason, tuple(self.closings)))
        if not self.client and self.close is None and not self.is_full:
            self.is_ended = True

    def _refuse(self, code: int) -> None:
        """The peer has broken the protocol."""
        self.finish_by_breach(Ends("ReadLimitError" if code == 1009 else "ProtocolError", code))

    def finish_by_breach(self, end: Ends) -> None:
        """Our close tells the peer, and why."""
        self.queue_close((end.code or 0).to_bytes(2) + WHY)
        self.finish(end)

    def attend(self) -> None:
        """What happens to what has arrived while nobody reads: control frames are handled where they stand."""
        for index in range(self.cursor, len(self.entries)):
            entry = self.entries[index]
            if entry.end > self.arrived():
                break
            if isinstance(entry, Lie) or index in self.attended or entry.opcode < CLOSE:
                continue
            if entry.opcode == PONG and self.has_pong_handler:
                continue  # for the next read
            assert entry.payload is not None
            self.attended.add(index)
            if self.control(entry.opcode, entry.payload):
                self.ended_unread = True
                return
        if self.end is None and self.end_arrived:
            self.ended_unread = True
            self.vanish(self.end_arrived)

    @property
    def has_unread(self) -> bool:
        """Whether a read may give a message although it is over."""
        return self.ended_unread


def _parsed(payload: bytes) -> tuple[int, str]:
    return (int.from_bytes(payload[:2]), payload[2:].decode()) if payload else (1005, "")
