"""Where no person sits at it: each line of standard input is a message, and what comes goes to standard output.

When does `echo hi | syncws connect URL` end? Closing at once would lose the answer, since many servers answer nothing
once they have read a close. Nobody but the server knows whether an answer comes. So after the end of the input:

* once as many messages have come as were sent, and then none for a moment: a server may greet before it answers. The
  moment is longer where connecting took long;
* else once nothing has come for some seconds;
* with --wait SECONDS so long after the end of the input, whatever comes;
* and when the server closes.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

from ..._conn.conn import Conn
from ...errors import ConnectionClosed
from ..command import CommandError
from .endings import INTERRUPTED, WRONG, is_normal, say_end
from .lines import messages_in
from .output import Output, say, say_opened
from .record import Recorder
from .session import CLOSE_TIMEOUT_AFTER_INTERRUPT, Plan, Session
from .view import View

#: Seconds without a message after which all answers have come, where there are as many as messages were sent.
_MOMENT = 0.2

#: Of the time that connecting took, which is two round trips or more, at most so much is added to that.
_MOST_ADDED = 2.0

#: Seconds without a message after which no more are expected, where fewer have come than were sent.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Manner:
    """How input and output are cut, and how it ends.

    `binary`: what is sent. `separator`: after each message; None takes all of the input as one. `wait`: seconds after
    the end of the input, None for as the head of this file says. `code` and `reason`: of our close.
    """

    binary: bool
    separator: bytes | None
    wait: float | None
    code: int
    reason: str
    verbose: bool


class Pipes:
    """One run: the main thread waits for what ends it, a thread reads the input, and that of the session writes.

    `_lock` guards the counts; nothing waits and nothing is written while it is held.
    """

    def __init__(self, plan: Plan, manner: Manner, view: View, recorder: Recorder | None) -> None:
        self._manner = manner
        self._output = Output(sys.stdout.fileno(), manner.separator, view)
        self._input = sys.stdin.fileno()
        self._session = Session(plan, self, recorder)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._sent = 0
        self._received = 0
        self._last = 0.0  # when the last message came, or the input ended
        self._ended = 0.0  # when the input ended; 0 before
        self._wrong: str | None = None  # about the input
        self._over = False
        self._moment = _MOMENT

    def run(self) -> int:
        """Run to the end. Returns the exit status, or raises CommandError."""
        manner = self._manner
        try:
            self._moment += min(self._session.connect(), _MOST_ADDED)
            self._session.start()
            threading.Thread(target=self._feed, name="syncws-connect-input", daemon=True).start()
            self._wait()
            self._session.close(manner.code, manner.reason)
        except KeyboardInterrupt:
            self._session.close(manner.code, manner.reason, CLOSE_TIMEOUT_AFTER_INTERRUPT, lines_left=False)
            return INTERRUPTED
        if self._wrong is not None:
            raise CommandError(self._wrong, WRONG)
        return self._session.status

    def _wait(self) -> None:
        """Wait until it is time to close, or there is nothing to close any more."""
        with self._lock:
            while not (self._over or self._wrong):
                due = self._due()
                left = None if due is None else due - time.monotonic()
                if left is not None and left <= 0:
                    return
                self._changed.wait(left)

    def _due(self) -> float | None:
        """When to close, as things stand; None for not yet."""
        if not self._ended:
            return None
        if self._manner.wait is not None:
            return self._ended + self._manner.wait if self._manner.wait < float("inf") else None
        return self._last + (self._moment if self._received >= self._sent else _PATIENCE)

    # The thread of the input

    def _feed(self) -> None:
        wrong, number = None, 0
        try:
            for data in messages_in(self._input, self._manner.separator):
                number += 1
                message = data if self._manner.binary else data.decode()
                with self._lock:
                    self._sent += 1
                if not self._session.send(message):
                    return
        except UnicodeDecodeError as error:
            place = "" if self._manner.separator is None else f"message {number} of "
            wrong = f"{place}the input is no UTF-8 ({error.reason}): --binary sends bytes"
        except OSError as error:
            wrong = f"cannot read standard input: {error.strerror}"
        with self._lock:
            self._wrong = wrong
            self._ended = self._last = time.monotonic()
            self._changed.notify_all()

    # The thread of the session

    def opened(self, conn: Conn) -> None:
        if self._manner.verbose:
            say(say_opened(conn))

    def received(self, message: str | bytes) -> None:
        self._output.write(message)
        with self._lock:
            self._received += 1
            self._last = time.monotonic()
            if self._ended:  # else nobody waits for the number
                self._changed.notify_all()

    def pinged(self, data: bytes) -> None:
        if self._manner.verbose:
            say(f"ping {data!r}")

    def ponged(self, data: bytes, latency: float | None) -> None:
        if latency is not None:
            say(f"latency {latency * 1000:.1f} ms")
        elif self._manner.verbose:
            say(f"pong {data!r}")

    def closed(self, end: ConnectionClosed) -> None:
        if self._manner.verbose or not is_normal(end):
            say(f"closed: {say_end(end)}")

    def noted(self, text: str) -> None:
        say(text)

    def over(self) -> None:
        with self._lock:
            self._over = True
            self._changed.notify_all()
