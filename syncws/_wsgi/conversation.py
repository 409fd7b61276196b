"""What happens on a connection that a handler serves, whoever runs it: the 101, the handler, the close."""

from __future__ import annotations

from collections.abc import Callable

from .._base.copies import forget_frames
from .._base.logs import logger
from .._base.printable import printable
from .._conn.conn import Conn
from .._conn.outcome import end_handled
from .._http.request import Request
from .._net.address import say_peer
from .._net.transport import Transport
from ..errors import HandshakeError

_log = logger("syncws.wsgi")

#: Sends the 101 on a transport, which is its own from then on: `Upgrader.open`.
Open = Callable[[Transport, bytes], Conn]

#: The application's handler, with the arguments it was given.
Handler = Callable[[Conn], object]


class Conversation:
    """A handler and its connection: `open`, `talk` and `end` it once each, in this order.

    If the client has gone before the 101, the handler is not called, and `talk` and `end` do nothing.

    Concurrency: for one thread at a time.
    """

    def __init__(self, request: Request, send_101: Open, handler: Handler, *, detached: bool) -> None:
        self._request = request
        self._send_101 = send_101
        self._handler = handler
        self._detached = detached  # what `Conn.detached` says
        self._conn: Conn | None = None
        self._raised: Exception | None = None  # by the handler
        self._result: object = None  # of the handler

    def run(self, transport: Transport, early_data: bytes) -> None:
        """All three."""
        self.open(transport, early_data)
        self.talk()
        self.end()

    def open(self, transport: Transport, early_data: bytes) -> None:
        """Send the 101 over a transport, on which the client has sent some bytes already."""
        try:
            self._conn = self._send_101(transport, early_data)
        except HandshakeError:  # the Upgrader has said so
            return
        self._conn.detached = self._detached

    def talk(self) -> None:
        """Run the handler. An exception that is no Exception cuts the connection, and is raised.

        gunicorn kills a view with SystemExit, gevent a greenlet with GreenletExit.
        """
        if self._conn is None:
            return
        try:
            self._result = self._handler(self._conn)
        except Exception as exc:
            self._raised = exc
        except BaseException:
            self._conn.close_now()
            self._conn._tell_end()
            raise

    def end(self) -> None:
        """Close the connection as the handler's outcome says, and wait for the peer's answer."""
        if self._conn is None:
            return
        who = f"{say_peer(self._request.remote_address)} {printable(self._request.path)}"
        end_handled(self._conn, self._raised, who, _log, self._result)
        self._free()

    def _free(self) -> None:
        """Drop what refers in circles, so that nothing is left to the garbage collector."""
        if self._raised is not None:
            forget_frames(self._raised)
        self._conn = self._raised = self._result = None
        self._request.on_upgrade = self._request.refusal = self._request.conn = None
