"""Servers for the length of a block, and the clients that a test has of them."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Unpack

from .._client.dialer import Dialer, DialerKeywords
from .._conn.conn import Conn
from .._http.handshake import make_key
from .._http.headers import HeaderSource, checked_headers
from .._http.url import bracketed, parse_server_url
from .._server.gateway import Application
from .._server.options import ServeKeywords
from .._server.server import Server, upgrading
from .._server.upgrader import Upgrader
from .browsers import with_cookies
from .frames import Peer
from .views import check_path

#: Seconds that the other side of a client has to answer its close at the end of a test, before it is cut.
_FAREWELL = 1.0


@contextlib.contextmanager
def running(server: Server, *, timeout: float = 10) -> Iterator[Server]:
    """Serve from a thread for the length of the block, which gets the server, then shut it down.

    Args:
        server: what serves.
        timeout: seconds that handlers have to end, before their connections are cut.

    Raises:
        AssertionError: a handler is still running after that, although its connection was cut. An exception of the
            block is raised instead, if there is one.
        RuntimeError: `Server.start` could not start a thread, or the server has workers or serves already.
        TypeError: it is no Server.
    """
    if not isinstance(server, Server):
        raise TypeError(f"running takes a Server, not {server!r}: see serving, for a function of a connection")
    server.start()
    try:
        yield server
    finally:
        left = server.shutdown(timeout)
        if left and sys.exc_info()[0] is None:
            handlers = "a handler is" if left == 1 else f"{left} handlers are"
            raise AssertionError(f"{handlers} still running, {timeout:g} s after the server was told to end")


@contextlib.contextmanager
def serving(
    what: Callable[[Conn], object] | Server | None = None,
    *,
    wsgi_app: Application | None = None,
    upgrader: Upgrader | None = None,
    timeout: float = 10,
    **options: Unpack[ServeKeywords],
) -> Iterator[LiveServer]:
    """A server on a free port of the loopback interface, for the length of the block, and clients for it.

    Args:
        what: called with each connection, as by `syncws.serve`; or a `Server` of your own, which serves here.
        wsgi_app: serve this WSGI application instead, in place of what.
        upgrader: decides who may connect to what, and how.
        timeout: seconds that handlers have to end, before their connections are cut.
        options: those of `Server`.

    Raises:
        AssertionError: a handler is still running at the end, although its connection was cut.
        ValueError, TypeError: an argument is invalid.
        OSError: no port is to be had.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(_server(what, wsgi_app, upgrader, options), timeout=timeout))
        yield stack.enter_context(contextlib.closing(LiveServer(server)))


def _server(
    what: Callable[[Conn], object] | Server | None,
    wsgi_app: Application | None,
    upgrader: Upgrader | None,
    options: ServeKeywords,
) -> Server:
    if (what is None) == (wsgi_app is None):
        raise TypeError("what is to be served? Give a function of a connection, or a Server, or wsgi_app=")
    if isinstance(what, Server):
        if options or upgrader is not None:
            raise TypeError(f"a Server has its options already: {sorted(options) or ['upgrader']}")
        return what
    if what is None:
        if upgrader is not None:
            raise TypeError("a WSGI application has upgraders of its own; leave upgrader= out")
        return Server(None, "127.0.0.1", 0, wsgi_app=wsgi_app, **options)
    return Server(upgrading(what, upgrader), "127.0.0.1", 0, **options)


class LiveServer:
    """A server that runs for the length of a test, and the clients that the test has of it.

    * ``server``: the `Server`;
    * ``url``: where its WebSockets are: "ws://127.0.0.1:40123", to be followed by a path;
    * ``http_url``: where its pages are: "http://127.0.0.1:40123".

    Concurrency: for one thread.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        secure = "s" if server._options.ssl_context is not None else ""
        where = f"{bracketed(str(server.address[0]))}:{server.port}"
        self.url = f"ws{secure}://{where}"
        self.http_url = f"http{secure}://{where}"
        self._stack = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"<LiveServer {self.url}>"

    def dial(
        self,
        path: str = "/",
        headers: HeaderSource | None = None,
        *,
        browser: object = None,
        **dialer_options: Unpack[DialerKeywords],
    ) -> Conn:
        """A connection to it, which is closed at the end.

        Args:
            path: begins with a slash; a query string may follow.
            headers: further headers of the request, such as Origin.
            browser: a test client of Flask, of werkzeug or of Django, whose cookies are sent.
            dialer_options: those of `Dialer`. No proxy is asked, unless one is given.

        Raises what `Dialer.dial` raises: BadHandshakeError for a refusal; ValueError, TypeError for the arguments.
        """
        check_path(path)
        options: DialerKeywords = {"proxy": None, **dialer_options}
        conn = Dialer(**options).dial(self.url + path, with_cookies(headers, browser, path))
        self._stack.callback(say_goodbye, conn)
        return conn

    def raw(self, path: str = "/", headers: HeaderSource | None = None) -> Peer:
        """A client that has done its handshake, and then sends what it is told: a `Peer`. It is closed at the end.

        Args:
            path: begins with a slash; a query string may follow.
            headers: further headers of the request, such as Origin.

        Raises AssertionError if the server did not agree to a WebSocket, OSError, ValueError for a server with TLS, and
        ValueError and TypeError for the arguments.
        """
        check_path(path)
        peer = raw_client(self.url + path, headers)
        self._stack.callback(peer.socket.close)
        return peer

    def close(self) -> None:
        """Close its clients. Idempotent."""
        self._stack.close()


def raw_client(url: str, headers: HeaderSource | None = None) -> Peer:
    """Perform the opening handshake by hand, and hand the socket over to a `Peer`. See `LiveServer.raw`."""
    server = parse_server_url(url)
    if server.secure:
        raise ValueError("a raw client speaks no TLS; serve without ssl_context in this test")
    lines = [
        f"GET {server.target} HTTP/1.1",
        f"Host: {server.authority}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {make_key()}",
        *(f"{name}: {value}" for name, value in checked_headers(headers)),
    ]
    sock = socket.create_connection((server.host, server.port), timeout=10)
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = sock.recv(1 << 16)
            if not piece:
                raise AssertionError(f"the server ended the handshake after {answer!r}")
            answer += piece
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise AssertionError(f"the server did not agree to a WebSocket: {head!r}")
        return Peer(sock, masked=True, received=rest)
    except BaseException:
        sock.close()
        raise


def say_goodbye(conn: Conn) -> None:
    """Close a client's connection at the end of a test; a peer that does not answer is not waited for long."""
    conn.close(timeout=_FAREWELL)
