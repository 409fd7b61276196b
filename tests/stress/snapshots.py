"""Clients of a server come, talk and leave in every way while its numbers are asked for: these agree at any moment."""

from __future__ import annotations

import random
import threading
import time
from functools import partial

from syncws import Conn, ConnectionClosed, Manager, Server, ServerStats
from syncws._conn.ledger import Ledger
from syncws._server.server import upgrading
from syncws._testing.serving import raw_client
from syncws.testing import Peer, running

from .breaks import Break, without_lock
from .trial import Trial, Wrong

_CLIENTS = 6
_VISITS = 8

#: Seconds between two looks: without the GIL they would take the cores from those who are to be counted.
_PAUSE = 0.0002


def run(trial: Trial) -> None:
    manager = Manager()
    with running(Server(upgrading(partial(_serve, manager)), "127.0.0.1", 0)) as server:
        sent = visits = 0
        url = f"ws://127.0.0.1:{server.port}/"
        for _ in trial.rounds():
            over = threading.Event()
            left = threading.Barrier(_CLIENTS, action=over.set)
            seeds = [trial.random.random() for _ in range(_CLIENTS)]
            looks, more, *messages = trial.together(
                partial(_look, server, over),
                partial(_look_at_members, manager, over),
                *(partial(_visit, url, seed, left, trial.patience) for seed in seeds),
            )
            sent += sum(messages)
            visits += _CLIENTS * _VISITS
            trial.comes("everybody is gone", lambda: server.stats().connections == 0)
            counted = server.stats()
            trial.same("opened", (counted.opened, sum(counted.closed.values())), (visits, visits))
            trial.same("open and ending", (counted.open, counted.ending), (0, 0))
            trial.same("messages", (counted.messages_in, counted.messages_out), (sent, sent))
            rooms = manager.stats()
            trial.same("members", (rooms.members, rooms.opened, rooms.closed), (0, visits, visits))
            trial.counts["looks"] += looks + more
        trial.counts["visits"] += visits


def _serve(manager: Manager, conn: Conn) -> None:
    member = manager.register(conn, rooms=["all"])
    try:
        for each in conn:
            conn.send(each)
    except ConnectionClosed:
        pass
    finally:
        manager.unregister(member)


def _visit(url: str, seed: float, left: threading.Barrier, patience: float) -> int:
    drawn, sent = random.Random(seed), 0
    for _ in range(_VISITS):
        raw = raw_client(url)
        raw.socket.settimeout(patience)
        for _ in range(drawn.randint(0, 4)):
            raw.send_frame(1, "hello")
            raw.receive_frame()
            sent += 1
        _leave(raw, drawn.randrange(3))
    left.wait(patience)
    return sent


def _leave(raw: Peer, way: int) -> None:
    if way == 0:
        raw.close(4000 + way)
        raw.receive_close()
    elif way == 1:
        raw.vanish()
    raw.socket.close()


def _look(server: Server, over: threading.Event) -> int:
    """Ask for the numbers, until everybody has left; how often."""
    looks, before = 0, server.stats()
    while not over.is_set():
        now = server.stats()
        _check(before, now)
        before = now
        looks += 1
        time.sleep(_PAUSE)
    return looks


def _check(before: ServerStats, now: ServerStats) -> None:
    closed = sum(now.closed.values())
    if now.opened != now.open + now.ending + closed:
        raise Wrong(f"{now.opened} opened, {now.open} open, {now.ending} ending, {closed} closed")
    if sum(now.closed_by.values()) != closed:
        raise Wrong(f"{closed} closed, {now.closed_by} by whom")
    for name in ("opened", "messages_in", "messages_out", "pings", "pongs", "dropped"):
        if getattr(now, name) < getattr(before, name):
            raise Wrong(f"{name} was {getattr(before, name)}, and is {getattr(now, name)}")
    for code, count in before.closed.items():
        if now.closed[code] < count:
            raise Wrong(f"closed with {code}: was {count}, and is {now.closed[code]}")


def _look_at_members(manager: Manager, over: threading.Event) -> int:
    looks, before = 0, manager.stats()
    while not over.is_set():
        now = manager.stats()
        if not now.closed <= now.opened or now.opened < before.opened or now.closed < before.closed:
            raise Wrong(f"{before}, and then {now}")
        if now.opened - now.closed > _CLIENTS * 2 or now.rooms > 1 or (now.members and not now.rooms):
            raise Wrong(f"there are {_CLIENTS} clients, and this was counted: {now}")
        before = now
        looks += 1
        time.sleep(_PAUSE)
    return looks


BREAKS: dict[str, Break] = {"no lock": without_lock(Ledger, "_lock", "begin_anew")}
