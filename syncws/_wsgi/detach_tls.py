"""Take TLS away from the WSGI server that began it.

As `detach` does, the server is left with a dead socket. But OpenSSL reads and writes the number of the descriptor that
it was given, so here it is the server that gets another number, in four steps:

    1. the TLS object inside the server's SSLSocket is kept: it is the connection's
    2. the SSLSocket gives its descriptor up, which is the connection's too
    3. it gets the descriptor of a dead socket instead
    4. its class becomes `_DeadSSLSocket`: it no longer speaks TLS, and its close is put off

The object itself must stay, and its descriptor open, as long as the connection lives: OpenSSL's calls go through it.

This leans on what is private to Python's ssl module, so a connection is looked at first (`can_detach_tls`).
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import socket
import ssl
import threading
from typing import Any

from .._base.green import is_green
from .._net.transport import Buffer
from .detach import CAN_EXCHANGE, dead_socket, keep_sink
from .foreign import PORTION, ForeignTLSSocket, ForeignTLSTransport
from .taken import Taken

#: What is used of the TLS object.
_TLS_METHODS = ("read", "write", "shutdown", "pending")


def can_detach_tls(sock: Any) -> bool:
    """Whether the TLS of this socket is Python's own, as it is known to be inside."""
    if not CAN_EXCHANGE or type(sock) is not ssl.SSLSocket or is_green():
        return False
    tls: Any = getattr(sock, "_sslobj", None)
    return all(hasattr(tls, name) for name in _TLS_METHODS) and tls.owner is sock


def detach_tls(taken: Taken) -> DetachedTLSTransport:
    """Take the TLS and the descriptor out of the server's socket, and give the connection.

    Raises OSError (no descriptor is left): nothing has changed then.
    """
    server_socket = taken.sock
    dead, sink = dead_socket(taken)
    kind = server_socket.family, server_socket.type, server_socket.proto
    tls = server_socket._sslobj
    number = _socket.socket.detach(server_socket)
    _bury(server_socket, dead.detach())
    keep_sink(sink)
    return DetachedTLSTransport(server_socket, tls, socket.socket(*kind, number))


def _bury(sock: Any, dead: int) -> None:
    """Make a dead socket of an SSLSocket that has given its descriptor up; whoever holds the object holds that now."""
    _socket.socket.__init__(sock, socket.AF_UNIX, socket.SOCK_STREAM, 0, dead)
    _socket.socket.settimeout(sock, 0)
    sock.__class__ = _DeadSSLSocket
    sock._sslobj = None


class DetachedTLSTransport(ForeignTLSTransport):
    """TLS that was taken from the server's socket, which is dead now."""

    lingers_behind = True

    def __init__(self, server_socket: Any, tls: Any, ours: socket.socket) -> None:
        super().__init__(ours, _DetachedTLSSocket(ours, tls))
        self._dead: _DeadSSLSocket | None = server_socket  # the TLS fails once nobody has it

    def close(self) -> None:
        super().close()
        dead, self._dead = self._dead, None
        if dead is not None:
            dead.let_go()


class _DetachedTLSSocket(ForeignTLSSocket):
    """The innermost object of Python's TLS, which tells by exceptions what a socket tells by values."""

    def recv(self, size: int) -> bytes:
        with self._codec:
            return bytes(self._read(b"", size))

    def recv_into(self, view: memoryview) -> int:
        with self._codec:
            return int(self._read(0, len(view), view))

    def _read(self, end: Any, *arguments: Any) -> Any:
        try:
            return self._call(self.tls.read, *arguments)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return end

    def send(self, data: Buffer, _flags: int = 0) -> int:
        with self._codec:
            return int(self._call(self.tls.write, memoryview(data)[:PORTION]))

    def say_goodbye(self) -> None:
        with self._codec, contextlib.suppress(OSError, ValueError):
            self.tls.shutdown()


class _DeadSSLSocket(ssl.SSLSocket):
    """What the server's SSLSocket has become: a client that has gone.

    Without TLS most methods of an SSLSocket are those of a socket, and so find what is behind the descriptor: the end
    of the stream, and nobody to write to. Those that would not are here.

    The descriptor is closed once both have done with the object, the server and the connection.
    """

    _server_has_done = _connection_has_done = False

    def read(self, *_arguments: Any) -> bytes:
        return b""

    def write(self, data: Any) -> int:
        return self.send(data)

    def sendfile(self, *_arguments: Any) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def unwrap(self) -> Any:
        return self

    def settimeout(self, _timeout: Any) -> None:
        """Change nothing: the connection's TLS does not wait because this object says that it must not."""

    setblocking = settimeout

    def close(self) -> None:
        """Note that the server has done with it."""
        with _closing:
            self._server_has_done = True
            self._close_if_both_have()

    def let_go(self) -> None:
        """Note that the connection has done with it."""
        with _closing:
            self._connection_has_done = True
            self._close_if_both_have()

    def _close_if_both_have(self) -> None:
        if self._server_has_done and self._connection_has_done:
            _socket.socket.close(self)

    def __del__(self) -> None:
        _socket.socket.close(self)  # for a server that closes its sockets by forgetting them


#: Held while one of the two closes the descriptor: if both did, the second might close the next one with its number.
#: Reentrant, as the collector may come in between, and close another such object.
_closing = threading.RLock()
