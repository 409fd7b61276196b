"""Two connections talk over TLS, each written by three threads and read by one: each byte, each thread's order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from syncws import Conn
from syncws._net.tls import TLSTransport
from syncws.testing import socketpair
from tests.guarantees.support import transports

from .breaks import Break, without_lock
from .messages import Orders, message
from .trial import Trial

_WRITERS = 3
_MESSAGES = 30


def run(trial: Trial) -> None:
    for number in trial.rounds():
        with _pair() as both:
            calls = [partial(_read, conn) for conn in both]
            writes = [partial(_write, conn, who, number) for conn in both for who in range(_WRITERS)]
            trial.together(*calls, *writes, partial(_ping, both))
            for conn in both:
                trial.comes("all are counted", _has_counted, conn)  # soon: a frame is counted once it has left
        trial.counts["messages"] += 2 * _WRITERS * _MESSAGES


def _has_counted(conn: Conn) -> bool:
    counted = conn.stats()
    return counted.messages_in == counted.messages_out == _WRITERS * _MESSAGES


@contextmanager
def _pair() -> Iterator[tuple[Conn, Conn]]:
    near, far = transports(socketpair(), tls=True)
    server, client = Conn(near, client=False), Conn(far, client=True)
    try:
        yield server, client
    finally:
        server.close_now()
        client.close_now()


def _write(conn: Conn, who: int, shift: int) -> None:
    for number in range(_MESSAGES):
        text = message(who, number, (0, 100, 20_000)[(number + who + shift) % 3])
        if (number + shift) % 2:
            conn.send(text)
        else:
            while not conn.send_nowait(text):
                pass


def _ping(both: tuple[Conn, Conn]) -> None:
    for _ in range(_MESSAGES):
        for conn in both:
            conn.ping()


def _read(conn: Conn) -> None:
    orders = Orders()
    for _ in range(_WRITERS * _MESSAGES):
        orders.take(conn.receive())


BREAKS: dict[str, Break] = {"no codec lock": without_lock(TLSTransport, "_codec")}
