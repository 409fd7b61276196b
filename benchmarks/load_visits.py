"""Visits: a new connection, its handshake, one echo, the closing handshake, and the next one.

So many visitors as the job has connections do that at the same time, each in its own `_visit`, a generator that stands
still while nothing has come.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import time
from collections.abc import Callable, Generator

from .client import (
    BINARY,
    CLOSE,
    check_head,
    describe_frame,
    frame,
    frame_end,
    make_payload,
    make_poller,
    open_socket,
    request,
)
from .job import Finding, Job, LoadError, Meter

_NORMAL_CLOSURE = (1000).to_bytes(2, "big")


def run(job: Job) -> Finding:
    """Do the job. Raises LoadError."""
    with contextlib.closing(Visitors(job)) as visitors:
        visitors.run_for(job.warm_up)
        meter = Meter(job.pid)
        finding = meter.stop(visitors.run_for(job.seconds))
        visitors.drain()
        return dataclasses.replace(finding, total=visitors.total)


class Visitors:
    """Everybody who is under way: the loop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        payload = make_payload(job.size, text=False)
        self._request = request()
        self._message = frame(payload, BINARY, masked=True)
        self._answer = self._message if job.bare else frame(payload, BINARY, masked=False)
        self._close = frame(_NORMAL_CLOSURE, CLOSE, masked=True)
        self._poller = make_poller()
        self._visits: dict[int, Generator[None, None, None]] = {}
        self.total = 0
        for _ in range(job.connections):
            self._begin()

    def run_for(self, seconds: float) -> int:
        """Visits that end in that time."""
        count = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            done = self._turn()
            count += done
            for _ in range(done):
                self._begin()
        return count

    def drain(self) -> None:
        """Let everybody come to an end, and begin no more."""
        while self._visits:
            self._turn()

    def close(self) -> None:
        for visit in self._visits.values():
            visit.close()
        self._poller.close()

    def _turn(self) -> int:
        """Visits that end next."""
        ready = self._poller.poll(self._job.patience)
        if not ready:
            raise LoadError(f"no answer for {self._job.patience:g} s")
        count = 0
        for fd, _ in ready:
            try:
                next(self._visits[fd])
            except StopIteration:
                del self._visits[fd]
                count += 1
        self.total += count
        return count

    def _begin(self) -> None:
        sock = open_socket(self._job.port)
        self._poller.register(sock.fileno(), select.POLLIN)
        visit = self._visits[sock.fileno()] = self._visit(sock)
        next(visit)

    def _visit(self, sock: socket.socket) -> Generator[None, None, None]:
        """One visit, after TCP's handshake; it goes on whenever something has come."""
        with sock:
            sock.setblocking(False)
            sock.send(self._request)
            head = yield from _receive(sock, lambda data: data.endswith(b"\r\n\r\n"))
            check_head(head)
            sock.send(self._message)
            answer = yield from _receive(sock, lambda data: len(data) >= len(self._answer))
            if answer != self._answer:
                raise LoadError(f"an echo is not what was sent: {describe_frame(answer)}")
            if self._job.bare:
                sock.shutdown(socket.SHUT_WR)  # the bare server knows no other end
            else:
                sock.send(self._close)
                answer = yield from _receive(sock, lambda data: frame_end(data) is not None)
                if answer[0] != 0x80 | CLOSE:
                    raise LoadError(f"not a close frame: {describe_frame(answer)}")
            while True:  # a server is the first to close TCP (RFC 6455 section 7.1.1)
                yield
                if not sock.recv(4096):
                    return


def _receive(sock: socket.socket, whole: Callable[[bytes], bool]) -> Generator[None, None, bytes]:
    """What comes until it is whole. Raises LoadError."""
    data = b""
    while not whole(data):
        yield
        more = sock.recv(4096)
        if not more:
            raise LoadError(f"the server closed the connection{f' after {describe_frame(data)}' if data else ''}")
        data += more
    return data
