"""One WebSocket view of a WSGI application: from the environ to the connection, and the response that it returns.

    request_of(environ)            a Request, whose `exchange` takes the server's socket over
    serve(request, open_, call)    run a handler: detached, in the view, or on our own server

**Detached** is the rule: the connection is taken away from its server (`detach`), the view returns at once, and the
handler runs in a thread of its own. A worker of one thread carries thousands of connections and still answers requests.

**In the view** the handler runs in the server's own thread, as it does with other libraries, and holds it. So it is
where the server speaks TLS itself, on Windows, and on request.

**On our own server** each connection has a thread already. It runs the handler once the application has returned, so
that what an application does at the end of a request (sessions, transactions) is done, as where it is detached.

The end is the same in all of them: the closing handshake, no more bytes from here, what the peer still sends is read
for a moment, and the connection is cut. An empty 101 is what the view returns. The server tries to write it, finds that
the client has gone, which is nothing to any of them, and its access log says 101.
"""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import quote

from .._base.green import is_green
from .._conn.conn import Conn
from .._conn.outcome import end_handled
from .._http.headers import Headers
from .._http.http11 import HTTPConnection
from .._http.request import Request
from .._http.wsgiresponse import WSGIResponse, switched
from .._net.address import Address, say_peer
from .._net.transport import Transport
from ..errors import HandshakeError
from .borrow import BorrowedTLSTransport, BorrowedTransport
from .detach import CAN_EXCHANGE, detach
from .detach_tls import can_detach_tls, detach_tls
from .foreign import ForeignTransport
from .guests import Full, Seat, guests
from .taken import Environ, Taken, Untakeable
from .takers import find, http_version

_log = logging.getLogger("syncws.wsgi")

#: How many connections a process may have, where it is not said otherwise.
MAX_CONNECTIONS = 10_000

#: Where the request of an environ is kept: a view may ask for it more than once, and our own server has made it.
_KEY = "syncws.request"

#: What RFC 3986 allows in a path, beyond letters, digits and "_.-~".
_PATH_SAFE = "/:@!$&'()*+,;="

#: Under these keys any server keeps streams, which a detached connection would hold as long as it lives.
_STREAM_KEYS = ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper", _KEY)

#: Sends the 101 on a transport that is its own from then on: `Upgrader.open`.
Open = Callable[[Transport, bytes], Conn]

#: The handler, with the arguments it was given.
Call = Callable[[Conn], object]


# From an environ to a request


def request_of(environ: Environ) -> Request:
    """The request of an environ, the same one each time. Raises TypeError; ValueError for what HTTP does not allow."""
    if not isinstance(environ, dict) or "REQUEST_METHOD" not in environ:
        raise TypeError(f"a WSGI environ is a dict with REQUEST_METHOD, not {environ!r:.100}")
    known = environ.get(_KEY)
    if isinstance(known, Request):
        known.environ = environ
        return known
    environ, given = dict(environ), environ  # a copy, which does not refer back to the request
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    query = environ.get("QUERY_STRING", "")
    exchange = TakenConnection(environ)
    request = Request(
        environ["REQUEST_METHOD"],
        (quote(path.encode("latin-1", "replace"), safe=_PATH_SAFE) or "/") + (f"?{query}" if query else ""),
        Headers(_headers(environ)),
        http_version=http_version(environ),
        scheme=environ.get("wsgi.url_scheme", "http"),
        remote_address=_remote_address(environ),
        exchange=exchange,
        environ=environ,
    )
    request.on_upgrade = exchange.opened
    given[_KEY] = request
    return request


