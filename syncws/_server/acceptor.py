"""The accept loop: from a listening socket to connections that have a thread each.

    Acceptor.run              waits for the listener, and for whoever says that it is over
      _accept_one             accept(); what an error means stands in ACCEPT_ERRORS
        _admit                enters the connection into the roster and starts its thread
        _refuse               there is no room: 503, at once, or from a thread that hears a health check before

**It waits for nobody except the listener.** TLS, heads and handlers are the work of the connections' own threads, and
a refusal is made at once.
"""

from __future__ import annotations

import itertools
import math
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from .._base.advice import Advisor
from .._base.counters import breaches
from .._base.logs import logger
from .._base.threads import PromptThread
from .._base.waker import Waker
from .._net.accepted import is_prepared, prepare
from .._net.address import Address, as_address, network_of
from .._net.descriptors import MOST_RESERVED, in_use, raise_limit, reserve
from .._net.listener import ACCEPT_ERRORS, BACKLOG, SocketFile, listen_tcp, listen_unix
from .capacity import Obstacle
from .connection import GREEDY, Connection
from .gateway import Gateway
from .health import RETRY_AFTER, Health
from .options import ServerOptions
from .pinning import Pinning, choose_pinning
from .roster import Roster

_log = logger("syncws.server")

#: How long the loop rests when the process or the system is out of something (trio and Thousand Island: 100 ms).
_ACCEPT_PAUSE = 0.1

#: Seconds for which a worker leaves a new connection to others that have fewer. For one that is idle this is long.
_HESITATION = 0.001

#: Seconds for which a connection beyond the limits is heard, before it is sent away.
_HEARING = 1.0

_FULL = b"all connections of this server are taken; try again later\n"

_SERVICE_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: %d\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s" % (RETRY_AFTER, len(_FULL), _FULL)
)


