"""A recorded conversation once more: its outgoing messages, with the pauses that were between them.

With --expect each message that was received is waited for where it stands in the record, and compared; so is how the
server closes. One thread does it all: it reads while it waits for the time of the next message.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from ..._base.printable import printable_repr
from ..._conn.conn import Conn
from ...errors import CloseError, ConnectionClosed, ReadTimeout
from .endings import ABNORMAL, DIFFERS, INTERRUPTED, NORMAL, is_normal, say_end, status_of
from .output import Output, say
from .record import Close, Event, Message, Recorder
from .session import CLOSE_TIMEOUT_AFTER_INTERRUPT, Plan, dial
from .view import say_bytes

#: Characters of a message in an error.
_MOST_SHOWN = 120


class Differs(Exception):
    """What came back is not what was recorded; the text says what is different."""


@dataclass(frozen=True)
class Pace:
    """How a replay goes.

    `speed`: 2 halves the pauses, infinity leaves them out. `expect`: whether to compare. `patience`: seconds that an
    expected message, or the server's close, is waited for. `code` and `reason`: of our close, where none is recorded.
    """

    speed: float
    expect: bool
    patience: float
    code: int
    reason: str


def replay_record(plan: Plan, events: list[Event], pace: Pace, output: Output, recorder: Recorder | None) -> int:
    """Connect, and replay. Returns the exit status, with a line on standard error if it is not 0; or CommandError."""
    conn = dial(plan)
    try:
        if recorder is not None:
            recorder.handshake(plan.url, conn)
        status, told = Replay(conn, events, pace, output, recorder).run()
    except KeyboardInterrupt:
        conn.close(pace.code, pace.reason, CLOSE_TIMEOUT_AFTER_INTERRUPT)
        return INTERRUPTED
    except BrokenPipeError:  # nobody wants to see more
        conn.close(pace.code, pace.reason)
        return NORMAL
    finally:
        conn.close()  # it is over, or was closed: only the descriptor may be left
        if recorder is not None and (end := conn.end) is not None:
            recorder.end(end)
    if told:
        say(told)
    return status


class Replay:
    """One replay, over a connection that is open. For one thread."""

    def __init__(
        self, conn: Conn, events: list[Event], pace: Pace, output: Output, recorder: Recorder | None = None
    ) -> None:
        self._conn = conn
        self._events = events
        self._output = output
        self._recorder = recorder
        self._speed = pace.speed
        self._expect = pace.expect
        self._patience = pace.patience
        self._closing = (pace.code, pace.reason)
        self._early: deque[str | bytes] = deque()  # came before they were waited for; no more than are expected
        self._expected = sum(isinstance(each, Message) and each.direction == "in" for each in events)

    def run(self) -> tuple[int, str]:
        """(exit status, what to say of it)."""
        try:
            try:
                closing = self._play()
            except ConnectionClosed as end:
                return self._ended_early(end)
            return self._close(closing)
        except Differs as difference:
            self._conn.close(*self._closing)
            return DIFFERS, str(difference)

    def _play(self) -> Close | None:
        """Send, and compare, up to the first close of the record, which is returned."""
        due, before = time.monotonic(), self._events[0].time if self._events else 0.0
        for event in self._events:
            due, before = due + (event.time - before) / self._speed, event.time
            if isinstance(event, Close) and event.direction == "in":
                self._patience += max(0.0, due - time.monotonic())
                return event
            if isinstance(event, Close):
                self._read_until(due)
                return event
            if event.direction == "out":
                self._read_until(due)
                if self._recorder is not None:
                    self._recorder.message("out", event.data)
                self._conn.send(event.data)
            elif self._expect:
                self._compare(event.data)
                due = max(due, time.monotonic())
        return None

    def _read_until(self, due: float) -> None:
        """Take what comes before an instant; what is there already if that is over."""
        while True:
            try:
                message = self._conn.read_message(max(0.0, due - time.monotonic()))[1]
            except ReadTimeout:
                return
            self._take(message)
            if self._expect:
                self._early.append(message)
                self._check_number()

    def _take(self, message: str | bytes) -> None:
        if self._recorder is not None:
            self._recorder.message("in", message)
        self._output.write(message)

    def _check_number(self) -> None:
        if len(self._early) > self._expected:
            raise Differs(f"a message more than was recorded: {_say(self._early[-1])}")

    def _compare(self, recorded: str | bytes) -> None:
        if self._early:
            message = self._early.popleft()
        else:
            try:
                message = self._conn.read_message(self._patience)[1]
            except ReadTimeout:
                raise Differs(f"nothing came for {self._patience:g} s, and recorded is {_say(recorded)}") from None
            self._take(message)
        self._expected -= 1
        if message != recorded:
            raise Differs(f"there came {_say(message)}, and recorded is {_say(recorded)}")

    def _ended_early(self, end: ConnectionClosed) -> tuple[int, str]:
        told = f"closed before the record's end: {say_end(end)}"
        return (DIFFERS if self._expect else ABNORMAL), told

    def _close(self, recorded: Close | None) -> tuple[int, str]:
        """Close as recorded, or let the server do it, and read to the end."""
        is_theirs = recorded is not None and recorded.direction == "in"
        if not is_theirs:
            code, reason = (recorded.code, recorded.reason) if recorded is not None else self._closing
            self._conn.close(code, reason, timeout=0)
        end = self._end(self._patience if is_theirs else None)
        if end is None:
            if self._expect:
                raise Differs(f"the server did not close within {self._patience:g} s, as was recorded")
            self._conn.close(*self._closing)
            return 0, ""
        if self._expect and is_theirs and recorded is not None and _code(end) != (recorded.code, recorded.reason):
            raise Differs(f"closed with {say_end(end)}, and recorded is {recorded.code} {recorded.reason}".rstrip())
        if self._expect:
            return 0, ""
        return status_of(end), "" if is_normal(end) else f"closed: {say_end(end)}"

    def _end(self, patience: float | None) -> ConnectionClosed | None:
        """Read to the end; None if it does not come within so many seconds of silence."""
        while True:
            try:
                message = self._conn.read_message(patience)[1]
            except ReadTimeout:
                return None
            except ConnectionClosed as end:
                return end
            self._take(message)
            if self._expect:
                self._early.append(message)
                self._check_number()


def _code(end: ConnectionClosed) -> tuple[int, str]:
    return (end.code, end.reason) if isinstance(end, CloseError) else (0, "")


def _say(message: str | bytes) -> str:
    """A message in an error: what kind it is, and its beginning."""
    if isinstance(message, str):
        return printable_repr(message, _MOST_SHOWN)
    return f"binary, {say_bytes(len(message))}: {message[: _MOST_SHOWN // 2].hex()}"
