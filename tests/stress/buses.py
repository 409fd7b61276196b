"""Three Managers on a local bus, to which threads broadcast and send while others count: each message comes once."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import partial

from syncws import Gap, LocalBackplane, Manager
from syncws._relay.numbers import Outgoing
from syncws.testing import Peer
from tests.bus.locals import skip_without_unix_sockets

from .breaks import Break, without_lock
from .messages import Assembler, Orders, message
from .peers import peer
from .trial import Trial, Wrong

_MANAGERS = 3
_MEMBERS = 2
_SENDERS = 4
_MESSAGES = 40
_COUNTS = 5

#: Private messages count as of other senders, from this number on.
_PRIVATE = 100


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
                *(partial(_send, managers[(who + 1) % _MANAGERS], who) for who in range(_MANAGERS)),
                *(partial(_take, raw, number) for number, raw in enumerate(raws)),
                partial(_count, managers[0], trial),
            )
            trial.same("gaps", gaps, [])
            trial.counts["deliveries"] += len(raws) * _SENDERS * _MESSAGES + _MANAGERS * _MESSAGES


def _broadcast(manager: Manager, who: int) -> None:
    for number in range(_MESSAGES):
        manager.broadcast(message(who, number, 30), room="lobby")


def _send(manager: Manager, who: int) -> None:
    """Send to the first member of another Manager."""
    for number in range(_MESSAGES):
        manager.send(f"{who}-0", message(_PRIVATE + who, number))


def _count(manager: Manager, trial: Trial) -> None:
    for _ in range(_COUNTS):
        found = manager.everywhere.count("lobby", timeout=trial.patience)
        trial.same("counted", (found.connections, found.complete), (_MANAGERS * _MEMBERS, True))


def _take(raw: Peer, number: int) -> None:
    orders = Orders()
    expected = dict.fromkeys(range(_SENDERS), _MESSAGES)
    if number % _MEMBERS == 0:
        expected[_PRIVATE + number // _MEMBERS] = _MESSAGES
    for each in Assembler(raw).messages(sum(expected.values())):
        orders.take(each)
    if not orders.whole(expected):
        raise Wrong(f"this has come to member {number}: {orders.taken}")


BREAKS: dict[str, Break] = {"numbers out of order": without_lock(Outgoing, "lock")}
