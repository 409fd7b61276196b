"""A room: the first member sends a text, everybody gets it, the sender too, and then the next round begins."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import time
from collections.abc import Callable

from .client import BLOCKED, BUFFER, TEXT, connect, deflated, frame, frame_end, frame_payload, make_poller
from .job import Finding, Job, LoadError, Meter

#: Seconds for a text to reach the members of the room. One that has none by then is not in it yet: another is sent.
_AGAIN = 0.2


def run(job: Job) -> Finding:
    """Do the job. Raises LoadError."""
    with contextlib.ExitStack() as stack:
        room = Room(job, stack)
        room.gather()
        room.run_for(job.warm_up)
        meter = Meter(job.pid)
        finding = meter.stop(room.run_for(job.seconds))
        return dataclasses.replace(finding, total=room.total)


class Room:
    """All members: the loop."""

    def __init__(self, job: Job, stack: contextlib.ExitStack) -> None:
        self._job = job
        words = (b"%d times seven is %d, " % (number, 7 * number) for number in range(job.size))
        self._text = b"".join(words)[: job.size]
        self._poller = make_poller()
        stack.callback(self._poller.close)
        sockets = [stack.enter_context(connect(job)) for _ in range(job.connections)]
        self._say = sockets[0].send
        #: The call that receives for each member.
        self._members = {sock.fileno(): sock.recv_into for sock in sockets}
        for fd in self._members:
            self._poller.register(fd, select.POLLIN)
        self._buffer = bytearray(BUFFER)
        self._size = 0
        self.total = 0

    def gather(self) -> None:
        """Wait until everybody is in the room, and has got the same.

        A server answers the handshake before it lets the member in, so a text is said until nobody has missed it. Then
        another one: when that has come, nothing of the first is under way.
        """
        message = self._frame(self._text)
        heard = {fd: bytearray() for fd in self._members}
        waiting = set(heard)
        for _ in range(int(self._job.patience / _AGAIN) + 1):
            self._say(message)
            self._listen(heard, waiting, lambda data: frame_end(data) is not None, _AGAIN)
            if not waiting:
                break
        else:
            raise LoadError(f"{len(waiting)} of {len(heard)} members got nothing for {self._job.patience:g} s")
        last = b"!" + self._text[1:]
        waiting = set(heard)
        self._say(self._frame(last))
        self._listen(heard, waiting, lambda data: _texts(data)[-1:] == [last], self._job.patience)
        if waiting:
            raise LoadError(f"{len(waiting)} of {len(heard)} members did not get what was sent")
        sizes = {frame_end(data) for data in heard.values()}
        if len(sizes) > 1 or any(_texts(data)[0] != self._text for data in heard.values()):
            raise LoadError("members did not get what was sent, or in frames of different size")
        self._size = sizes.pop() or 0

    def _frame(self, text: bytes) -> bytes:
        deflate = self._job.deflate
        return frame(deflated(text) if deflate else text, TEXT, masked=True, compressed=deflate)

    def _listen(
        self, heard: dict[int, bytearray], waiting: set[int], enough: Callable[[bytearray], bool], seconds: float
    ) -> None:
        """Receive until everybody has heard enough and is waiting no longer, or for that long."""
        end = time.monotonic() + seconds
        while waiting and (rest := end - time.monotonic()) > 0:
            for fd, _ in self._poller.poll(rest):
                try:
                    count = self._members[fd](self._buffer)
                except BLOCKED:
                    continue
                if not count:
                    raise LoadError("a member was closed")
                heard[fd] += self._buffer[:count]
                if fd in waiting and enough(heard[fd]):
                    waiting.remove(fd)

    def run_for(self, seconds: float) -> int:
        """Deliveries in that time; the last round ends after it."""
        poll, receive, buffer = self._poller.poll, self._members, self._buffer
        message = self._frame(self._text)
        whole = len(self._members) * self._size
        rounds = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._say(message)
            missing = whole
            while missing > 0:
                ready = poll(self._job.patience)
                if not ready:
                    raise LoadError(f"{missing} bytes of a round did not come for {self._job.patience:g} s")
                for fd, _ in ready:
                    try:
                        count = receive[fd](buffer)
                    except BLOCKED:
                        continue
                    if not count:
                        raise LoadError("a member was closed")
                    missing -= count
            if missing:
                raise LoadError(f"{-missing} bytes too many came in a round")
            rounds += 1
        count = rounds * len(self._members)
        self.total += count
        return count


def _texts(data: bytearray) -> list[bytes]:
    """The texts of a server's frames that are whole."""
    texts, at = [], 0
    while (end := frame_end(data, at)) is not None:
        texts.append(frame_payload(data, at))
        at = end
    return texts
