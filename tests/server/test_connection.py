"""connection.py: HTTP and WebSocket in one connection's thread, and what a handler's outcome means."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import struct
import threading
import time
import unittest
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

from syncws._base.advice import Advisor
from syncws._base.counters import breaches
from syncws._conn.conn import Conn
from syncws._http.headers import Headers
from syncws._http.httpclient import ReceivedResponse
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._net.transport import Transport
from syncws._server import connection as connection_module
from syncws._server.connection import Connection
from syncws._server.roster import Roster
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import BadHandshakeError, ConnectionClosed, HandshakeError, ProxyError
from syncws.testing import Peer, await_
from tests import certificates
from tests.handshakes import asking
from tests.server.cases import GET, TEXT, UPGRADE, WAIT, ServerTestCase, echo, hello, upgrader


class HTTPTests(ServerTestCase):
    def test_a_page_beside_websocket(self) -> None:
        """A handler answers what is no upgrade with a Response."""

        def handler(request: Request) -> Response | None:
            return echo(request) if request.path == "/chat" else hello(request)

        with self.serving(handler) as server:
            with self.client(server) as client:
                status, headers, body = client.request()
                self.assertEqual((status, body), (200, b"hello /"))
                self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")
            with self.client(server) as client:
                client.upgrade()

    def test_keep_alive(self) -> None:
        """Several requests on one connection, pipelined too, and an upgrade after them; early frames are kept."""

        def handler(request: Request) -> Response | None:
            return echo(request) if request.path == "/chat" else hello(request)

        with self.serving(handler) as server, self.client(server) as client:
            self.assertEqual(client.request()[0], 200)
            self.assertEqual(client.request(GET + GET)[0], 200)
            self.assertEqual(client.response()[0], 200)
            client.socket.sendall(UPGRADE + client.peer.frame(TEXT, "early"))
            self.assertEqual(client.upgraded().receive_frame().payload, b"early")

    def test_keep_alive_ends(self) -> None:
        """An idle connection is closed after keep_alive_timeout, without a word."""
        with self.serving(hello, keep_alive_timeout=0.05) as server, self.client(server) as client:
            self.assertEqual(client.request()[0], 200)
            self.assertTrue(client.at_end())

    def test_limits_of_a_head(self) -> None:
        """A head over max_head_size, or with more lines than max_headers, is 431."""
        for limits in ({"max_head_size": len(GET) - 1}, {"max_headers": 1}):
            request = GET.replace(b"\r\n\r\n", b"\r\nA: 1\r\n\r\n") if "max_headers" in limits else GET
            with self.subTest(**limits), self.serving(hello, **limits) as server, self.client(server) as client:
                self.assertEqual(client.request(request)[0], 431)

    def test_connection_close(self) -> None:
        """The connection ends after a response to a request that asks for it."""
        with self.serving(hello) as server, self.client(server) as client:
            request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            self.assertEqual(client.request(request)[0], 200)
            self.assertTrue(client.at_end())

    def test_an_unread_body_does_not_destroy_the_response(self) -> None:
        """A handler that answers without reading a large body is heard: the rest is read for a moment."""
        with self.serving(hello) as server, self.client(server) as client:
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
            self.assertEqual(client.request(head + b"x" * 400000)[0], 200)
            self.assertTrue(client.at_end())

    def test_bad_requests(self) -> None:
        """What is malformed gets its status, one INFO line without traceback, and the end."""
        rows = [
            (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, b"nonsense\r\n\r\n"),
            (431, b"GET / HTTP/1.1\r\nX: " + b"x" * 20000),
        ]
        with self.serving(hello) as server:
            for status, request in rows:
                with (
                    self.subTest(request=request[:40]),
                    self.assertLogs("syncws.server", logging.INFO) as logs,
                    self.client(server) as client,
                ):
                    self.assertEqual(client.request(request)[0], status)
                    self.assertTrue(client.at_end())
                self.assertEqual([record.levelname for record in logs.records], ["INFO"])
                self.assertIsNone(logs.records[0].exc_info)

    def test_a_body_over_the_limit(self) -> None:
        """request.body() that escapes as an BadRequest is answered with its status."""
        with (
            self.serving(lambda request: Response(request.body(limit=3))) as server,
            self.assertLogs("syncws.server", logging.INFO) as logs,
            self.client(server) as client,
        ):
            request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
            self.assertEqual(client.request(request)[0], 413)
        self.assertEqual(logs.records[0].levelname, "INFO")

    def test_a_client_that_leaves(self) -> None:
        """Connecting and leaving, as browsers and health checks do, is not worth a line."""
        done = threading.Event()
        with self.assertNoLogs("syncws", logging.INFO), self.serving(hello) as server:
            with mock.patch.object(server._roster, "leave", side_effect=lambda each: done.set()):
                with self.client(server):
                    pass
                self.wait(done)
            with server._roster.lock:
                server._roster._connections.clear()

    def test_handler_returns_none(self) -> None:
        """None without an upgrade or a refusal is the application's mistake: 500, logged."""
        with (
            self.serving(lambda request: None) as server,
            self.assertLogs("syncws.server", logging.ERROR) as logs,
            self.client(server) as client,
        ):
            self.assertEqual(client.request()[0], 500)
        self.assertIn("returned None", logs.output[0])

    def test_handler_returns_something_else(self) -> None:
        """Anything but a Response or None is the application's mistake: 500, logged."""
        with (
            self.serving(lambda request: "page") as server,
            self.assertLogs("syncws.server", logging.ERROR) as logs,
            self.client(server) as client,
        ):
            self.assertEqual(client.request()[0], 500)
        self.assertIn("'page'", logs.output[0])

    def test_handler_crashes(self) -> None:
        """An exception is 500 without its text, and a traceback in the log; the next request is served."""
        crashes = [ZeroDivisionError("secret")]

        def handler(request: Request) -> Response:
            if crashes:
                raise crashes.pop()
            return hello(request)

        with self.serving(handler) as server, self.client(server) as client:
            with self.assertLogs("syncws.server", logging.ERROR) as logs:
                status, _, body = client.request()
            self.assertEqual(status, 500)
            self.assertNotIn(b"secret", body)
            self.assertIs(logs.records[0].exc_info[0], ZeroDivisionError)  # type: ignore[index]
            self.assertEqual(client.request()[0], 200)

    def test_a_refusal_that_escapes(self) -> None:
        """The response of a HandshakeError that leaves the handler is sent; the Upgrader's one line is the log."""
        with (
            self.serving(echo) as server,
            self.assertLogs("syncws.server", logging.INFO) as logs,
            self.client(server) as client,
        ):
            status, headers, _ = client.request()
            self.assertEqual((status, headers["sec-websocket-version"]), (400, "13"))
        self.assertEqual(len(logs.records), 1)

    def test_a_refusal_that_the_handler_swallows(self) -> None:
        """The response is sent as well if the handler returns None after it; its own Response goes first."""
        answers: list[Response | None] = [None, Response("own", 418)]

        def handler(request: Request) -> Response | None:
            with contextlib.suppress(HandshakeError):
                upgrader.upgrade(request)
            return answers.pop(0)

        with self.assertLogs("syncws.server") as logs, self.serving(handler) as server:
            for status in (400, 418):
                with self.client(server) as client:
                    self.assertEqual(client.request()[0], status)
        self.assertEqual({record.levelno for record in logs.records}, {logging.INFO})

    def test_a_handshake_error_of_the_application(self) -> None:
        """A HandshakeError without a response is answered with its status and text."""

        def handler(request: Request) -> None:
            raise HandshakeError("log in first", 401)

        with self.serving(handler) as server, self.client(server) as client:
            status, _, body = client.request(UPGRADE)
            self.assertEqual((status, body), (401, b"log in first\n"))

    def test_auth_before_the_101(self) -> None:
        """A handler may answer an upgrade request with any Response instead of upgrading."""
        with self.serving(lambda request: Response("who are you?", 401)) as server, self.client(server) as client:
            self.assertEqual(client.request(UPGRADE)[0], 401)
            self.assertTrue(client.at_end())


