"""Two threads write at the same moment, and then nobody does anything: what waits has left all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from syncws import Conn
from syncws._conn.wire import Wire
from syncws.testing import Peer

from .breaks import Break, HeldLonger, both, without_lock
from .peers import peer
from .trial import Trial, Wrong

_STEPS = 100


def run(trial: Trial) -> None:
    others: list[Callable[[Conn], object]] = [
        lambda conn: conn.send_nowait("b"),
        lambda conn: conn.ping(b"b"),
        lambda conn: conn._wire.pong(b"b"),
        lambda conn: conn._wire._enqueue(b"\x81\x01b" if not conn._client else b"\x81\x81\0\0\0\0b"),
    ]
    for number in trial.rounds():
        with peer(client=number % 2 == 1) as (conn, raw):
            raw.socket.settimeout(trial.patience / 2)  # before the others are taken for stuck
            gate = threading.Barrier(3)
            other = partial(others[number // 2 % len(others)], conn)
            trial.together(
                partial(_take, trial, gate, raw),
                partial(_step, gate, partial(conn.send, "a")),
                partial(_step, gate, other),
            )
        trial.counts["moments"] += _STEPS


def _take(trial: Trial, gate: threading.Barrier, raw: Peer) -> None:
    for _ in range(_STEPS):
        gate.wait(trial.patience)
        gate.wait(trial.patience)  # both have returned
        try:
            found = sorted(raw.receive_frame().payload for _ in range(2))
        except TimeoutError:
            gate.abort()
            raise Wrong("a frame that waited has not left") from None
        trial.same("frames", found, [b"a", b"b"])


def _step(gate: threading.Barrier, write: Callable[[], object]) -> None:
    try:
        for _ in range(_STEPS):
            gate.wait()
            write()
            gate.wait()
    except threading.BrokenBarrierError:
        pass  # who reads says why


@contextmanager
def _without_a_second_look() -> Iterator[None]:
    """Whoever has sent a frame does not look whether something was left to it meanwhile."""
    sending = threading.local()
    send, flush_soon = Wire.send, Wire.flush_soon

    def blind_send(self: Wire, *arguments: Any) -> bool:
        sending.now = True
        try:
            return send(self, *arguments)
        finally:
            sending.now = False

    def blind_flush(self: Wire) -> None:
        if not getattr(sending, "now", False):
            flush_soon(self)

    with mock.patch.object(Wire, "send", blind_send), mock.patch.object(Wire, "flush_soon", blind_flush):
        yield


BREAKS: dict[str, Break] = {
    "no second look": both(_without_a_second_look, without_lock(Wire, "frame_lock", make=HeldLonger))
}
