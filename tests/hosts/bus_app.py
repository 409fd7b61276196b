"""An application whose workers are joined by a bus: /room is a WebSocket in the room of everybody, /say
broadcasts, and /nodes tells how many processes are known.

The environment says which bus (HOSTS_BUS, "local PATH" or "redis URL"). The first message of /room says which process
it is. As a program, ``python -m tests.hosts.bus_app``, it is a job outside: for each line of its input a Publisher of
its own sends one message, the instant by time.monotonic().
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import syncws

from .app import plain, set_up_log, upgrader

if __name__ != "__main__":
    set_up_log()


def backplane() -> Any:
    kind, where = os.environ["HOSTS_BUS"].split()
    return syncws.LocalBackplane(where) if kind == "local" else syncws.RedisBackplane(where)


manager = syncws.Manager(backplane=backplane())


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """The application."""
    if environ["PATH_INFO"] == "/room":
        return upgrader.serve(environ, in_room)(environ, start_response)
    if environ["PATH_INFO"] == "/say":
        manager.broadcast(str(os.getpid()), room="everybody")
    status, body = plain()
    if environ["PATH_INFO"] == "/nodes":
        health = manager.backplane_health()
        body = str(health.nodes if health is not None else 0).encode()
    start_response(status, [("Content-Length", str(len(body))), ("X-Token", os.environ.get("HOSTS_TOKEN", ""))])
    return [body]


def in_room(conn: syncws.Conn) -> None:
    """Stay in the room, and say which process serves it once it is in."""
    member = manager.register(conn, rooms=["everybody"])
    conn.send(str(os.getpid()))
    try:
        for _ in conn:
            pass
    finally:
        manager.unregister(member)


def main() -> None:
    for _ in sys.stdin:
        with syncws.Publisher(backplane()) as publisher:
            publisher.broadcast(f"{time.monotonic():.6f}", room="everybody", timeout=10)
        print("sent", flush=True)


if __name__ == "__main__":
    main()