class ExpectTests(ServerTestCase):
    """RFC 9110 section 7.8: a request with Upgrade and "Expect: 100-continue" gets a 100 before the 101."""

    ASKING = UPGRADE.replace(b"Upgrade: websocket", b"Expect: 100-continue\r\nUpgrade: websocket", 1)

    def test_handshake(self) -> None:
        """A handshake with it is answered with 100 and then 101, by a handler and in a WSGI view."""

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            return Upgrader().serve(environ, lambda conn: conn.send("hello"))(environ, start_response)

        for handler, options in ((echo, {}), (None, {"wsgi_app": application})):
            with self.subTest(options), self.serving(handler, **options) as server, self.client(server) as client:
                self.assertEqual(client.request(self.ASKING)[0], 100)
                client.upgraded().close()

    def test_no_upgrade(self) -> None:
        """A request that is answered without an upgrade, or refused, gets its one answer."""
        with self.serving(hello) as server, self.client(server) as client:
            self.assertEqual(client.request(self.ASKING)[0], 200)
        with self.serving(echo) as server, self.client(server) as client, self.assertLogs("syncws.server"):
            self.assertEqual(client.request(self.ASKING.replace(b"Key", b"Lock"))[0], 400)


class AllowedHostsTests(ServerTestCase):
    """A page whose name was made to point here (DNS rebinding) has an Origin and a Host that agree."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(connection_module, "advisor", Advisor()))

    def test_other_hosts(self) -> None:
        """With allowed_hosts a request for another host is answered with 421, HTTP and handshakes alike."""
        before = breaches.snapshot().get("allowed_hosts", 0)
        with self.serving(allowed_hosts=["localhost", "[::1]"]) as server:
            for data in (
                GET.replace(b"localhost", b"evil.example"),
                asking("/", "evil.example").replace(b"Upgrade\r\n", b"Upgrade\r\nOrigin: http://evil.example\r\n", 1),
                b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"GET / HTTP/1.0\r\n\r\n",
                b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
            ):
                with self.subTest(data), self.client(server) as client, self.assertLogs("syncws.server", "DEBUG"):
                    status, _, body = client.request(data)
                    self.assertEqual(
                        (status, body), (421, b"this server does not answer to the host of this request\n")
                    )
            self.assertEqual(breaches.snapshot().get("allowed_hosts", 0), before + 5)

    def test_own_hosts(self) -> None:
        """What is listed is served, with any port, and by default every host is: nginx passes the public name on."""
        with self.serving(allowed_hosts=["localhost", "*.example"]) as server:
            for host in ("localhost", "LOCALHOST:8080", "app.example."):
                with self.client(server) as client:
                    client.socket.sendall(asking("/", host))
                    client.upgraded()
        with self.serving() as server, self.client(server) as client:
            client.socket.sendall(asking("/", "app.example"))
            client.upgraded()

    def test_advice(self) -> None:
        """The log shows the host once a minute, names the setting, and what is shown can be listed."""
        with self.serving(hello, allowed_hosts=["a.example"]) as server, self.assertLogs("syncws.server") as logs:
            for _ in range(3):
                with self.client(server) as client:
                    client.request()
        lines = [record.getMessage() for record in logs.records if record.levelno == logging.WARNING]
        self.assertEqual(len(lines), 1)
        self.assertIn("its Host is 'localhost'; to serve it, add it to allowed_hosts of the Server", lines[0])

    def test_the_connection_goes_on(self) -> None:
        """A connection whose request was for another host may ask for one that is served."""
        with self.serving(hello, allowed_hosts=["localhost"]) as server, self.client(server) as client:
            with self.assertLogs("syncws.server"):
                self.assertEqual(client.request(GET.replace(b"localhost", b"b.example"))[0], 421)
            self.assertEqual(client.request()[0], 200)

    def test_hosted_application(self) -> None:
        """A WSGI application is not asked either."""

        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Length", "0")])
            return []

        with self.serving(None, wsgi_app=application, allowed_hosts=["localhost"]) as server:
            with self.client(server) as client:
                self.assertEqual(client.request()[0], 200)
            with self.client(server) as client, self.assertLogs("syncws.server"):
                self.assertEqual(client.request(GET.replace(b"localhost", b"evil.example"))[0], 421)

    def test_health_checks(self) -> None:
        """A health check is answered whatever its Host: a load balancer and the kubelet ask by address."""
        with self.serving(health_path="/healthz", allowed_hosts=["localhost"]) as server:
            with self.client(server) as client:
                self.assertEqual(client.request(b"GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:8080\r\n\r\n")[0], 200)

    def test_wrong_entries(self) -> None:
        """A URL, or an empty list, is refused when the server is made, and the error says what to write."""
        for hosts, message in ((["http://localhost"], "write the host alone, 'localhost'"), ([], "is empty")):
            with self.assertRaisesRegex(ValueError, f"^allowed_hosts.*{message}"):
                Server(hello, port=0, allowed_hosts=hosts)


class StrangerTests(ServerTestCase):
    """What speaks no HTTP here is named."""

    def test_proxy_protocol(self) -> None:
        """A proxy that sends the PROXY protocol: 400 that names it, and a WARNING that says where to turn it off."""
        with (
            mock.patch.object(connection_module, "advisor", Advisor()),
            self.serving(hello) as server,
            self.assertLogs("syncws.server", logging.INFO) as logs,
        ):
            for data in (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n" + GET,
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + GET,
            ):
                with self.client(server) as client:
                    status, _, body = client.request(data)
                    self.assertEqual(status, 400)
                    self.assertIn(b"the client speaks the PROXY protocol", body)
        self.assertEqual([record.levelname for record in logs.records], ["WARNING", "WARNING"])
        for record in logs.records:
            self.assertIn("a proxy in front sends it: turn it off there (HAProxy: send-proxy", record.getMessage())

    def test_others(self) -> None:
        """A scanner that speaks something else costs one INFO line, and no wait for the end of a line."""
        for data, words in (
            (b"\x16\x03\x01\0\xa5", "TLS"),
            (b"\x05\x01\0", "SOCKS"),
            (b"\xfe", "this is no request of HTTP"),
        ):
            with (
                self.serving(hello, handshake_timeout=None) as server,
                self.assertLogs("syncws.server", logging.INFO) as logs,
                self.client(server) as client,
            ):
                self.assertEqual(client.request(data)[0], 400)
            (record,) = logs.records
            self.assertEqual(record.levelname, "INFO")
            self.assertIn(words, record.getMessage())


class TimeoutTests(ServerTestCase):
    def test_a_silent_client(self) -> None:
        """A client that says nothing is let go after handshake_timeout, without an answer."""
        with (
            self.assertNoLogs("syncws", logging.INFO),
            self.serving(hello, handshake_timeout=0.05) as server,
            self.client(server) as client,
        ):
            self.assertTrue(client.at_end())

    def test_a_slow_head(self) -> None:
        """A head that is not complete in time is 408."""
        with (
            self.serving(hello, handshake_timeout=0.5) as server,  # within which its beginning has to come
            self.assertLogs("syncws.server", logging.INFO),
            self.client(server) as client,
        ):
            self.assertEqual(client.request(GET[:-2])[0], 408)
            self.assertTrue(client.at_end())

    def test_drops_do_not_renew_the_deadline(self) -> None:
        """handshake_timeout is one deadline for the whole head, however often a byte comes."""
        with (
            self.serving(hello, handshake_timeout=0.2) as server,
            self.assertLogs("syncws.server", logging.INFO),
            self.client(server) as client,
        ):
            started = time.monotonic()
            client.socket.sendall(b"GET / HTTP/1.1\r\nX: ")
            client.socket.settimeout(0.01)
            while time.monotonic() < started + WAIT:
                try:
                    received = client.socket.recv(4096)
                    break
                except TimeoutError:
                    client.socket.sendall(b"x")
            self.assertTrue(received.startswith(b"HTTP/1.1 408 "))


class TLSTests(ServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server_context, cls.client_context = certificates.contexts()

    def test_echo(self) -> None:
        """wss:// and https:// are served with an ssl_context, and the request knows it."""
        schemes: list[str] = []

        def handler(request: Request) -> None:
            schemes.append(request.scheme)
            echo(request)

        with (
            self.serving(handler, ssl_context=self.server_context) as server,
            self.client(server, tls=self.client_context) as client,
        ):
            peer = client.upgrade()
            peer.send_frame(TEXT, "hi")
            self.assertEqual(peer.receive_frame().payload, b"hi")
            peer.close()
            self.assertEqual(peer.receive_close(), (1000, ""))
        self.assertEqual(schemes, ["https"])

    def test_a_client_that_speaks_no_tls(self) -> None:
        """Plain HTTP on a TLS port costs one INFO line, which says so."""
        with (
            self.serving(ssl_context=self.server_context) as server,
            self.assertLogs("syncws.server", logging.INFO) as logs,
            self.client(server) as client,
        ):
            client.socket.sendall(GET)
            while client.socket.recv(4096):
                pass
        self.assertEqual([(each.levelname, each.exc_info) for each in logs.records], [("INFO", None)])
        self.assertIn("the client speaks plain HTTP", logs.output[0])

    def test_other_protocols(self) -> None:
        """A proxy that sends the PROXY protocol in front of TLS is a WARNING that says where to turn it off."""
        for data, level, words in (
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "WARNING", ("PROXY protocol, version 1", "send-proxy")),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "WARNING", ("PROXY protocol, version 2", "proxy_protocol on")),
            (b"OPTIONS / HTTP/1.1\r\n\r\n", "INFO", ("the client speaks plain HTTP", "TLS (https:, wss:)")),
            (b"SSH-2.0-OpenSSH\r\n", "INFO", ("the client speaks SSH",)),
        ):
            with (
                self.subTest(data),
                mock.patch.object(connection_module, "advisor", Advisor()),
                self.serving(ssl_context=self.server_context) as server,
                self.assertLogs("syncws.server", logging.INFO) as logs,
                self.client(server) as client,
            ):
                client.socket.sendall(data)
                while client.socket.recv(4096):
                    pass
            (record,) = logs.records
            self.assertEqual((record.levelname, record.exc_info), (level, None))
            for word in words:
                self.assertIn(word, record.getMessage())

    def test_a_silent_client(self) -> None:
        """handshake_timeout covers the TLS handshake."""
        with (
            self.serving(ssl_context=self.server_context, handshake_timeout=0.05) as server,
            self.assertLogs("syncws.server", logging.INFO),
            self.client(server) as client,
        ):
            self.assertTrue(client.at_end())

    def test_one_client_does_not_hold_up_another(self) -> None:
        """A client in the middle of its TLS handshake keeps nobody else waiting."""
        with (
            self.serving(hello, ssl_context=self.server_context) as server,
            self.client(server),
            self.client(server, tls=self.client_context) as client,
        ):
            self.assertEqual(client.request()[0], 200)

    def test_a_full_server(self) -> None:
        """Over max_connections a TLS client is closed: there is nothing to say it in."""
        with (
            self.serving(ssl_context=self.server_context, max_connections=1) as server,
            self.client(server, tls=self.client_context) as client,
        ):
            client.upgrade()
            with self.assertLogs("syncws.server", logging.WARNING), self.client(server) as another:
                self.assertTrue(another.at_end())


