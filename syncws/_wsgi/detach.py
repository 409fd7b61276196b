"""Take a connection away from the WSGI server that holds it, so that the server notices nothing.

The server keeps its socket object and the number of its descriptor; behind the number there is another socket from now
on, a dead one: reading from it gives the end of the stream, writing to it fails as if the client had gone. The
connection itself goes on behind a new number, ours. So nothing that the server or a framework does to its socket once
the view returns, or raises, reaches the client; and nothing of ours has to be there when the server closes it.

Never is a server's socket object closed here: waitress and cheroot end with their whole process, and gunicorn's gthread
worker counts one connection too few for ever.

Two conditions, which `Taken.detachable` stands for: the descriptor is in no selector while the view runs, else the
server would find the dead socket ready again and again; and no other thread is inside it.

Where the server itself speaks TLS, that is not enough: OpenSSL reads and writes the number it was given. So it is the
server's socket object that gets another number, with a dead socket behind it, and it becomes a `_DeadSocket`, which
does nothing and cannot be closed, since Python's TLS fails once its socket object is. The number that OpenSSL knows
stays ours. This leans on what is private to Python's ssl module, so a connection has to look as it is known to look
(`can_detach_tls`).

Where descriptors cannot be exchanged (Windows), or TLS is gevent's or eventlet's, the server's socket is used as it is
(`foreign`), and the view has to stay until the connection is over.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any

from .._base.green import is_green
from .._net.transport import Buffer, Transport
from .foreign import PORTION, SSLSocketTransport, TLSSocket
from .taken import Taken

#: Whether a descriptor can be given another socket.
CAN_EXCHANGE = sys.platform != "win32" and hasattr(os, "dup2")


class DetachedTransport(Transport):
    """A plain connection that was taken from its server; behind the server's descriptor is a dead socket now."""

    lingers_behind = True

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        #: Called when it is closed.
        self.on_closed: Callable[[], object] = _ignore

    def close(self) -> None:
        super().close()
        self.on_closed()


class _Sink:
    """The peer of a dead socket, which takes what a server writes to it; closed when nobody holds it any more."""

    def __init__(self, peer: Any) -> None:
        peer.shutdown(socket.SHUT_WR)  # reading gives the end, and what is written fills a buffer
        self._peer = peer

    def __del__(self) -> None:
        self._peer.close()


class _Kept(threading.local):
    """The sink of what a thread took last: until it takes another connection, its view has returned by then."""

    sink: _Sink | None = None


_kept = _Kept()


def _ignore() -> None:
    pass


def detach(taken: Taken) -> DetachedTransport:
    """Exchange the server's socket for a dead one, and give the connection.

    Raises OSError (no descriptor is left): nothing has changed then.
    """
    ours, peer = _exchange(taken.fd)
    if taken.swallow:
        _kept.sink = _Sink(peer)
    else:
        peer.close()
    return DetachedTransport(_socket_of(ours))


def _exchange(fd: int) -> tuple[int, Any]:
    """Put another socket behind fd: a new descriptor of what was there, and the peer of what is there now."""
    dead, peer = _socketpair()
    try:
        os.set_blocking(dead.fileno(), os.get_blocking(fd))  # as the server has set its own
        ours = os.dup(fd)
        try:
            os.dup2(dead.fileno(), fd, inheritable=False)
        except BaseException:
            os.close(ours)
            raise
    except BaseException:
        peer.close()
        raise
    finally:
        dead.close()
    return ours, peer


def _socketpair() -> tuple[Any, Any]:
    """A pair of sockets that neither gevent nor eventlet knows of."""
    return _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _socket_of(fd: int) -> Any:
    """A socket over a descriptor; in a patched process Python's own, since the transport does all the waiting."""
    try:
        return _socket.socket(fileno=fd) if is_green() else socket.socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise


# TLS


def can_detach_tls(sock: Any) -> bool:
    """Whether the TLS of this socket is Python's own, as it is known to be inside."""
    if not CAN_EXCHANGE or type(sock) is not ssl.SSLSocket or is_green():
        return False
    tls: Any = getattr(sock, "_sslobj", None)
    return all(hasattr(tls, name) for name in ("read", "write", "shutdown", "pending")) and tls.owner is sock


class DetachedTLSTransport(SSLSocketTransport):
    """TLS that was taken from the server's socket, which is dead now."""

    lingers_behind = True

    def __init__(self, sock: Any, tls: Any, ours: socket.socket) -> None:
        super().__init__(ours)
        self.socket = _DetachedTLSSocket(ours, tls)  # type: ignore[assignment]
        self._server_socket = sock  # which TLS fails without

    def close(self) -> None:
        with self._ending:
            self.socket.close()
        dead, self._server_socket = self._server_socket, None
        if dead is not None:
            dead.let_go()
        super().close()


class _DetachedTLSSocket(TLSSocket):
    """As a TLSSocket, over the innermost object of Python's TLS, which says by exceptions what a socket gives."""

    def __init__(self, sock: socket.socket, tls: Any) -> None:
        super().__init__(sock)
        self.tls = tls

    def recv(self, size: int) -> bytes:
        with self._codec:
            return bytes(self._reading(b"", size))

    def recv_into(self, view: memoryview) -> int:
        with self._codec:
            return int(self._reading(0, len(view), view))

    def _reading(self, end: Any, *arguments: Any) -> Any:
        try:
            return self._calling(self.tls.read, *arguments)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return end

    def send(self, data: Buffer, _flags: int = 0) -> int:
        with self._codec:
            return int(self._calling(self.tls.write, memoryview(data)[:PORTION]))

    def say_goodbye(self) -> None:
        with self._codec, contextlib.suppress(OSError, ValueError):
            self.tls.shutdown()


class _DeadSocket(ssl.SSLSocket):
    """What the server's SSLSocket has become: a client that is gone.

    Its descriptor is closed when both have done with it, the server and the connection, whose TLS fails before.
    """

    _is_dropped = _is_free = False

    def recv(self, *_arguments: Any, **_options: Any) -> bytes:
        return b""

    read = recv

    def recv_into(self, *_arguments: Any, **_options: Any) -> int:
        return 0

    def send(self, *_arguments: Any, **_options: Any) -> Any:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    write = sendall = sendfile = sendmsg = send

    def settimeout(self, _timeout: Any) -> None:
        """No: TLS asks this object whether it may wait."""

    setblocking = settimeout

    def shutdown(self, _how: int) -> None:
        """There is nothing left to shut down."""

    def unwrap(self) -> Any:
        return self

    def close(self) -> None:
        """The server has done with it."""
        self._is_dropped = True
        if self._is_free:
            _socket.socket.close(self)

    def let_go(self) -> None:
        """The connection has done with it."""
        self._is_free = True
        if self._is_dropped:
            _socket.socket.close(self)

    def __del__(self) -> None:
        # A server that closes its sockets by forgetting them.
        _socket.socket.close(self)


def detach_tls(sock: Any) -> DetachedTLSTransport:
    """Take the TLS away from a server's socket, and give the connection.

    Raises OSError (no descriptor is left): nothing has changed then.
    """
    dead, peer = _socketpair()
    peer.close()
    tls: Any = sock._sslobj
    family, kind, protocol = sock.family, sock.type, sock.proto
    number = _socket.socket.detach(sock)
    _socket.socket.__init__(sock, socket.AF_UNIX, socket.SOCK_STREAM, 0, dead.detach())
    _socket.socket.settimeout(sock, 0)
    sock.__class__ = _DeadSocket
    sock._sslobj = None
    return DetachedTLSTransport(sock, tls, socket.socket(family, kind, protocol, number))
