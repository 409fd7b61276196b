"""A connection does what the documentation says, in every course that the machine of `talk` thinks of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from syncws._conn import controls
from syncws._conn.callbacks import Callbacks
from syncws._conn.controls import Controls
from syncws._conn.ending import Ending
from syncws._conn.inbound import Inbound
from syncws._conn.queue import SendQueue
from syncws._conn.states import Life
from syncws._frames.streams import MessageReader
from syncws._net.drain import drain
from syncws._net.transport import Transport
from syncws.testing import LeakChecks
from tests.partners import heavy

from .course import Fault, count, finds, go, instead, leave_no_folder, never
from .talk import Talk


def setUpModule() -> None:
    leave_no_folder()


class TalkTests(LeakChecks):
    """Two connections and the wire between them, beside their specification."""

    def test_a_connection_is_what_its_model_says(self) -> None:
        """States, ends, exceptions, frames, counts, threads and descriptors are as the model says after each step."""
        go(Talk, count(12, 40))

    @heavy
    def test_what_is_broken_is_found(self) -> None:
        """Each of these breakages of the library is found within a hundred courses."""
        for name, fault in FAULTS.items():
            with self.subTest(name):
                self.assertTrue(finds(Talk, fault, 100))
            for _, _, timer in drain._timers:  # of connections that were broken on purpose
                timer.cancel()


def _twice(call: Callable[..., Any], *arguments: Any) -> Any:
    call(*arguments)
    return call(*arguments)


@contextlib.contextmanager
def _descriptors_left_open() -> Iterator[None]:
    left: list[int] = []

    def close(original: Callable[..., Any], transport: Transport) -> None:
        if not transport.closed:
            left.append(os.dup(transport.fileno()))
        original(transport)

    with instead(Transport, "close", close)():
        yield
    for each in left:
        os.close(each)


def _put(put: Callable[..., bool], queue: SendQueue, frame: bytes) -> bool:
    return len(queue) == 1 or put(queue, frame)


def _told_in_reverse(note: Callable[..., Any], control: Controls, code: int, reason: str) -> None:
    note(control, code, reason)
    control._life.closings = control._life.closings[::-1]


#: What is broken, by its name.
FAULTS: dict[str, Fault] = {
    "a close is answered with another code": instead(controls, "format_close_message", lambda made, code: made(1001)),
    "the reason of the peer is forgotten": instead(
        Controls, "note_close", lambda note, control, code, reason: note(control, code, "")
    ),
    "the story is told in reverse": instead(Controls, "note_close", _told_in_reverse),
    "a close that has left is not on record": instead(Life, "close_left", never),
    "a ping is answered twice": instead(Controls, "answer_ping", _twice),
    "a message that waits is lost": instead(SendQueue, "put", _put),
    "a descriptor stays open": _descriptors_left_open,
    "an end is told twice": instead(
        Callbacks, "hand_over", lambda hand, self, told, end: hand(self, [*told, *told], end)
    ),
    "a timer stays": instead(Ending, "_cancel_timer", never),
    "what has come is not counted": instead(Inbound, "_note_message", never),
    "a message that is read as a stream lacks its first byte": instead(
        MessageReader, "supply", lambda supply, self, piece, complete: supply(self, piece[1:], complete)
    ),
}
