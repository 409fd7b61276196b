"""A transport over a TLS socket that is somebody else's: of a WSGI server that speaks TLS itself.

Two threads inside one `SSLSocket` are not safe on every Python, and a wait inside of it has one timeout for both
directions. So the socket is made non-blocking, every call into it is made under one short lock, and all waiting is done
outside, with poll on the descriptor.

The socket stays the server's. It is never closed here: see `detach`. What ends it is `shutdown`, after which the
server's own attempts to write find a client that is gone.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
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


class BorrowedTransport(Transport):
    """A plain connection over a socket that stays its server's; `close` leaves it open."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, kernel_waits=False)
        #: Called when it is closed.
        self.on_closed: Callable[[], object] = _ignore

    def close(self) -> None:
        """Be done with it; the descriptor is the server's to close."""
        with self._ending:
            self._closed = True
        self.on_closed()


def _ignore() -> None:
    pass


class SSLSocketTransport(BorrowedTransport):
    """TLS over an `ssl.SSLSocket`, or gevent's or eventlet's, that stays its server's.

    Concurrency: as Transport. A lock of the `TLSSocket` guards its TLS, and is never held across a wait.
    """

    is_tls = True

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._send_flags = 0  # it takes none
        self._deaf = False  # never goes back; an end of the stream is our own doing now
        self.socket = TLSSocket(sock)  # type: ignore[assignment]

    @property
    def ssl_object(self) -> Any:
        """What can be asked of its TLS: version(), cipher(), getpeercert()."""
        return self.socket.tls  # type: ignore[attr-defined]

    # Reading: as much as is there, and what TLS itself needs for that, within one wait

    def receive(self, size: int, wait: float | None) -> bytes | None:
        return self._read(lambda: self.socket.recv(min(size, _READ)), b"", wait)

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        return self._read(lambda: self.socket.recv_into(view), 0, wait)

    def _read(self, ask: Callable[[], _T], end: _T, wait: float | None) -> _T | None:
        """What ask gives; None when nothing came in time, as a whole: a peer that drips bytes gets no more time."""
        until = None if wait is None else time.monotonic() + wait
        self.heard_part = False
        while True:
            if self._deaf and not self.socket.has_come():  # type: ignore[attr-defined]
                # Not for OpenSSL: it would take it for a fault of the peer's, and encrypt nothing but an alert.
                return end
            with contextlib.suppress(BlockingIOError):
                return ask()
            left = None if until is None else until - time.monotonic()
            if (left is not None and left <= 0) or not self._wait_readable(left):
                return None
            self.heard_part = True

    def shutdown_read(self) -> None:
        self._deaf = True
        with self._ending:
            if not self._closed:
                self.socket.shutdown_read()  # type: ignore[attr-defined]

    # Writing: what OpenSSL was offered once must be offered again, so it counts as taken

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        if self.pending:
            self.flush_until(deadline, stall)
        if deadline is not None:
            # So a deadline that passes before there is room finds nothing offered.
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
        self.socket.say_goodbye()  # type: ignore[attr-defined]
        super().shutdown_write()


class TLSSocket:
    """An SSLSocket that says BlockingIOError where TLS has to wait, as a plain socket does.

    Its own `shutdown` drops the TLS, and from then on it is a plain socket. What it receives then is ciphertext, or
    forged: it is passed over up to the end of the stream. What it is given to send does not leave.

    Concurrency: as `SSLSocketTransport`, whose `_codec` is here.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.tls = sock
        self._codec = threading.Lock()

    def recv(self, size: int) -> bytes:
        with self._codec:
            return self._without_raw(bytes(self._calling(self._sock.recv, size)))

    def recv_into(self, view: memoryview) -> int:
        with self._codec:
            return self._without_raw(int(self._calling(self._sock.recv_into, view)))

    def send(self, data: Buffer, _flags: int = 0) -> int:
        with self._codec:
            if self._sock._sslobj is None:
                raise BrokenPipeError(errno.EPIPE, "TLS is over on this connection")
            return int(self._calling(self._sock.send, memoryview(data)[:PORTION]))

    def say_goodbye(self) -> None:
        """Put close_notify on the wire; the peer's is not waited for."""
        with self._codec, contextlib.suppress(OSError, ValueError):
            self._sock.unwrap()

    def shutdown(self, how: int) -> None:
        # The SSLSocket's own method drops its TLS, so that the server finds a client that is gone. Nobody may be
        # inside of that.
        with self._codec:
            self._sock.shutdown(how)

    def shutdown_read(self) -> None:
        """Past the SSLSocket's own method: what still waits is to leave encrypted. Never raises."""
        with self._codec, contextlib.suppress(OSError, ValueError), _system_socket(self._sock) as system:
            system.shutdown(socket.SHUT_RD)

    def has_come(self) -> bool:
        """Whether anything is there to be read; for after `shutdown_read`. Never waits. Raises OSError."""
        with self._codec, _system_socket(self._sock) as system:
            try:
                return self.tls.pending() > 0 or bool(system.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                return False

    def _without_raw(self, came: _T) -> _T:
        if came and self._sock._sslobj is None:
            raise BlockingIOError
        return came

    def _calling(self, call: Any, *arguments: Any) -> Any:
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
