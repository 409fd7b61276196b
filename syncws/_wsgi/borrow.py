"""A server's own socket, used as it is while the view lasts.

That is so where descriptors cannot be exchanged (Windows), where TLS is gevent's or eventlet's, and where the server's
taker says that a connection may not outlive its view. The socket is never closed here: `detach` says why. What ends the
connection is `shutdown`, after which the server's own attempts to write find a client that has gone.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any, TypeVar

from .._net.transport import Buffer
from .foreign import PORTION, ForeignTLSSocket, ForeignTLSTransport, ForeignTransport

_T = TypeVar("_T")


class BorrowedTransport(ForeignTransport):
    """A plain connection over the server's socket; `close` leaves that open."""

    is_ours = False

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, kernel_waits=False)  # whose timeout is the server's


class BorrowedTLSTransport(ForeignTLSTransport):
    """TLS of an `ssl.SSLSocket`, or of gevent's or eventlet's, which stays its server's."""

    is_ours = False

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, _BorrowedTLSSocket(sock, sock))


class _BorrowedTLSSocket(ForeignTLSSocket):
    """The server's socket object itself.

    Its own `shutdown` drops the TLS, so that the server finds a client that has gone. From then on the object is a
    plain socket: what it receives is ciphertext, or forged, and is passed over up to the end of the stream; what it is
    given to send does not leave.
    """

    def recv(self, size: int) -> bytes:
        with self._codec:
            return self._decrypted(bytes(self._call(self._sock.recv, size)))

    def recv_into(self, view: memoryview) -> int:
        with self._codec:
            return self._decrypted(int(self._call(self._sock.recv_into, view)))

    def _decrypted(self, came: _T) -> _T:
        """What came, if it has passed through the TLS, or is the end of the stream."""
        if came and self._sock._sslobj is None:
            raise BlockingIOError
        return came

    def send(self, data: Buffer, _flags: int = 0) -> int:
        with self._codec:
            if self._sock._sslobj is None:
                raise BrokenPipeError(errno.EPIPE, "TLS is over on this connection")
            return int(self._call(self._sock.send, memoryview(data)[:PORTION]))

    def say_goodbye(self) -> None:
        with self._codec, contextlib.suppress(OSError, ValueError):
            self._sock.unwrap()
