"""Echoes: on every connection as many messages are under way as the job says, and each answer is followed by a message.

What the answers hold is checked at the beginning and at the end, byte for byte; between, their bytes are counted, since
a generator that parses measures itself. An answer of another size would shift all that follows, and so be found at the
end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import time
from typing import Any

from .client import (
    BINARY,
    BLOCKED,
    BUFFER,
    TEXT,
    connect,
    deflated,
    describe_frame,
    exchange,
    frame,
    frame_end,
    frame_payload,
    make_payload,
    make_poller,
)
from .job import Finding, Job, LoadError, Meter

_READABLE, _WRITABLE = select.POLLIN, select.POLLOUT  # epoll has the same numbers


def run(job: Job) -> Finding:
    """Do the job. Raises LoadError."""
    with contextlib.ExitStack() as stack:
        message = Message(job)
        poller = make_poller()
        stack.callback(poller.close)
        buffer = bytearray(BUFFER)
        links = {}
        for _ in range(job.connections):
            sock = stack.enter_context(connect(job))
            message.check(sock)
            links[sock.fileno()] = (FramedLink if job.deflate else Link)(sock, poller, message, buffer)
        load = Echoes(job, poller, links)
        load.run_for(job.warm_up)
        meter = Meter(job.pid)
        finding = meter.stop(load.run_for(job.seconds))
        load.drain()
        for link in links.values():
            message.check(link.sock)
        return dataclasses.replace(finding, total=load.total + 2 * len(links), note=message.note(link.sock))


class Message:
    """What is sent on every connection, and what comes back."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._opcode = TEXT if job.text else BINARY
        self._payload = make_payload(job.size, text=job.text)
        payload = deflated(self._payload) if job.deflate else self._payload
        self._frame = frame(payload, self._opcode, masked=True, compressed=job.deflate)
        self._answer = self._frame if job.bare else frame(payload, self._opcode, masked=False)
        self.size = len(self._answer)
        #: The beginning of a compressed answer. One that would not get shorter may come uncompressed.
        self.heads = {0xC0 | self._opcode} | ({0x80 | self._opcode} if len(payload) >= job.size else set())
        together = memoryview(self._frame * job.depth)
        #: By number: that many messages in a row.
        self.several = [together[: count * len(self._frame)] for count in range(job.depth + 1)]

    def check(self, sock: socket.socket) -> None:
        """One echo, byte for byte; of a compressed one, what it inflates to."""
        if self._job.deflate:
            answer = exchange(sock, self._frame, lambda received: frame_end(received) is not None, self._job.patience)
            self._check_compressed(bytes(answer))
            return
        answer = exchange(sock, self._frame, lambda received: len(received) >= self.size, self._job.patience)
        if answer != self._answer:
            raise LoadError(f"an echo is not what was sent: {describe_frame(answer)}")

    def _check_compressed(self, answer: bytes) -> None:
        if answer[0] not in self.heads or frame_payload(answer) != self._payload or frame_end(answer) != len(answer):
            raise LoadError(f"an echo is not what was sent, compressed: {describe_frame(answer)}")

    def note(self, sock: Any) -> str:
        """The cipher of TLS, or what compression makes of the message."""
        if self._job.authority:
            cipher, version, _ = sock.cipher()
            return f"{version}, {cipher}"
        return f"{self._job.size:,} bytes travel as {len(self._frame):,}" if self._job.deflate else ""


class Link:
    """One connection: counts the answers that have come, and sends as many messages again."""

    def __init__(self, sock: socket.socket, poller: Any, message: Message, buffer: bytearray) -> None:
        self.sock = sock
        self.resting = False  # whether it has stopped sending
        self._poller = poller
        self._receive, self._send = sock.recv_into, sock.send
        self._buffer = buffer
        self._several, self._size = message.several, message.size
        self._got = 0  # bytes that have come of an answer that is not whole yet
        self._unsent = memoryview(b"")
        poller.register(sock.fileno(), _READABLE)

    def take(self) -> int:
        """Answers that are whole now. Raises one of BLOCKED, or LoadError."""
        count = self._receive(self._buffer)
        done, self._got = divmod(self._got + count, self._size)
        if done:
            self.send(done)
        elif not count:
            raise LoadError("the server closed the connection under load")
        return done

    def send(self, count: int) -> None:
        """Send that many messages, or as much of them as the system takes now."""
        if self.resting:
            return
        try:
            messages = self._several[count]
        except IndexError:
            raise LoadError(f"{count} answers came to {len(self._several) - 1} messages") from None
        if self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + messages)
            return
        try:
            sent = self._send(messages)
        except BLOCKED:
            sent = 0
        if sent != len(messages):
            self._unsent = messages[sent:]
            self._poller.modify(self.sock.fileno(), _READABLE | _WRITABLE)

    def flush(self) -> None:
        """The system takes more."""
        try:
            self._unsent = self._unsent[self._send(self._unsent) :]
        except BLOCKED:
            return
        if not self._unsent:
            self._poller.modify(self.sock.fileno(), _READABLE)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is under way."""
        return not self._got and not self._unsent


class FramedLink(Link):
    """The same for answers whose size is not known: the heads of their frames are read."""

    def __init__(self, sock: socket.socket, poller: Any, message: Message, buffer: bytearray) -> None:
        super().__init__(sock, poller, message, buffer)
        self._heads = message.heads
        self._held = bytearray()
        self._view = memoryview(buffer)

    def take(self) -> int:
        count = self._receive(self._buffer)
        if not count:
            raise LoadError("the server closed the connection under load")
        held = self._held
        held += self._view[:count]
        done = at = 0
        while (end := frame_end(held, at)) is not None:
            if held[at] not in self._heads:
                raise LoadError(f"not a compressed message in one frame: {describe_frame(held[at:end])}")
            at = end
            done += 1
        del held[:at]
        self._got = len(held)
        if done:
            self.send(done)
        return done


class Echoes:
    """All connections: the loop."""

    def __init__(self, job: Job, poller: Any, links: dict[int, Link]) -> None:
        self._patience, self._depth = job.patience, job.depth
        self._poll = poller.poll
        self._links = links
        self.total = 0
        for link in links.values():
            link.send(self._depth)

    def run_for(self, seconds: float) -> int:
        """Answers that come in that time."""
        turn, clock = self._turn, time.perf_counter
        count = 0
        end = clock() + seconds
        while clock() < end:
            count += turn()
        self.total += count
        return count

    def drain(self) -> None:
        """Take what is under way, and send no more."""
        missing = self._depth * len(self._links)
        for link in self._links.values():
            link.resting = True
        self.total += missing
        while missing > 0:
            missing -= self._turn()
        if missing or not all(link.is_clean for link in self._links.values()):
            raise LoadError("more came back than was sent")

    def _turn(self) -> int:
        """Answers that come next."""
        links = self._links
        ready = self._poll(self._patience)
        if not ready:
            raise LoadError(f"no answer for {self._patience:g} s under load")
        count = 0
        for fd, event in ready:
            link = links[fd]
            try:
                if event != _READABLE and event & _WRITABLE:
                    link.flush()
                count += link.take()
            except BLOCKED:
                continue
        return count
