"""Several threads write one connection in every way, others ping and read it: every byte, every thread's order."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from syncws import BINARY, TEXT, Conn, PreparedMessage
from syncws._conn.conn import post_to_all
from syncws._conn.queue import SendQueue
from syncws._conn.wire import Wire
from syncws.testing import Peer

from .breaks import Break, replaced, without_lock
from .messages import Assembler, Orders, message
from .peers import peer
from .trial import Trial

_MESSAGES = 30
_PINGS = 20
_READ = 20


def run(trial: Trial) -> None:
    for number in trial.rounds():
        writers = trial.random.randint(2, 8)
        buffer = trial.random.choice((None, 1 << 14))
        client = number % 2 == 1
        with peer(client=client, buffer=buffer, send_queue=1 << 20, send_queue_bytes=1 << 30) as (conn, raw):
            raw.socket.settimeout(trial.patience)
            seeds = [trial.random.random() for _ in range(writers)]
            pings, *_ = trial.together(
                partial(_take, raw, writers),
                partial(_read, conn),
                partial(_ping, conn),
                *(partial(_write, conn, who, seed) for who, seed in enumerate(seeds)),
            )
            expected = (writers * _MESSAGES, _READ, pings)
            trial.comes(
                f"counted {expected}", _has_counted, conn, expected
            )  # soon: a frame is counted once it has left
        trial.counts["messages"] += writers * _MESSAGES
        trial.counts["pings"] += pings


def _has_counted(conn: Conn, expected: tuple[int, int, int]) -> bool:
    counted = conn.stats()
    return (counted.messages_out, counted.messages_in, counted.pings) == expected


def _write(conn: Conn, who: int, seed: float) -> None:
    drawn = random.Random(seed)
    for number in range(_MESSAGES):
        size = drawn.choice((0, 10, 100, 1_000, 70_000))
        way = drawn.choice(_WAYS)
        way(conn, message(who, number, size))


def _send(conn: Conn, text: str) -> None:
    conn.send(text)


def _send_bytes(conn: Conn, text: str) -> None:
    conn.write_message(BINARY, text.encode())


def _post(conn: Conn, text: str) -> None:
    conn.send_nowait(text)


def _broadcast(conn: Conn, text: str) -> None:
    prepared = PreparedMessage(TEXT, text)
    for each in post_to_all([conn], prepared):
        each.send_nowait(prepared)


def _send_prepared(conn: Conn, text: str) -> None:
    conn.write_prepared(PreparedMessage(TEXT, text))


def _stream(conn: Conn, text: str) -> None:
    with conn.next_writer(TEXT) as writer:
        third = len(text) // 3
        for piece in (text[:third], text[third : 2 * third], text[2 * third :]):
            writer.write(piece)
            writer.flush()


_WAYS: list[Callable[[Conn, str], None]] = [_send, _send_bytes, _post, _broadcast, _send_prepared, _stream]


def _ping(conn: Conn) -> None:
    for number in range(_PINGS):
        conn.ping(b"%d" % number)


def _read(conn: Conn) -> None:
    orders = Orders()
    for _ in range(_READ):
        orders.take(conn.receive())


def _take(raw: Peer, writers: int) -> int:
    """Send what the connection reads, and read what it writes; how many pings came."""
    for number in range(_READ):
        raw.send_frame(TEXT, message(9, number, 50))
        raw.send_frame(9, b"are you there?")
    orders, assembler = Orders(), Assembler(raw)
    for each in assembler.messages(writers * _MESSAGES):
        orders.take(each)
    latest = b"%d" % (_PINGS - 1)  # the others may have been replaced while they waited
    while (9, latest) not in assembler.controls or not any(kind == 10 for kind, _ in assembler.controls):
        assembler.next()
    return sum(kind == 9 for kind, _ in assembler.controls)


def _newest(queue: SendQueue) -> bytes:
    """Take the newest frame of a queue in place of the oldest."""
    frame = queue._frames.pop()
    queue.size -= len(frame)
    return frame


BREAKS: dict[str, Break] = {
    "no frame lock": without_lock(Wire, "frame_lock"),
    "the newest leaves first": replaced(SendQueue, "pop", _newest),
}
