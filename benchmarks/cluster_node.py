"""A process of `cluster`: a Manager on a bus, whose members are connections to the process that measures.

    python -m benchmarks.cluster_node BUS WHERE PORT MEMBERS ROOMS

The members connect to that port, and are in rooms 0 to ROOMS - 1. For each line of its input, "COUNT RATE SIZE ROOMS",
it broadcasts so many messages, so many a second, to so many rooms in turn, or with 0 to everybody; then it prints a
line. For "nodes" it prints how many processes are on the bus.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any

import syncws
from syncws._conn.conn import Conn
from syncws._net.transport import Transport

#: When a message was sent, by time.monotonic(), which the processes of a machine share.
INSTANT = struct.Struct(">d")

#: Messages that are sent without a pause.
BURST = 10


def backplane(bus: str, where: str) -> Any:
    """The backplane of that name; None for a Manager without one."""
    if bus == "local":
        return syncws.LocalBackplane(where)
    if bus.startswith("redis"):
        history = syncws.History(size=100, ttl=60) if "history" in bus else None
        return syncws.RedisBackplane(where, history=history)
    return None


def main() -> None:
    bus, where, port, members, rooms = sys.argv[1:]
    if "pure" in bus:  # as where hiredis is not installed
        sys.modules["hiredis"] = None  # type: ignore[assignment]
    manager = syncws.Manager(backplane=backplane(bus, where), send_queue=10_000)
    names = [f"room {number}" for number in range(int(rooms))]
    options = syncws.ConnOptions(ping_interval=None)
    for _ in range(int(members)):
        sock = socket.create_connection(("127.0.0.1", int(port)))
        manager.register(Conn(Transport(sock), client=False, options=options), rooms=names)
    if bus != "none":
        manager.broadcast("", room="nobody")  # which starts it, if there is no member
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "nodes\n":
            health = manager.backplane_health()
            print(1 if health is None else health.nodes, flush=True)
            continue
        send(manager, *map(int, line.split()))
        print("sent", flush=True)


def send(manager: syncws.Manager, count: int, rate: int, size: int, rooms: int) -> None:
    rest = bytes(size - INSTANT.size)
    names: list[str | None] = [f"room {number}" for number in range(rooms)]
    names = names or [None]
    began = time.monotonic()
    burst = BURST if rate > 10 * BURST else 1
    for number in range(count):
        if number % burst == 0 and (wait := began + number / rate - time.monotonic()) > 0:
            time.sleep(wait)
        manager.broadcast(INSTANT.pack(time.monotonic()) + rest, room=names[number % len(names)])


if __name__ == "__main__":
    main()
