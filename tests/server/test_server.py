"""The server: accepting, HTTP beside WebSocket, what a handler's outcome means, and how it all ends."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import ssl
import threading
import time
import unittest
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import trustme

from syncws._conn import farewell as farewell_module
from syncws._conn.conn import Conn
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._net.listener import ACCEPT_ERRORS
from syncws._server import server as server_module
from syncws._server.server import Server, serve
from syncws._server.upgrader import Upgrader
from syncws.errors import CloseError, ConcurrencyError, HandshakeError, MessageType, ReadLimitError, ReadTimeout
from syncws.testing import LeakChecks, Peer, await_, running

TEXT = MessageType.TEXT
WAIT = 10.0  # seconds after which something that should happen counts as never happening

UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

upgrader = Upgrader(close_timeout=WAIT)


def echo(request: Request) -> None:
    """gorilla's echo: until the peer closes."""
    with upgrader.upgrade(request) as conn:
        for message in conn:
            conn.send(message)


def hello(request: Request) -> Response:
    return Response(f"hello {request.path}")


class Client:
    """The raw other end of HTTP and of WebSocket; for one thread."""

    def __init__(self, address: Any, *, tls: ssl.SSLContext | None = None) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(WAIT)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address[:2], WAIT)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.peer = Peer(self.socket, masked=True)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def request(self, data: bytes = GET) -> tuple[int, dict[str, str], bytes]:
        """Send bytes of a request, and receive a response."""
        self.socket.sendall(data)
        return self.response()

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body of a response, and not a byte of what comes behind it."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._receive(1)
        status, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0"))
        body = b""
        while len(body) < size:
            body += self._receive(size - len(body))
        return int(status.split()[1]), headers, body

    def _receive(self, size: int) -> bytes:
        data = self.socket.recv(size)
        if not data:
            raise EOFError("the connection ended before the response did")
        return data

    def upgrade(self) -> Peer:
        """Do the opening handshake."""
        self.socket.sendall(UPGRADE)
        return self.upgraded()

    def upgraded(self) -> Peer:
        """Receive the 101."""
        status, _, _ = self.response()
        assert status == 101, status
        return self.peer

    def at_end(self) -> bool:
        return self.peer.at_end()


class ScriptedListener:
    """A listening socket whose accept() first raises what the script says, in order; then it is a real one."""

    def __init__(self, *errors: BaseException) -> None:
        self.real = socket.create_server(("127.0.0.1", 0))
        self.errors = list(errors)
        self.scripted = threading.Event()  # the script is through

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            error = self.errors.pop(0)
            if not self.errors:
                self.scripted.set()
            raise error
        return self.real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class ServerTestCase(LeakChecks):
    @contextlib.contextmanager
    def serving(self, handler: Any = echo, *, timeout: float = WAIT, **options: Any) -> Iterator[Server]:
        """A server on a free port, in a thread."""
        options = {"host": "127.0.0.1", "port": 0, **options}
        with running(Server(handler, **options), timeout=timeout) as server:
            yield server

    @contextlib.contextmanager
    def client(self, server: Server, **options: Any) -> Iterator[Client]:
        with Client(server.address, **options) as client:
            yield client

    def in_thread(self, target: Callable[[], Any]) -> Callable[[], Any]:
        """Run something in a thread; calling what this returns joins it and gives its result."""
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(target()), name="test", daemon=True)
        thread.start()

        def join() -> Any:
            thread.join(WAIT)
            self.assertFalse(thread.is_alive(), "the thread is stuck")
            return results[0]

        self.addCleanup(thread.join, WAIT)
        return join

    def wait(self, event: threading.Event) -> None:
        self.assertTrue(event.wait(WAIT), "it never happened")