class Acceptor:
    """Listens for a server, and accepts.

    Concurrency: `run` is for one thread at a time. `stop_listening` is for that thread, or for any once nobody runs it.

    Raises OSError if the address cannot be bound.
    """

    def __init__(
        self,
        host: str | None,
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
        self._shortages = 0
        self._advisor = Advisor()  # of its own: of two servers in one process each has its shortages
        self._health = Health(roster, options.health_path, options.ready_path)
        # Where the address of a client is in its requests, that of its connection is a proxy's.
        self._counts_networks = options.max_connections_per_address is not None and options.client_address is None
        self._files = 0  # that this process may open, if it is known
        self._first_reserved: float = math.inf  # a socket of this number, and above, takes what is kept in reserve
        self._socket_file: SocketFile | None = None
        # Nobody else accepts on the listener: neither other workers, nor whoever gave it to the server.
        self._is_own = options.listener is None and options.workers == 1
        self._has_run_in: int | None = None  # the process whose accept loop it was
        self._has_left = False  # it drains: nobody new is wanted. For the thread of `run`
        self._pinning = Pinning()  # what is kept on a core. For the thread of `run`
        #: Whether all workers drain, not only this one. Set before the roster drains.
        self.all_drain = False
        if options.listener is not None:
            self._listener = options.listener
        elif options.unix_path is not None:
            self._listener = listen_unix(os.fspath(options.unix_path))
            self._socket_file = SocketFile(os.fspath(options.unix_path))
        else:
            self._listener = listen_tcp(host, port)
        self._prepares: bool | None = None  # its sockets; None before the first one has told
        if options.listener is None:
            prepare(self._listener)
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
        if self._is_own and self._has_run_in == os.getpid():
            # Else a process that a handler has forked, and that outlives the server, would keep the port.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._socket_file is not None:
            self._socket_file.remove()

    def let_go(self) -> None:
        """In the child of a fork: close its copy of the listener, which is the parent's."""
        self._listener.close()

    def leave_socket_file(self) -> None:
        """In a worker: the file of a Unix socket is the parent's to remove."""
        self._socket_file = None

    def prepare_descriptors(self) -> None:
        """Have the system allow the descriptors that max_connections needs; say once what does not fit.

        For whom the process is: it changes a limit of the process, upwards.
        """
        most = self._options.max_connections
        before = in_use()
        limit = raise_limit(None if most is None else before + most + MOST_RESERVED)
        if limit is None:
            return
        self._files = limit
        self._first_reserved = limit - reserve(limit)
        room = max(1, int(self._first_reserved) - before)
        self._roster.fit(room)
        if most is not None and most > room:
            _log.warning(
                "max_connections is %d, and this process may open %d files: there is room for %d connections; raise "
                "the limit (ulimit -n, LimitNOFILE) or lower max_connections",
                *(most, limit, room),
            )

    def run(self, over: Callable[[], bool]) -> None:
        """Accept until it is over; whoever makes it so wakes the waker afterwards. OSError: the listener failed.

        Once the roster drains it accepts what has come, and then nobody, or who asks for health checks.
        """
        self._has_run_in = os.getpid()
        self._pinning = choose_pinning(self._options.pin, self._options.workers, self._roster.ledger.messages)
        self._roster.set_accepting(True)
        try:
            with self._pinning:
                self._run(over)
        finally:
            self._roster.set_accepting(False)

    def _run(self, over: Callable[[], bool]) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while not over():
                if self._roster.draining and not self._has_left:
                    self._leave(selector, over)
                for key, _events in selector.select():
                    if key.fileobj is self._waker:
                        self._waker.wait(0)  # takes the byte, else the next select returns at once
                    elif not over():
                        self._accept_one()

    def _leave(self, selector: selectors.BaseSelector, over: Callable[[], bool]) -> None:
        """Accept nobody new from now on; let the listener go, except where health checks are to be answered."""
        if self._is_last:  # who waits in its queue would be reset when it is closed
            for _ in range(BACKLOG):  # no more than wait there now: others go on coming
                if over() or not self._accept_one():
                    break
        self._has_left = True
        if not self.stays:
            selector.unregister(self._listener)
            self.stop_listening()
        self._roster.set_accepting(False)

    @property
    def _is_last(self) -> bool:
        """Whether nobody may be left to accept what waits for this listener."""
        if self._options.listener is None:
            return True
        with suppress(AttributeError, OSError):  # not every system has it, and not every family of sockets
            return bool(self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))  # it has a queue of its own
        return False

    @property
    def stays(self) -> bool:
        """Whether the listener is kept while the server drains: nobody else answers health checks there.

        One that was given to the server is others' to accept on, and one worker's is its siblings'.
        """
        is_own = self._options.listener is None and (self._options.workers == 1 or self.all_drain)
        return is_own and self._health.is_asked

    def _accept_one(self) -> bool:
        """Take the next connection; whether there may be another one."""
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
            return False
        if self._prepares is None:
            self._prepares = self._options.listener is None and is_prepared(sock)
        timeout = self._options.handshake_timeout
        remote = as_address(address)
        self._admit(
            Connection(
                sock,
                next(self._numbers),
                self._options,
                self._roster,
                self._gateway,
                deadline=None if timeout is None else time.monotonic() + timeout,
                local_address=self._local_address,
                remote_address=remote,
                prepared=self._prepares,
                health=self._health if self._health.is_asked else None,
            ),
            remote,
        )
        return True

    def _admit(self, connection: Connection, remote: Address) -> None:
        """Start a connection's thread; whatever is in the way of that costs this connection only."""
        if self._has_left:
            connection.is_late = True
            if not self._send_away(connection, remote):
                self._roster.ledger.refused("draining")
            return
        if connection.sock.fileno() >= self._first_reserved:
            self._refuse(connection, remote, "descriptors")
            return
        verdict = self._roster.enter(connection, network_of(remote) if self._counts_networks else None)
        if verdict == "closing":
            connection.sock.close()
        elif verdict == "entered":
            if self._start(connection):
                self._crowded = False
            else:
                self._roster.ledger.refused("full")  # as of a WSGI server, where no thread is to be had either
        else:
            self._refuse(connection, remote, verdict)

    def _refuse(self, connection: Connection, remote: Address, obstacle: Obstacle | Literal["descriptors"]) -> None:
        """There is no room: answer 503, at once, or after its request was heard if that may be a health check."""
        self._say_refused(obstacle, remote)
        self._send_away(connection, remote)

    def _send_away(self, connection: Connection, remote: Address) -> bool:
        """Answer 503; whether its request is heard before, as it may be a health check."""
        if self._health.is_asked and self._roster.enter_beyond(connection, network_of(remote)):
            connection.go_beyond(time.monotonic() + _HEARING)
            return self._start(connection)
        self._turn_away(connection.sock)
        return False

    def _say_refused(self, obstacle: Obstacle | Literal["descriptors"], remote: Address) -> None:
        options = self._options
        self._roster.ledger.refused(obstacle)
        match obstacle:
            case "full":
                breaches.add("max_connections")
                limit = self._roster.most
                self._say_crowded("all %d connections are taken (max_connections); answering 503", limit)
            case "handshakes":
                breaches.add("max_handshakes")
                limit = self._roster.most_handshakes
                self._say_crowded("%d connections have sent no request yet (max_handshakes); answering 503", limit)
            case "address":
                breaches.add("max_connections_per_address")
                host = remote[0]
                self._advisor.warn(_log, obstacle, host, GREEDY, host, options.max_connections_per_address)
            case "descriptors":
                breaches.add("descriptors")
                self._say_crowded(
                    "this process has opened nearly all %d files that it may: answering 503; raise the limit "
                    "(ulimit -n, LimitNOFILE) or lower max_connections",
                    self._files,
                )

    def _start(self, connection: Connection) -> bool:
        """Start the thread of a connection that is in the roster; whether it was possible."""
        thread = PromptThread(self._pinning.target(connection.run), f"syncws-{connection.number}")
        try:
            thread.start()
        except (RuntimeError, MemoryError) as exc:  # "can't start new thread": a limit of the system
            self._say_crowded("a connection is lost, its thread cannot be started: %s", exc)
            self._turn_away(connection.sock)
            self._roster.leave(connection)
            return False
        return True

    def _say_crowded(self, message: str, *args: object) -> None:
        """Log a shortage once, not for each connection that meets it; and not each of many short ones."""
        if not self._crowded:
            self._crowded = True
            self._shortages += 1
        self._advisor.warn(_log, message, str(self._shortages), message, *args)

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
