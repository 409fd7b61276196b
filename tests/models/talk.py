"""The machine of a connection: two `Conn` and the wire between them, driven through everything that an application, a
network and a peer may do, by several threads; after each step all that can be seen is what `side` says.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import struct
import sys
import termios
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from syncws import Conn, PreparedMessage, breaches
from syncws._base.options import ConnOptions
from syncws._base.unfinished import unfinished
from syncws._conn.attendant import Attendant
from syncws._conn.ledger import Ledger
from syncws._net.drain import drain
from syncws._net.transport import Transport
from syncws.testing import DEFLATE, await_
from tests.tasks import PATIENCE, Task

from .side import (
    BROKEN,
    CONCURRENT,
    CUT_HERE,
    DISMISSED,
    LEFT,
    NO_ANSWER,
    OPEN,
    READ_LATE,
    RELEASED,
    WHY,
    WRITE_LATE,
    Ends,
    Got,
    Side,
    Writer,
)
from .sight import BINARY, CLOSE, PING, TEXT, Seen, Sight, frame
from .wire import FILLER, ROOM, WireEnd, connect

#: Of which no time is part of a course: it never passes.
_NEVER = 600.0

SIDES = st.sampled_from((0, 1))
SIZES = st.sampled_from((0, 1, 5, 125, 126, 1000, 5000, 65535, 65536, 200 << 10))
SMALL_SIZES = st.sampled_from((0, 1, 7, 300))
KINDS = st.sampled_from((TEXT, BINARY))
CODES = st.sampled_from(((1000, ""), (1001, "bye"), (4321, "grün"), (1005, "")))

#: What no peer may say: the first byte of a frame, its payload, and the code that it costs.
LIES: dict[str, tuple[int, bytes, int]] = {
    "reserved bits": (0xB2, b"x", 1002),
    "an unknown opcode": (0x83, b"x", 1002),
    "an unknown control opcode": (0x8B, b"x", 1002),
    "a fragmented ping": (0x09, b"x", 1002),
    "a large ping": (0x89, bytes(126), 1002),
    "a close of one byte": (0x88, b"x", 1002),
    "a close that says 1005": (0x88, (1005).to_bytes(2), 1002),
    "a reason that is no text": (0x88, (1000).to_bytes(2) + b"\xff", 1007),
}


def _message(kind: int, size: int, seed: int) -> str | bytes:
    if kind == TEXT:
        return "".join(f"{seed} grün; " for _ in range(size // 8 + 1))[:size]
    return random.Random(seed).randbytes(size) if seed % 2 else bytes([seed % 251]) * size


def _payload(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


#: For steps that lead to an end: none in the calm at the beginning of a course, since most is to be seen before.
after_the_calm = precondition(lambda talk: talk.steps >= talk.calm)


class Half:
    """A connection, what it has to do, its end of the wire, and the threads that are inside."""

    def __init__(self, conn: Conn, side: Side, end: WireEnd, name: str) -> None:
        self.conn = conn
        self.side = side
        self.end = end
        self.name = name
        self.reading: Task | None = None
        self.closers: list[Task] = []
        self.stranger: Task | None = None
        self.writer: Any = None  # a MessageWriter
        self.reader: Any = None  # a MessageReader, and what it has yet to give
        self.unread = b""
        self.told: list[Any] = []  # what on_end was told
        self.heard: list[tuple[str, object]] = []  # by handlers
        self.is_lossy = False  # not all that has left is to be seen
        conn.on_end(self.told.append)

    @property
    def tasks(self) -> list[Task]:
        """The threads that are inside."""
        return [each for each in (self.reading, self.stranger, *self.closers) if each is not None]

    @property
    def unread_bytes(self) -> int:
        """Bytes in the connection's socket that nobody has received."""
        descriptor = self.conn.socket.fileno()
        if descriptor < 0:
            return 0
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])
        return 0