class ListeningTests(ServerTestCase):
    def test_the_constructor_binds(self) -> None:
        """The address is bound, and a client is queued, before anybody serves."""
        with Server(hello, port=0) as server:
            host, port = server.address
            self.assertEqual(host, "127.0.0.1")
            self.assertGreater(port, 0)
            with self.client(server) as client:
                client.socket.sendall(GET)
                server.start()
                self.assertEqual(client.response()[2], b"hello /")
                client.socket.close()

    def test_an_address_in_use(self) -> None:
        """The constructor raises OSError for an address that is taken, and leaves nothing behind."""
        with Server(hello, port=0) as server, self.assertRaises(OSError) as caught:
            Server(hello, port=server.address[1])
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    def test_an_unknown_host(self) -> None:
        """A host that is no address of this machine is an OSError."""
        with self.assertRaises(OSError):
            Server(hello, "192.0.2.1", 0)

    def test_every_ipv4_address(self) -> None:
        """An empty host means every IPv4 address."""
        with Server(hello, "", 0) as server:
            self.assertEqual(server.address[0], "0.0.0.0")

    def test_port(self) -> None:
        """The port is the one that the system chose, of IPv6 too."""
        with Server(hello, port=0) as server:
            self.assertEqual(server.port, server.address[1])

    def test_ipv6(self) -> None:
        """An IPv6 address works where the system has it."""
        try:
            server = Server(hello, "::1", 0)
        except OSError as exc:
            self.skipTest(f"no IPv6 here: {exc}")
        with running(server), self.client(server) as client:
            self.assertEqual(server.port, server.address[1])
            self.assertEqual(client.request()[2], b"hello /")

    def test_bad_options(self) -> None:
        """An option that cannot work is refused by name, before anything is bound."""
        rows: list[tuple[str, Any, type[Exception]]] = [
            ("handler", None, TypeError),
            ("host", 8080, TypeError),
            ("host", b"127.0.0.1", TypeError),
            ("port", "8080", TypeError),
            ("port", None, TypeError),
            ("listener", "socket", TypeError),
            ("unix_path", 5, TypeError),
            ("unix_path", "", ValueError),
            ("unix_path", "/tmp/a\0b", ValueError),
            ("port", 70000, ValueError),
            ("port", -1, ValueError),
            ("ssl_context", "cert.pem", TypeError),
            ("ssl_context", ssl.create_default_context(), ValueError),
            ("max_connections", 0, ValueError),
            ("max_connections", "many", TypeError),
            ("handshake_timeout", 0, ValueError),
            ("handshake_timeout", "1", TypeError),
            ("keep_alive_timeout", -1, ValueError),
            ("max_head_size", 0, ValueError),
            ("max_headers", "many", TypeError),
            ("shutdown_timeout", -1, ValueError),
            ("shutdown_timeout", None, TypeError),
        ]
        for name, value, kind in rows:
            with self.subTest(name=name, value=value), self.assertRaisesRegex(kind, name):
                Server(**{"handler": hello, "port": 0, name: value})

    def test_a_listener_that_does_not_listen(self) -> None:
        """A socket that nobody called listen() on is refused when it is given, and stays the caller's."""
        with socket.socket() as idle:
            with self.assertRaisesRegex(ValueError, "listener does not listen"):
                Server(hello, listener=idle)
            self.assertGreaterEqual(idle.fileno(), 0)

    def test_what_is_no_host(self) -> None:
        """What cannot be a host's name is an OSError whose traceback tells what a host is."""
        for host in ("[::1]", "a..b"):
            with self.subTest(host=host), self.assertRaises(OSError) as caught:
                Server(hello, host, 0)
            self.assertIn(repr(host), caught.exception.__notes__[0])

    def test_repr(self) -> None:
        """The repr tells address, state and connections."""
        with Server(hello, port=0) as server:
            self.assertIn(f"127.0.0.1:{server.address[1]} bound, 0 connections", repr(server))
        self.assertIn("closed", repr(server))

    def test_a_second_accept_loop(self) -> None:
        """One thread serves; a second one is refused."""
        with self.serving() as server:
            with self.assertRaises(ConcurrencyError):
                server.start()
            with self.assertRaises(ConcurrencyError):
                server.serve_forever()

    def test_serving_after_shutdown(self) -> None:
        """A server that was shut down serves no more: serve_forever and start return at once."""
        with Server(hello, port=0) as server:
            server.shutdown()
            server.serve_forever()
            server.start()
        with self.assertRaises(OSError):
            socket.create_connection(server.address, WAIT)


