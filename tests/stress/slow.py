"""Two threads post to peers that read slowly, under each overflow policy: what was sent and what was dropped is all."""

from __future__ import annotations

import random
import time
from functools import partial

from syncws import CLOSE, ConnectionClosed
from syncws._base.options import ConnOptions, Overflow
from syncws._conn.conn import Conn
from syncws._net.drain import Drain
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, message, read
from .peers import peer
from .trial import Trial, Wrong

_MESSAGES = 150
_POLICIES: tuple[Overflow, ...] = ("drop_oldest", "drop_newest", "close")


def run(trial: Trial) -> None:
    for number in trial.rounds():
        policy = _POLICIES[number % 4 % 3]
        most = 1 << 20 if number % 4 == 3 else 20  # every fourth time nothing is dropped
        options = ConnOptions(overflow=policy, send_queue=most, send_queue_bytes=1 << 30)
        with peer(
            client=number // 4 % 2 == 1,
            buffer=1 << 13,
            overflow=options.overflow,
            send_queue=options.send_queue,
            send_queue_bytes=options.send_queue_bytes,
        ) as (conn, raw):
            raw.socket.settimeout(trial.patience)
            seed = trial.random.random()
            came, *posted = trial.together(
                partial(_take, raw, seed, conn), *(partial(_post, conn, who, trial.patience) for who in range(2))
            )
            trial.same(f"received and dropped ({policy})", came + conn.dropped, sum(posted))
            trial.same("messages out", conn.stats().messages_out, came)
            if most > _MESSAGES:
                trial.same("dropped", conn.dropped, 0)
            trial.counts["received"] += came
            trial.counts["dropped"] += conn.dropped


def _post(conn: Conn, who: int, patience: float) -> int:
    """Post messages, and then say that it is over once there is room; how many were posted before."""
    try:
        for number in range(_MESSAGES):
            conn.send_nowait(message(who, number, 700))
    except ConnectionClosed:
        return number
    until = time.monotonic() + patience
    while conn.queued[0]:
        if time.monotonic() > until:
            raise Wrong("what waits does not leave, although the peer reads")
        time.sleep(0.001)
    conn.close(timeout=0)
    return _MESSAGES


def _take(raw: Peer, seed: float, conn: Conn) -> int:
    """How many messages have come, in each sender's order, when a close comes."""
    drawn = random.Random(seed)
    last = {0: -1, 1: -1}
    came, assembler = 0, Assembler(raw)
    while not assembler.closed:
        found = assembler.next()
        if found is None:
            continue
        who, number = read(found)
        if number <= last[who]:
            raise Wrong(f"message {number} of sender {who} came after {last[who]}")
        last[who] = number
        came += 1
        if drawn.random() < 0.05:
            time.sleep(0.002)
    raw.send_frame(CLOSE, assembler.controls[-1][1])
    return came


def _flush(drain: Drain, fd: int) -> None:
    """A socket is not watched any more after one look, whoever asks for it meanwhile."""
    with drain._lock:
        request = drain._watched.get(fd)
    if request is not None:
        request[0]()
        with drain._lock:
            drain._watched.pop(fd, None)
            if drain._tools is not None:
                drain._tools.unregister(fd)


BREAKS: dict[str, Break] = {"one look at a socket": replaced(Drain, "_flush", _flush)}
