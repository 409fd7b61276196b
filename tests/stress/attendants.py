"""Connections are attended to all the time while each is read in haste: nothing is lost, no reader is turned away."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from functools import partial

from syncws import PING, PONG, TEXT, ConcurrencyError, Conn, ReadTimeout
from syncws._conn.attendant import Attendant
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, Orders, message
from .peers import peer
from .trial import Trial, Wrong

_CONNS = 4
_MESSAGES = 60


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        with ExitStack() as stack:
            both = [stack.enter_context(peer(client=who % 2 == 1)) for who in range(_CONNS)]
            over = threading.Event()
            for conn, raw in both:
                conn._attendant.stop()  # `_attend` stands for the thread that would do it now and then
                raw.socket.settimeout(trial.patience)
            left = _Left()
            seeds = [trial.random.random() for _ in both]
            reads = [partial(_read, conn, seed, left, over) for (conn, _), seed in zip(both, seeds, strict=True)]
            talks = [partial(_talk, raw, seed) for (_, raw), seed in zip(both, seeds, strict=True)]
            looks, *_ = trial.together(partial(_attend, [conn for conn, _ in both], over), *reads, *talks)
            for conn, _ in both:
                trial.same("messages in", conn.stats().messages_in, _MESSAGES)
        trial.counts["messages"] += _CONNS * _MESSAGES
        trial.counts["looks"] += looks


class _Left:
    """How many connections are yet to be read. `done` is for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = _CONNS

    def done(self) -> bool:
        """One less; whether that was the last one."""
        with self._lock:
            self._count -= 1
            return not self._count


def _attend(conns: list[Conn], over: threading.Event) -> int:
    """Attend to each in turn until all is over; how often."""
    looks = 0
    while not over.is_set():
        for conn in conns:
            conn._attendant.attend()
            looks += 1
    return looks


def _read(conn: Conn, seed: float, left: _Left, over: threading.Event) -> None:
    drawn, orders = random.Random(seed), Orders()
    try:
        while not orders.whole({0: _MESSAGES}):
            try:
                orders.take(conn.receive(timeout=drawn.choice((0.0, 0.001, 10.0))))
            except ReadTimeout:
                time.sleep(drawn.choice((0, 0.0005)))
            except ConcurrencyError as error:
                raise Wrong("the only reader was told that there is another") from error
    finally:
        if left.done():
            over.set()


def _talk(raw: Peer, seed: float) -> None:
    """Send messages and pings, whole and in pieces; the last ping is answered, and answers come in their order."""
    drawn = random.Random(seed)
    for number in range(_MESSAGES):
        raw.send_frame(PING, b"%d" % number)
        raw.send_frame(TEXT, message(0, number, drawn.choice((0, 100, 5_000))), cut=drawn.choice((None, 3_000)))
        if drawn.random() < 0.1:
            time.sleep(0.001)
    assembler, answers = Assembler(raw), [-1]
    while answers[-1] != _MESSAGES - 1:
        assembler.next()
        answers = [int(payload) for kind, payload in assembler.controls if kind == PONG] or [-1]
    if answers != sorted(set(answers)):
        raise Wrong(f"pings were answered in this order: {answers}")


def _unannounced(attendant: Attendant) -> bool:
    """Take the turn without saying so."""
    if attendant.turn.acquire(blocking=False):
        try:
            attendant._look()
        finally:
            attendant._inbound.leave_turn()
    return attendant._life.end is None


BREAKS: dict[str, Break] = {"visits are not told": replaced(Attendant, "attend", _unannounced)}