class AcceptTests(ServerTestCase):
    def test_the_table(self) -> None:
        """Every errno of the accept table is met as it says, and the next connection is served."""
        errnos = [number for number, verdict in ACCEPT_ERRORS.items() if verdict != "closed"]
        listener: Any = ScriptedListener(*(OSError(number, os.strerror(number)) for number in errnos))
        with (
            mock.patch.object(server_module, "_ACCEPT_PAUSE", 0.001),
            self.assertLogs("syncws.server", logging.WARNING) as logs,
            self.serving(hello, listener=listener) as server,
            self.client(server) as client,
        ):
            self.assertEqual(client.request()[2], b"hello /")
        self.assertEqual(len(logs.records), 1)  # a shortage is said once, not ten times a second

    def test_what_is_out_of_resources(self) -> None:
        """What accept(2) lists as a shortage pauses the loop; a connection that is gone does not."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self.assertEqual(ACCEPT_ERRORS[number], "pause")
        for number in (errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN, errno.EINTR):
            self.assertEqual(ACCEPT_ERRORS[number], "next")

    def test_shutdown_during_a_pause(self) -> None:
        """Out of descriptors, the loop waits in a way that shutdown cuts short."""
        listener: Any = ScriptedListener(OSError(errno.EMFILE, "too many"))
        with (
            mock.patch.object(server_module, "_ACCEPT_PAUSE", 1000 * WAIT),
            self.assertLogs("syncws.server", logging.WARNING),
            self.serving(hello, listener=listener) as server,
            self.client(server),
        ):
            self.wait(listener.scripted)
            self.assertEqual(self.in_thread(server.shutdown)(), 0)

    def test_another_error_ends_the_loop(self) -> None:
        """An errno that is not in the table is a defect: serve_forever raises it, and no longer listens."""
        listener: Any = ScriptedListener(OSError(errno.EIO, "broken"))
        with Server(hello, listener=listener) as server, self.client(server):
            with self.assertRaises(OSError) as caught:
                server.serve_forever()
            self.assertEqual(caught.exception.errno, errno.EIO)
            self.assertEqual(listener.fileno(), -1)

    def test_a_listener_that_somebody_closed(self) -> None:
        """EBADF and EINVAL mean the end only while shutting down; else they are raised, or logged by start's thread."""
        listener: Any = ScriptedListener(OSError(errno.EINVAL, "not listening"))
        with (
            self.assertLogs("syncws.server", logging.ERROR) as logs,
            Server(hello, listener=listener) as server,
            self.client(server),
        ):
            server.start()
            self.wait(listener.scripted)
        self.assertIsNotNone(logs.records[0].exc_info)

    def test_closed_while_shutting_down(self) -> None:
        """A listener that is gone when the server shuts down ends the loop without a word."""
        server: Server

        class Listener(ScriptedListener):
            def accept(self) -> Any:
                server._closing = True
                return super().accept()

        listener: Any = Listener(OSError(errno.EBADF, "closed"))
        with (
            self.assertNoLogs("syncws", logging.INFO),
            Server(hello, listener=listener) as server,
            self.client(server),
        ):
            server.serve_forever()

    def test_thread_names(self) -> None:
        """Each connection has a daemon thread of its own, numbered."""
        threads: list[threading.Thread] = []

        def handler(request: Request) -> Response:
            threads.append(threading.current_thread())
            return Response()

        with self.serving(handler) as server:
            for _ in range(2):
                with self.client(server) as client:
                    client.request()
        self.assertEqual([(each.name, each.daemon) for each in threads], [("syncws-1", True), ("syncws-2", True)])

    def test_a_thread_that_cannot_be_started(self) -> None:
        """It costs that connection, which gets a 503, and no other."""
        start = threading.Thread.start
        failures = [RuntimeError("can't start new thread")]

        def flaky(thread: threading.Thread) -> None:
            if thread.name.startswith("syncws-") and failures:
                raise failures.pop()
            start(thread)

        with self.serving(hello) as server, mock.patch.object(threading.Thread, "start", flaky):
            with self.assertLogs("syncws.server", logging.WARNING), self.client(server) as client:
                self.assertEqual(client.response()[0], 503)
                self.assertTrue(client.at_end())
            with self.client(server) as client:
                self.assertEqual(client.request()[0], 200)

    def test_a_start_that_fails(self) -> None:
        """start() that gets no thread raises, and leaves a server that no longer listens."""
        with Server(hello, port=0) as server:
            no_thread = mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("none"))
            with no_thread, self.assertRaises(RuntimeError):
                server.start()
            self.assertEqual(server.shutdown(), 0)

    def test_max_connections(self) -> None:
        """One connection too many is answered with 503; when another has ended, there is room again."""
        with (
            self.serving(echo, max_connections=2) as server,
            self.client(server) as first,
            self.client(server) as second,
        ):
            first.upgrade()
            second.upgrade()
            with self.assertLogs("syncws.server", logging.WARNING) as logs:
                for _ in range(3):
                    with self.client(server) as third:
                        status, headers, _ = third.request(UPGRADE)
                        self.assertEqual((status, headers["connection"]), (503, "close"))
                        self.assertTrue(third.at_end())
            self.assertEqual(len(logs.records), 1)
            first.peer.close()
            self.assertEqual(first.peer.receive_close(), (1000, ""))
            first.socket.close()
            with server._changed:
                self.assertTrue(server._changed.wait_for(lambda: len(server._connections) == 1, WAIT))
            with self.client(server) as third:
                third.upgrade()


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
            with mock.patch.object(server, "_forget", side_effect=lambda each: done.set(), wraps=server._forget):
                with self.client(server):
                    pass
                self.wait(done)
            with server._changed:
                server._connections.clear()

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

        with self.assertLogs("syncws.server"), self.serving(handler) as server:
            for status in (400, 418):
                with self.client(server) as client:
                    self.assertEqual(client.request()[0], status)

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
            self.serving(hello, handshake_timeout=0.05) as server,
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
            self.assertLess(time.monotonic() - started, 2)


