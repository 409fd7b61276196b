"""Eleven threads write, ping, stream, read and close one connection: one close leaves, and no frame after it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial

from syncws import CLOSE, TEXT, ConcurrencyError, Conn, ConnectionClosed, format_close_message
from syncws._conn.wire import Wire
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, message, read
from .peers import peer
from .trial import Trial, Wrong

#: Seconds within which the close comes.
_SOON = 0.003

#: Messages after which a writer is in no hurry: what it has sent has to be read before the close is.
_MANY = 30


def run(trial: Trial) -> None:
    for number in trial.rounds():
        with peer(client=number % 2 == 1, send_queue=1 << 20, send_queue_bytes=1 << 30) as (conn, raw):
            raw.socket.settimeout(trial.patience)
            close = _CLOSES[number // 2 % len(_CLOSES)]
            after = trial.random.random() * _SOON
            closers = [partial(_close, close, conn, after), partial(_close, close, conn, after)]
            assembler, *_ = trial.together(
                partial(_take, raw),
                *closers,
                *(partial(_write, conn, who, _SENDS[who % len(_SENDS)]) for who in range(8)),
                partial(_read, conn),
            )
            cut = close is _cut
            closes = sum(kind == CLOSE for kind, _ in assembler.controls)
            trial.same("closes", closes in (0, 1) if cut else closes, True if cut else 1)
            conn.close_now()
            trial.comes("the descriptor is given back", _is_closed, conn)
        trial.counts["closes"] += closes


def _is_closed(conn: Conn) -> bool:
    return conn.socket.fileno() == -1


def _close(close: Callable[[Conn], None], conn: Conn, after: float) -> None:
    time.sleep(after)
    close(conn)


def _handshake(conn: Conn) -> None:
    conn.close()


def _start(conn: Conn) -> None:
    conn.close(timeout=0)


def _frame(conn: Conn) -> None:
    try:
        conn.write_control(CLOSE, format_close_message(1000, "over"))
    except ConnectionClosed:
        pass  # the other thread's close has left
    conn.close()


def _end(conn: Conn) -> None:
    conn._end_without_peer(1001, "over")


def _cut(conn: Conn) -> None:
    conn.close_now()


_CLOSES: list[Callable[[Conn], None]] = [_handshake, _start, _frame, _end, _cut]


def _stream(conn: Conn, text: str) -> None:
    with conn.next_writer(TEXT) as writer:
        writer.write(text[:20])
        writer.flush()
        writer.write(text[20:])


_SENDS: list[Callable[[Conn, str], object]] = [
    lambda conn, text: conn.send(text),
    lambda conn, text: conn.send_nowait(text),
    lambda conn, text: conn.ping(b"there?"),
    _stream,
]


def _write(conn: Conn, who: int, send: Callable[[Conn, str], object]) -> None:
    number = 0
    try:
        while True:
            send(conn, message(who, number, 200))
            number += 1
            if number > _MANY:
                time.sleep(0.001)
    except ConnectionClosed:
        pass


def _read(conn: Conn) -> None:
    try:
        while True:
            conn.receive()
    except ConnectionClosed:
        pass
    except ConcurrencyError as error:
        raise Wrong("the only reader was told that there is another") from error
    conn.close()  # as whoever serves it does in the end


def _take(raw: Peer) -> Assembler:
    """Read what comes, and answer a close, until the end."""
    assembler = Assembler(raw)
    try:
        while True:
            found = assembler.next()
            if found is not None:
                read(found)
            elif assembler.closed:
                raw.send_frame(CLOSE, assembler.controls[-1][1])
                raw.socket.shutdown(socket.SHUT_WR)
    except (EOFError, OSError):
        return assembler


def _go_on(wire: Wire) -> None:
    """Our close has left, and writing goes on."""
    wire._close = None


BREAKS: dict[str, Break] = {"writing goes on after a close": replaced(Wire, "_end_writing", _go_on)}
