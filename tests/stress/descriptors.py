"""A reader, writers and those who cut leave a connection at the same moment: its descriptor is closed, once."""

from __future__ import annotations

import os
import time
from functools import partial

from syncws import Conn, ConnectionClosed
from syncws._conn.states import State
from syncws._conn.wire import Wire
from syncws._net.transport import Transport

from .breaks import Break, HeldLonger, both, replaced, without_lock
from .peers import peer, read_to_the_end
from .trial import Trial, Wrong

#: Descriptors that a thread opens and closes once the connection's is free.
_REUSES = 10


def run(trial: Trial) -> None:
    for number in trial.rounds():
        with peer(client=number % 2 == 1) as (conn, raw):
            conn._attendant.stop()  # which would give the descriptor back within a second
            after = trial.random.random() * 0.001
            trial.together(
                partial(_cut, conn, after),
                partial(_cut, conn, after),
                partial(read_to_the_end, conn),
                partial(_write, conn),
                partial(_write, conn),
                partial(_reuse, conn),
                partial(_reuse, conn),
            )
            trial.comes("the descriptor is given back", _is_released, conn)
            raw.socket.close()
        trial.counts["descriptors"] += 1


def _is_released(conn: Conn) -> bool:
    return conn.socket.fileno() == -1 and conn._life.state is State.RELEASED


def _cut(conn: Conn, after: float) -> None:
    time.sleep(after)
    conn.close_now()


def _write(conn: Conn) -> None:
    try:
        while True:
            conn.send(b"x")
    except ConnectionClosed:
        pass


def _reuse(conn: Conn) -> None:
    """Open descriptors, which get the numbers that come free, and look that nobody closes or writes them."""
    number = 0
    while number < _REUSES:
        number += conn.socket.fileno() == -1  # so many once the connection's own is free
        there, here = os.pipe()
        try:
            os.write(here, b"%d" % number)
            time.sleep(0.001)  # most of the time it is open
            if os.read(there, 100) != b"%d" % number:
                raise Wrong("a descriptor was another's")
        finally:
            os.close(there)
            os.close(here)


def _without_the_flag(wire: Wire) -> None:
    """A writer that is inside when the connection is cut is not told to look again."""
    with wire._life.lock:
        wire._life.cut()
        wire.drop_waiting()


_close = Transport.close


def _twice(transport: Transport) -> None:
    """The number is closed once more, when it may be another's."""
    number = transport.fileno()
    _close(transport)
    time.sleep(0.0005)
    try:
        os.close(number)
    except OSError:
        pass


BREAKS: dict[str, Break] = {
    "a writer is not told": both(
        replaced(Wire, "mark_cut", _without_the_flag), without_lock(Wire, "frame_lock", make=HeldLonger)
    ),
    "closed twice": replaced(Transport, "close", _twice),
}