def _headers(environ: Environ) -> Iterable[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").title(), str(value)
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").title(), str(value)


def _remote_address(environ: Environ) -> Address:
    address = environ.get("REMOTE_ADDR", "")
    port = str(environ.get("REMOTE_PORT", ""))
    return (address, int(port) if port.isdecimal() else 0) if address else ""


class TakenConnection:
    """The connection of a request that a WSGI server holds, to be taken over by an Upgrader.

    Concurrency: for the thread of the view.
    """

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._taken: Taken | None = None
        self._seat: Seat | None = None
        self.taken_over = False

    def read_body(self, limit: int, deadline: float | None) -> bytes:
        """None: a handshake has no body, and of another request wsgi.input has it."""
        return b""

    def find(self) -> Taken:
        """The server's socket. Raises Untakeable; changes nothing."""
        if self._taken is None:
            self._taken = find(self._environ)
        return self._taken

    def take_seat(self, *, in_view: bool, limit: int | None) -> Seat:
        """Take a seat for it. Raises Untakeable, Full."""
        self._seat = guests().admit(self.find(), in_view=in_view, limit=limit)
        return self._seat

    def opened(self, conn: Conn) -> None:
        """There is a connection now."""
        if self._seat is not None:
            self._seat.connected(conn)

    def take_over(self) -> tuple[Transport, bytes]:
        """Take the connection for a Conn that is used in the view. Raises Untakeable, Full, OSError."""
        _check_patched(self.find())
        seat = self.take_seat(in_view=True, limit=MAX_CONNECTIONS)
        try:
            transport, early_data = self.move()
        except BaseException:
            seat.leave()
            raise
        # When it is closed, or left to the collector.
        transport.on_closed = finalizer = weakref.finalize(transport, seat.leave)
        finalizer.atexit = False  # it would run before the peers are told
        return transport, early_data

    def move(self) -> tuple[ForeignTransport, bytes]:
        """Take the connection, for good. Raises OSError: nothing has changed then."""
        taken = self.find()
        early_data = taken.read_early()
        transport = _transport(taken)
        self.taken_over = True
        taken.on_taken()
        self._environ, self._taken = {}, None  # they hold the server's streams
        return transport, early_data


def _transport(taken: Taken) -> ForeignTransport:
    if not _obstacle(taken):
        return detach_tls(taken) if taken.is_tls else detach(taken)
    return BorrowedTLSTransport(taken.sock) if taken.is_tls else BorrowedTransport(taken.sock)


def _check_patched(taken: Taken) -> None:
    """A view that waits in a process of greenlets stops all of them, unless the process is patched."""
    if taken.is_green and not is_green():
        raise Untakeable(
            f"{taken.server} runs views in greenlets, and a WebSocket that waits in one of them would stop all others",
            "call gevent.monkey.patch_all() (eventlet.monkey_patch()) first, or let the connection be detached",
        )


# Running a handler


def serve(request: Request, open_: Open, call: Call, *, detach: bool | None, limit: int | None) -> WSGIResponse:
    """Run a handler over the connection of a request that was agreed on; what the view returns then.

    detach: True, False, or None for as it can be. Raises Untakeable, Full, OSError; ValueError the second time.
    """
    exchange = request.exchange
    if exchange is None or exchange.taken_over or request.then is not None:
        raise ValueError("this request was upgraded before")
    if isinstance(exchange, HTTPConnection):
        return _serve_on_our_server(request, exchange, open_, call, detach)
    assert isinstance(exchange, TakenConnection)
    if _is_detached(exchange.find(), detach):
        return _serve_detached(request, exchange, open_, call, limit)
    return _serve_in_view(request, exchange, open_, call, limit)


def _is_detached(taken: Taken, wanted: bool | None) -> bool:
    obstacle = _obstacle(taken)
    if wanted and obstacle:
        raise Untakeable(f"a connection of {taken.server} cannot be detached: {obstacle}", "leave detach=True out")
    if wanted is False or obstacle:
        _check_patched(taken)
        return False
    return True


def _obstacle(taken: Taken) -> str:
    """Why a connection cannot outlive its view; "" if it can."""
    if not CAN_EXCHANGE:
        return "this system cannot exchange descriptors"
    if taken.is_tls and not can_detach_tls(taken.sock):
        return "the server itself speaks TLS on it, and not by Python's own ssl.SSLSocket"
    return "" if taken.detachable else "its taker says so"


def _serve_on_our_server(
    request: Request, exchange: HTTPConnection, open_: Open, call: Call, detach: bool | None
) -> WSGIResponse:
    def run() -> None:
        _talk(request, partial(open_, *exchange.take_over()), call, detached=detach is not False)()

    if detach is False:
        run()
    else:
        request.then = run
    return switched()


def _serve_in_view(
    request: Request, exchange: TakenConnection, open_: Open, call: Call, limit: int | None
) -> WSGIResponse:
    seat = exchange.take_seat(in_view=True, limit=limit)
    try:
        transport, early_data = exchange.move()
        end = _talk(request, partial(open_, transport, early_data), call, detached=False)
    except BaseException:
        seat.leave()
        raise
    if transport.is_ours:
        _end_behind_the_view(end, seat)
    else:  # the server's own socket: it has to be over before the server goes on with it
        _end_in_seat(end, seat)
    return switched()


def _end_behind_the_view(end: Callable[[], None], seat: Seat) -> None:
    """A peer that takes its time to answer our close, or to leave, holds a short thread up, and not the server's."""
    seat.leave_view()
    try:
        threading.Thread(target=_end_in_seat, args=(end, seat), name="syncws-ending", daemon=True).start()
    except (RuntimeError, MemoryError):  # no thread to be had
        _end_in_seat(end, seat)


def _end_in_seat(end: Callable[[], None], seat: Seat) -> None:
    try:
        end()
    finally:
        seat.leave()


def _serve_detached(
    request: Request, exchange: TakenConnection, open_: Open, call: Call, limit: int | None
) -> WSGIResponse:
    seat = exchange.take_seat(in_view=False, limit=limit)
    moved: queue.SimpleQueue[tuple[Transport, bytes] | None] = queue.SimpleQueue()

    def run() -> None:
        seat.thread = threading.get_ident()
        try:
            given = moved.get()
            if given is not None:
                _talk(request, partial(open_, *given), call, detached=True)()
        except SystemExit:  # of the handler: it ends the thread, as in any thread
            _log.debug("%s: the handler exited", request.path)
        finally:
            seat.leave()

    try:
        # Before the connection is taken: without a thread the server can still answer.
        threading.Thread(target=run, name="syncws-detached", daemon=True).start()
    except (RuntimeError, MemoryError) as exc:
        seat.leave()
        raise Full("no thread can be started for this connection", str(exc)) from exc
    connection = None
    try:
        server_keys = exchange.find().environ_keys
        connection = exchange.move()
        request.environ = _without_server(request.environ, server_keys)
    finally:
        moved.put(connection)
    return switched()


def _without_server(environ: Environ | None, server_keys: tuple[str, ...]) -> Environ:
    left_out = _STREAM_KEYS + server_keys
    return {key: value for key, value in (environ or {}).items() if not key.startswith(left_out)}


def _talk(request: Request, open_: Callable[[], Conn], call: Call, *, detached: bool) -> Callable[[], None]:
    """A connection from its 101 to the end of its handler; what is to be called then ends it."""
    try:
        conn = open_()
    except HandshakeError:  # the 101 could not be sent, and the Upgrader has said so
        return _nothing
    conn.detached = detached
    raised = None
    try:
        result = call(conn)
    except Exception as exc:
        raised = exc
    except BaseException:  # gunicorn kills a view with SystemExit, gevent a greenlet with GreenletExit
        conn.close_now()
        raise
    else:
        _check_result(request, result)
    return partial(_end, request, conn, raised)


def _nothing() -> None:
    pass


def _end(request: Request, conn: Conn, raised: Exception | None) -> None:
    """The closing handshake."""
    end_handled(conn, raised, f"{say_peer(request.remote_address)} {request.path}", _log)
    if raised is not None:
        raised.__traceback__ = None  # the connection keeps its end, which would keep the frames it passed through
    # They refer back to the request: it and its connection would be left to the garbage collector.
    request.on_upgrade = request.refusal = request.conn = None


def _check_result(request: Request, result: object) -> None:
    if result is not None:
        _log.error(
            "%s: the WebSocket handler returned %.200r, which nobody gets: the handshake is over by then. What refuses "
            "a request, such as a check of who is logged in, has to run before the handler",
            request.path,
            result,
        )
