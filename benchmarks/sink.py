"""The other ends of the members of `cluster`, in the process that measures: they read all, and note when it came."""

from __future__ import annotations

import select
import socket
import statistics
import threading
import time

from .client import BUFFER, make_poller
from .cluster_node import INSTANT
from .job import LoadError


class Sink:
    """Takes the connections of one node after the other, and reads them in a thread of its own.

    `_lock` guards `_missing` and `late`.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: dict[int, socket.socket] = {}
        self._node_of: dict[int, int] = {}  # of the first member of each node
        self._poller = make_poller()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._missing = 0
        self.late: dict[int, list[float]] = {}  # seconds from the send to the first member of each node
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, name="sink", daemon=True)
        self._reader.start()

    def accept(self, node: int, members: int) -> None:
        """Take the members of a node."""
        self._listener.settimeout(30)
        for number in range(members):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            if number == 0:
                self._node_of[sock.fileno()] = node
            self._sockets[sock.fileno()] = sock
            self._poller.register(sock.fileno(), select.POLLIN)

    def expect(self, size: int) -> None:
        """From now on so many bytes are to come."""
        with self._lock:
            self._missing = size
            self.late = {node: [] for node in self._node_of.values()}
            self._done.clear()
            if not size:
                self._done.set()

    def wait(self, seconds: float) -> None:
        """Wait until all has come. Raises LoadError."""
        if not self._done.wait(seconds):
            raise LoadError(f"{self._missing} bytes did not come for {seconds:g} s")

    def p50(self, node: int) -> float:
        """How late messages came to a node, in milliseconds."""
        return statistics.median(self.late[node]) * 1e3

    def close(self) -> None:
        """Let go of all connections, once its thread has ended."""
        self._over.set()
        self._reader.join(30)
        self._listener.close()
        for sock in self._sockets.values():
            sock.close()

    def _read(self) -> None:
        buffer = bytearray(BUFFER)
        while not self._over.is_set():
            for fd, _ in self._poller.poll(1.0):
                sock = self._sockets.get(fd)
                try:
                    count = 0 if sock is None else sock.recv_into(buffer)
                except OSError:
                    continue
                if not count:
                    return
                now = time.monotonic()
                with self._lock:
                    self._missing -= count
                    node = self._node_of.get(fd)
                    if node is not None and buffer[0] == 0x82:  # a frame begins here, as it does if few wait
                        head = {126: 4, 127: 10}.get(buffer[1], 2)
                        self.late[node].append(now - INSTANT.unpack_from(buffer, head)[0])
                    if self._missing <= 0:
                        self._done.set()
