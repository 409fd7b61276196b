"""Three Managers on a local bus, to which four threads broadcast: each message reaches each member once, in order."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import partial

from syncws import Gap, LocalBackplane, Manager
from syncws._relay.numbers import Outgoing
from syncws.testing import Peer, peer
from tests.bus.locals import skip_without_unix_sockets

from .breaks import Break, without_lock
from .messages import Assembler, Orders, message
from .trial import Trial

_MANAGERS = 3
_MEMBERS = 2
_SENDERS = 4
_MESSAGES = 40


def run(trial: Trial) -> None:
    skip_without_unix_sockets()
    with ExitStack() as stack:
        path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        gaps: list[Gap] = []
        managers = [
            Manager(
                backplane=LocalBackplane(path),
                on_gap=gaps.append,
                join_timeout=trial.patience,
                send_queue=1 << 16,
                send_queue_bytes=1 << 30,
            )
            for _ in range(_MANAGERS)
        ]
        for manager in managers:
            stack.callback(manager.end)
        raws = []
        for number, manager in enumerate(managers):
            for who in range(_MEMBERS):
                conn, raw = stack.enter_context(peer())
                raw.socket.settimeout(trial.patience)
                manager.register(conn, f"{number}-{who}", ["lobby"])
                stack.callback(manager.unregister, f"{number}-{who}")
                raws.append(raw)
        trial.comes("all know one another", lambda: all(len(each.everywhere.nodes()) == _MANAGERS for each in managers))
        gaps.clear()  # who comes first does not know what was said before
        for _ in trial.rounds():
            trial.together(
                *(partial(_broadcast, managers[who % _MANAGERS], who) for who in range(_SENDERS)),
                *(partial(_take, raw) for raw in raws),
            )
            trial.same("gaps", gaps, [])
            trial.counts["deliveries"] += len(raws) * _SENDERS * _MESSAGES


def _broadcast(manager: Manager, who: int) -> None:
    for number in range(_MESSAGES):
        manager.broadcast(message(who, number, 30), room="lobby")


def _take(raw: Peer) -> None:
    orders = Orders()
    for each in Assembler(raw).messages(_SENDERS * _MESSAGES):
        orders.take(each)


BREAKS: dict[str, Break] = {"numbers out of order": without_lock(Outgoing, "lock")}