class OutcomeTests(ServerTestCase):
    """What the way a handler leaves its WebSocket connection means."""

    def closed_with(self, handler: Callable[[Conn], Any]) -> tuple[int | None, str]:
        """The close that a client gets which does nothing but answer it."""

        def upgrading(request: Request) -> Any:
            return handler(upgrader.upgrade(request))

        with self.serving(upgrading) as server, self.client(server) as client:
            peer = client.upgrade()
            close = peer.receive_close()
            peer.close(close[0])
            self.assertTrue(peer.at_end())
            return close

    def test_freed_at_once(self) -> None:
        """A connection that ended, whichever way, is freed without a run of the garbage collector."""
        made: list[weakref.ref[Conn]] = []

        def reading(conn: Conn) -> None:
            made.append(weakref.ref(conn))
            while True:
                conn.receive()

        def iterating(conn: Conn) -> None:
            made.append(weakref.ref(conn))
            for _ in conn:
                pass

        def keeping(conn: Conn) -> None:
            made.append(weakref.ref(conn))
            try:
                while True:
                    conn.receive()
            except ConnectionClosed as error:
                kept = error
                raise kept from None

        def breach(peer: Peer) -> None:
            peer.send(b"\xff\xff")

        def reset(peer: Peer) -> None:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.socket.close()

        ends: list[Callable[[Peer], object]] = [Peer.close, breach, reset, lambda peer: None]
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for handler in (reading, iterating, keeping):
            for end in ends:
                with self.serving(lambda request: handler(upgrader.upgrade(request))) as server:  # noqa: B023
                    with self.client(server) as client:
                        end(client.upgrade())
                    if end is reset:  # else the shutdown may come first, and the reader never sees the reset
                        self.assertTrue(await_(lambda: len(server._roster) == 0))
                self.assertTrue(await_(lambda: made[-1]() is None))
        self.assertEqual(len(made), 12)

    def test_return(self) -> None:
        """A handler that returns is done: 1000."""
        with self.assertNoLogs("syncws", logging.INFO):
            self.assertEqual(self.closed_with(lambda conn: None), (1000, ""))

    def test_exception(self) -> None:
        """A handler that raises is a crash: 1011, and its traceback in the log."""
        with self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.assertEqual(self.closed_with(lambda conn: 1 / 0), (1011, ""))
        self.assertEqual(len(logs.records), 1)
        self.assertIs(logs.records[0].exc_info[0], ZeroDivisionError)  # type: ignore[index]

    def test_a_response_after_an_upgrade(self) -> None:
        """A Response can no longer be sent: an error in the log says so, and the close is no normal one."""
        with self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.assertEqual(self.closed_with(lambda conn: Response("too late")), (1008, ""))
        self.assertIn("which nobody gets", logs.output[0])

    def test_connection_closed(self) -> None:
        """The end of its connection that escapes ends the handler quietly."""

        def handler(conn: Conn) -> None:
            conn.close(timeout=0)
            conn.send("later")

        with self.assertNoLogs("syncws.server", logging.INFO):
            self.assertEqual(self.closed_with(handler), (1000, ""))

    def test_a_handler_that_was_written_for_a_connection(self) -> None:
        """One that iterates over its request, or sends on it, is told what a Server gives, and what gives a connection;
        a mistake of another kind is told as it is."""

        def wrong(request: Request) -> None:
            raise TypeError("a mistake of another kind")

        handlers = ((lambda conn: list(conn), True), (lambda conn: conn.send("hello"), True), (wrong, False))
        for handler, is_told in handlers:
            with self.subTest(is_told), self.assertLogs("syncws.server", logging.ERROR) as logs:
                with self.serving(handler) as server, self.client(server) as client:
                    self.assertEqual(client.request()[0], 500)
                told = "the handler of a Server gets a Request, and upgrades it: with upgrader.upgrade(request) as conn"
                self.assertEqual(told in logs.output[0], is_told)

    def test_the_refusal_of_another_server(self) -> None:
        """A handler that is refused elsewhere, as a client, has failed: 500, and not that server's status."""
        answer = ReceivedResponse(200, "OK", Headers())
        for refusal in (BadHandshakeError("no WebSocket there", answer), ProxyError("no tunnel", 407)):

            def handler(request: Request, refusal: HandshakeError = refusal) -> None:
                raise refusal

            with self.subTest(refusal), self.assertLogs("syncws.server", logging.ERROR) as logs:
                with self.serving(handler) as server, self.client(server) as client:
                    self.assertEqual(client.request()[0], 500)
                self.assertIn("the handler raised", logs.output[0])

    def test_a_breach_of_the_protocol(self) -> None:
        """A ProtocolError that escapes is the peer's fault: one INFO line, no traceback."""

        def handler(request: Request) -> None:
            conn = upgrader.upgrade(request)
            conn.set_read_limit(1)
            conn.receive()

        with self.assertLogs("syncws.server", logging.INFO) as logs, self.serving(handler) as server:
            with self.client(server) as client:
                peer = client.upgrade()
                peer.send_frame(2, b"22")
                self.assertEqual(peer.receive_close()[0], 1009)
        self.assertEqual([(each.levelname, each.exc_info) for each in logs.records], [("INFO", None)])
        self.assertIn("over the limit of 1", logs.output[0])

    def test_the_peer_leaves(self) -> None:
        """A peer that vanishes under a blocked read is not worth a line of the server's."""
        ended = threading.Event()

        def handler(request: Request) -> None:
            try:
                upgrader.upgrade(request).read_message()
            finally:
                ended.set()

        with self.assertNoLogs("syncws.server", logging.INFO), self.serving(handler) as server:
            with self.client(server) as client:
                client.upgrade()
            self.wait(ended)

    def test_a_timeout_of_the_peer(self) -> None:
        """A ReadTimeout that escapes is the peer's fault: one INFO line, no traceback; 1011."""

        def handler(conn: Conn) -> None:
            conn.receive(timeout=0)

        with self.assertLogs("syncws.server", logging.INFO) as logs:
            self.assertEqual(self.closed_with(handler)[0], 1011)
        self.assertEqual([(each.levelname, each.exc_info) for each in logs.records], [("INFO", None)])

    def test_the_handler_closed_already(self) -> None:
        """What the handler closed with stays."""
        self.assertEqual(self.closed_with(lambda conn: conn.close(4401, "log in")), (4401, "log in"))

    def test_system_exit(self) -> None:
        """SystemExit ends the handler's thread, and its connection with it."""

        def handler(request: Request) -> None:
            upgrader.upgrade(request)
            raise SystemExit

        with self.serving(handler) as server, self.client(server) as client:
            self.assertTrue(client.upgrade().at_end())

    def test_the_101_could_not_be_sent(self) -> None:
        """If the upgrade failed on the wire there is nobody to answer, and the log has the Upgrader's line alone."""
        with (
            mock.patch("syncws._net.transport.Transport.send", side_effect=BrokenPipeError("gone")),
            self.assertLogs("syncws", logging.INFO) as logs,
            self.serving(echo) as server,
            self.client(server) as client,
        ):
            client.socket.sendall(UPGRADE)
            self.assertTrue(client.at_end())
        self.assertEqual(len(logs.records), 1)
        self.assertIn("101 could not be sent", logs.output[0])


