"""A reader answers messages that come in heaps while others write, and waits for its answers: none is kept for long."""

from __future__ import annotations

import random
import socket
import threading
import time
from functools import partial

from syncws import CLOSE, TEXT, Conn, ConnectionClosed
from syncws._conn.courier import Courier
from syncws._conn.wire import Wire
from syncws._net.transport import Buffer, Transport
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, Orders, message, read
from .peers import peer
from .trial import Trial, Wrong

_QUESTIONS = 200
_WRITERS = 2


def run(trial: Trial) -> None:
    for number in trial.rounds():
        writers = _WRITERS if number % 2 else 0  # else nothing leaves by the way
        with peer(client=number // 2 % 2 == 1, send_queue=1 << 20) as (conn, raw):
            raw.socket.settimeout(trial.patience)
            came = _Came()
            seeds = [trial.random.random() for _ in range(2 + writers)]
            closes_after = trial.random.randrange(_QUESTIONS) if number % 3 == 2 else _QUESTIONS
            orders, _, *sent = trial.together(
                partial(_take, raw, came),
                partial(_ask, raw, seeds[0], closes_after == _QUESTIONS),
                partial(_answer, conn, seeds[1], came, closes_after, trial.patience),
                *(partial(_write, conn, who, seeds[1 + who]) for who in range(1, 1 + writers)),
            )
            trial.same("what came", [orders.taken[who] for who in range(1 + writers)], sent)
            trial.same("messages out", conn.stats().messages_out, sum(sent))
        trial.counts["answers"] += sent[0]
        trial.counts["waits"] += came.waits


class _Came:
    """How many answers have come. For any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self.waits = 0

    def add(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, count: int, patience: float) -> None:
        with self._changed:
            self.waits += 1
            if not self._changed.wait_for(lambda: self._count >= count, patience):
                raise Wrong(f"{count} answers were sent, and {self._count} have come, while the handler waits")


def _ask(raw: Peer, seed: float, till_the_end: bool) -> None:
    """Send questions, many of them at once, and then a close."""
    drawn, number = random.Random(seed), 0
    try:
        while number < _QUESTIONS:
            heap = min(_QUESTIONS - number, drawn.choice((1, 2, 3, 10, 30)))
            raw.send(b"".join(raw.frame(TEXT, message(0, number + each)) for each in range(heap)))
            number += heap
            if drawn.random() < 0.2:
                time.sleep(0.001)
    except OSError:
        if till_the_end:
            raise


def _take(raw: Peer, came: _Came) -> Orders:
    """Everything that comes until the close, which is answered."""
    orders, assembler = Orders(), Assembler(raw)
    while not assembler.closed:
        found = assembler.next()
        if found is None:
            continue
        if orders.take(found)[0] == 0:
            came.add()
    raw.send_frame(CLOSE, assembler.controls[-1][1])
    raw.socket.shutdown(socket.SHUT_WR)
    return orders


def _answer(conn: Conn, seed: float, came: _Came, closes_after: int, patience: float) -> int:
    """Answer so many questions, and close; how many were answered.

    Sometimes the handler waits until its answers have come, and sometimes it works for a while.
    """
    drawn = random.Random(seed)
    for number in range(closes_after):
        read(conn.receive())
        if drawn.random() < 0.1:
            conn.send_nowait(message(0, number, 30))
        else:
            conn.send(message(0, number, drawn.choice((0, 0, 0, 100, 9_000))))
        chance = drawn.random()
        if chance < 0.05:
            came.wait(number + 1, patience)
        elif chance < 0.07:
            time.sleep(0.001)
    conn.close()
    return closes_after


def _write(conn: Conn, who: int, seed: float) -> int:
    """Write in every way until the connection is closed; how many messages were sent."""
    drawn = random.Random(seed)
    for number in range(3 * _QUESTIONS):
        text = message(who, number, drawn.choice((0, 200)))
        try:
            way = drawn.randrange(4)
            if way == 2:
                conn.ping()
            if way == 0:
                conn.send_nowait(text)
            elif way == 1:
                with conn.next_writer(TEXT) as writer:
                    writer.write(text[:5])
                    writer.flush()
                    writer.write(text[5:])
            else:
                conn.send(text)
        except ConnectionClosed:
            return number
        time.sleep(drawn.choice((0, 0, 0.001)))
    return 3 * _QUESTIONS


def _nothing(courier: Courier) -> bool:
    """Nobody looks whether something is kept."""
    return False


def _forget_too_late(wire: Wire) -> None:
    """What is kept during the look is taken for looked after."""
    if wire._transport.kept:
        wire.flush_soon()
    time.sleep(0.0005)
    wire.is_watched = False


def _pass_by(transport: Transport, head: Buffer) -> bytes:
    """What was kept leaves after the frame that should take it along."""
    assert transport.rest is not None
    head = b"".join((head, transport.rest))
    transport.rest, transport.kept = None, False
    return head


BREAKS: dict[str, Break] = {
    "nobody looks": replaced(Courier, "deliver", _nothing),
    "looked after too late": replaced(Wire, "send_kept", _forget_too_late),
    "passed by": replaced(Transport, "_take_kept", _pass_by),
}
