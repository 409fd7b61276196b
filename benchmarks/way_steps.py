"""The steps of a message's way in one thread, timed in a process of its own.

    python -m benchmarks.way_steps CHECKOUT SIZE TIMES [locks]

A real server takes a real connection over TCP. Its handler sends a message from the other end, reads it, answers it,
and takes the answer at the other end, so that each call finds what it needs and nothing waits. The same is done with
sockets alone. Prints nanoseconds as JSON. With the word `locks` the locks that a message takes are counted instead.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from .client import BINARY, frame, frame_end, make_payload, request

#: The clock is read around this many messages at a time.
TOGETHER = 100


def main() -> None:
    checkout, size, times, *words = sys.argv[1:]
    locks = CountingLocks("locks" in words)
    sys.path.insert(0, checkout)
    import syncws

    found: dict[str, float] = {}
    upgrader = syncws.Upgrader(ping_interval=None)
    peer = socket.socket()

    def handler(http: syncws.Request) -> None:
        with upgrader.upgrade(http) as conn:
            ready.wait()
            found.update(measure(conn, peer, int(size), int(times), locks))
            done.set()

    ready, done = threading.Event(), threading.Event()
    server = syncws.Server(handler, port=0)
    server.start()
    peer.connect(("127.0.0.1", int(server.address[1])))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(request())
    while b"\r\n\r\n" not in peer.recv(4096):
        pass
    ready.set()
    done.wait()
    peer.close()
    server.shutdown(1)
    print(json.dumps(found))


def measure(conn: Any, peer: socket.socket, size: int, times: int, locks: CountingLocks) -> dict[str, float]:
    """Everything, in nanoseconds for a message, and what a message takes in calls and locks."""
    masked = frame(make_payload(size, text=False), BINARY, masked=True)
    answer = frame(make_payload(size, text=False), BINARY, masked=False)
    assert frame_end(answer) == len(answer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname())
        bare, _ = listener.accept()
    for sock in (other, bare):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(1 << 18)
    with other, bare:

        def receive_bare() -> None:
            bare.recv_into(buffer)

        def send_bare(_: object) -> None:
            bare.send(answer)

        def write(message: tuple[Any, Any]) -> None:
            conn.write_message(message[0], message[1])

        ours = Steps(peer, masked, len(answer), conn.read_message, write)
        kernel = Steps(other, masked, len(answer), receive_bare, send_bare)
        for steps in (ours, kernel, ours, kernel):  # twice: the first time warms up
            steps.run(times)
        found = {"read": ours.first, "write": ours.second, "whole": ours.whole}
        found |= {"receive": kernel.first, "send": kernel.second, "whole of sockets": kernel.whole}
        found["next"] = ours.next_of_several()
        counted = count_calls(ours)
        found |= {"locks": locks.count(ours.once), "a lock": time_lock()}
    return {**found, **counted}


def quiet(times: Sequence[float]) -> float:
    """The time that a quarter of them is below: what else runs on the machine makes the others longer."""
    return sorted(times)[len(times) // 4]


class Steps:
    """One message after the other: from the peer, read, answered, and the answer taken."""

    def __init__(
        self, peer: socket.socket, sent: bytes, back: int, read: Callable[[], Any], write: Callable[[Any], None]
    ) -> None:
        self._peer, self._sent, self._back, self._read, self._write = peer, sent, back, read, write
        self._buffer = bytearray(back)
        self.first = self.second = self.whole = 0.0

    def once(self) -> None:
        self._peer.send(self._sent)
        self._write(self._read())
        self._peer.recv_into(self._buffer, self._back, socket.MSG_WAITALL)

    def run(self, times: int) -> None:
        """Time a message as a whole, and both of its steps apart, in turn."""
        clock = time.perf_counter_ns
        apart: list[tuple[float, float]] = []
        together: list[float] = []
        empty = median(clock() * -1 + clock() for _ in range(1000))
        for _ in range(max(1, times // TOGETHER)):
            began = clock()
            for _ in range(TOGETHER):
                self.once()
            together.append((clock() - began) / TOGETHER)
            read_for = wrote_for = 0
            for _ in range(TOGETHER):
                self._peer.send(self._sent)
                began = clock()
                message = self._read()
                middle = clock()
                self._write(message)
                wrote_for += clock() - middle
                read_for += middle - began
                self._peer.recv_into(self._buffer, self._back, socket.MSG_WAITALL)
            apart.append((read_for / TOGETHER - empty, wrote_for / TOGETHER - empty))
        self.first, self.second = (quiet(values) for values in zip(*apart, strict=True))
        self.whole = quiet(together)

    def next_of_several(self, several: int = 8) -> float:
        """What reading takes where one receive has brought it with others: no kernel."""
        clock = time.perf_counter_ns
        found = []
        for _ in range(200):
            self._peer.send(self._sent * several)
            messages = [self._read()]
            began = clock()
            for _ in range(several - 1):
                messages.append(self._read())
            found.append((clock() - began) / (several - 1))
            for message in messages:
                self._write(message)
            for _ in messages:
                self._peer.recv_into(self._buffer, self._back, socket.MSG_WAITALL)
        return quiet(found)


def count_calls(steps: Steps, times: int = 100) -> dict[str, float]:
    """Calls of functions written in Python, and of others, that a message takes."""
    counts: Counter[str] = Counter()

    def note(frame: object, event: str, argument: object) -> None:
        counts[event] += 1

    sys.setprofile(note)
    try:
        for _ in range(times):
            steps.once()
    finally:
        sys.setprofile(None)
    # Without those of `once` itself: two sockets' calls, and the two functions that it was given.
    return {"calls in Python": counts["call"] / times, "calls in C": counts["c_call"] / times - 2}


class CountingLocks:
    """How often the locks of a library are taken: it puts others in their place, before that library is imported."""

    def __init__(self, wanted: bool) -> None:
        self.counting = False
        self.taken = 0
        if wanted:
            self._replace()

    def _replace(self) -> None:
        counts, real = self, threading.Lock

        class Lock:
            def __init__(self) -> None:
                self._lock = real()
                self.release, self.locked = self._lock.release, self._lock.locked

            def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
                counts.taken += counts.counting
                return self._lock.acquire(blocking, timeout)

            def __enter__(self) -> bool:
                return self.acquire()

            def __exit__(self, *exc: object) -> None:
                self._lock.release()

        threading.Lock = Lock  # type: ignore[assignment]

    def count(self, once: Callable[[], None], times: int = 100) -> float:
        """Locks that a call takes."""
        self.counting, self.taken = True, 0
        for _ in range(times):
            once()
        self.counting = False
        return self.taken / times


def time_lock() -> float:
    """Nanoseconds to take a lock that nobody has, and to let it go."""
    lock, clock, found = threading.Lock(), time.perf_counter_ns, []
    for _ in range(50):
        began = clock()
        for _ in range(1000):
            lock.acquire()
            lock.release()
        middle = clock()
        for _ in range(1000):
            pass
        found.append((2 * middle - began - clock()) / 1000)
    return float(median(found))


if __name__ == "__main__":
    main()
