"""Three threads read one connection in turn with short timeouts, while messages come in pieces: each comes once."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from itertools import chain

from syncws import TEXT, ConcurrencyError, Conn, ReadTimeout
from syncws._conn.inbound import Inbound
from syncws.testing import Peer

from .breaks import Break, without_lock
from .messages import message, read
from .peers import peer
from .trial import Trial, Wrong

_MESSAGES = 40
_SIZES = (0, 0, 100, 100, 3_000, 3_000, 70_000, 1 << 20)


def run(trial: Trial) -> None:
    for number in trial.rounds():
        with peer(client=number % 2 == 1, read_limit=2 << 20) as (conn, raw):
            raw.socket.settimeout(trial.patience)
            seeds = [trial.random.random() for _ in range(4)]
            left = _Left()
            *found, _ = trial.together(
                *(partial(_read, conn, seed, left) for seed in seeds[1:]), partial(_send, raw, seeds[0])
            )
            trial.same("messages", sorted(chain(*found)), list(range(_MESSAGES)))
            trial.same("messages in", conn.stats().messages_in, _MESSAGES)
        trial.counts["messages"] += _MESSAGES


class _Left:
    """How many messages are yet to be read. `take` is for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = _MESSAGES

    def take(self) -> None:
        with self._lock:
            self.count -= 1


def _send(raw: Peer, seed: float) -> None:
    drawn = random.Random(seed)
    for number in range(_MESSAGES):
        text = message(0, number, drawn.choice(_SIZES))
        raw.send_frame(TEXT, text, cut=max(1, len(text) // drawn.randint(1, 8)))


def _read(conn: Conn, seed: float, left: _Left) -> list[int]:
    drawn = random.Random(seed)
    found: list[int] = []
    while left.count:
        try:
            text = conn.receive(timeout=drawn.choice((0.0, 0.0005, 0.002)))
        except ReadTimeout:
            continue
        except ConcurrencyError:
            time.sleep(0.0005)
            continue
        number = read(text)[1]
        if found and number < found[-1]:
            raise Wrong(f"message {number} came to a reader that had {found[-1]}")
        found.append(number)
        left.take()
    return found


BREAKS: dict[str, Break] = {"no read turn": without_lock(Inbound, "turn")}
