"""Members come into a room and leave it while others broadcast: who is in gets what is said, who has left does not."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial

from syncws import Manager
from syncws._rooms.registry import _Group
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, Orders, message, read
from .peers import peer
from .trial import Trial, Wrong

_STAYING = 3
_MOVING = 4
_SENDERS = 2
_MESSAGES = 60
_TURNS = 15


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        manager = Manager(send_queue=1 << 16, send_queue_bytes=1 << 30)
        with ExitStack() as stack:
            raws: list[Peer] = []
            for who in range(_STAYING + _MOVING):
                conn, raw = stack.enter_context(peer())
                raw.socket.settimeout(trial.patience)
                manager.register(conn, who, ["r"] if who < _STAYING else [])
                raws.append(raw)
            over = threading.Barrier(_SENDERS + _MOVING, action=partial(_say_over, manager))
            trial.together(
                *(partial(_broadcast, manager, 100 + who, over) for who in range(_SENDERS)),
                *(partial(_move, manager, who, over) for who in range(_STAYING, _STAYING + _MOVING)),
                *(partial(_take_all, raw) for raw in raws[:_STAYING]),
                *(partial(_take_own, raw, _STAYING + number) for number, raw in enumerate(raws[_STAYING:])),
            )
            counted = manager.stats()
            trial.same("joins", counted.joins, _STAYING + _MOVING * _TURNS)
            trial.same("rooms", manager.rooms(), frozenset({"r"}))
            trial.same("in the room", manager.count("r"), _STAYING)
            for who in range(_STAYING + _MOVING):
                manager.unregister(who)
            trial.same("rooms in the end", (manager.rooms(), manager._registry._rooms), (frozenset(), {}))
        trial.counts["moves"] += 2 * _MOVING * _TURNS


def _say_over(manager: Manager) -> None:
    for who in range(_STAYING + _MOVING):
        manager.send(who, message(999, 0))


def _broadcast(manager: Manager, who: int, over: threading.Barrier) -> None:
    for number in range(_MESSAGES):
        manager.broadcast(message(who, number, 50), room="r")
    over.wait()


def _move(manager: Manager, who: int, over: threading.Barrier) -> None:
    """Come in, say something, leave, and say something to those who are left."""
    for number in range(_TURNS):
        manager.join(who, "r")
        manager.broadcast(message(who, 2 * number), room="r")
        manager.leave(who, "r")
        manager.broadcast(message(who, 2 * number + 1), room="r")
    over.wait()


def _take_all(raw: Peer) -> None:
    """Everything reaches who stays."""
    orders, assembler = Orders(), Assembler(raw)
    senders = dict.fromkeys(range(100, 100 + _SENDERS), _MESSAGES)
    movers = dict.fromkeys(range(_STAYING, _STAYING + _MOVING), 2 * _TURNS)
    for each in assembler.messages(_SENDERS * _MESSAGES + _MOVING * 2 * _TURNS + 1):
        orders.take(each)
    if not orders.whole({**senders, **movers, 999: 1}):
        raise Wrong(f"this has come to one that has stayed: {orders.taken}")


def _take_own(raw: Peer, own: int) -> None:
    """Who moves gets what it has said while it was in, and nothing twice."""
    last: dict[int, int] = {}
    found: list[int] = []
    for each in Assembler(raw).messages(1 << 30):
        who, number = read(each)
        if number <= last.get(who, -1):
            raise Wrong(f"message {number} of sender {who} came after {last[who]}")
        last[who] = number
        if who == own:
            found.append(number)
        if who == 999:
            break
    if found != [2 * number for number in range(_TURNS)]:
        raise Wrong(f"of its own words these have come to one that moves: {found}")


_remove = _Group.remove


def _keep_the_snapshot(group: _Group, member: object) -> None:
    """Who has left stays in the snapshot until somebody comes."""
    snapshot = group._snapshot
    _remove(group, member)  # type: ignore[arg-type]
    group._snapshot = snapshot


BREAKS: dict[str, Break] = {"an old snapshot": replaced(_Group, "remove", _keep_the_snapshot)}
