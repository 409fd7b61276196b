"""Thirty-two threads bring members to one Manager and take them out again: one on_close for each on_open, in order."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from functools import partial
from typing import Any, Literal

from syncws import BINARY, DuplicateIdError, Manager, Member
from syncws._rooms.registry import Registry

from .breaks import Break, without_lock
from .peers import peer
from .trial import Trial

_THREADS = 32
_IDS = 5
_POLICIES: tuple[Literal["replace", "reject", "many"], ...] = ("replace", "reject", "many")


class _Story:
    """What was called for each member. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.of: dict[Member, list[str]] = defaultdict(list)

    def opened(self, member: Member) -> None:
        self._note(member, "open")

    def heard(self, member: Member, message: str | bytes) -> None:
        self._note(member, "message")

    def closed(self, member: Member, error: object) -> None:
        self._note(member, "close")

    def _note(self, member: Member, what: str) -> None:
        with self._lock:
            self.of[member].append(what)


def run(trial: Trial) -> None:
    for number in trial.rounds():
        story = _Story()
        policy = _POLICIES[number % 3]
        manager = Manager(
            on_open=story.opened, on_message=story.heard, on_close=story.closed, duplicate=policy, send_queue=1 << 16
        )
        rejected = sum(trial.together(*(partial(_come_and_go, manager, who) for who in range(_THREADS))))
        trial.comes("everybody is out", _is_over, manager)
        told = [[each for each in of_one if each != "message"] for of_one in story.of.values()]
        trial.same("stories", [each for each in told if each != ["open", "close"]], [])
        trial.same("inside", [each for each in story.of.values() if "message" in (each[0], each[-1])], [])
        counted = manager.stats()
        trial.same("members and rooms", (counted.members, counted.rooms), (0, 0))
        trial.same("opened and closed", (counted.opened, counted.closed), (len(told), len(told)))
        if policy != "reject":
            trial.same("joins", counted.joins, _THREADS)
        trial.same("rejected", 0 if policy != "reject" else rejected, rejected)
        registry = manager._registry
        tables: list[Any] = [registry._by_id, registry._by_conn, registry._leaving, registry._rooms]
        trial.same("tables", tables, [{}, {}, {}, {}])
        trial.counts["members"] += len(told)


def _is_over(manager: Manager) -> bool:
    counted = manager.stats()
    return counted.opened == counted.closed


def _come_and_go(manager: Manager, who: int) -> int:
    """One connection, as a member; 1 if it was rejected as registered."""
    with peer() as (conn, raw):
        if who % 2:
            raw.send_frame(BINARY, b"hello")
            raw.close()
            raw.socket.shutdown(socket.SHUT_WR)
            manager.run(conn, who % _IDS, ["lobby"])
            return 0
        try:
            member = manager.register(conn, who % _IDS, ["lobby"])
        except DuplicateIdError:
            return 1
        match who // 2 % 3:
            case 0:
                manager.unregister(member)
            case 1:
                manager.close(who % _IDS)
                manager.unregister(member)
            case 2:
                conn.close_now()
                manager.broadcast("found lost", room="lobby")
        return 0


BREAKS: dict[str, Break] = {"no lock": without_lock(Registry, "lock", "begin_anew")}
