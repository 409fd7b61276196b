"""Server(wsgi_app=...): a WSGI application and its WebSocket views on one port, over real sockets."""

from __future__ import annotations

import contextlib
import gc
import http.client
import io
import logging
import os
import socket
import struct
import tempfile
import threading
import time
import unittest
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from wsgiref.validate import validator

import flask

import syncws
from syncws._base.counters import breaches
from syncws._conn import farewell as farewell_module
from syncws._http.request import Request
from syncws._server import wsgi_answer as answer_module
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import BadHandshakeError, CloseError
from syncws.testing import LeakChecks, await_, running
from syncws.wsgi import websocket
from tests import certificates
from tests.server.cases import GET, UPGRADE, Client
from tests.tasks import PATIENCE, Task

TEXT = [("Content-Type", "text/plain")]

Environ = dict[str, Any]

upgrader = Upgrader(close_timeout=PATIENCE)


def post(length: int, path: str = "/", *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def hello(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", str(6 + len(environ["PATH_INFO"])))])
    return [b"hello ", environ["PATH_INFO"].encode("latin-1")]


def echo_body(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """Answers a body with itself, while it comes."""
    start_response("200 OK", TEXT)
    while block := environ["wsgi.input"].read(10_000):
        yield block


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class Blocks:
    """An answer's blocks, which tells when it was closed."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = iter(blocks)
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks

    def close(self) -> None:
        self.closed.set()


class HostCase(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        # Where validate complains that an iterator was not closed.
        self.stderr = self.enterContext(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(lambda: self.assertEqual(self.stderr.getvalue(), ""))

    @contextlib.contextmanager
    def hosting(self, app: Any, *, valid: bool = True, **options: Any) -> Iterator[Server]:
        """A server on a free port; the application is behind the validator if it keeps to the rules."""
        options = {"host": "127.0.0.1", "port": 0, **options}
        with running(Server(wsgi_app=validator(app) if valid else app, **options), timeout=PATIENCE) as server:
            yield server

    @contextlib.contextmanager
    def client(self, server: Server) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            yield connection

    def ask(self, connection: http.client.HTTPConnection, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        connection.request(method, path, **options)
        with connection.getresponse() as response:
            return response.status, response.read()

    def dial(self, server: Server, path: str = "/", **options: Any) -> syncws.Conn:
        host, port = server.address
        conn = syncws.dial(f"ws://{host}:{port}{path}", proxy=None, timeout=PATIENCE, **options)
        self.addCleanup(conn.close_now)
        return conn

    def messages(self, server: Server, path: str = "/", **options: Any) -> list[str | bytes]:
        """All that a WebSocket view sends until it closes, and then the client does, which the server waits for."""
        with contextlib.closing(self.dial(server, path, **options)) as conn:
            return list(conn)

    def wait(self, event: threading.Event) -> None:
        self.assertTrue(event.wait(PATIENCE), "it never happened")

    @contextlib.contextmanager
    def logs(self, level: int, says: str, *, traceback: bool = False) -> Iterator[None]:
        """Inside, and until the servers in there have ended, one line is logged at INFO or above."""
        with self.assertLogs("syncws", logging.INFO) as logs:
            yield
        self.assertEqual(len(logs.records), 1, logs.output)
        self.assertEqual(logs.records[0].levelno, level, logs.output)
        self.assertRegex(logs.records[0].getMessage(), says)
        self.assertEqual(bool(logs.records[0].exc_info), traceback)


class OptionsTests(HostCase):
    def test_one_of_both(self) -> None:
        """A handler and an application exclude each other, one is needed, and the error says what to do."""
        with self.assertRaisesRegex(ValueError, "exclude each other: leave handler out"):
            Server(lambda request: None, port=0, wsgi_app=hello)
        with self.assertRaisesRegex(TypeError, "for a WSGI application: wsgi_app="):
            Server(port=0)
        with self.assertRaisesRegex(TypeError, r"a callable\(environ, start_response\), not 'app:app'"):
            Server(port=0, wsgi_app="app:app")  # type: ignore[arg-type]

    def test_bad_options(self) -> None:
        """An option that cannot work is refused by name."""
        rows: list[tuple[str, Any, type[Exception]]] = [
            ("max_body_size", -1, ValueError),
            ("max_body_size", "1M", TypeError),
            ("body_timeout", 0, ValueError),
            ("body_timeout", "1", TypeError),
        ]
        for name, value, kind in rows:
            options: dict[str, Any] = {name: value}
            with self.subTest(name=name, value=value), self.assertRaisesRegex(kind, name):
                Server(wsgi_app=hello, port=0, **options)

    def test_no_limits(self) -> None:
        """None is no limit, for both."""
        with self.hosting(echo_body, max_body_size=None, body_timeout=None) as server, self.client(server) as client:
            self.assertEqual(self.ask(client, "POST", "/", body=b"abc"), (200, b"abc"))


class HTTPTests(HostCase):
    def test_one_connection(self) -> None:
        """Requests follow one another on one connection, with bodies and without."""
        with self.hosting(hello) as server, self.client(server) as client:
            for method, path in [("GET", "/a"), ("POST", "/b"), ("PUT", "/c%20d")]:
                body = b"unread" if method == "POST" else None
                self.assertEqual(self.ask(client, method, path, body=body)[0], 200)
                if path == "/a":
                    sock = client.sock
                self.assertIs(client.sock, sock)
            self.assertEqual(self.ask(client, "GET", "/x"), (200, b"hello /x"))
            self.assertEqual(self.ask(client, "HEAD", "/x"), (200, b""))
            self.assertEqual(self.ask(client, "GET", "/y"), (200, b"hello /y"))
            self.assertIs(client.sock, sock)

    def test_pipelined(self) -> None:
        """Requests that are sent in one piece are answered in order."""
        with self.hosting(hello) as server, Client(server.address) as client:
            client.socket.sendall(GET + post(3, "/2") + b"abc" + GET)
            self.assertEqual([client.response()[2] for _ in range(3)], [b"hello /", b"hello /2", b"hello /"])

    def test_uploads(self) -> None:
        """Large bodies arrive whole, with a length and chunked, and are answered while they come."""
        data = os.urandom(3_000_000)
        with self.hosting(echo_body) as server:
            for chunked in (False, True):
                with self.client(server) as client:
                    blocks = (data[start : start + 70_000] for start in range(0, len(data), 70_000))
                    headers = {} if chunked else {"Content-Length": str(len(data))}
                    sending = Task(client.request, "POST", "/", blocks, headers, encode_chunked=chunked)
                    # Both ways at once: neither side could finish before the other reads.
                    self.assertTrue(await_(lambda client=client: client.sock is not None))  # type: ignore[misc]
                    with http.client.HTTPResponse(client.sock) as response:
                        response.begin()
                        self.assertEqual(response.read(), data)
                    sending.result()

    def test_downloads(self) -> None:
        """A large answer arrives whole, in one block and in many."""
        data = os.urandom(5_000_000)

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            if environ["PATH_INFO"] == "/one":
                return [data]
            return [data[start : start + 8192] for start in range(0, len(data), 8192)]

        with self.hosting(app, valid=False) as server, self.client(server) as client:
            for path in ("/one", "/many"):
                self.assertEqual(self.ask(client, "GET", path), (200, data))

    def test_blocks_arrive_one_by_one(self) -> None:
        """A client has a block before the application has made the next one."""
        arrived = threading.Semaphore(0)

        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", TEXT)
            for number in range(3):
                yield b"%d" % number
                assert arrived.acquire(timeout=PATIENCE)

        with self.hosting(app) as server, self.client(server) as client:
            client.request("GET", "/")
            with client.getresponse() as response:
                for number in range(3):
                    self.assertEqual(response.read(1), b"%d" % number)
                    arrived.release()
                self.assertEqual(response.read(), b"")

    def test_at_the_same_time(self) -> None:
        """Several clients are served at the same time, each in its own thread."""
        barrier = threading.Barrier(5)

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            barrier.wait(PATIENCE)
            start_response("200 OK", TEXT)
            return [threading.current_thread().name.encode()]

        with self.hosting(app) as server:

            def ask() -> tuple[int, bytes]:
                with self.client(server) as client:
                    return self.ask(client, "GET", "/")

            answers = [task.result() for task in [Task(ask) for _ in range(5)]]
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual(len({body for _, body in answers}), 5)

    def test_consent(self) -> None:
        """A client that waits for 100 Continue gets it when the application reads, or an answer instead."""

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            return [environ["wsgi.input"].read(3) if environ["PATH_INFO"] == "/read" else b"no"]

        with self.hosting(app, valid=False) as server:
            with Client(server.address) as client:
                self.assertEqual(client.request(post(3, "/read", "Expect: 100-continue"))[0], 100)
                self.assertEqual(client.request(b"abc")[2], b"abc")
            with Client(server.address) as client:
                status, headers, body = client.request(post(3, "/", "Expect: 100-continue"))
                self.assertEqual((status, headers["connection"], body), (200, "close", b"no"))
                self.assertTrue(client.at_end())

    def test_too_large_a_body(self) -> None:
        """A client that is still sending gets its 413 all the same, as far as the linger goes."""
        with (
            self.logs(logging.INFO, "413"),
            self.hosting(echo_body, max_body_size=1000) as server,
            Client(server.address) as client,
        ):
            status, _, body = client.request(post(20_000) + b"x" * 20_000)
            self.assertEqual((status, body), (413, b"the body has 20000 bytes, and 1000 are allowed\n"))
            self.assertTrue(client.at_end())

    def test_too_slow_a_body(self) -> None:
        """A client that stops in its body is answered with 408 and closed."""
        with (
            self.logs(logging.INFO, "408"),
            self.hosting(hello_after_body, body_timeout=0.05) as server,
            Client(server.address) as client,
        ):
            self.assertEqual(client.request(post(10) + b"x")[0], 408)
            self.assertTrue(client.at_end())

    def test_an_unread_body_that_is_late(self) -> None:
        """An answer does not wait for a body that nobody reads; the next request is found after it."""
        with self.hosting(hello) as server, Client(server.address) as client:
            self.assertEqual(client.request(post(5))[2], b"hello /")
            client.socket.sendall(b"x")
            self.assertEqual(client.request(b"xxxx" + GET)[2], b"hello /")

    def test_a_client_that_does_not_read(self) -> None:
        """A client that takes nothing is given up after a while; what the application returned is closed."""
        blocks = Blocks(iter(lambda: b"x" * 65536, b""))

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", TEXT)
            return blocks

        with (
            mock.patch.object(answer_module, "STALL_LIMIT", 0.1),
            self.logs(logging.INFO, "GET /: the client did not take the answer: .*took nothing for 0.1 s"),
            self.hosting(app) as server,
            Client(server.address) as client,
        ):
            client.socket.sendall(GET)
            self.wait(blocks.closed)

    def test_a_client_that_reads_slowly(self) -> None:
        """A client that reads its answer a few bytes at a time held a thread without end: its time is bounded, and
        what it is cut for is told and counted."""
        blocks = Blocks(iter(lambda: b"x" * 65536, b""))

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", TEXT)
            return blocks

        before = breaches.snapshot().get("answer_timeout", 0)
        with (
            mock.patch.object(answer_module, "MIN_RATE", 1 << 40),
            self.logs(logging.INFO, "GET /: the client did not take the answer: .*too slowly"),
            self.hosting(app, answer_timeout=0.2) as server,
            Client(server.address) as client,
        ):
            client.socket.sendall(GET)
            while not blocks.closed.wait(0.01):
                client.socket.recv(64)
        self.assertEqual(breaches.snapshot()["answer_timeout"], before + 1)

    def test_an_answer_that_is_made_slowly(self) -> None:
        """What the application makes slowly, as a stream of events, is not held against the client."""

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", TEXT)
            for _ in range(5):
                time.sleep(0.05)
                yield b"event\n"

        with (
            mock.patch.object(answer_module, "MIN_RATE", 1 << 40),
            self.hosting(app, answer_timeout=0.01) as server,
            self.client(server) as client,
        ):
            self.assertEqual(self.ask(client, "GET", "/"), (200, b"event\n" * 5))

    def test_a_client_that_resets(self) -> None:
        """A client that resets the connection ends its answer, with one line and no traceback; the server goes on."""
        blocks = Blocks(iter(lambda: b"x" * 65536, b""))

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", TEXT)
            return [b"fine"] if environ["PATH_INFO"] == "/fine" else blocks

        with self.logs(logging.INFO, "did not take the answer"), self.hosting(app) as server:
            with Client(server.address) as client:
                client.socket.sendall(GET)
                client.socket.recv(1000)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wait(blocks.closed)
            with self.client(server) as other:
                self.assertEqual(self.ask(other, "GET", "/fine"), (200, b"fine"))

    def test_a_client_that_leaves_before_the_answer(self) -> None:
        """So it is for one that is gone when the application has its answer."""
        arrived, left = threading.Event(), threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            arrived.set()
            self.wait(left)
            start_response("200 OK", TEXT)
            return [b"x" * 1000] * 1000

        with self.logs(logging.INFO, "did not take the answer"), self.hosting(app) as server:
            with Client(server.address) as client:
                client.socket.sendall(GET)
                self.wait(arrived)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            left.set()

    def test_a_cut_answer(self) -> None:
        """An answer that breaks off does not look whole to the client, chunked or with a length."""

        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            length = [("Content-Length", "100")] if environ["PATH_INFO"] == "/length" else []
            start_response("200 OK", TEXT + length)
            yield b"begun"
            raise ZeroDivisionError

        for path in ("/length", "/chunked"):
            with (
                self.logs(logging.ERROR, "raised", traceback=True),
                self.hosting(app) as server,
                self.client(server) as client,
            ):
                client.request("GET", path)
                with client.getresponse() as response, self.assertRaises(http.client.IncompleteRead):
                    response.read()

    def test_an_application_that_raises(self) -> None:
        """An exception is a 500 and a traceback in the log; the connection goes on."""

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            if environ["PATH_INFO"] == "/raise":
                raise ZeroDivisionError
            return hello(environ, start_response)

        with (
            self.logs(logging.ERROR, r"127.0.0.1:\d+ \(connection 1\): GET /raise: .*raised", traceback=True),
            self.hosting(app) as server,
            self.client(server) as client,
        ):
            self.assertEqual(self.ask(client, "GET", "/raise"), (500, b"Internal Server Error\n"))
            sock = client.sock
            self.assertEqual(self.ask(client, "GET", "/"), (200, b"hello /"))
            self.assertIs(client.sock, sock)

    def test_an_application_that_exits(self) -> None:
        """SystemExit ends the connection, and nothing else."""

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            raise SystemExit(1)

        with self.assertNoLogs("syncws", logging.INFO), self.hosting(app) as server:
            for _ in range(2):
                with Client(server.address) as client:
                    client.socket.sendall(GET)
                    self.assertTrue(client.at_end())

    def test_tls(self) -> None:
        """Under TLS the application knows it, and large answers arrive."""
        context, trusting = certificates.contexts()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            return [environ["wsgi.url_scheme"].encode(), b"x" * 1_000_000]

        with self.hosting(app, ssl_context=context) as server, Client(server.address, tls=trusting) as client:
            client.socket.sendall(GET)
            response = http.client.HTTPResponse(client.socket)
            response.begin()
            with response:
                self.assertEqual(response.read(), b"https" + b"x" * 1_000_000)

    def test_unix_socket(self) -> None:
        """Over a Unix socket as well."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        with self.hosting(hello, unix_path=Path(folder, "app.sock"), host="") as server:
            with Client(server.address) as client:
                self.assertEqual(client.request()[2], b"hello /")

    def test_full(self) -> None:
        """Over max_connections the answer is 503, as with a handler."""
        with (
            self.assertLogs("syncws.server", logging.WARNING),
            self.hosting(hello, max_connections=1) as server,
            Client(server.address) as first,
        ):
            self.assertEqual(first.request()[0], 200)
            with Client(server.address) as second:
                self.assertEqual(second.request()[0], 503)

    def test_nothing_is_left_to_the_collector(self) -> None:
        """Behind a request, its parser, its body and its environ are gone without the garbage collector."""
        kept: list[weakref.ref[Any]] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            kept.extend([weakref.ref(environ["wsgi.input"]), weakref.ref(environ["wsgi.input"].raw)])
            environ["syncws.request"].environ = environ  # as a WebSocket view does
            start_response("200 OK", TEXT)
            return [b"x"]

        gc.disable()
        self.addCleanup(gc.enable)
        with self.hosting(app, valid=False) as server, self.client(server) as client:
            for _ in range(2):
                self.assertEqual(self.ask(client, "POST", "/", body=b"abc"), (200, b"x"))
        self.assertEqual([each() for each in kept], [None] * 4)


def hello_after_body(environ: Environ, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read(100)
    return hello(environ, start_response)


class ShutdownTests(HostCase):
    def check_going_away(self, conn: syncws.Conn) -> None:
        with contextlib.closing(conn), self.assertRaises(CloseError) as caught:
            conn.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, 1001)

    def test_a_running_request_finishes(self) -> None:
        """A request under way gets the whole of its answer, and then the connection ends."""
        begun, go_on = threading.Event(), threading.Event()

        def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", TEXT)
            yield b"one"
            begun.set()
            self.wait(go_on)
            yield b"two"

        with self.hosting(app) as server, self.client(server) as client:
            client.request("GET", "/")
            with client.getresponse() as response:
                self.wait(begun)
                ending = Task(server.shutdown, PATIENCE)
                self.assertTrue(await_(lambda: "closed" in repr(server)))
                go_on.set()
                self.assertEqual(response.read(), b"onetwo")
            self.assertEqual(client.sock.recv(1) if client.sock else b"", b"")
        self.assertEqual(ending.result(), 0)

    def test_websockets_are_told(self) -> None:
        """Every WebSocket peer gets 1001, whichever way its view serves it, and idle HTTP connections end."""
        with self.hosting(views()) as server, Client(server.address) as idle:
            idle.request()
            conns = [self.dial(server, path) for path in WEBSOCKETS]
            for conn in conns:
                conn.send("there?")
                self.assertEqual(conn.receive(timeout=PATIENCE), "there?")
            ending = Task(server.shutdown, PATIENCE)
            for conn in conns:
                self.check_going_away(conn)
            self.assertTrue(idle.at_end())
            self.assertEqual(ending.result(), 0)

    def test_a_view_that_upgrades_meanwhile(self) -> None:
        """A WebSocket that begins when everybody has been told is told then."""
        begun, go_on = threading.Event(), threading.Event()
        inner = views()

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            begun.set()
            self.wait(go_on)
            result: Iterable[bytes] = inner(environ, start_response)
            return result

        for path in WEBSOCKETS:
            with self.subTest(path=path), self.hosting(app) as server:
                dialing = Task(self.dial, server, path)
                self.wait(begun)
                ending = Task(server.shutdown, PATIENCE)
                self.assertTrue(await_(lambda server=server: "closed" in repr(server)))  # type: ignore[misc]
                go_on.set()
                self.check_going_away(dialing.result())
                self.assertEqual(ending.result(), 0)
            begun.clear()
            go_on.clear()

    def test_a_stuck_application(self) -> None:
        """An application that does not return is counted, and its connection cut."""
        begun, go_on = threading.Event(), threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            begun.set()
            self.wait(go_on)
            return hello(environ, start_response)

        with (
            mock.patch.object(farewell_module, "CUT_GRACE", 0.01),
            self.assertLogs("syncws.server", logging.INFO),
            Server(wsgi_app=validator(app), port=0) as server,
            Client(server.address) as client,
        ):
            server.start()
            client.socket.sendall(GET)
            self.wait(begun)
            self.assertEqual(server.shutdown(0), 1)
            self.assertTrue(client.at_end())
            go_on.set()
            self.assertTrue(await_(lambda: "0 connections" in repr(server)))


#: Three ways that a view may serve a WebSocket: after it has returned, inside, and by Upgrader.upgrade.
WEBSOCKETS = ("/serve", "/view", "/upgrade")


def views(handler: Callable[[syncws.Conn], object] = echo, at_close: Callable[[], None] = lambda: None) -> Any:
    """An application with those views; others say hello."""

    class Result(list[bytes]):
        def close(self) -> None:
            at_close()

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/serve":
            response = upgrader.serve(environ, handler)
        elif path == "/view":
            response = upgrader.serve(environ, handler, detach=False)
        elif path == "/upgrade":
            conn = upgrader.upgrade(environ)
            handler(conn)
            response = conn.wsgi_response
        else:
            return hello(environ, start_response)
        return Result(response(environ, start_response))

    return app


class WebSocketTests(HostCase):
    def each(self, handler: Callable[[syncws.Conn], object] = echo, **options: Any) -> Iterator[tuple[Server, str]]:
        """A server of its own for each way."""
        for path in WEBSOCKETS:
            with self.subTest(path=path), self.hosting(views(handler, **options)) as server:
                yield server, path

    def test_messages(self) -> None:
        """Messages go both ways; plain requests are answered on the same port meanwhile."""
        for server, path in self.each():
            with self.dial(server, path) as conn, self.client(server) as client:
                for message in ("hello", b"\0\xff", "", "x" * 100_000):
                    conn.send(message)
                    self.assertEqual(conn.receive(timeout=PATIENCE), message)
                self.assertEqual(self.ask(client, "GET", "/plain"), (200, b"hello /plain"))

    def test_early_frames(self) -> None:
        """A frame that comes with the handshake is not lost, small or large."""
        for server, path in self.each():
            for size in (5, 15_000):
                with Client(server.address) as client:
                    request = UPGRADE.replace(b"/chat", path.encode())
                    client.socket.sendall(request + client.peer.frame(2, b"x" * size))
                    peer = client.upgraded()
                    self.assertEqual(peer.receive_frame().payload, b"x" * size)
                    peer.close()
                    self.assertEqual(peer.receive_close(), (1000, ""))
                    self.assertTrue(client.at_end())

    def test_nothing_follows(self) -> None:
        """A request after the close is not served, and nothing is on the wire after the close frame."""
        for server, path in self.each():
            with Client(server.address) as client:
                peer = client.peer
                client.socket.sendall(UPGRADE.replace(b"/chat", path.encode()))
                client.upgraded()
                peer.send(peer.frame(8, b"\x03\xe8") + GET)
                self.assertEqual(peer.receive_close(), (1000, ""))
                self.assertTrue(client.at_end())

    def test_a_handler_that_returns(self) -> None:
        """A handler that returns closes with 1000."""
        for server, path in self.each(lambda conn: conn.send("bye")):
            self.assertEqual(self.messages(server, path), ["bye"])

    def test_a_handler_that_raises(self) -> None:
        """A handler that raises closes with 1011, and is logged once, with its traceback."""

        def handler(conn: syncws.Conn) -> None:
            raise ZeroDivisionError

        for path in WEBSOCKETS:
            with (
                self.subTest(path=path),
                self.logs(logging.ERROR, "raised", traceback=True),
                self.hosting(views(handler)) as server,
                self.assertRaises(CloseError) as caught,
            ):
                self.messages(server, path)
            self.assertEqual(caught.exception.code, 1011)

    def test_a_client_that_resets(self) -> None:
        """A client that resets the connection is nobody's error."""
        for path in WEBSOCKETS:
            with (
                self.subTest(path=path),
                self.assertNoLogs("syncws", logging.WARNING),
                self.hosting(views()) as server,
                Client(server.address) as client,
            ):
                client.socket.sendall(UPGRADE.replace(b"/chat", path.encode()))
                client.upgraded()
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def test_refusals(self) -> None:
        """A request that is refused gets the refusal, and may be followed by another."""
        for server, path in self.each():
            if path == "/upgrade":
                continue  # which raises: see below
            with self.assertLogs("syncws.server", logging.INFO) as logs, self.client(server) as client:
                self.assertEqual(self.ask(client, "GET", path)[0], 400)
                sock = client.sock
                self.assertEqual(self.ask(client, "GET", "/"), (200, b"hello /"))
                self.assertIs(client.sock, sock)
            self.assertEqual(len(logs.records), 1)

    def test_a_refusal_that_escapes(self) -> None:
        """A HandshakeError that leaves the application is answered with its response."""
        with (
            self.logs(logging.WARNING, "is refused with 403"),
            self.hosting(views()) as server,
            self.assertRaises(BadHandshakeError) as caught,
        ):
            self.dial(server, "/upgrade", headers={"Origin": "https://evil.example"})
        self.assertEqual(caught.exception.status, 403)

    def test_the_order_of_things(self) -> None:
        """What the application returned is closed before the handler runs, where that runs after the view."""
        happened: list[str] = []

        def handler(conn: syncws.Conn) -> None:
            happened.append(f"handler, detached {conn.detached}")

        for server, path in self.each(handler, at_close=lambda: happened.append("close()")):
            self.assertEqual(self.messages(server, path), [])
            self.assertTrue(await_(lambda: len(happened) == 2))
            expected = ["handler, detached False", "close()"]
            if path == "/serve":
                expected = ["close()", "handler, detached True"]
            self.assertEqual(happened, expected)
            happened.clear()

    def test_the_environ(self) -> None:
        """A handler finds the environ, and so does who keeps the connection; but nothing of the server in it then."""
        seen: list[syncws.Conn] = []

        def handler(conn: syncws.Conn) -> None:
            assert conn.request is not None and conn.request.environ is not None
            conn.send(conn.request.environ["HTTP_X_USER"])
            seen.append(conn)

        for server, path in self.each(handler):
            self.assertEqual(self.messages(server, path, headers={"X-User": "ann"}), ["ann"])
        for conn in seen:
            assert conn.request is not None and conn.request.environ is not None
            self.assertEqual(conn.request.environ["HTTP_X_USER"], "ann")
            self.assertNotIn("syncws.request", conn.request.environ)

    def test_nothing_is_left_to_the_collector(self) -> None:
        """Behind a WebSocket its connection and its request are gone without the garbage collector."""
        kept: list[weakref.ref[Any]] = []

        def handler(conn: syncws.Conn) -> None:
            kept.extend([weakref.ref(conn), weakref.ref(conn.transport)])

        gc.disable()
        self.addCleanup(gc.enable)
        for server, path in self.each(handler):
            self.assertEqual(self.messages(server, path), [])
        self.assertEqual(len(kept), 6)
        self.assertTrue(await_(lambda: [each() for each in kept] == [None] * 6), [each() for each in kept])

    def test_a_middleware_that_raises(self) -> None:
        """If something raises after the view and before the handler has run, the client gets a 500 and no 101."""
        inner = views()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            inner(environ, start_response)
            raise ZeroDivisionError

        with (
            self.logs(logging.ERROR, "raised", traceback=True),
            self.hosting(app, valid=False) as server,
            self.assertRaises(BadHandshakeError) as caught,
        ):
            self.dial(server, "/serve")
        self.assertEqual(caught.exception.status, 500)

    def test_a_middleware_that_raises_after_the_handler(self) -> None:
        """If the WebSocket is over by then, it is one error in the log."""
        inner = views(lambda conn: None)

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            inner(environ, start_response)
            raise ZeroDivisionError

        for path in ("/view", "/upgrade"):
            with (
                self.subTest(path=path),
                self.logs(logging.ERROR, "raised", traceback=True),
                self.hosting(app, valid=False) as server,
            ):
                with contextlib.suppress(CloseError):  # 1011, where the view had not closed it yet
                    self.assertEqual(self.messages(server, path), [])

    def test_a_client_that_is_gone_before_the_101(self) -> None:
        """A 101 that cannot be sent is one line at INFO."""
        arrived, left = threading.Event(), threading.Event()
        inner = views()

        def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
            arrived.set()
            self.wait(left)
            result: Iterable[bytes] = inner(environ, start_response)
            return result

        broken = mock.patch.object(
            syncws._net.transport.Transport, "send", side_effect=BrokenPipeError(32, "Broken pipe")
        )  # a kernel takes what little it is if the reset is not there yet
        for path in WEBSOCKETS:
            with self.subTest(path=path), self.logs(logging.INFO, "101 could not be sent"):
                with self.hosting(app) as server:
                    with Client(server.address) as client:
                        client.socket.sendall(UPGRADE.replace(b"/chat", path.encode()))
                        self.wait(arrived)
                    with broken:
                        left.set()
                        self.assertTrue(await_(lambda server=server: "0 conn" in repr(server)))  # type: ignore[misc]
            arrived.clear()
            left.clear()

    def test_request_is_the_servers_own(self) -> None:
        """environ["syncws.request"] is the request that the view upgrades."""
        requests: list[Any] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            requests.append(environ["syncws.request"])
            result: list[bytes] = websocket(lambda conn: requests.append(conn.request))(environ, start_response)
            return result

        with self.hosting(app) as server:
            self.assertEqual(self.messages(server), [])
        self.assertIsInstance(requests[0], Request)
        self.assertIs(requests[0], requests[1])


class FlaskTests(HostCase):
    """A Flask application, with what Flask brings along."""

    def app(self) -> flask.Flask:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "static").mkdir()
        (folder / "static" / "big.txt").write_bytes(b"0123456789" * 100_000)
        (folder / "templates").mkdir()
        (folder / "templates" / "page.html").write_text("<h1>{{ name }}</h1>")
        app = flask.Flask("app", root_path=str(folder))
        app.secret_key = "test"

        @app.get("/page/<name>")
        def page(name: str) -> str:
            return flask.render_template("page.html", name=name)

        @app.route("/form", methods=["POST"])
        def form() -> Any:
            file = flask.request.files.get("file")
            flask.session["name"] = flask.request.form["name"]
            return flask.jsonify(name=flask.request.form["name"], size=len(file.read()) if file else None)

        @app.get("/name")
        def name() -> str:
            return str(flask.session.get("name"))

        @app.get("/stream")
        def stream() -> Any:
            def blocks() -> Iterator[str]:
                for number in range(3):
                    yield f"{flask.request.path} {number}\n"

            return flask.Response(flask.stream_with_context(blocks()), mimetype="text/plain")

        @app.get("/raise")
        def failing() -> str:
            raise ZeroDivisionError

        @app.route("/data", methods=["POST"])
        def data() -> str:
            return str(len(flask.request.get_data()))

        @app.route("/echo", websocket=True)
        def echo_view() -> Any:
            assert flask.session.get("name"), "log in first"
            response = upgrader.serve(flask.request.environ, echo)
            return flask.Response([], response.status, response.headers)

        return app

    def test_pages(self) -> None:
        """A template, a stream, a missing page and a redirect arrive as from any server."""
        with self.hosting(self.app()) as server, self.client(server) as client:
            self.assertEqual(self.ask(client, "GET", "/page/J%C3%BCrgen%3Cb"), (200, "<h1>Jürgen&lt;b</h1>".encode()))
            self.assertEqual(self.ask(client, "GET", "/stream"), (200, b"/stream 0\n/stream 1\n/stream 2\n"))
            self.assertEqual(self.ask(client, "GET", "/none")[0], 404)
            self.assertEqual(self.ask(client, "POST", "/name")[0], 405)
            self.assertEqual(self.ask(client, "OPTIONS", "/name"), (200, b""))
            self.assertEqual(self.ask(client, "HEAD", "/page/x"), (200, b""))

    def test_static_files(self) -> None:
        """A static file, part of it, and the answer that it has not changed."""
        content = b"0123456789" * 100_000
        with self.hosting(self.app()) as server, self.client(server) as client:
            client.request("GET", "/static/big.txt")
            with client.getresponse() as response:
                self.assertEqual((response.status, response.read()), (200, content))
                etag = response.headers["ETag"]
                self.assertEqual(response.headers["Content-Length"], "1000000")
            self.assertEqual(self.ask(client, "GET", "/static/big.txt", headers={"If-None-Match": etag}), (304, b""))
            self.assertEqual(
                self.ask(client, "GET", "/static/big.txt", headers={"Range": "bytes=5-14"}), (206, b"5678901234")
            )
            self.assertEqual(self.ask(client, "HEAD", "/static/big.txt"), (200, b""))
            self.assertEqual(self.ask(client, "GET", "/static/../app.py")[0], 404)

    def test_forms_and_sessions(self) -> None:
        """A form, a file in it, a chunked one, and the session cookie."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        file = (
            b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nann\r\n--b\r\nContent-Disposition: form-data; '
            b'name="file"; filename="f"\r\nContent-Type: a/b\r\n\r\n' + b"x" * 300_000 + b"\r\n--b--\r\n"
        )
        # Not behind the validator: for it read() has an argument, and Flask reads chunked bodies without.
        with self.hosting(self.app(), valid=False) as server, self.client(server) as client:
            client.request("POST", "/form", "name=ann", kind)
            with client.getresponse() as response:
                self.assertEqual(response.read(), b'{"name":"ann","size":null}\n')
                cookie = response.headers["Set-Cookie"].partition(";")[0]
            self.assertEqual(self.ask(client, "GET", "/name", headers={"Cookie": cookie}), (200, b"ann"))
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            self.assertEqual(
                self.ask(client, "POST", "/form", body=file, headers=kind), (200, b'{"name":"ann","size":300000}\n')
            )
            chunks = iter([file[:1000], file[1000:]])
            answer = self.ask(client, "POST", "/form", body=chunks, headers=kind, encode_chunked=True)
            self.assertEqual(answer, (200, b'{"name":"ann","size":300000}\n'))

    def test_limits(self) -> None:
        """A chunked body that is too large is 413, although Flask makes a 500 of what reading it raises."""
        app = self.app()
        with (
            mock.patch.object(app.logger, "disabled", True),
            self.assertLogs("syncws.server", logging.INFO) as logs,
            self.hosting(app, valid=False, max_body_size=1000) as server,
            self.client(server) as client,
        ):
            for chunked, data in ((True, iter([b"x" * 600] * 2)), (False, b"x" * 1200)):
                self.assertEqual(self.ask(client, "POST", "/data", body=data, encode_chunked=chunked)[0], 413)
        self.assertEqual([record.levelno for record in logs.records], [logging.INFO] * 2)

    def test_errors(self) -> None:
        """A view that raises is Flask's 500, and Flask's to log."""
        app = self.app()
        with self.assertNoLogs("syncws", logging.INFO), self.hosting(app) as server, self.client(server) as client:
            with self.assertLogs(app.logger, logging.ERROR):
                status, body = self.ask(client, "GET", "/raise")
        self.assertEqual((status, b"<h1>Internal Server Error</h1>" in body), (500, True))

    def test_websocket(self) -> None:
        """A WebSocket view beside all that, with the session of the login."""
        app = self.app()
        with self.hosting(app, valid=False) as server:
            with self.client(server) as client:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                client.request("POST", "/form", "name=ann", kind)
                with client.getresponse() as response:
                    cookie = response.headers["Set-Cookie"].partition(";")[0]
            with self.dial(server, "/echo", headers={"Cookie": cookie}) as conn:
                conn.send("hello")
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
            with self.assertLogs(app.logger, logging.ERROR), self.assertRaises(BadHandshakeError) as caught:
                self.dial(server, "/echo")
        self.assertEqual(caught.exception.status, 500)


if __name__ == "__main__":
    unittest.main()
