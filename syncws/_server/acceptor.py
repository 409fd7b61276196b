"""The accept loop: from a listening socket to connections that have a thread each.

    Acceptor.run              waits for the listener, and for whoever says that it is over
      _accept_one             accept(); what an error means stands in ACCEPT_ERRORS
        _admit                enters the connection into the roster and starts its thread; or answers 503

**It waits for nobody except the listener.** TLS, heads and handlers are the work of the connections' own threads, and
a refusal is made at once.
"""

from __future__ import annotations

import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from .._base.waker import Waker
from .._net.address import as_address
from .._net.listener import ACCEPT_ERRORS, SocketFile, listen_tcp, listen_unix
from .connection import Connection
from .gateway import Gateway
from .options import ServerOptions
from .roster import Roster

_log = logging.getLogger("syncws.server")

#: How long the loop rests when the process or the system is out of something (trio and Thousand Island: 100 ms).
_ACCEPT_PAUSE = 0.1

#: Seconds for which a worker leaves a new connection to others that have fewer. For one that is idle this is long.
_HESITATION = 0.001

_FULL = b"all connections of this server are taken; try again later\n"

_SERVICE_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


class Acceptor:
    """Listens for a server, and accepts.

    Concurrency: `run` is for one thread at a time. `stop_listening` is for that thread, or for any once nobody runs it.

    Raises OSError if the address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        options: ServerOptions,
        roster: Roster,
        gateway: Gateway | None,
        waker: Waker,
    ) -> None:
        self._options = options
        self._roster = roster
        self._gateway = gateway
        self._waker = waker
        self._numbers = itertools.count(1)
        self._crowded = False  # a shortage that was logged and is not over
        self._socket_file: SocketFile | None = None
        if options.listener is not None:
            self._listener = options.listener
        elif options.unix_path is not None:
            self._listener = listen_unix(os.fspath(options.unix_path))
            self._socket_file = SocketFile(os.fspath(options.unix_path))
        else:
            self._listener = listen_tcp(host, port)
        try:
            # A client may be gone between select and accept, which would then wait for the next one.
            self._listener.setblocking(False)
            #: Where it listens.
            self.address = as_address(self._listener.getsockname())
        except BaseException:
            self.stop_listening()
            raise
        # Of every connection; None where each has another.
        self._local_address = None if self.address[:1] in (("0.0.0.0",), ("::",)) else self.address

    def stop_listening(self) -> None:
        """Close the listener, and remove its socket file. Idempotent."""
        self._listener.close()
        if self._socket_file is not None:
            self._socket_file.remove()

    def leave_socket_file(self) -> None:
        """In a worker: the file of a Unix socket is the parent's to remove."""
        self._socket_file = None

    def run(self, over: Callable[[], bool]) -> None:
        """Accept until it is over; whoever makes it so wakes the waker afterwards. OSError: the listener failed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while not over():
                for key, _events in selector.select():
                    if key.fileobj is self._waker:
                        self._waker.wait(0)  # takes the byte, else the next select returns at once
                    elif not over():
                        self._accept_one()

    def _accept_one(self) -> None:
        if self._roster.should_hesitate:
            self._waker.wait(_HESITATION)  # for another worker to take it
        try:
            sock, address = self._listener.accept()
        except OSError as exc:
            verdict = ACCEPT_ERRORS.get(exc.errno or 0)
            if verdict is None or (verdict == "closed" and not self._roster.closing):
                raise
            if verdict == "pause":
                self._say_crowded("accepting no connections for now: %s", exc)
                self._waker.wait(_ACCEPT_PAUSE)  # which shutdown cuts short
            return
        timeout = self._options.handshake_timeout
        self._admit(
            Connection(
                sock,
                next(self._numbers),
                self._options,
                self._roster,
                self._gateway,
                deadline=None if timeout is None else time.monotonic() + timeout,
                local_address=self._local_address,
                remote_address=as_address(address),
            )
        )

    def _admit(self, connection: Connection) -> None:
        """Start a connection's thread; whatever is in the way of that costs this connection only."""
        match self._roster.enter(connection):
            case "closing":
                connection.sock.close()
            case "full":
                limit = self._options.max_connections
                self._say_crowded("all %d connections are taken (max_connections); answering 503", limit)
                self._turn_away(connection.sock)
            case "entered":
                self._start(connection)

    def _start(self, connection: Connection) -> None:
        thread = threading.Thread(target=connection.run, name=f"syncws-{connection.number}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as exc:  # "can't start new thread": a limit of the system
            self._say_crowded("a connection is lost, its thread cannot be started: %s", exc)
            self._turn_away(connection.sock)
            self._roster.leave(connection)
        else:
            self._crowded = False

    def _say_crowded(self, message: str, *args: object) -> None:
        """Log a shortage once, not for each connection that meets it."""
        _log.log(logging.DEBUG if self._crowded else logging.WARNING, message, *args)
        self._crowded = True

    def _turn_away(self, sock: socket.socket) -> None:
        """Answer 503 and close, without waiting for anything. Under TLS there is nothing to say it in."""
        with suppress(OSError):
            sock.setblocking(False)
            if self._options.ssl_context is None:
                with suppress(BlockingIOError):
                    sock.recv(65536)  # a close with unread bytes is a reset, which may overtake the answer
                sock.send(_SERVICE_UNAVAILABLE)
                sock.shutdown(socket.SHUT_WR)
        sock.close()