class Talk(RuleBasedStateMachine):
    """Two connections that talk to each other."""

    #: Seconds that what has to come may take. Short where something is broken on purpose.
    patience = PATIENCE

    def __init__(self) -> None:
        super().__init__()
        self.halves: tuple[Half, ...] = ()
        self.seed = 0
        self.steps = self.calm = 0
        self.patches = contextlib.ExitStack()
        self.threads_before = set(threading.enumerate())
        self.descriptors_before = _open_descriptors_but_the_drains()
        self.held_before = unfinished.total

    @initialize(
        compression=st.booleans(),
        calm=st.sampled_from((0, 5, 10, 20)),
        together=st.booleans(),
        overflow=st.tuples(*[st.sampled_from(("close", "drop_oldest", "drop_newest"))] * 2),
    )
    def begin(self, compression: bool, calm: int, together: bool, overflow: tuple[str, str]) -> None:
        # Attended when the machine says so; nobody lingers but for the wire.
        self.patches.enter_context(mock.patch.object(Attendant, "begin", lambda attendant: None))
        self.patches.enter_context(mock.patch("syncws._conn.closing._LINGER", PATIENCE))
        self.compression = compression
        self.calm = calm
        self.breaches_before = breaches()
        self.ledger = Ledger()
        sights = [Sight(masked=client, compression=compression) for client in (True, False)]
        ends = connect(*sights)
        self.halves = tuple(self._half(client, ends[client], overflow[client], together) for client in (False, True))
        self.check()

    def _half(self, client: bool, end: WireEnd, overflow: Any, together: bool) -> Half:
        options = ConnOptions(
            ping_interval=None,
            close_timeout=_NEVER,
            send_queue=3,
            send_queue_bytes=1 << 16,
            overflow=overflow,
            answers_together=together,
            least_rate=None,
        )
        agreement = DEFLATE if self.compression else None
        conn = Conn(Transport(end.theirs), client=client, options=options, agreement=agreement)
        side = Side(client, overflow, 3, None if self.compression else 1 << 16, end.entries, arrived=lambda: end.given)
        self.ledger.opened(conn)
        return Half(conn, side, end, "client" if client else "server")

    # Doing something, and what is to come of it

    def outcome(self, call: Callable[[], Any]) -> Any:
        """What a call returns, or the exception that it raises."""
        try:
            return call()
        except Exception as error:
            return error

    def expect(self, half: Half, found: Any, expected: Any, *others: Any) -> None:
        """Check an outcome against what is expected, or may also be."""
        wrong = [self._mismatch(found, each) for each in (expected, *others)]
        assert "" in wrong, f"{half.name}: {wrong[0]}"

    def _mismatch(self, found: Any, expected: Any) -> str:
        if isinstance(expected, Ends):
            if not isinstance(found, Exception):
                return f"{found!r:.80} in place of {expected}"
            return self._wrong_end(found, expected)
        if isinstance(found, Exception):
            return f"{found!r} in place of {expected!r:.80}"
        return "" if found == expected and type(found) is type(expected) else f"{found!r:.80}, not {expected!r:.80}"

    def _wrong_end(self, found: Exception, expected: Ends) -> str:
        facts = (type(found).__name__, getattr(found, "code", None), tuple(getattr(found, "closings", ())))
        wanted = (expected.kind, expected.code, expected.closings)
        reason = getattr(found, "reason", "")
        if facts != wanted or (expected.reason is not None and not re.fullmatch(expected.reason, reason)):
            return f"{found!r} {facts}, not {expected}"
        return "" if expected.matches_text(str(found), reason) else f"the story {str(found)!r}, of {expected}"

    def in_thread(self, call: Callable[[], Any]) -> Any:
        """The outcome of a call that needs the wire to go on meanwhile."""
        return self._awaited(Task(call))

    def blocked(self, call: Callable[[], Any], *places: str) -> Task:
        """A thread that does not come back from a call yet, once it is in a function of one of these names."""
        task = Task(call)
        assert await_(lambda: task.done or _is_inside(task, places), self.patience), f"a call does not reach {places}"
        return task

    def collect(self) -> None:
        for half in self.halves:
            half.end.collect()

    # What follows from each step

    def advance(self) -> None:
        """What follows by itself follows in the models, and is compared with what has."""
        self.steps += 1
        self.collect()
        for half in self.halves:
            refused = self._advance_stranger(half)
            self._advance_reader(half)
            self._advance_closers(half)
            if refused is not None:  # by a close; or, if its thread is slow, by the end that a closer finds
                task, refusal = refused
                self.expect(half, self._awaited(task), refusal, half.side.end or refusal)
            if (late := self._advance_stranger(half)) is not None:
                self.expect(half, self._awaited(late[0]), late[1])
            if half.side.phase == RELEASED and half.end.is_stopped:
                half.is_lossy = True  # what the peer had not taken is gone
        self.check()

    def _advance_stranger(self, half: Half) -> tuple[Task, Ends] | None:
        """The message that waits leaves, if it can; the thread and why it is refused, if it is."""
        became = half.side.settle()
        if became is None or half.stranger is None:
            return None
        task, half.stranger = half.stranger, None
        if isinstance(became, Ends):
            return task, became
        self.expect(half, self._awaited(task), None)
        return None

    def _advance_reader(self, half: Half) -> None:
        task, side = half.reading, half.side
        if task is None:
            return
        message = side.take() if side.end is None else None
        if message is None and side.end is None:
            return
        half.reading = None
        self.expect(half, self._awaited(task), side.end if message is None else message.message)

    def _awaited(self, task: Task) -> Any:
        assert await_(lambda: self.collect() is None and task.done, self.patience), "a call does not come back"
        return self.outcome(task.result)

    def _advance_closers(self, half: Half) -> None:
        side = half.side
        if not half.closers:
            return
        if half.reading is None:
            while side.end is None:
                before = side.cursor
                side.take(passing=True)
                if side.cursor == before:
                    break
        if side.end is not None and side.phase != RELEASED and not (side.is_full and side.lost is None):
            side.is_ended = side.is_ended or not side.client
            if side.end_arrived:
                side.cut()
        if side.phase == RELEASED:
            tasks, half.closers = half.closers, []
            for task in tasks:
                self.expect(half, self._awaited(task), None)

    # Steps: writing

    @rule(which=SIDES, kind=KINDS, size=SIZES, how=st.sampled_from(("send", "timeout", "deadline", "prepared")))
    def send(self, which: int, kind: int, size: int, how: str) -> None:
        half = self.halves[which]
        side, message = half.side, self._new(kind, size)
        if half.stranger is not None or (how in ("send", "prepared") and side.is_full and side.refusal is None):
            return
        is_large = size > 5000  # the wire has to go on meanwhile
        if is_large and (how != "send" or side.writer is not None):
            return
        calls: dict[str, Callable[[], Any]] = {
            "send": lambda: half.conn.send(message),
            "timeout": lambda: half.conn.send(message, timeout=0),
            "deadline": lambda: self._send_late(half, message),
            "prepared": lambda: half.conn.write_prepared(PreparedMessage(kind, message)),
        }
        refusal = side.refusal
        found = self.in_thread(calls[how]) if is_large else self.outcome(calls[how])
        if side.writer is not None:  # of this thread
            self.expect(half, found, *((CONCURRENT,) if refusal is None else (refusal, CONCURRENT)))
        elif refusal is None and side.is_full:
            self.expect(half, found, WRITE_LATE)
        else:
            self.expect(half, found, side.send(kind, _payload(message)))
        self.advance()

    def _send_late(self, half: Half, message: str | bytes) -> None:
        half.conn.set_write_deadline(time.monotonic() - 1)
        try:
            half.conn.send(message)
        finally:
            half.conn.set_write_deadline(None)

    @rule(which=SIDES, kind=KINDS, size=SMALL_SIZES, count=st.integers(1, 5))
    def post(self, which: int, kind: int, size: int, count: int) -> None:
        half = self.halves[which]
        for _ in range(count):
            message = self._new(kind, size)
            if not half.side.is_full:  # else it would wait while a reader lets go of the wire, and three are many here
                await_(lambda: not half.conn._wire.frame_lock.locked(), self.patience)
            found = self.outcome(lambda message=message: half.conn.send_nowait(message))
            self.expect(half, found, half.side.post(kind, _payload(message)))
        self.advance()

    @rule(which=SIDES, data=st.sampled_from((b"", b"a", b"b" * 125)))
    def ping(self, which: int, data: bytes) -> None:
        half = self.halves[which]
        found = self.outcome(lambda: half.conn.ping(data))
        refusal = half.side.refusal
        if refusal is None:
            half.side.ping = data
        self.expect(half, found, refusal)
        self.advance()

    @rule(which=SIDES, late=st.booleans())
    def control(self, which: int, late: bool) -> None:
        """A ping by write_control; with a deadline that has passed nothing is sent, whatever the state is."""
        half = self.halves[which]
        side = half.side
        if not late and (half.stranger is not None or (side.is_full and side.refusal is None)):
            return
        deadline = time.monotonic() - 1 if late else None
        found = self.outcome(lambda: half.conn.write_control(PING, b"c", deadline))
        self.expect(half, found, WRITE_LATE if late else side.send(PING, b"c"))
        self.advance()

    @rule(which=SIDES, kind=KINDS, begun=st.booleans(), awaited=st.booleans())
    def open_writer(self, which: int, kind: int, begun: bool, awaited: bool) -> None:
        """A message is written piece by piece; it may begin to leave, and another thread's may wait for its end."""
        half = self.halves[which]
        side = half.side
        if half.stranger is not None or side.writer is not None:
            return
        found = self.outcome(lambda: half.conn.next_writer(kind))
        if side.refusal is not None:
            self.expect(half, found, side.refusal)
        else:
            assert not isinstance(found, Exception), found
            half.writer, side.writer = found, Writer(kind)
        self.advance()
        if begun:
            self.write_piece(which=which, size=100, flush=True)
        if awaited:
            self.send_as_another(which=which, kind=kind, size=1)

    @rule(which=SIDES, size=st.sampled_from((0, 1, 100, 4000)), flush=st.booleans())
    def write_piece(self, which: int, size: int, flush: bool) -> None:
        half = self.halves[which]
        side, writer = half.side, half.side.writer
        if writer is None or side.is_full or len(writer.waiting) + 2 * size > 4000:
            return
        piece = self._new(writer.opcode, size)
        refusal = side.refusal
        self.expect(half, self.outcome(lambda: half.writer.write(piece)), len(_payload(piece)))
        writer.written += _payload(piece)
        writer.waiting += _payload(piece)
        if flush:
            found = self.outcome(half.writer.flush)
            leaves = bool(writer.waiting)
            if (leaves or writer.has_begun) and refusal is not None:
                self._writer_failed(half, found, refusal, cut=writer.has_begun)
            elif leaves and side.breaks():
                self._writer_failed(half, found, side.refusal, cut=writer.has_begun)
            else:
                self.expect(half, found, None)
                writer.has_begun = writer.has_begun or leaves
                side.open_message += writer.waiting
                writer.waiting = b""
        self.advance()

    def _writer_failed(self, half: Half, found: Any, expected: Any, *, cut: bool) -> None:
        self.expect(half, found, expected)
        self._end_writer(half, cut=cut)

    def _end_writer(self, half: Half, *, cut: bool) -> None:
        side, half.writer = half.side, None
        writer, side.writer = side.writer, None
        assert writer is not None
        if not cut:
            return
        side.writer = writer  # it is open as the close is queued
        self._queue_close(half, 1011, "a message was cut short")
        side.writer = None
        if side.phase != RELEASED:
            side.has_timer = True

    def _queue_close(self, half: Half, code: int, reason: str) -> None:
        half.side.queue_close(b"" if code == 1005 else code.to_bytes(2) + reason.encode())

    @rule(which=SIDES, how=st.sampled_from(("close", "close", "raise")))
    def end_writer(self, which: int, how: str) -> None:
        half = self.halves[which]
        side, writer = half.side, half.side.writer
        if writer is None or (how == "close" and side.is_full and side.refusal is None):
            return
        if how == "raise":
            self.expect(half, self.outcome(half.writer.discard), None)
            self._end_writer(half, cut=writer.has_begun)
        else:
            found = self.outcome(half.writer.close)
            if side.refusal is not None or side.breaks():
                self._writer_failed(half, found, side.refusal, cut=writer.has_begun)
            else:
                self.expect(half, found, None)
                half.writer = side.writer = None
                side.open_message = b""
                side.put(writer.opcode, writer.written)
        self.advance()

    @rule(which=SIDES, kind=KINDS, size=SMALL_SIZES)
    def send_as_another(self, which: int, kind: int, size: int) -> None:
        """Another thread's message waits: for the end of a message that is open, or for a socket that is full."""
        half = self.halves[which]
        side = half.side
        if half.stranger is not None or side.refusal is not None or not (side.is_full or side.writer is not None):
            return
        if side.writer is not None and side.is_full:
            return
        message = self._new(kind, size)
        half.stranger = self.blocked(lambda: half.conn.send(message), "acquire_until", "wait_for")
        side.stranger = Got(kind, _payload(message))
        self.advance()

    # Steps: reading

    @rule(which=SIDES, kind=KINDS, size=SIZES, count=st.integers(1, 3), how=st.sampled_from(("message", "stream")))
    def converse(self, which: int, kind: int, size: int, count: int, how: str) -> None:
        """Messages are sent, arrive, and are read."""
        for _ in range(count):
            self.send(which=which, kind=kind, size=size, how="send")
        self.give(which=1 - which, count=1 << 20)
        for _ in range(count + (how == "message")):
            self.read_now(which=1 - which, how=how)

    @rule(which=SIDES, how=st.sampled_from(("message", "message", "stream")))
    def read_now(self, which: int, how: str) -> None:
        """What is there is read, without waiting."""
        half = self.halves[which]
        side = half.side
        if how == "message":
            found = self.outcome(lambda: half.conn.receive(timeout=0))
        elif half.reading is not None or half.closers or not self._next_is_whole(side):
            return
        else:
            found = self.outcome(lambda: half.conn.next_reader(timeout=0).read())
            if isinstance(found, bytes) and side.entries:
                found = found.decode() if self._next_kind(side) == TEXT else found
        self._forget_reader(half)
        if half.reading is not None:
            self.expect(half, found, CONCURRENT, *([READ_LATE] if half.closers else []))
        elif half.closers:
            self.expect(half, found, *([READ_LATE] if side.end is None else [side.end, READ_LATE]))
        else:
            self.expect(half, found, self._read(side))
        self.advance()

    def _read(self, side: Side) -> Any:
        if side.end is not None and not side.has_unread:
            return side.end
        message = side.take()
        if message is not None:
            return message.message
        return READ_LATE if side.end is None else side.end

    def _next(self, side: Side) -> Seen | None:
        for index in range(side.cursor, len(side.entries)):
            entry = side.entries[index]
            if not isinstance(entry, Seen) or entry.end > side.arrived():
                return None
            if entry.opcode in (TEXT, BINARY):
                return entry
            if entry.opcode == CLOSE:
                return None
        return None

    def _next_is_whole(self, side: Side) -> bool:
        return (side.end is None or side.has_unread) and self._next(side) is not None

    def _next_kind(self, side: Side) -> int:
        entry = self._next(side)
        assert entry is not None
        return entry.opcode

    def _forget_reader(self, half: Half) -> None:
        half.reader, half.unread = None, b""

    @rule(which=SIDES)
    def read_waiting(self, which: int) -> None:
        """A thread reads, and waits for what is yet to come."""
        half = self.halves[which]
        side = half.side
        if half.reading is not None or half.closers or side.end is not None:
            return
        self._forget_reader(half)
        half.reading = Task(half.conn.receive)
        assert await_(
            lambda: half.reading is None or half.reading.done or half.conn._inbound.turn.locked(), self.patience
        )
        self.advance()

    @rule(which=SIDES, handled=st.booleans())
    def handle_pongs(self, which: int, handled: bool) -> None:
        half = self.halves[which]
        half.side.has_pong_handler = handled
        heard = half.heard
        half.conn.set_pong_handler((lambda data: heard.append(("pong", data))) if handled else None)

    @rule(which=SIDES)
    def attend(self, which: int) -> None:
        """The attendant looks, as it does every second."""
        half = self.halves[which]
        side = half.side
        entries = side.entries[side.cursor :]
        if any(not isinstance(each, Seen) for each in entries) or self._unread(side) > ROOM // 2:
            return
        half.conn._attendant.attend()
        if half.reading is None and not half.closers and side.end is None:
            side.attend()
        self.advance()

    def _unread(self, side: Side) -> int:
        read = side.entries[side.cursor - 1].end if side.cursor else 0
        return side.arrived() - read

    # Steps: ending

    @after_the_calm
    @rule(which=SIDES, close=CODES)
    def close_start(self, which: int, close: tuple[int, str]) -> None:
        half = self.halves[which]
        self.expect(half, self.outcome(lambda: half.conn.close(*close, timeout=0)), None)
        self._queue_close(half, *close)
        if half.side.phase != RELEASED:
            half.side.has_timer = True
        self.advance()

    @after_the_calm
    @rule(which=SIDES, close=CODES)
    def close_waiting(self, which: int, close: tuple[int, str]) -> None:
        """A thread closes, and waits for the peer; there may be several."""
        half = self.halves[which]
        if half.side.phase == DISMISSED or len(half.closers) > 2:
            return
        places = ("acquire_until", "receive", "wait_for", "_receive")
        half.closers.append(self.blocked(lambda: half.conn.close(*close), *places))
        self._queue_close(half, *close)
        self._forget_reader(half)
        self.advance()

    @after_the_calm
    @rule(which=SIDES, how=st.sampled_from(("close_now", "deadline", "tear", "end", "end", "reset")))
    def break_off(self, which: int, how: str) -> None:
        """It ends without a word: by this side, by time, by a message that is cut short, by the peer, by its system."""
        half = self.halves[which]
        if how == "close_now":
            self._cut(half, half.conn.close_now, CUT_HERE)
        elif how == "deadline":
            self._close_deadline(half)
        elif how == "tear":
            self._tear(half)
        elif how == "end":
            self._end_line(half)
        else:
            self._reset_line(half)

    def _close_deadline(self, half: Half) -> None:
        """A close that was begun is not answered in time."""
        timer = half.conn._ending._timer
        if timer is not None:
            if half.side.end is None:
                half.side.breaches.append("close_timeout")
            self._cut(half, timer.fire, NO_ANSWER)

    def _cut(self, half: Half, call: Callable[[], Any], reason: str) -> None:
        self.expect(half, self.outcome(call), None)
        half.side.vanish(reason)
        self.advance()

    # Steps: the wire

    @rule()
    def carry(self) -> None:
        """All that was sent arrives, as far as there is room."""
        for which in (0, 1):
            self.give(which=which, count=1 << 20)

    @rule(which=SIDES, count=st.sampled_from((1, 2, 7, 100, 1 << 20)))
    def give(self, which: int, count: int) -> None:
        """So many bytes arrive, or all of them, as far as there is room."""
        half = self.halves[which]
        if self._is_line_over(half):
            return
        while count > 0 and half.end.waiting:
            given = half.end.give(count, half.unread_bytes)
            if given <= 0:
                break
            count -= given
            self._await_arrival(half)
        self.advance()

    def _is_line_over(self, half: Half) -> bool:
        return half.end.gave_end or half.end.gave_reset or half.side.phase == RELEASED

    def _await_arrival(self, half: Half) -> None:
        """What was given is in the socket; where somebody reads, he has it."""
        came = half.conn.stats
        assert await_(lambda: half.conn.closed or came().bytes_in in (None, half.end.given), self.patience)
        if half.reading is not None or (half.closers and half.side.end is None):
            assert await_(lambda: half.unread_bytes == 0 or any(each.done for each in half.tasks), self.patience)

    def _end_line(self, half: Half) -> None:
        """The peer's stream ends where it stands: after all that it has sent, or in the midst of it."""
        if self._is_line_over(half):
            return
        half.end.give_end()
        if not half.unread_bytes and half.reading is None:
            half.end.await_arrival(half.conn.socket.fileno())
        half.side.end_arrived = LEFT
        self.advance()

    def _reset_line(self, half: Half) -> None:
        """The peer is gone, and its system says so."""
        if self._is_line_over(half):
            return
        half.end.collect()
        half.is_lossy = True
        half.end.give_reset()
        half.end.await_arrival(half.conn.socket.fileno())
        half.side.end_arrived = BROKEN
        half.side.is_broken = True
        if half.side.is_full:
            half.side.breaks()
        self.advance()

    @after_the_calm
    @rule(which=SIDES, lie=st.sampled_from(sorted(LIES)))
    def lie(self, which: int, lie: str) -> None:
        """Something that no peer may say comes into the line."""
        half = self.halves[which]
        first, payload, code = LIES[lie]
        half.end.lie(frame(first, payload, masked=not half.side.client), code)

    @rule(which=SIDES, kind=KINDS, size=SMALL_SIZES, count=st.integers(0, 5))
    def fill(self, which: int, kind: int, size: int, count: int) -> None:
        """The peer takes nothing any more, until the socket is full; and so many messages wait."""
        half = self.halves[which]
        side = half.side
        if side.phase != OPEN or side.writer is not None or side.is_full or side.is_broken or side.queue:
            return
        self.collect()
        half.end.is_stopped = True
        filler = random.Random(1).randbytes(FILLER)
        self.expect(half, self.outcome(lambda: half.conn.send_nowait(filler)), side.post(BINARY, filler))
        side.is_full = True
        assert half.conn._transport.pending
        self.advance()
        self.post(which=which, kind=kind, size=size, count=count)

    def _tear(self, half: Half) -> None:
        """A message is cut short by its deadline."""
        side = half.side
        if side.phase != OPEN or side.writer is not None or side.is_full or side.is_broken or side.queue:
            return
        self.collect()
        half.end.is_stopped = half.is_lossy = True
        filler = random.Random(1).randbytes(FILLER)
        self.expect(half, self.outcome(lambda: half.conn.send(filler, timeout=0)), WRITE_LATE)
        side.lose(WRITE_LATE)
        self.advance()

    @rule(which=SIDES)
    def go_on(self, which: int) -> None:
        """The peer takes everything again."""
        half = self.halves[which]
        half.end.is_stopped = False
        half.side.is_full = False
        self.advance()

    # What is seen

    def check(self) -> None:
        """All that can be seen is as the models say, at once or as soon as the library's threads have come to it."""
        if self._differences() and not await_(lambda: not self._differences(), self.patience):
            raise AssertionError("; ".join(self._differences()))

    def _differences(self) -> list[str]:
        self.collect()
        found = [each for half in self.halves for each in self._differences_of(half)]
        found += self._threads() + self._breaches() + self._descriptors() + self._memory()
        return found

    def _differences_of(self, half: Half) -> list[str]:
        conn, side, end = half.conn, half.side, half.end
        stats = conn.stats()
        pairs: list[tuple[str, Any, Any]] = [
            ("state", str(conn._life.state), side.phase),
            ("closed", conn.closed, side.end is not None),
            ("descriptor", conn.socket.fileno() == -1, side.phase == RELEASED),
            ("queued", conn.queued[0], len(side.queue)),
            ("dropped", conn.dropped, side.dropped),
            ("messages out", stats.messages_out, side.messages_out),
            ("messages in", stats.messages_in, side.messages_in),
            ("pings", stats.pings, side.pings),
            ("pongs", stats.pongs, side.pongs),
            ("latency", conn.latency is not None, side.has_latency),
            ("threads that came back", [each.done for each in half.tasks], [False] * len(half.tasks)),
            ("the timer of a close", conn._ending._timer is not None, side.has_timer),
            ("on_end", len(half.told), int(side.end is not None)),
            ("handlers", half.heard, side.heard),
        ]
        if side.queue_bytes is not None:
            pairs.append(("queued bytes", conn.queued[1], side.queued_bytes))
        why = getattr(conn.end, "reason", "").encode()
        left = [(each, payload.replace(WHY, why) if each == CLOSE else payload) for each, payload in side.left]
        if half.is_lossy or end.is_stopped:
            pairs.append(("frames", _shown(end.seen), _shown(left[: len(end.seen)])))
        else:
            pairs.append(("frames", _shown(end.seen), _shown(left)))
            pairs.append(("the open message", end.open_message, side.open_message))
            pairs.append(("the end of its stream", end.ended, side.is_ended or side.phase == RELEASED))
        differences = [f"{half.name}: {what}: {a!r:.300}, not {b!r:.300}" for what, a, b in pairs if a != b]
        if side.end is not None and conn.end is not None:
            wrong = [self._wrong_end(each, side.end) for each in (conn.end, *half.told)]
            differences += [f"{half.name}: {each}" for each in wrong if each]
        return differences

    def _threads(self) -> list[str]:
        names = sorted(each.name for each in threading.enumerate() if each not in self.threads_before)
        tasks = sum(len(half.tasks) for half in self.halves)
        own = {name: names.count(name) for name in names if name != "test-task"}
        allowed = {"syncws-drain": 1, "syncws-courier": 1}
        wrong = {name: count for name, count in own.items() if count > allowed.get(name, 0)}
        if wrong or names.count("test-task") != tasks:
            return [f"threads: {names}, of which {tasks} are the machine's"]
        return []

    def _descriptors(self) -> list[str]:
        """One of each connection that is not released, and of each end of the wire; what the drain waits with."""
        found = _open_descriptors() - self.descriptors_before
        ends = sum(not half.end.gave_reset for half in self.halves)
        expected = ends + sum(half.side.phase != RELEASED for half in self.halves)
        drains = 3 * (drain._tools is not None)
        return [] if found == expected + drains else [f"{found} descriptors, not {expected} and {drains} of the drain"]

    def _memory(self) -> list[str]:
        """What is held of messages that are not whole, or not read, is no more than what has come of them."""
        held = unfinished.total - self.held_before
        most = sum(4 * half.side.unread + ROOM for half in self.halves if half.side.unread)
        return [] if self.compression or 0 <= held <= most else [f"{held} bytes are held, of {most} at most"]

    def _breaches(self) -> list[str]:
        now, before = breaches(), self.breaches_before
        found = sorted(name for name in now for _ in range(now[name] - before.get(name, 0)))
        expected = sorted(name for half in self.halves for name in half.side.breaches)
        return [] if found == expected else [f"breaches {found}, not {expected}"]

    def _new(self, kind: int, size: int) -> str | bytes:
        self.seed += 1
        return _message(kind, size, self.seed)

    def teardown(self) -> None:
        try:
            for half in self.halves:
                self._cut(half, half.conn.close_now, CUT_HERE)
            self._check_sums()
        finally:
            self.patches.close()
            for half in self.halves:
                half.conn.close_now()
                half.end.close()
            self.halves = ()

    def _check_sums(self) -> None:
        """The sums of both are those of the models."""
        for half in self.halves:
            self.ledger.left(half.conn._wire.tally)
        traffic, sides = self.ledger.traffic(), [half.side for half in self.halves]
        sums = {
            "opened": len(sides),
            "open": 0,
            "ending": 0,
            "queued_messages": 0,
            "messages_in": sum(side.messages_in for side in sides),
            "messages_out": sum(side.messages_out for side in sides),
            "dropped": sum(side.dropped for side in sides),
            "pings": sum(side.pings for side in sides),
            "pongs": sum(side.pongs for side in sides),
        }
        found = {name: traffic[name] for name in sums}
        assert found == sums, f"sums: {found}, not {sums}"
        closed = sum(traffic["closed"].values())
        assert closed == len(sides), traffic["closed"]


def _shown(frames: list[tuple[int, bytes]]) -> list[tuple[int, int, bytes, int]]:
    """Frames in few words: type, size, beginning, checksum."""
    return [(opcode, len(payload), payload[:8], zlib.crc32(payload)) for opcode, payload in frames]


def _open_descriptors() -> int:
    """How many this process has; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _open_descriptors_but_the_drains() -> int:
    """The same without the three that the drain waits with; where its thread is ending, once that has closed them."""
    await_(lambda: _drains() == (drain._tools is not None))
    return _open_descriptors() - 3 * (drain._tools is not None)


def _drains() -> int:
    """How many threads of the drain there are, one at work and those that are ending."""
    return sum(thread.name == "syncws-drain" for thread in threading.enumerate())


def _is_inside(task: Task, places: tuple[str, ...]) -> bool:
    """Whether a thread is in a function of one of these names."""
    current = sys._current_frames().get(task.ident or 0)
    while current is not None:
        if current.f_code.co_name in places:
            return True
        current = current.f_back
    return False
