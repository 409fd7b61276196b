"""A process with a Manager on a bus, and members over real sockets: python -m tests.guarantees.bus_node SPEC

SPEC is JSON: {"bus": ["local", DIRECTORY] or ["redis", URL], "options": of the backplane, "members": how many,
"room": theirs}. It does what each line of its input says, a JSON list of a name and keywords, and answers with a line:
see `Process`. What members get is read by a thread of this process.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import selectors
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import syncws
from syncws._conn.conn import Conn
from syncws._net.transport import Transport
from tests.tasks import Task, own_time

from .support import BINARY, raise_descriptor_limit, weigh

#: When it was sent, by time.monotonic(), which all processes of a machine share; who sent it; its number there.
MESSAGE = struct.Struct(">d16sQ")


class Received:
    """What came of one sender."""

    def __init__(self) -> None:
        self.count = 0
        self.last = -1
        self.wrong = 0  # came twice, or out of order
        self.late: list[float] = []  # seconds from the send to here
        self.at = 0.0  # when the last came

    def add(self, number: int, late: float) -> None:
        self.late.append(late)
        self.at = time.monotonic()
        self.count += 1
        self.wrong += number <= self.last
        self.last = max(number, self.last)

    def report(self) -> dict[str, Any]:
        return {"count": self.count, "wrong": self.wrong, "p50": statistics.median(self.late), "at": self.at}


class Members:
    """Members of a room, and what they get: the first one's messages are looked at, of the others' bytes are counted.

    A thread reads. `lock` guards every field.
    """

    def __init__(self, manager: syncws.Manager, count: int, room: str) -> None:
        self.lock = threading.Lock()
        self.by_sender: dict[str, Received] = {}
        self.first: float | None = None
        self.last: float | None = None
        self.bytes = [0] * count
        self.closed = False  # the first one was told to go
        self._selector = selectors.DefaultSelector()
        self._pending = b""
        options = syncws.ConnOptions(ping_interval=None)
        self._sockets = []
        for number in range(count):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            self._sockets.append(theirs)
            self._selector.register(theirs, selectors.EVENT_READ, number)
            manager.register(Conn(Transport(ours), client=False, options=options), rooms=[room])
        threading.Thread(target=self._read, name="members", daemon=True).start()

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                theirs: Any = key.fileobj
                data = theirs.recv(1 << 18)
                if not data:
                    self._selector.unregister(theirs)
                    continue
                with self.lock:
                    self.bytes[key.data] += len(data)
                    if key.data == 0:
                        self._take(data)

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        self._pending += data
        at = 0
        while (frame := frame_at(self._pending, at)) is not None:
            opcode, (begin, at) = self._pending[at] & 0x0F, frame
            if opcode != BINARY:
                self.closed = True
                continue
            sent, sender, number = MESSAGE.unpack_from(self._pending, begin)
            self.by_sender.setdefault(sender.rstrip(b"\0").decode(), Received()).add(number, now - sent)
            self.first = self.first or now
            self.last = now
        self._pending = self._pending[at:]


def frame_at(data: bytes, at: int) -> tuple[int, int] | None:
    """(where the payload begins, where it ends) of a whole frame of a server; None: it is not all there."""
    if len(data) < at + 2:
        return None
    length, begin = data[at + 1], at + 2
    for mark, size in ((126, 2), (127, 8)):
        if length == mark:
            if len(data) < begin + size:
                return None
            begin, length = begin + size, int.from_bytes(data[begin : begin + size])
            break
    return (begin, begin + length) if len(data) >= begin + length else None


class Process:
    """What this process does when it is told to. Each method is an order; what it returns is the answer."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.gaps: list[dict[str, Any]] = []
        self.story: list[tuple[float, bool, str]] = []
        self.backplane = backplane(spec["bus"], spec.get("options", {}))
        self.manager = syncws.Manager(
            backplane=self.backplane,
            on_gap=self._on_gap,
            on_bus=self._on_bus,
            send_queue=4096,
            duplicate=spec.get("duplicate", "replace"),
        )
        self.room = spec.get("room", "lobby")
        self.members = Members(self.manager, spec.get("members", 1), self.room)

    def _on_gap(self, gap: syncws.Gap) -> None:
        told = {"missed": gap.missed, "node": gap.node, "room": gap.room, "reason": gap.reason}
        self.gaps.append({**told, "at": time.monotonic(), "since": gap.since, "until": gap.until})

    def _on_bus(self, up: bool, reason: str) -> None:
        self.story.append((time.monotonic(), up, reason))

    def ready(self) -> dict[str, Any]:
        """Who this process is on the bus."""
        relay = self.manager._relay
        assert relay is not None
        return {"node": relay.node, "began": time.monotonic()}

    def send(
        self, count: int, rate: float = 0, size: int = 64, sender: str = "", room: str | None = None
    ) -> dict[str, Any]:
        """Broadcast numbered messages, so many a second (0: as fast as it can); the longest call, and when it ended."""
        return broadcast(self.manager, self.room if room is None else room, count, rate, size, sender)

    def send_in_threads(self, count: int, each: int) -> dict[str, Any]:
        """Broadcast from many threads that are switched all the time: sender 0 to count - 1."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        gate = threading.Barrier(count)

        def work(number: int) -> None:
            gate.wait()
            broadcast(self.manager, self.room, each, 0, 64, str(number))

        for task in [Task(work, number) for number in range(count)]:
            task.result()
        sys.setswitchinterval(interval)
        return {}

    def report(self) -> dict[str, Any]:
        """What has come so far."""
        members = self.members
        with members.lock:
            by_sender = {sender: each.report() for sender, each in members.by_sender.items()}
            told = {
                "by_sender": by_sender,
                "received": sum(each["count"] for each in by_sender.values()),
                "wrong": sum(each["wrong"] for each in by_sender.values()),
                "same": len(set(members.bytes)) == 1,  # all members got as much
                "closed": members.closed,
                "first": members.first,
                "last": members.last,
            }
        health = self.manager.backplane_health()
        assert health is not None
        return {
            **told,
            "gaps": self.gaps,
            "missed": sum(gap["missed"] or 0 for gap in self.gaps),
            "story": self.story,
            "nodes": health.nodes,
            "health": {name: getattr(health, name) for name in health.__dataclass_fields__},
        }

    def weigh(self) -> dict[str, Any]:
        """What this process weighs in KiB, and its threads and descriptors; its peak begins anew."""
        gc.collect()
        told = weigh()
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        return {**told, "names": threads(), "descriptors": descriptors()}

    def ask(self, timeout: float) -> dict[str, Any]:
        """Ask all processes how many members there are; what was told, and how long it took."""
        began = time.monotonic()
        told = self.manager.everywhere.count(timeout=timeout)
        took = time.monotonic() - began
        names = [each.name for each in self.manager.everywhere.nodes()]
        return {"connections": told.connections, "missing": told.missing, "took": took, "nodes": names}

    def register(self, count: int, at: float, every: float) -> dict[str, Any]:
        """Register ids, "0" and so on, the first at an instant of time.monotonic(), each other so much later."""
        options = syncws.ConnOptions(ping_interval=None)
        pairs = [socket.socketpair() for _ in range(count)]
        self.peers = [theirs for _, theirs in pairs]
        accepted = 0
        for number, (ours, _) in enumerate(pairs):
            time.sleep(max(0.0, at + number * every - time.monotonic()))
            conn = Conn(Transport(ours), client=False, options=options)
            try:
                self.manager.register(conn, str(number))
                accepted += 1
            except syncws.DuplicateIdError:
                conn.close(timeout=0)
        return {"accepted": accepted, "ended": time.monotonic()}

    def ids(self) -> dict[str, Any]:
        """The ids that are here."""
        return {"ids": [id for id in self.manager.ids() if len(str(id)) < 8], "at": time.monotonic()}

    def unsubscribe(self) -> dict[str, Any]:
        """Have the server of Redis forget what this process listens to, with no word about it to the backplane."""
        self.backplane._running.reader._wire.send([("UNSUBSCRIBE",)], 1.0)  # type: ignore[attr-defined]
        return {"at": time.monotonic()}

    def fork(self, count: int, rate: float) -> dict[str, Any]:
        """Fork, as gunicorn does with --preload: parent and child send at the same time; what the child got."""
        there = Child(self)
        time.sleep(0.5)  # by then all know it
        there.go()
        sent = self.send(count, rate, sender="parent")
        time.sleep(1.0)  # by then all of it has come
        return {**there.end(), "worst": sent["worst"]}

    def end(self) -> dict[str, Any]:
        """End the backplane; what threads and descriptors are there after it."""
        self.manager.end(5.0)
        return {"names": threads(), "descriptors": descriptors()}


def broadcast(manager: syncws.Manager, room: str, count: int, rate: float, size: int, sender: str) -> dict[str, Any]:
    rest = bytes(max(0, size - MESSAGE.size))
    name = sender.encode()
    began, worst = time.monotonic(), 0.0
    for number in range(count):
        if rate and (wait := began + number / rate - time.monotonic()) > 0:
            time.sleep(wait)
        before = own_time()
        manager.broadcast(MESSAGE.pack(time.monotonic(), name, number) + rest, room=room)
        worst = max(worst, own_time() - before)
    return {"worst": worst, "began": began, "ended": time.monotonic()}


class Child:
    """A fork of this process, with a member of its own in the same room."""

    def __init__(self, process: Process) -> None:
        self._hears, told_to = os.pipe()
        heard_from, self._tells = os.pipe()
        if os.fork() == 0:
            try:
                self._live(process, heard_from, told_to)
            finally:
                os._exit(0)
        os.close(told_to)
        os.close(heard_from)
        os.read(self._hears, 1)

    def _live(self, process: Process, orders: int, answers: int) -> None:
        members = Members(process.manager, 1, process.room)
        os.write(answers, b"!")
        os.read(orders, 1)
        broadcast(process.manager, process.room, 100, 200, 64, "child")
        os.read(orders, 1)
        with members.lock:
            got = {sender: [each.count, each.wrong] for sender, each in members.by_sender.items()}
        health = process.manager.backplane_health()
        assert health is not None
        process.manager.end(5.0)
        told = {"names": threads(), "got": got, "gaps": process.gaps, "duplicates": health.duplicates}
        os.write(answers, json.dumps(told).encode())

    def go(self) -> None:
        """Have it send."""
        os.write(self._tells, b"!")

    def end(self) -> dict[str, Any]:
        """Have it end; what it got."""
        os.write(self._tells, b"!")
        told = b""
        while data := os.read(self._hears, 1 << 16):
            told += data
        os.close(self._hears)
        os.close(self._tells)
        os.wait()
        return dict(json.loads(told))


def threads() -> list[str]:
    """The threads of this process, without the one that sends what waits for members, which ends by itself."""
    return sorted(each.name for each in threading.enumerate() if each.name != "syncws-drain")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1  # without that of the folder itself


def backplane(bus: list[str], options: dict[str, Any]) -> Any:
    kind, where = bus
    make = syncws.LocalBackplane if kind == "local" else syncws.RedisBackplane
    return make(where, **options)


def main() -> None:
    raise_descriptor_limit()
    logging.getLogger("syncws").addHandler(logging.NullHandler())  # what is lost is told to the test
    process = Process(json.loads(sys.argv[1]))
    say(process.ready())
    for line in sys.stdin:
        name, keywords = json.loads(line)
        order: Callable[..., dict[str, Any]] = getattr(process, name)
        say(order(**keywords))
    process.manager.end(2.0)


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
