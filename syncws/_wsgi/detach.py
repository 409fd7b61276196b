"""Take a connection away from the WSGI server that holds it, so that the server notices nothing.

The server keeps its socket object and the number of its descriptor; behind the number there is another socket from now
on, a dead one: reading from it gives the end of the stream, writing to it fails as if the client had gone. The
connection itself goes on behind a new number, ours (`foreign` has a drawing). So nothing that the server or a framework
does to its socket once the view returns, or raises, reaches the client; and nothing of ours has to be there when the
server closes it.

Never is a server's socket object closed here: waitress and cheroot end with their whole process, and gunicorn's gthread
worker counts one connection too few for ever.

Two conditions, which `Taken.detachable` stands for: the descriptor is in no selector while the view runs, or the server
would find the dead socket ready again and again; and no other thread is inside it.

`detach_tls` does the same where the server itself speaks TLS. Where it cannot be done, the server's socket is borrowed
(`borrow`), and the view has to stay until the connection is over.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import sys
import threading
from typing import Any

from .._base.green import is_green
from .foreign import ForeignTransport
from .taken import Taken

#: Whether a descriptor can be given another socket.
CAN_EXCHANGE = sys.platform != "win32" and hasattr(os, "dup2")


class DetachedTransport(ForeignTransport):
    """A plain connection that was taken from its server; behind the server's descriptor is a dead socket now."""

    lingers_behind = True


def detach(taken: Taken) -> DetachedTransport:
    """Exchange the server's socket for a dead one, and give the connection.

    Raises OSError (no descriptor is left): nothing has changed then.
    """
    dead, sink = dead_socket(taken)
    with contextlib.closing(dead):
        os.set_blocking(dead.fileno(), os.get_blocking(taken.fd))  # as the server has set its own
        ours = os.dup(taken.fd)
        try:
            os.dup2(dead.fileno(), taken.fd, inheritable=False)
        except BaseException:
            os.close(ours)
            raise
    keep_sink(sink)
    return DetachedTransport(_socket_of(ours))


def _socket_of(fd: int) -> Any:
    """A socket over a descriptor; in a patched process Python's own, since the transport does all the waiting."""
    try:
        return _socket.socket(fileno=fd) if is_green() else socket.socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise


# Dead sockets


class Sink:
    """The other end of a dead socket: takes what the server writes, until nobody holds the sink any more."""

    def __init__(self, peer: Any) -> None:
        peer.shutdown(socket.SHUT_WR)  # reading gives the end, and what is written fills a buffer
        self._peer = peer

    def __del__(self) -> None:
        self._peer.close()


def dead_socket(taken: Taken) -> tuple[Any, Sink | None]:
    """A socket whose client has gone, and its sink if the server would log that it cannot write (`Taken.swallow`).

    Raises OSError (no descriptor is left).
    """
    # Of the module underneath, so that neither gevent nor eventlet knows of it.
    dead, peer = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if taken.swallow:
        return dead, Sink(peer)
    peer.close()
    return dead, None


class _Kept(threading.local):
    sink: Sink | None = None


_kept = _Kept()


def keep_sink(sink: Sink | None) -> None:
    """Keep the sink of this thread's view until the thread takes another connection: the view has returned by then."""
    _kept.sink = sink
