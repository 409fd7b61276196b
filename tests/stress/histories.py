"""Pages come back to a room that remembers while others broadcast: each gets every message, once and in order."""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Any

from syncws import History, Manager
from syncws._rooms.recall import _TURNS, Recall, _Hold

from .breaks import Break, NoLock, replaced, without_lock
from .peers import peer
from .trial import Trial, Wrong

_SENDERS = 3
_PAGES = 3
_MESSAGES = 40


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        manager = Manager(history=History(size=10_000), duplicate="many", send_queue=1 << 16, send_queue_bytes=1 << 30)
        began = manager.position("r")
        seeds = [trial.random.random() for _ in range(_PAGES)]
        found = trial.together(
            *(partial(_broadcast, manager, who) for who in range(_SENDERS)),
            *(partial(_visit, manager, began, seed, trial.patience) for seed in seeds),
        )
        one, *others = found[_SENDERS:]
        for other in others:
            trial.same("the order of all", other, one)
        trial.same("members", len(manager), 0)
        trial.counts["messages"] += _PAGES * _SENDERS * _MESSAGES


def _broadcast(manager: Manager, who: int) -> None:
    for number in range(_MESSAGES):
        manager.broadcast_json({"who": who, "number": number}, room="r")


def _visit(manager: Manager, position: str, seed: float, patience: float) -> list[Any]:
    """Come back again and again with the position of what was read last, until everything was read; all of it."""
    drawn = random.Random(seed)
    found: list[Any] = []
    taken = [0] * _SENDERS
    while sum(taken) < _SENDERS * _MESSAGES:
        with peer() as (conn, raw):
            raw.socket.settimeout(patience)
            member = manager.register(conn)
            recovered = manager.join(member, "r", since=position)
            if not recovered.recovered:
                raise Wrong("what was missed was forgotten")
            for _ in range(min(drawn.randint(1, 30), _SENDERS * _MESSAGES - sum(taken))):
                said = json.loads(raw.receive_frame().payload)
                if said["number"] != taken[said["who"]]:
                    raise Wrong(f"{said} came where {taken[said['who']]} was next")
                taken[said["who"]] += 1
                position = said["position"]
                found.append((said["who"], said["number"]))
            manager.unregister(member)
    return found


def _nothing(hold: _Hold, *arguments: object) -> bool:
    """What is live is sent at once, also before what was missed."""
    return False


BREAKS: dict[str, Break] = {
    "what is live is not held": replaced(_Hold, "takes", _nothing),
    "no turns": without_lock(Recall, "_turns", "begin_anew", lambda: (NoLock(),) * _TURNS),
}
