"""Transports over a connection that a WSGI server accepted.

Two questions tell them apart: is the connection *borrowed* from its server, or was it *detached*; and does TLS, which
the server began, go through it. Who holds which descriptor, before and after:

                      the server's socket object      the client's connection       ours

    before            7 --------------------------->  client
    borrowed          7 --------------------------->  client  <-------------------  7, which the server closes
    detached          7 --> dead socket               client  <-------------------  9, a copy of what 7 was
    detached, TLS     9 --> dead socket               client  <-------------------  7, the number that OpenSSL knows

A dead socket is one whose client has gone. The classes, and where they are:

    Transport
        ForeignTransport                 here; says when it is closed
            BorrowedTransport            borrow
            DetachedTransport            detach
            ForeignTLSTransport          here; waits for the TLS of a ForeignTLSSocket
                BorrowedTLSTransport     borrow: the TLS of the server's SSLSocket
                DetachedTLSTransport     detach_tls: the TLS that was inside it

**TLS.** Two threads inside one `SSLSocket` are not safe on every Python, and a wait inside it has one timeout for both
directions. So its descriptor is non-blocking, every call into it is made under one short lock, and all waiting is done
outside, with poll.
"""

from __future__ import annotations

import _socket
import abc
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .._net.transport import Buffer, Transport
from .._net.waits import wait_for

_T = TypeVar("_T")

_READ = 1 << 16
PORTION = 1 << 14  # one record: what the system does not take has to be offered again as it was


class ForeignTransport(Transport):
    """A connection that a server accepted.

    Concurrency: as Transport.
    """

    #: Whether the descriptor is ours to close. If not, the server closes it.
    is_ours = True

    def __init__(self, sock: socket.socket, *, kernel_waits: bool | None = None) -> None:
        super().__init__(sock, kernel_waits=kernel_waits)
        #: Called when it is closed.
        self.on_closed: Callable[[], object] = _nothing

    def close(self) -> None:
        """Give the descriptor back if it is ours. Only when no other thread is receiving or sending. Idempotent."""
        if self.is_ours:
            super().close()
        else:
            with self._ending:
                self._closed = True
        self.on_closed()


def _nothing() -> None:
    pass


class ForeignTLSTransport(ForeignTransport):
    """The same through TLS that the server began.

    Concurrency: as Transport. A lock of the `ForeignTLSSocket` guards its TLS, and is never held across a wait.
    """

    is_tls = True

    def __init__(self, sock: socket.socket, tls_socket: ForeignTLSSocket) -> None:
        super().__init__(sock, kernel_waits=False)
        self._send_flags = 0  # it takes none
        #: This side has ended its reading: what looks like an end of the stream from now on is its own doing.
        self._deaf = False
        self._tls_socket = tls_socket
        self.socket = tls_socket  # type: ignore[assignment]

    @property
    def ssl_object(self) -> Any:
        """What can be asked of its TLS: version(), cipher(), getpeercert()."""
        return self._tls_socket.tls

    # Reading: as much as is there, and what TLS itself needs for that, within one wait

    def receive(self, size: int, wait: float | None) -> bytes | None:
        return self._read(lambda: self._tls_socket.recv(min(size, _READ)), b"", wait)

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        return self._read(lambda: self._tls_socket.recv_into(view), 0, wait)

    def receive_now(self, size: int) -> bytes | None:
        return self.receive(size, 0)

    def _read(self, ask: Callable[[], _T], end: _T, wait: float | None) -> _T | None:
        """What ask gives; None if nothing has come when the whole wait is over.

        A peer that sends a record byte by byte gets no more time for it.
        """
        until = None if wait is None else time.monotonic() + wait
        self.heard_part = False
        while True:
            if self._deaf and not self._tls_socket.has_come():
                # OpenSSL must not see this end: it would take it for a fault of the peer's, and from then on encrypt
                # nothing but an alert.
                return end
            with contextlib.suppress(BlockingIOError):
                return ask()
            left = None if until is None else until - time.monotonic()
            if (left is not None and left <= 0) or not self._wait_readable(left):
                return None
            self.heard_part = True

    def shutdown_read(self) -> None:
        self._deaf = True  # before the socket is shut down: the thread that this wakes must not ask TLS
        with self._ending:
            if not self._closed:
                self._tls_socket.shutdown_read()

    # Writing: what OpenSSL was offered once must be offered again, so it counts as taken

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        if self.pending:
            self.flush_until(deadline, stall)
        if deadline is not None:
            # So that nothing was offered if the deadline passes before there is room.
            self._wait_until(self._has_room, deadline, stall)
        try:
            super().send(b"".join((head, body)), deadline=deadline, stall=stall)
        except BaseException:
            self.torn = True
            raise

    def try_send(self, frame: bytes) -> bool:
        if self.rest and not self.flush():
            return False
        self.take(frame)
        return True

    def _has_room(self) -> bool:
        return wait_for(self.socket, 0, write=True)

    def shutdown_write(self) -> None:
        self._tls_socket.say_goodbye()
        super().shutdown_write()


class ForeignTLSSocket(abc.ABC):
    """TLS in the hands of Python's ssl, as a socket that does not wait: it raises BlockingIOError instead.

    `tls` is what is asked about the connection, `_sock` the socket under it.

    Concurrency: recv, send and shutdown are for any thread; `_codec` guards the TLS, which one thread at a time may be
    inside of.
    """

    def __init__(self, sock: Any, tls: Any) -> None:
        self._sock = sock
        self.tls = tls
        self._codec = threading.Lock()

    @abc.abstractmethod
    def recv(self, size: int) -> bytes:
        """Up to size bytes; b"" at the end of the stream."""

    @abc.abstractmethod
    def recv_into(self, view: memoryview) -> int:
        """The same into a buffer; how many."""

    @abc.abstractmethod
    def send(self, data: Buffer, _flags: int = 0) -> int:
        """Encrypt and send a portion; how much of the data that was."""

    @abc.abstractmethod
    def say_goodbye(self) -> None:
        """Put close_notify on the wire; the peer's is not waited for. Never raises."""

    def shutdown(self, how: int) -> None:
        """Shut the connection down while no thread is inside its TLS."""
        with self._codec:
            self._sock.shutdown(how)

    def shutdown_read(self) -> None:
        """Let no more come, and leave the TLS alone: what waits to leave has yet to be encrypted. Never raises."""
        with self._codec, contextlib.suppress(OSError, ValueError), _system_socket(self._sock) as system:
            system.shutdown(socket.SHUT_RD)

    def has_come(self) -> bool:
        """Whether there is something to read; meant for after `shutdown_read`. Never waits. Raises OSError."""
        with self._codec, _system_socket(self._sock) as system:
            try:
                return self.tls.pending() > 0 or bool(system.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                return False

    def _call(self, call: Any, *arguments: Any) -> Any:
        """Call into the TLS. Under the lock."""
        try:
            return call(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@contextlib.contextmanager
def _system_socket(sock: Any) -> Iterator[Any]:
    """The descriptor of a socket, without what Python's ssl, gevent or eventlet have put around it."""
    system = _socket.socket(fileno=sock.fileno())
    try:
        yield system
    finally:
        system.detach()