class TLSTests(ServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        authority = trustme.CA()
        cls.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(cls.server_context)
        cls.client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(cls.client_context)

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

        ends: list[Callable[[Peer], object]] = [Peer.close, lambda peer: peer.send(b"\xff\xff"), lambda peer: None]
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for handler in (reading, iterating):
            for end in ends:
                with self.serving(lambda request: handler(upgrader.upgrade(request))) as server:  # noqa: B023
                    with self.client(server) as client:
                        end(client.upgrade())
                self.assertTrue(await_(lambda: made[-1]() is None))
        self.assertEqual(len(made), 6)

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
        """A Response can no longer be sent: it is ignored, with an error in the log, and the close is normal."""
        with self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.assertEqual(self.closed_with(lambda conn: Response("too late")), (1000, ""))
        self.assertIn("ignored", logs.output[0])

    def test_connection_closed(self) -> None:
        """ConnectionClosed that escapes ends the handler quietly."""

        def handler(conn: Conn) -> None:
            raise CloseError(1006, "somebody left")

        with self.assertNoLogs("syncws.server", logging.INFO):
            self.assertEqual(self.closed_with(handler), (1000, ""))

    def test_a_breach_of_the_protocol(self) -> None:
        """A ProtocolError that escapes is the peer's fault: one INFO line, no traceback."""

        def handler(conn: Conn) -> None:
            raise ReadLimitError("2 bytes are over the limit of 1")

        with self.assertLogs("syncws.server", logging.INFO) as logs:
            self.closed_with(handler)
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
            raise ReadTimeout("nothing came")

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


class ShutdownTests(ServerTestCase):
    def test_going_away(self) -> None:
        """Peers are told 1001, answer, and shutdown returns 0; nobody can connect any more."""
        with self.serving(echo) as server, self.client(server) as one, self.client(server) as two:
            one.upgrade()
            two.upgrade()
            join = self.in_thread(lambda: server.shutdown(WAIT))
            for client in (one, two):
                self.assertEqual(client.peer.receive_close(), (1001, ""))
                client.peer.close(1001)
                self.assertTrue(client.at_end())
                client.socket.close()
            self.assertEqual(join(), 0)
            with self.assertRaises(OSError):
                socket.create_connection(server.address, WAIT)

    def test_idle_http_is_cut_at_once(self) -> None:
        """Connections without a request are not waited for: silent ones, half a head, keep-alive."""
        with (
            self.assertNoLogs("syncws", logging.INFO),
            self.serving(hello, handshake_timeout=None, keep_alive_timeout=None) as server,
            self.client(server) as silent,
            self.client(server) as half,
            self.client(server) as idle,
        ):
            half.socket.sendall(GET[:-2])
            self.assertEqual(idle.request()[0], 200)
            started = time.monotonic()
            self.assertEqual(server.shutdown(WAIT), 0)
            self.assertLess(time.monotonic() - started, WAIT / 2)
            self.assertTrue(silent.at_end())

    def test_a_request_under_way_is_answered(self) -> None:
        """A handler that has a request finishes it, and its response arrives."""
        started, going_on = threading.Event(), threading.Event()

        def handler(request: Request) -> Response:
            started.set()
            self.wait(going_on)
            return hello(request)

        with self.serving(handler) as server, self.client(server) as client:
            client.socket.sendall(GET)
            self.wait(started)
            told = self.told_everybody()
            join = self.in_thread(lambda: server.shutdown(WAIT))
            self.wait(told)
            going_on.set()
            self.assertEqual(client.response()[2], b"hello /")
            client.socket.close()
            self.assertEqual(join(), 0)

    def told_everybody(self) -> threading.Event:
        """An event for: shutdown has told everybody it knew of."""
        told = threading.Event()
        wait = farewell_module._wait_for_others

        def noting(*arguments: Any) -> int:
            told.set()
            return wait(*arguments)

        self.enterContext(mock.patch.object(farewell_module, "_wait_for_others", noting))
        return told

    def test_an_upgrade_during_shutdown(self) -> None:
        """A handler that upgrades after everybody was told is told as well."""
        started, going_on = threading.Event(), threading.Event()

        def handler(request: Request) -> None:
            started.set()
            self.wait(going_on)
            echo(request)

        with self.serving(handler) as server, self.client(server) as client:
            client.socket.sendall(UPGRADE)
            self.wait(started)
            told = self.told_everybody()
            join = self.in_thread(lambda: server.shutdown(WAIT))
            self.wait(told)
            going_on.set()
            self.assertEqual(client.upgraded().receive_close(), (1001, ""))
            client.peer.close(1001)
            client.socket.close()
            self.assertEqual(join(), 0)

    def test_a_handler_that_does_not_end(self) -> None:
        """A handler that is stuck in something else is counted, and does not delay shutdown further."""
        started, going_on = threading.Event(), threading.Event()

        def handler(request: Request) -> None:
            upgrader.upgrade(request)
            started.set()
            self.wait(going_on)

        server = Server(handler, port=0)
        server.start()
        with self.client(server) as client:
            client.upgrade()
            self.wait(started)
            begun = time.monotonic()
            self.assertEqual(server.shutdown(0.1), 1)
            self.assertLess(time.monotonic() - begun, 2)
            self.assertEqual(client.peer.receive_close(), (1001, ""))
            self.assertTrue(client.at_end())
            going_on.set()
            self.assertEqual(server.shutdown(WAIT), 0)

    def test_stuck_peers(self) -> None:
        """Peers that never read, with a handler stuck in a send to each, delay shutdown no longer than it was told."""
        count = 20
        sending = threading.Semaphore(0)

        def handler(request: Request) -> None:
            conn = upgrader.upgrade(request)
            sending.release()
            while True:
                conn.send(b"x" * (1 << 20))

        with self.serving(handler) as server, contextlib.ExitStack() as stack:
            for _ in range(count):
                client = stack.enter_context(self.client(server))
                client.socket.sendall(UPGRADE)
            for _ in range(count):
                self.assertTrue(sending.acquire(timeout=WAIT))
            started = time.monotonic()
            self.assertEqual(server.shutdown(0.5), 0)
            self.assertLess(time.monotonic() - started, 1.5)

    def test_from_a_handler(self) -> None:
        """A handler may shut its own server down: it is neither waited for, nor cut, nor counted."""
        results: list[int] = []

        def handler(request: Request) -> Response:
            results.append(server.shutdown(WAIT))
            return Response("bye")

        with self.serving(handler) as server, self.client(server) as other, self.client(server) as client:
            started = time.monotonic()
            self.assertEqual(client.request()[2], b"bye")
            self.assertEqual(results, [0])
            self.assertLess(time.monotonic() - started, WAIT / 2)
            self.assertTrue(other.at_end())
            self.assertTrue(client.at_end())

    def test_idempotent_and_concurrent(self) -> None:
        """Several threads may shut down at once, and again."""
        with self.serving(echo) as server, self.client(server) as client:
            client.upgrade()
            joins = [self.in_thread(lambda: server.shutdown(WAIT)) for _ in range(4)]
            self.assertEqual(client.peer.receive_close(), (1001, ""))
            client.peer.close(1001)
            client.socket.close()
            self.assertEqual([join() for join in joins], [0, 0, 0, 0])
            self.assertEqual(server.shutdown(0), 0)

    def test_without_ever_serving(self) -> None:
        """A server that never served gives its listener back."""
        server = Server(hello, port=0)
        self.assertEqual(server.shutdown(0), 0)
        with self.assertRaises(OSError):
            socket.create_connection(server.address, WAIT)

    def test_a_connection_whose_close_fails(self) -> None:
        """A defect in one connection does not keep the others from being told."""
        with self.serving(echo) as server, self.client(server) as one, self.client(server) as two:
            for client in (one, two):
                client.upgrade().send_frame(TEXT, "hi")
                self.assertEqual(client.peer.receive_frame().payload, b"hi")  # its handler has the connection
            close = Conn.close
            failures = [RuntimeError("a defect")]

            def flaky(conn: Conn, code: int = 1000, reason: str = "", timeout: float | None = None) -> None:
                if code == 1001 and failures:
                    raise failures.pop()
                close(conn, code, reason, timeout)

            with mock.patch.object(Conn, "close", flaky), self.assertLogs("syncws.server", logging.ERROR):
                self.assertEqual(server.shutdown(0.1), 0)
            self.assertEqual(sorted(client.peer.socket.recv(4096) for client in (one, two)), [b"", b"\x88\x02\x03\xe9"])

    def test_bad_timeout(self) -> None:
        """A timeout that is no number of seconds is refused, and nothing is shut down."""
        with self.serving(hello) as server, self.client(server) as client:
            with self.assertRaisesRegex(ValueError, "timeout"):
                server.shutdown(-1)
            self.assertEqual(client.request()[0], 200)


@unittest.skipIf(threading.current_thread() is not threading.main_thread(), "signals are the main thread's")
class SignalTests(ServerTestCase):
    def serve_until(self, act: Callable[[Client], Any], handler: Any = echo) -> Any:
        """serve_forever in this, the main thread, while another acts as a client; the result of act."""
        server = Server(handler, port=0, shutdown_timeout=WAIT)

        def acting() -> Any:
            try:
                with Client(server.address) as client:
                    return act(client)
            except BaseException:
                server.shutdown(0)
                raise

        join = self.in_thread(acting)
        server.serve_forever()
        return join()

    def test_a_signal_shuts_down(self) -> None:
        """SIGTERM and SIGINT shut down in order, serve_forever returns, and the handlers are those of before."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

                def act(client: Client, number: int = number) -> Any:
                    client.upgrade()
                    os.kill(os.getpid(), number)
                    close = client.peer.receive_close()
                    client.peer.close(1001)
                    return close, client.at_end()

                with self.assertLogs("syncws.server", logging.INFO) as logs:
                    self.assertEqual(self.serve_until(act), ((1001, ""), True))
                self.assertIn(number.name, logs.output[0])
                self.assertEqual((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)), before)
                self.assertEqual(signal.set_wakeup_fd(-1), -1)

    def test_a_signal_to_another_thread(self) -> None:
        """A signal that another thread receives wakes the main thread, which alone can handle it."""

        def act(client: Client) -> Any:
            client.upgrade()
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            close = client.peer.receive_close()
            client.peer.close(1001)
            return close

        with self.assertLogs("syncws.server", logging.INFO):
            self.assertEqual(self.serve_until(act), (1001, ""))

    def test_another_signal_does_not_stop_it(self) -> None:
        """Other signals interrupt accept, and it goes on."""
        handled = threading.Event()
        previous = signal.signal(signal.SIGUSR1, lambda number, frame: handled.set())
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)

        def act(client: Client) -> Any:
            for _ in range(20):
                handled.clear()
                os.kill(os.getpid(), signal.SIGUSR1)
                self.wait(handled)
            status = client.request()[0]
            os.kill(os.getpid(), signal.SIGTERM)
            return status

        with self.assertLogs("syncws.server", logging.INFO):
            self.assertEqual(self.serve_until(act, hello), 200)

    def test_shutdown_from_a_signal_handler_of_the_application(self) -> None:
        """shutdown() called in the very thread that serves, by a signal handler, does not wait for itself."""
        server = Server(hello, port=0)
        previous = signal.signal(signal.SIGUSR1, lambda number, frame: server.shutdown(WAIT))
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)

        def act() -> None:
            with Client(server.address) as client:
                client.request()
                os.kill(os.getpid(), signal.SIGUSR1)
                self.assertTrue(client.at_end())

        join = self.in_thread(act)
        server.serve_forever()
        join()
        self.assertEqual(server.shutdown(), 0)

    def test_in_another_thread_signals_are_left_alone(self) -> None:
        """serve_forever in a thread serves without touching the process's signal handlers."""
        before = signal.getsignal(signal.SIGTERM)
        with Server(hello, port=0) as server:
            join = self.in_thread(server.serve_forever)
            with self.client(server) as client:
                self.assertEqual(client.request()[0], 200)
            self.assertEqual(signal.getsignal(signal.SIGTERM), before)
            server.shutdown()
            join()


class ServeTests(ServerTestCase):
    def serve_once(self, on_connection: Any, act: Callable[[Client], Any], **options: Any) -> Any:
        """serve() in a thread, while this one acts as a client."""
        made: list[Server] = []
        bound = threading.Event()

        class Noted(Server):
            def serve_forever(self) -> None:
                made.append(self)
                bound.set()
                super().serve_forever()

        with mock.patch.object(server_module, "Server", Noted):
            join = self.in_thread(lambda: serve(on_connection, "127.0.0.1", 0, **options))
            self.wait(bound)
            try:
                with Client(made[0].address) as client:
                    return act(client)
            finally:
                made[0].shutdown()
                join()

    def test_echo(self) -> None:
        """serve() upgrades every request and hands its connection over, which is closed when the function returns."""

        def on_connection(conn: Conn) -> None:
            conn.send(conn.receive())

        def act(client: Client) -> Any:
            peer = client.upgrade()
            peer.send_frame(TEXT, "hi")
            frame, close = peer.receive_frame(), peer.receive_close()
            peer.close()
            return frame.payload, close

        self.assertEqual(self.serve_once(on_connection, act), (b"hi", (1000, "")))

    def test_upgrader_and_options(self) -> None:
        """serve() takes an Upgrader of one's own, and the server's options."""
        own = Upgrader(check_origin=lambda request: False)
        with self.assertLogs("syncws.server"):
            status = self.serve_once(lambda conn: None, lambda client: client.request(UPGRADE)[0], upgrader=own)
        self.assertEqual(status, 403)

    def test_what_is_no_upgrade_is_refused(self) -> None:
        """A plain request gets the Upgrader's refusal."""
        with self.assertLogs("syncws.server"):
            self.assertEqual(self.serve_once(lambda conn: None, lambda client: client.request()[0]), 400)

    def test_bad_arguments(self) -> None:
        """serve() refuses what is no function, and options nobody knows."""
        with self.assertRaisesRegex(TypeError, "on_connection"):
            serve(None)  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            serve(lambda conn: None, colour="red")
        with self.assertRaisesRegex(TypeError, "upgrader must be an Upgrader"):
            serve(lambda conn: None, upgrader=Upgrader)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, r"upgrader=Upgrader\(read_limit="):
            serve(lambda conn: None, read_limit=5)


if __name__ == "__main__":
    unittest.main()
