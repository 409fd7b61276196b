"""Six threads send by one Publisher to a Manager on the same bus: each message reaches its members once, in order."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import partial

from syncws import Gap, LocalBackplane, Manager, Publisher
from syncws.testing import Peer
from tests.bus.locals import skip_without_unix_sockets

from .breaks import Break, without_lock
from .messages import Assembler, Orders, message
from .peers import peer
from .trial import Trial

_SENDERS = 6
_MEMBERS = 2
_MESSAGES = 15


def run(trial: Trial) -> None:
    skip_without_unix_sockets()
    with ExitStack() as stack:
        path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        gaps: list[Gap] = []
        manager = Manager(
            backplane=LocalBackplane(path), on_gap=gaps.append, send_queue=1 << 16, join_timeout=trial.patience
        )
        stack.callback(manager.end)
        raws = []
        for who in range(_MEMBERS):
            conn, raw = stack.enter_context(peer())
            raw.socket.settimeout(trial.patience)
            manager.register(conn, who, ["lobby"])
            stack.callback(manager.unregister, who)
            raws.append(raw)
        publisher = stack.enter_context(Publisher(LocalBackplane(path), timeout=trial.patience))
        publisher.broadcast("ready", room="lobby")
        for raw in raws:
            raw.receive_frame()
        gaps.clear()
        for _ in trial.rounds():
            trial.together(
                *(partial(_broadcast, publisher, who) for who in range(_SENDERS)),
                *(partial(_take, raw) for raw in raws),
            )
            trial.same("gaps", gaps, [])
            trial.counts["messages"] += _SENDERS * _MESSAGES


def _broadcast(publisher: Publisher, who: int) -> None:
    for number in range(_MESSAGES):
        publisher.broadcast(message(who, number, 30), room="lobby")


def _take(raw: Peer) -> None:
    orders = Orders()
    for each in Assembler(raw).messages(_SENDERS * _MESSAGES):
        orders.take(each)


BREAKS: dict[str, Break] = {"no turn": without_lock(Publisher, "_turn", "begin_anew")}
