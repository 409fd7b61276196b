"""Views that are called by hand over a pair of sockets, as werkzeug would call them, without a server."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import syncws
from syncws._http.wsgiresponse import WSGIResponse
from syncws._wsgi import exchange
from syncws._wsgi.guests import guests
from syncws._wsgi.taken import Environ, Taken
from syncws.testing import LeakChecks, Peer, await_, socketpair
from tests.handshakes import KEY
from tests.tasks import PATIENCE, Task, linger_briefly
from tests.wsgi.serving import contexts, receive_response

Handler = Callable[[syncws.Conn], object]

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close resets


def nothing(conn: syncws.Conn) -> None:
    """A handler that returns at once."""


class Stream(io.BytesIO):
    """A wsgi.input that can be watched."""


class ByHandCase(LeakChecks):
    """Calls views."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.check_seats)
        linger_briefly(self)
        self.upgrader = syncws.Upgrader(close_timeout=PATIENCE)

    def check_seats(self) -> None:
        self.assertTrue(await_(lambda: len(guests()) == 0), "a seat was not given back")

    def environ(self, server: Any, **more: Any) -> Environ:
        """The environ of a good handshake on this socket."""
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/chat",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_SEC_WEBSOCKET_KEY": KEY,
            "REMOTE_ADDR": "192.0.2.1",
            "REMOTE_PORT": 4711,
            "wsgi.input": Stream(),
            "werkzeug.socket": server,
            **more,
        }

    def make_sockets(self) -> tuple[socket.socket, socket.socket]:
        """(the server's, the client's)"""
        server, client = socketpair()
        self.addCleanup(server.close)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        return server, client

    def make(self, **more: Any) -> tuple[Environ, socket.socket, Peer]:
        """(environ, the server's socket, the client)"""
        server, client = self.make_sockets()
        return self.environ(server, **more), server, Peer(client, masked=True)

    def make_tls(self) -> tuple[Environ, ssl.SSLSocket, Peer]:
        """The same, and the server speaks TLS."""
        server, client = socketpair()
        task = Task(contexts()[1].wrap_socket, client, server_hostname="localhost")
        wrapped = contexts()[0].wrap_socket(server, server_side=True)
        self.addCleanup(wrapped.close)
        peer = Peer(task.result(), masked=True)
        self.addCleanup(peer.socket.close)
        return self.environ(wrapped), wrapped, peer

    def serve(self, environ: Environ, handler: Handler = nothing, **options: Any) -> WSGIResponse:
        return self.upgrader.serve(environ, handler, **options)

    def opened(self, peer: Peer) -> Peer:
        """The 101 has come."""
        self.assertEqual(receive_response(peer.socket)[0], 101)
        return peer

    def check_refused(self, environ: Environ, status: int, *words: str, **options: Any) -> str:
        """It is refused, with these words in the log, and nothing has changed; the body."""
        ran: list[syncws.Conn] = []
        with self.assertLogs("syncws.server", logging.INFO) as logs:
            response = self.serve(environ, ran.append, **options)
        self.assertEqual((response.status, response.is_websocket), (status, False))
        for word in words:
            self.assertIn(word, logs.output[0])
        self.assertEqual(ran, [])
        self.check_seats()
        self.assertGreaterEqual(environ["werkzeug.socket"].fileno(), 0)
        return response.body.decode()

    @contextlib.contextmanager
    def taking(self, **changes: Any) -> Iterator[None]:
        """As if the server's taker said other things."""
        found = exchange.find

        def find(environ: Environ) -> Taken:
            taken = found(environ)
            return Taken(**{"server": taken.server, "sock": taken.sock, "fd": taken.fd, **changes})

        with mock.patch.object(exchange, "find", find):
            yield
