"""One WebSocket view of a WSGI application: who runs its handler, and the response that the view returns.

    serve(request, send_101, handler)    detached, in the view, or on our own server

**Detached** is the rule: the connection is taken away from its server (`detach`), the view returns at once, and the
handler runs in a thread of its own. A worker of one thread carries thousands of connections and still answers requests.

**In the view** the handler runs in the server's own thread, as it does with other libraries, and holds it. That is so
where a connection cannot be detached (`exchange.why_borrowed`), and on request.

**On our own server** each connection has a thread already. It runs the handler once the application has returned, so
that what an application does at the end of a request (sessions, transactions) is done, as where it is detached.

The end is the same in all of them: the closing handshake, no more bytes from here, what the peer still sends is read
for a moment, and the connection is cut. An empty 101 is what the view returns. The server tries to write it, finds that
the client has gone, which is nothing to any of them, and its access log says 101.
"""

from __future__ import annotations

import queue
import threading

from .._base.logs import logger
from .._base.printable import printable
from .._http.http11 import HTTPConnection
from .._http.request import Request
from .._http.wsgiresponse import WSGIResponse, switched
from .._net.transport import Transport
from .conversation import Conversation, Handler, Open
from .environ import without_server
from .exchange import HeldConnection, check_patched, why_borrowed
from .guests import Full, Seat
from .taken import Taken, Untakeable

_log = logger("syncws.wsgi")

#: Hands a connection over to the thread that was started for it; None where it could not be moved.
_Moved = queue.SimpleQueue[tuple[Transport, bytes] | None]


def serve(
    request: Request, send_101: Open, handler: Handler, *, detach: bool | None, limit: int | None
) -> WSGIResponse:
    """Run a handler over the connection of a request that was agreed on; what the view returns then.

    detach: True, False, or None for "if it can be". Raises Untakeable, Full, OSError; ValueError the second time.
    """
    exchange = request.exchange
    if exchange is None or exchange.taken_over or request.then is not None:
        raise ValueError("this request was upgraded before")
    if isinstance(exchange, HTTPConnection):
        conversation = Conversation(request, send_101, handler, detached=detach is not False)
        return _serve_on_our_server(request, exchange, conversation, in_view=detach is False)
    assert isinstance(exchange, HeldConnection)
    detached = _is_detached(exchange.find(), detach)
    conversation = Conversation(request, send_101, handler, detached=detached)
    if detached:
        return _serve_detached(request, exchange, conversation, limit)
    return _serve_in_view(exchange, conversation, limit)


def _is_detached(taken: Taken, wanted: bool | None) -> bool:
    """Whether to detach a connection. Raises Untakeable where what is wanted cannot be."""
    obstacle = why_borrowed(taken)
    if wanted and obstacle:
        raise Untakeable(f"a connection of {taken.server} cannot be detached: {obstacle}", "leave detach=True out")
    if wanted is False or obstacle:
        check_patched(taken)
        return False
    return True


def _serve_on_our_server(
    request: Request, exchange: HTTPConnection, conversation: Conversation, *, in_view: bool
) -> WSGIResponse:
    def run() -> None:
        conversation.run(*exchange.take_over())

    if in_view:
        run()
    else:
        request.then = run
    return switched()


def _serve_in_view(exchange: HeldConnection, conversation: Conversation, limit: int | None) -> WSGIResponse:
    seat = exchange.take_seat(in_view=True, limit=limit)
    try:
        transport, early_data = exchange.move()
        conversation.open(transport, early_data)
        conversation.talk()
    except BaseException:
        seat.leave()
        raise
    if transport.is_ours:
        _end_after_the_view(conversation, seat)
    else:  # it has to be over before the server goes on with its socket
        _end(conversation, seat)
    return switched()


def _end_after_the_view(conversation: Conversation, seat: Seat) -> None:
    """End it in a short thread: a peer may take its time to answer our close, and must not hold the server's thread."""
    seat.leave_view()
    try:
        threading.Thread(target=_end, args=(conversation, seat), name="syncws-ending", daemon=True).start()
    except (RuntimeError, MemoryError):  # no thread to be had
        _end(conversation, seat)


def _end(conversation: Conversation, seat: Seat) -> None:
    try:
        conversation.end()
    finally:
        seat.leave()


def _serve_detached(
    request: Request, exchange: HeldConnection, conversation: Conversation, limit: int | None
) -> WSGIResponse:
    seat = exchange.take_seat(in_view=False, limit=limit)
    moved: _Moved = queue.SimpleQueue()
    # Before the connection is taken: without a thread the server can still answer.
    _start_detached(request, conversation, moved, seat)
    connection = None
    try:
        server_keys = exchange.find().environ_keys
        connection = exchange.move()
        request.environ = without_server(request.environ, server_keys)  # before the handler may look at it
    finally:
        moved.put(connection)
    return switched()


def _start_detached(request: Request, conversation: Conversation, moved: _Moved, seat: Seat) -> None:
    """Start the thread of a detached connection. Raises Full: the seat was given back then."""
    try:
        threading.Thread(
            target=_run_detached,
            args=(printable(request.path), conversation, moved, seat),
            name="syncws-detached",
            daemon=True,
        ).start()
    except (RuntimeError, MemoryError) as exc:
        seat.leave()
        raise Full("no thread can be started for this connection", str(exc)) from exc


def _run_detached(path: str, conversation: Conversation, moved: _Moved, seat: Seat) -> None:
    seat.thread = threading.get_ident()
    try:
        connection = moved.get()
        if connection is not None:
            conversation.run(*connection)
    except SystemExit:  # of the handler: it ends the thread, as in any thread
        _log.debug("%s: the handler exited", path, extra={"path": path})
    finally:
        seat.leave()
