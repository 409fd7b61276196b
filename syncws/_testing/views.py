"""A client of a WSGI application, without a server or a port."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Unpack

from .._base.callables import check_callable
from .._base.printable import printable
from .._client.dialer import Dialer, DialerKeywords
from .._conn.conn import Conn
from .._http.headers import HeaderSource
from .._http.http11 import HTTPConnection
from .._net.transport import Transport
from .._server.gateway import Application, Gateway
from .browsers import with_cookies


@contextlib.contextmanager
def connect(
    app: Application,
    path: str = "/",
    *,
    headers: HeaderSource | None = None,
    browser: object = None,
    **dialer_options: Unpack[DialerKeywords],
) -> Iterator[Conn]:
    """A client's connection to a WebSocket view of a WSGI application; it is closed at the end of the block.

    The application is hosted as ``Server(wsgi_app=app)`` hosts it, in a thread, for this one request, over a
    socketpair: no port is used. The client is at 127.0.0.1 and asks for ``http://localhost``.

    Args:
        app: the application.
        path: begins with a slash; a query string may follow.
        headers: further headers of the request, such as Cookie or Origin.
        browser: a test client of Flask, of werkzeug or of Django, whose cookies are sent: who has logged in with it is
            known here. None: no cookies but those in headers.
        dialer_options: those of `Dialer`, except proxy and net_dial. handshake_timeout is 10 seconds by default.

    Raises:
        BadHandshakeError: the application refused; ``response`` is its answer.
        TimeoutError: the application gave no answer within handshake_timeout.
        AssertionError: the handler is still running ten seconds after the connection was closed.
        ValueError, TypeError: an argument is invalid.
    """
    check_path(path)
    check_callable("app", app, "must be a WSGI application: a callable(environ, start_response)", may_yield=True)
    headers = with_cookies(headers, browser, path)
    options: DialerKeywords = {"handshake_timeout": 10.0, **dialer_options}
    dialer = Dialer(net_dial=lambda *_: theirs, proxy=None, **options)  # type: ignore[misc]  # TypeError for those two
    gateway = Gateway(app, max_body_size=None, body_timeout=10)
    theirs, ours = socket.socketpair()
    thread = threading.Thread(target=_host_one, args=(gateway, ours), name="syncws-testing", daemon=True)
    with theirs:
        try:
            thread.start()
        except BaseException:
            ours.close()
            raise
        try:
            with dialer.dial(f"ws://localhost{path}", headers) as conn:
                yield conn
        finally:
            theirs.close()  # the dialer has not closed it if it never got it
            thread.join(10)
            if thread.is_alive() and sys.exc_info()[0] is None:
                raise AssertionError(f"the handler of {path} is still running 10 s after its connection was closed")


def _host_one(gateway: Gateway, sock: socket.socket) -> None:
    """Serve one request of the application, and the WebSocket that it may become; then close the connection."""
    transport = Transport(sock)
    # Addresses like those of TCP: applications look at them, and may not expect "".
    transport.local_address, transport.remote_address = ("127.0.0.1", 80), ("127.0.0.1", 49152)
    http = HTTPConnection(transport)
    conns: list[Conn] = []
    try:
        request = http.read_request(time.monotonic() + 10)
        if request is not None:
            request.on_upgrade = conns.append
            gateway.serve(http, request, f"connect {printable(request.path)}")
    except OSError:  # the client has gone, and raises its own error
        pass
    finally:
        for conn in conns:
            conn.close_now()
        transport.close()


def check_path(path: str) -> None:
    """A path of a URL. Raises TypeError, ValueError."""
    if not isinstance(path, str):
        raise TypeError(f'a path is a str, such as "/echo", not {path!r}')
    if not path.startswith("/"):
        raise ValueError(f'a path begins with a slash, such as "/echo", and {path!r} does not')
