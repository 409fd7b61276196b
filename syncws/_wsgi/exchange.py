"""The connection of a request while a WSGI server holds it, and how it is taken over.

    find        what the server's taker tells of it; changes nothing
    take_seat   a place among the guests of this process
    move        the connection, for good: detached from its server where it can be, else borrowed

Until `move`, the server can still answer the request.
"""

from __future__ import annotations

import weakref

from .._base.green import is_green
from .._conn.conn import Conn
from .._net.transport import Transport
from .borrow import BorrowedTLSTransport, BorrowedTransport
from .detach import CAN_EXCHANGE, detach
from .detach_tls import can_detach_tls, detach_tls
from .foreign import ForeignTransport
from .guests import MAX_CONNECTIONS, Seat, guests
from .taken import Environ, Taken, Untakeable
from .takers import find


class HeldConnection:
    """The connection of a request that a WSGI server holds, to be taken over by an Upgrader: `Request.exchange`.

    Concurrency: for the thread of the view.
    """

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._taken: Taken | None = None
        self._seat: Seat | None = None
        self.taken_over = False

    def read_body(self, limit: int, deadline: float | None) -> bytes:
        """Read nothing: a handshake has no body, and of another request wsgi.input has it."""
        return b""

    def find(self) -> Taken:
        """The server's socket, before it is moved. Raises Untakeable; changes nothing."""
        if self._taken is None:
            self._taken = find(self._environ)
        return self._taken

    def take_seat(self, *, in_view: bool, limit: int | None) -> Seat:
        """Take a seat for it, which the caller gives back. Raises Untakeable, Full."""
        self._seat = guests().admit(self.find(), in_view=in_view, limit=limit)
        return self._seat

    def note_upgrade(self, conn: Conn) -> None:
        """Tell the seat of its connection: `Request.on_upgrade`."""
        if self._seat is not None:
            self._seat.connected(conn)

    def take_over(self) -> tuple[Transport, bytes]:
        """Take the connection for a Conn that the view itself uses, with what the client has sent after the request.

        Its seat is given back when the transport is closed, or collected. Raises Untakeable, Full, OSError.
        """
        check_patched(self.find())
        seat = self.take_seat(in_view=True, limit=MAX_CONNECTIONS)
        try:
            transport, early_data = self.move()
        except BaseException:
            seat.leave()
            raise
        transport.on_closed = finalizer = weakref.finalize(transport, seat.leave)
        finalizer.atexit = False  # it would run before the peers are told
        return transport, early_data

    def move(self) -> tuple[ForeignTransport, bytes]:
        """Take the connection for good, with what the client has sent after the request.

        Raises OSError: nothing has changed then, except that the early data is lost to the server.
        """
        taken = self.find()
        early_data = taken.read_early()
        transport = _transport(taken)
        self.taken_over = True
        taken.on_taken()
        self._environ, self._taken = {}, None  # they hold the server's streams
        return transport, early_data


def _transport(taken: Taken) -> ForeignTransport:
    if why_borrowed(taken):
        return BorrowedTLSTransport(taken.sock) if taken.is_tls else BorrowedTransport(taken.sock)
    return detach_tls(taken) if taken.is_tls else detach(taken)


def why_borrowed(taken: Taken) -> str:
    """Why a connection cannot be detached, and so not outlive its view; "" if it can."""
    if not CAN_EXCHANGE:
        return "this system cannot exchange descriptors"
    if taken.is_tls and not can_detach_tls(taken.sock):
        return "the server itself speaks TLS on it, and not by Python's own ssl.SSLSocket"
    return "" if taken.detachable else "its taker says so"


def check_patched(taken: Taken) -> None:
    """Raise Untakeable where the view is a greenlet in a process that is not patched: its waits would stop all others.

    For a connection that is served in the view.
    """
    if taken.is_green and not is_green():
        raise Untakeable(
            f"{taken.server} runs views in greenlets, and a WebSocket that waits in one of them would stop all others",
            "call gevent.monkey.patch_all() (eventlet.monkey_patch()) first, or let the connection be detached",
        )
