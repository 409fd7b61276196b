"""The way to one other process of a local bus: a connection to its socket, and what waits for it.

A peer is in one of two states, which `_socket` tells:

| state | `_socket` | what is posted |
|---|---|---|
| away | None | waits: for the first connection, or for the next one |
| connected | the connection | is sent at once, or waits for what is in front of it |

What is posted to a full queue is lost to this one process, and counted by channel until there is room again: then
whoever publishes on that channel says how far it is, and that message finds its place in the queue.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable

#: Frames that are sent without letting go of the lock, for which whoever posts would wait.
_AT_ONCE = 64

#: Channels on which messages were lost that are counted. With more of them the connection is cut, by which the other
#: process knows that it has lost something on any.
MOST_LOST = 10_000


class Peer:
    """Sends frames to one process, in their order, without ever waiting for it.

    Concurrency: `post` and the properties are for any thread; the rest for the one that minds the bus. `_lock` guards
    every field; under it frames are sent, without waiting.
    """

    def __init__(self, name: str, greeting: bytes, queue: int, queue_bytes: int) -> None:
        self.name = name
        self._greeting = greeting
        self._queue = queue
        self._queue_bytes = queue_bytes
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque()  # the first one may be the rest of a frame
        self._bytes = 0  # of what waits
        self._lost: dict[str, int] = {}  # by channel: since it was last told
        self._all_lost = 0
        self._is_parting = False  # a goodbye was said, or waits

    def post(self, channel: str, frame: bytes) -> bool:
        """Send a frame, or let it wait, or count it as lost. True if somebody has to mind the connection now."""
        with self._lock:
            sock = self._socket
            if self._is_parting:
                return False
            if sock is None or self._waiting:
                self._keep(channel, frame)
                return False  # it is minded already: until it is connected, or until nothing waits
            sent = _send(sock, frame)
            if sent == len(frame):
                return False
            if sent < 0:  # it is over, as the other process will tell its own
                return True
            self._waiting.append(frame[sent:])
            self._bytes += len(frame) - sent
            return True

    def _keep(self, channel: str, frame: bytes) -> None:
        assert self._lock.locked()
        is_full = len(self._waiting) >= self._queue or self._bytes + len(frame) > self._queue_bytes
        if is_full and self._waiting:  # a frame that is larger than the queue has it for itself
            self._all_lost += 1
            if channel in self._lost or len(self._lost) <= MOST_LOST:
                self._lost[channel] = self._lost.get(channel, 0) + 1
        else:
            self._waiting.append(frame)
            self._bytes += len(frame)

    @property
    def connection(self) -> socket.socket | None:
        """The connection; None while there is none."""
        return self._socket  # one reference, without the lock: only the thread that minds the bus closes it

    @property
    def waiting(self) -> tuple[int, int]:
        """How many frames wait, and their bytes."""
        with self._lock:
            return len(self._waiting), self._bytes

    @property
    def lost(self) -> int:
        """How many frames were lost in all."""
        with self._lock:
            return self._all_lost

    def connect(self, open_connection: Callable[[str], socket.socket]) -> None:
        """Connect, greet, and send what waits. Raises what open_connection(name) raises; it is away then."""
        sock = open_connection(self.name)
        with self._lock:
            self._waiting.appendleft(self._greeting)
            self._bytes += len(self._greeting)
            self._socket = sock
            self._send_some()

    def is_over(self) -> bool:
        """Whether the other process has ended the connection. What it says here is not asked for."""
        assert self._socket is not None
        try:
            return not self._socket.recv(4096)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def flush(self) -> bool:
        """Send some of what waits; False if the connection is over."""
        with self._lock:
            return self._send_some()

    def _send_some(self) -> bool:
        assert self._lock.locked() and self._socket is not None
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            first = self._waiting[0]
            sent = _send(self._socket, first)
            if sent < 0:
                return False
            self._bytes -= sent
            if sent < len(first):
                self._waiting[0] = first[sent:]
                break
            self._waiting.popleft()
        return True

    def take_lost(self) -> dict[str, int]:
        """How many were lost by channel, once there is room to tell; {} before that, and where none were."""
        with self._lock:
            if not self._lost or 2 * len(self._waiting) > self._queue or 2 * self._bytes > self._queue_bytes:
                return {}
            lost, self._lost = self._lost, {}
            return lost

    @property
    def has_parted(self) -> bool:
        """Whether all was said to it, the goodbye included, or whatever was left to say is lost."""
        with self._lock:
            return self._is_parting and not self._waiting

    @property
    def is_losing(self) -> bool:
        """Whether something was lost that is not told yet."""
        with self._lock:
            return bool(self._lost)

    @property
    def has_lost_too_much(self) -> bool:
        """Whether there are too many channels to count what was lost on each."""
        with self._lock:
            return len(self._lost) > MOST_LOST

    def cut(self) -> None:
        """End the connection, without a goodbye: the other process knows then that it has lost what waited here."""
        with self._lock:
            sock, self._socket = self._socket, None
            self._waiting.clear()
            self._bytes = 0
            self._lost.clear()
        if sock is not None:
            sock.close()

    def say_goodbye(self, goodbye: bytes) -> bool:
        """Send the last frame, after all that waits; what is posted then is ignored. True as for `post`.

        Where something was lost that was not told, there is no goodbye: by that the other process knows.
        """
        with self._lock:
            if self._is_parting:
                return False
            self._is_parting = True
            if self._lost:
                return False
            self._waiting.append(goodbye)
            self._bytes += len(goodbye)
            if self._socket is None or len(self._waiting) > 1:
                return False
            self._send_some()
            return True

    def abandon(self) -> None:
        """In the child of a fork: close the descriptor, without the lock, which a thread of the parent may hold."""
        if self._socket is not None:
            self._socket.close()


def _send(sock: socket.socket, frame: bytes) -> int:
    """How many bytes were taken, without waiting; -1 if the connection is over."""
    try:
        return sock.send(frame)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError:
        return -1