class OwnThreadTests(ServerTestCase):
    """What ends a connection's thread, and who may end it."""

    def connection(self, handler: Any = hello) -> tuple[Connection, socket.socket]:
        """A connection in a roster, without a thread; and its peer."""
        roster = Roster(None)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        theirs.settimeout(WAIT)
        with Server(handler, port=0) as server:
            options = server._options
        connection = Connection(ours, 1, options, roster, None, deadline=None, local_address="", remote_address="")
        self.assertEqual(roster.enter(connection), "entered")
        return connection, theirs

    def test_cut_before_it_runs(self) -> None:
        """A connection whose thread has not begun may be cut; its thread then ends without a request."""
        connection, peer = self.connection()
        self.assertIsNone(connection.thread)
        connection.cut()
        self.assertEqual(peer.recv(1), b"")
        with self.assertNoLogs("syncws", logging.INFO):
            connection.run()
        self.assertEqual((len(connection._roster), connection.sock.fileno()), (0, -1))

    def test_a_socket_that_is_good_for_nothing(self) -> None:
        """If no transport can be made, the socket is closed, and the roster left."""
        connection, peer = self.connection()
        broken = mock.patch.object(connection_module, "Transport", side_effect=OSError("no such thing"))
        with broken, self.assertLogs("syncws.server", logging.INFO) as logs:
            connection.run()
        self.assertIn("? (connection 1): no such thing", logs.output[0])
        self.assertEqual(peer.recv(1), b"")
        self.assertEqual((len(connection._roster), connection.sock.fileno()), (0, -1))

    def test_a_defect(self) -> None:
        """An error that should not be is logged with its traceback, and ends this connection only."""
        connection, peer = self.connection()
        broken = mock.patch.object(connection_module, "HTTPConnection", side_effect=ZeroDivisionError)
        with broken, self.assertLogs("syncws.server", logging.ERROR) as logs:
            connection.run()
        self.assertIsNotNone(logs.records[0].exc_info)
        self.assertEqual(peer.recv(1), b"")
        self.assertEqual(len(connection._roster), 0)

    def test_what_cannot_be_closed(self) -> None:
        """A connection leaves the roster also if closing it fails."""
        connection, peer = self.connection()
        peer.close()
        with mock.patch.object(Transport, "close", side_effect=ZeroDivisionError):
            self.assertRaises(ZeroDivisionError, connection.run)
        self.assertEqual(len(connection._roster), 0)
        connection.sock.close()

    def test_the_end_of_http(self) -> None:
        """After the last answer the client sees the end, and may still send: this side reads on for a moment."""
        connection, peer = self.connection()
        self.enterContext(mock.patch.object(connection_module, "_LINGER", WAIT))
        running = self.in_thread(connection.run)
        peer.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        while piece := peer.recv(4096):
            received += piece
        self.assertTrue(received.startswith(b"HTTP/1.1 200 "))
        peer.sendall(b"more")
        peer.close()
        running()

    def test_nobody_lingers_on_a_websocket(self) -> None:
        """Once a WebSocket has taken over, nothing here reads the connection any more."""
        connection, peer = self.connection(echo)
        self.enterContext(mock.patch.object(connection_module, "_linger", side_effect=AssertionError))
        running = self.in_thread(connection.run)
        peer.sendall(UPGRADE)
        self.assertTrue(peer.recv(4096).startswith(b"HTTP/1.1 101 "))
        far = Peer(peer, masked=True)
        far.close()
        self.assertEqual(far.receive_close(), (1000, ""))
        peer.close()
        with self.assertNoLogs("syncws.server", logging.ERROR):
            running()

    def test_a_client_that_never_stops_sending(self) -> None:
        """A client that goes on sending after the last answer is read for a moment, or once, and then no more."""
        for seconds in (0.01, 0.0):
            transport = mock.Mock()
            transport.receive.return_value = b"more"
            connection_module._linger(transport, seconds)
            transport.shutdown_write.assert_called_once_with()
            self.assertGreater(transport.receive.call_count, 0)
        self.assertEqual(transport.receive.call_count, 1)

    def test_a_handler_that_takes_over(self) -> None:
        """A handler may take the connection over by itself: nothing is answered then, also if it raises."""
        for error in (None, ZeroDivisionError("a bug")):

            def handler(request: Request, error: Exception | None = error) -> None:
                assert request.exchange is not None
                transport, early = request.exchange.take_over()
                transport.send(b"raw:" + early)
                if error is not None:
                    raise error

            with self.subTest(error=error), contextlib.ExitStack() as stack:
                if error is not None:
                    stack.enter_context(self.assertLogs("syncws.server", logging.ERROR))
                server = stack.enter_context(self.serving(handler))
                client = stack.enter_context(self.client(server))
                client.socket.sendall(GET + b"early")
                self.assertEqual(client.socket.recv(100), b"raw:early")
                self.assertTrue(client.at_end())


if __name__ == "__main__":
    unittest.main()
