"""A connection that another process of a local bus has made to this one, and the thread that reads it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Protocol

from .._base.advice import advisor
from .._base.logs import logger
from .._base.printable import printable
from .localdirectory import is_name
from .localframes import GOODBYE, Frames, name_in

_logger = logger("syncws.backplane")

#: Seconds in which whoever has connected says who it is.
_PATIENCE = 10.0

#: Bytes that one read takes at most.
_AT_ONCE = 1 << 16


class Host(Protocol):
    """What a reader tells, from its thread."""

    def greeted(self, reader: Reader) -> None:
        """The other end has said who it is: `reader.name`."""

    def received(self, channel: str, data: bytes) -> None:
        """A message came."""

    def ended(self, reader: Reader, *, orderly: bool) -> None:
        """Nothing more comes. orderly: the other process has said goodbye, or has never said who it is."""


class Reader:
    """Reads what one other process writes, until its end.

    Concurrency: `start` once; `cut` and `join` are for any thread. The thread alone sets `name`, before it tells its
    host of it, and `messages`. `_ending` guards "the descriptor is open".
    """

    def __init__(self, connection: socket.socket, max_message: int, host: Host) -> None:
        self.name = ""  # of the other process; "" for one that listens nowhere, and until it has said
        self.messages = 0
        self._connection = connection
        self._incoming = Frames(max_message)
        self._host = host
        self._ending = threading.Lock()
        self._is_cut = False
        self._thread = threading.Thread(target=self._run, name="syncws-bus-reader", daemon=True)

    def start(self) -> None:
        """Begin. Raises RuntimeError if there is no thread to be had."""
        self._thread.start()

    def cut(self) -> None:
        """Have it end, whatever else would come. Never waits."""
        with self._ending, contextlib.suppress(OSError):  # closed already
            self._is_cut = True
            self._connection.shutdown(socket.SHUT_RDWR)

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended; not in its own thread."""
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def abandon(self) -> None:
        """In the child of a fork: close the descriptor, and take no lock."""
        self._connection.close()

    def _run(self) -> None:
        orderly = False
        try:
            orderly = self._read()
        except ValueError as wrong:
            advisor.warn(
                _logger,
                "local bus",
                self.name,
                "%s is cut off from the local bus: %s; all of its processes need the same version of syncws and the "
                "same max_message",
                f"process {self.name}" if self.name else "somebody",
                printable(wrong),
            )
        except OSError:  # also a TimeoutError: it has not said who it is
            pass
        finally:
            with self._ending:
                self._connection.close()
            self._host.ended(self, orderly=orderly or not self.name)

    def _read(self) -> bool:
        """Read to the end; whether that was a goodbye. Raises ValueError for what cannot be read, and OSError."""
        self._connection.settimeout(_PATIENCE)
        frames = self._frames()
        channel, word = next(frames, ("", b""))
        if channel or not word:
            if channel:
                raise ValueError("it has not said who it is")
            return False
        name = name_in(word)
        if name and not is_name(name):
            raise ValueError("no name of a process")
        self.name = name
        self._connection.settimeout(None)
        self._host.greeted(self)
        for channel, data in frames:
            if channel:
                self.messages += 1
                self._host.received(channel, data)
            elif data == GOODBYE:
                return True
        return False

    def _frames(self) -> Iterator[tuple[str, bytes]]:
        while not self._is_cut:  # without the lock: a bool that becomes True once
            data = self._connection.recv(_AT_ONCE)
            if not data:
                return
            yield from self._incoming.add(data)
