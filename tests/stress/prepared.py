"""Many connections of four kinds are sent one prepared message at the same time: each kind of it is made once."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

from syncws import TEXT, Conn, PreparedMessage
from syncws._frames import prepared
from syncws.testing import pair

from .breaks import Break, without_lock
from .messages import message
from .trial import Trial

_MESSAGES = 20
_OF_EACH = 3


def run(trial: Trial) -> None:
    made, lock = [], threading.Lock()
    encode = prepared.encode_payload

    def counting(*arguments: Any) -> tuple[int, bytes]:
        with lock:
            made.append(arguments)
        return encode(*arguments)

    for _ in trial.rounds():
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(prepared, "encode_payload", counting))
            senders: list[Conn] = []
            takers: list[Conn] = []
            for kind in range(4 * _OF_EACH):
                near, far = stack.enter_context(pair(compression=kind % 4 > 0))
                near.set_compression_level(9 if kind % 4 == 2 else 1)
                swapped = kind % 4 == 3
                senders.append(far if swapped else near)
                takers.append(near if swapped else far)
            sent = [PreparedMessage(TEXT, message(0, number, 2_000)) for number in range(_MESSAGES)]
            made.clear()
            gate = threading.Barrier(len(senders))
            trial.together(*(partial(_send, gate, conn, sent) for conn in senders))
            trial.same("encoded", len(made), 3 * _MESSAGES)  # the client has that of the server with the same level
            texts = [each.payload.decode() for each in sent]
            for got in trial.together(*(partial(_receive, conn) for conn in takers)):
                trial.same("texts", got, texts)
        trial.counts["messages"] += _MESSAGES


def _send(gate: threading.Barrier, conn: Conn, messages: list[PreparedMessage]) -> None:
    for each in messages:
        gate.wait()
        conn.write_prepared(each)


def _receive(conn: Conn) -> list[str | bytes]:
    return [conn.receive(timeout=10) for _ in range(_MESSAGES)]


BREAKS: dict[str, Break] = {"no lock": without_lock(PreparedMessage, "_lock")}
