"""A way out for programs that only publish to the processes of a local bus, such as a job or a shell."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence

from .._base.forks import this_process
from ..errors import BackplaneError, BackplaneTimeout
from .localdirectory import LocalDirectory, is_for_later
from .localframes import check_size, frame, greeting

#: Seconds until a process whose socket had no place for a connection is tried again.
_AGAIN = 0.05

#: Seconds that a close waits for processes to read what is in their sockets. One that is stopped reads nothing.
_LAST = 0.5


class LocalOutlet:
    """Sends to all processes that are in the directory at the time, and keeps the connections to them.

    A process has taken what is in its socket. One that ends before it reads that has no members any more.

    Concurrency: for one thread at a time. The child of a fork makes connections of its own.
    """

    def __init__(self, directory: LocalDirectory, max_message: int) -> None:
        self._directory = directory
        self._max_message = max_message
        self._connections: dict[str, socket.socket] = {}  # by the name of the process
        self._process = this_process()

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        """Send (channel, data) pairs to all that listen, in order; returns once each has taken them, or is gone.

        Raises:
            BackplaneTimeout: not in timeout seconds; it may have been delivered all the same.
            BackplaneError: the directory is not there, or is not this user's alone.
            ValueError: one is longer than max_message; none is sent then.
        """
        deadline = time.monotonic() + timeout
        for _channel, data in messages:
            check_size(data, self._max_message)
        if self._process != this_process():
            self.close()
            self._process = this_process()
        whole = memoryview(b"".join(frame(channel, data) for channel, data in messages))
        left = dict.fromkeys(self._names(), whole)
        asked = len(left)
        try:
            while left := self._send_some(left, whole):
                if (seconds := deadline - time.monotonic()) <= 0:
                    raise BackplaneTimeout(
                        f"{len(left)} of {asked} processes did not take it in {timeout:g} s; it may be delivered yet"
                    )
                self._wait(left, seconds)
        except BaseException:
            for name in left:  # in the middle of a frame
                self._drop(name)
            raise

    def close(self) -> None:
        """Let go of the connections; the next `send` makes new ones.

        It waits until each process has read its own, for a moment at most: two connections are read by two threads, and
        what is sent over the next one is to come after this.
        """
        if self._process == this_process():  # else they are the parent's, who may go on with them
            self._finish()
        for name in tuple(self._connections):
            self._drop(name)

    def _finish(self) -> None:
        deadline = time.monotonic() + _LAST
        with getattr(selectors, "PollSelector", selectors.DefaultSelector)() as selector:
            for connection in self._connections.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                    selector.register(connection, selectors.EVENT_READ)
            while selector.get_map() and (seconds := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(seconds):  # it has read all, and ended the connection
                    selector.unregister(key.fileobj)

    def _names(self) -> list[str]:
        """All that listen. Lets go of connections to those that do no longer."""
        try:
            self._directory.check()
            names = self._directory.names()
        except OSError as error:
            fix = "; name the directory of a LocalBackplane that runs" if isinstance(error, FileNotFoundError) else ""
            raise BackplaneError(f"there is no local bus: {error}{fix}") from None
        for name in self._connections.keys() - set(names):
            self._drop(name)
        return names

    def _send_some(self, left: dict[str, memoryview], whole: memoryview) -> dict[str, memoryview]:
        """Send to each what its socket takes; what is left for each that has not taken all."""
        rests = {name: self._send_to(name, rest, whole) for name, rest in left.items()}
        return {name: rest for name, rest in rests.items() if rest}

    def _send_to(self, name: str, rest: memoryview, whole: memoryview) -> memoryview:
        """What one process has yet to take: nothing, if it is gone."""
        try:
            connection = self._connections.get(name) or self._connect(name)
        except OSError as error:
            return whole if is_for_later(error) else whole[:0]
        try:
            return rest[connection.send(rest) :]
        except (BlockingIOError, InterruptedError):
            return rest
        except OSError:  # it has ended the connection: another one tells whether it is still there
            self._drop(name)
            return whole

    def _connect(self, name: str) -> socket.socket:
        connection = self._connections[name] = self._directory.connect(name)
        connection.send(greeting(""))  # which a new connection takes
        return connection

    def _wait(self, left: dict[str, memoryview], seconds: float) -> None:
        """Wait until somebody takes more."""
        connections = [self._connections[name] for name in left if name in self._connections]
        if len(connections) < len(left):
            seconds = min(seconds, _AGAIN)
        # poll, where there is one: it takes descriptors above 1,023.
        with getattr(selectors, "PollSelector", selectors.DefaultSelector)() as selector:
            for connection in connections:
                selector.register(connection, selectors.EVENT_WRITE)
            selector.select(seconds)

    def _drop(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()
