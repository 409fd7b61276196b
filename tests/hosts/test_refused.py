"""Servers that do not let a connection be taken over: what the client and the operator are told.

The answer names the server, the log says what to use instead; the server goes on as before.
"""

from __future__ import annotations

import unittest
from typing import ClassVar

import syncws
from syncws.testing import LeakChecks
from tests.partners import heavy

from . import servers
from .servers import Host, Setup, handshake, receive_response


class RefusedCases(LeakChecks):
    """A set-up that refuses."""

    setup: ClassVar[Setup]
    name: ClassVar[str]  # of the server
    advice: ClassVar[str]  # what the log says about it

    def test_refusal(self) -> None:
        """The client gets a 501 whose text names the server; the operator gets a line that says what to use instead."""
        with Host(self.setup) as host:
            for option in ("", "?detach=0", "?detach=1"):
                with self.subTest(option=option), host.connect() as sock:
                    before = host.log().count("\n")
                    sock.sendall(handshake(f"/echo{option}"))
                    status, headers, body = receive_response(sock)
                    self.assertEqual(status, 501)
                    self.assertIn(self.name, body.decode())
                    for hop in ("Upgrade", "Trailer", "Proxy-Authenticate"):
                        self.assertNotIn(hop, headers)
                    lines = host.log().splitlines()[before:]
                    self.assertEqual(len(lines), 1, lines)
                    self.assertIn(self.name, lines[0])
                    self.assertIn(self.advice, lines[0])
            self.assertEqual(host.get("/plain")[0], 200)
            self.assertEqual(host.complaints(), [])


@heavy
class GranianTests(RefusedCases):
    setup = servers.GRANIAN
    name = "granian"
    advice = "serve with gunicorn (gthread), or with syncws.Server(wsgi_app=...)"


@heavy
class WaitressAheadTests(RefusedCases):
    setup = servers.WAITRESS_AHEAD
    name = "waitress"
    advice = "channel_request_lookahead=0"


@heavy
class UWSGIRouterTests(RefusedCases):
    setup = servers.UWSGI_ROUTER
    name = "uWSGI"
    advice = "--http-socket"


# The module's loader finds tests in every class it sees, and the cases alone have no set-up.
del RefusedCases


class HTTP2Tests(unittest.TestCase):
    def test_stream(self) -> None:
        """A stream of gunicorn's HTTP/2 is refused, though it shows the socket: that one is shared by all streams."""
        environ = {
            "REQUEST_METHOD": "GET",
            "SERVER_PROTOCOL": "HTTP/2.0",
            "SERVER_SOFTWARE": "gunicorn/27",
            "PATH_INFO": "/echo",
            "HTTP_HOST": "localhost",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_SEC_WEBSOCKET_KEY": servers.KEY,
            "gunicorn.socket": self,  # touching it would be an error
        }
        with self.assertLogs("syncws", "INFO") as logs:
            response = syncws.Upgrader().serve(environ, self.fail)
        self.assertFalse(response.is_websocket)
        self.assertEqual(response.status, 501)
        self.assertIn("HTTP/2", response.body.decode())
        self.assertIn("--http-protocols h1", logs.output[0])
