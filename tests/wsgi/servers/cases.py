"""What holds for every server whose sockets can be had. A test file of a server joins these rules with its name.

The environs are those of the servers themselves, as they are installed.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from wsgiref.validate import InputWrapper, validator

from django.core.handlers.wsgi import LimitedStream
from werkzeug.wsgi import LimitedStream as WerkzeugLimitedStream

from syncws._wsgi.taken import Environ
from syncws._wsgi.takers import find
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE
from tests.wsgi.serving import HANDSHAKE, receive_response, serving

EARLY = b"\x81\x85\0\0\0\0early"
GET = b"GET /next HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\nfirst,second"


def early_of(environ: Environ) -> bytes:
    """What came after the request, from the server's buffer and then from its socket."""
    taken = find(environ)
    data = taken.read_early()
    taken.sock.settimeout(PATIENCE)
    while len(data) < len(EARLY):
        data += taken.sock.recv(100)
    return data


def wrapping_input(app: Any) -> Any:
    """A middleware that puts werkzeug's, Django's and the validator's streams around wsgi.input."""

    def wrapping(environ: Environ, start_response: Any) -> Any:
        inner = LimitedStream(WerkzeugLimitedStream(environ["wsgi.input"], 0), 0)
        return app({**environ, "wsgi.input": InputWrapper(inner)}, start_response)

    return wrapping


class ServerCase(LeakChecks):
    """Looks at the environs of a real server, one of those in `serving`."""

    server: ClassVar[str]

    def look(
        self,
        probe: Callable[[Environ], Any],
        data: bytes = HANDSHAKE,
        *,
        tls: bool = False,
        middleware: Callable[[Any], Any] = lambda app: app,
    ) -> Any:
        """What probe(environ) gives in the view that serves a request; the server serves it to its end."""
        found: list[Any] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            try:
                found.append(probe(environ))
            except Exception as exc:
                found.append(exc)
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        with serving(self.server, middleware(app), tls=tls) as served, served.connect() as client:
            client.sendall(data)
            self.assertEqual(receive_response(client)[::2], (200, b"ok"))
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


_Case = ServerCase if TYPE_CHECKING else object


class ServerRules(_Case):
    """What is found in an environ, and that looking changes nothing: a handshake that is refused later leaves the
    server as it was."""

    name: ClassVar[str]  # as it begins
    pool: ClassVar[int | None] = None
    swallow: ClassVar[bool] = False

    def test_the_socket(self) -> None:
        """The server's own socket object is found, under its own name and number, with the peer at its other end."""

        def probe(environ: Environ) -> Any:
            taken = find(environ)
            self.assertTrue(taken.server.startswith(self.name), taken.server)
            self.assertIs(type(taken.sock), socket.socket)
            self.assertEqual(taken.fd, taken.sock.fileno())
            address, port = taken.sock.getpeername()
            self.assertEqual(address, environ["REMOTE_ADDR"])
            self.assertEqual(port, int(environ.get("REMOTE_PORT") or port))
            self.assertFalse(taken.is_tls)
            self.assertFalse(taken.is_green)
            self.assertTrue(taken.detachable)
            self.assertIsNone(taken.is_replaced)
            return taken.swallow, taken.pool

        self.assertEqual(self.look(probe), (self.swallow, self.pool))

    def test_what_the_environ_holds(self) -> None:
        """Whatever of the server's is in the environ stands under a key of WSGI, or under one that the taker names."""

        def probe(environ: Environ) -> list[str]:
            known = ("wsgi.", *find(environ).environ_keys)
            plain = (str, bytes, int, tuple)
            return [key for key, value in environ.items() if not (isinstance(value, plain) or key.startswith(known))]

        self.assertEqual(self.look(probe), [])

    def test_early_bytes(self) -> None:
        """A frame that came with the handshake is given whole."""
        self.assertEqual(self.look(early_of, HANDSHAKE + EARLY), EARLY)

    def test_no_early_bytes(self) -> None:
        """With nothing after the request there is no wait, and the socket's timeout is as it was."""
        self.assertEqual(self.look(self.early_at_once), b"")

    def early_at_once(self, environ: Environ) -> bytes:
        """What is early, read without changing anything."""
        taken = find(environ)
        before = taken.sock.gettimeout()
        early = taken.read_early()
        self.assertEqual(taken.sock.gettimeout(), before)
        self.assertEqual(os.get_blocking(taken.fd), before is None)
        return early

    def test_through_the_validator(self) -> None:
        """wsgiref.validate wraps wsgi.input, and does not stand in the way."""
        self.assertEqual(self.look(early_of, HANDSHAKE + EARLY, middleware=validator), EARLY)

    def test_the_environ(self) -> None:
        """The environ has the same objects under the same keys, and the socket the same timeout."""

        def probe(environ: Environ) -> Any:
            before = dict(environ)
            taken = find(environ)
            timeout = taken.sock.gettimeout()
            again = find(environ)
            self.assertIs(again.sock, taken.sock)
            self.assertEqual(taken.sock.gettimeout(), timeout)
            self.assertEqual(environ.keys(), before.keys())
            return [key for key in before if environ[key] is not before[key] and environ[key] != before[key]]

        self.assertEqual(self.look(probe), [])

    def test_the_body(self) -> None:
        """A body that is half read can be read to its end."""

        def probe(environ: Environ) -> Any:
            first = environ["wsgi.input"].read(6)
            find(environ)
            return first, environ["wsgi.input"].read(6)

        self.assertEqual(self.look(probe, POST), (b"first,", b"second"))


class TLSRules(ServerRules):
    """A server that speaks TLS itself."""

    def test_tls(self) -> None:
        """Where the server speaks TLS, what is found is its SSLSocket."""

        def probe(environ: Environ) -> Any:
            taken = find(environ)
            return type(taken.sock), taken.is_tls

        self.assertEqual(self.look(probe, tls=True), (ssl.SSLSocket, True))

    def test_early_bytes_through_tls(self) -> None:
        """A frame that came in the handshake's own record of TLS is given whole; without one there is no wait."""
        self.assertEqual(self.look(early_of, HANDSHAKE + EARLY, tls=True), EARLY)
        self.assertEqual(self.look(self.early_at_once, tls=True), b"")


class KeepAliveRules(_Case):
    """A server that serves another request on the same connection."""

    def test_the_next_request(self) -> None:
        """A request that came after this one is served after it."""
        paths: list[str] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            find(environ)
            paths.append(environ["PATH_INFO"])
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        with serving(self.server, app) as served, served.connect() as client:
            client.sendall(GET + GET)
            self.assertEqual(receive_response(client)[0], 200)
            self.assertEqual(receive_response(client)[0], 200)
        self.assertEqual(paths, ["/next", "/next"])


class GoneRules(_Case):
    """A server that makes nothing of a client that has gone."""

    def test_a_client_that_has_gone(self) -> None:
        """A client that has left, or has reset the connection, is nothing to fail for: who reads it finds out."""
        for reset in (False, True):
            with self.subTest(reset=reset):
                self.assertEqual(self.look_at_one_that_has_gone(reset), b"")

    def look_at_one_that_has_gone(self, reset: bool) -> Any:
        """What is early of a client that leaves while the view runs; what that raises."""
        found: list[Any] = []
        clients: list[socket.socket] = []
        there = threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            taken = find(environ)
            there.wait(PATIENCE)
            if reset:
                clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            clients[0].close()
            poller = select.poll()
            poller.register(taken.fd, select.POLLIN)
            poller.poll(PATIENCE * 1000)
            try:
                found.append(taken.read_early())
            except Exception as exc:
                found.append(exc)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return []

        with serving(self.server, app) as served:
            clients.append(served.connect())
            clients[0].sendall(HANDSHAKE)
            there.set()
            self.assertTrue(await_(lambda: bool(found), PATIENCE))
        return found[0]
