"""The public face of WebSocket inside WSGI: the decorator, the count, the shutdown, and what they refuse."""

from __future__ import annotations

import logging
import socketserver
import threading
import unittest
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import syncws.wsgi
from syncws import BadHandshakeError, CloseError, Conn, Upgrader, dial
from syncws.testing import LeakChecks, await_, connect
from tests.tasks import Task, linger_briefly


def echo(conn: Conn) -> None:
    for message in conn:
        conn.send(message)


class Quiet(WSGIRequestHandler):
    """wsgiref's handler without a line for each request."""

    def log_message(self, *_arguments: Any) -> None:
        pass


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class HostedTestCase(LeakChecks):
    """Serves applications on wsgiref, a thread for each request."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)

    def serve(self, app: Any) -> str:
        """Serve an application; its URL."""
        server = make_server("127.0.0.1", 0, app, Threaded, Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"ws://127.0.0.1:{server.server_port}/"

    def dial(self, url: str) -> Conn:
        conn = dial(url)
        self.addCleanup(conn.close_now)
        return conn


class DecoratorTests(HostedTestCase):
    def test_bare(self) -> None:
        """A decorated handler is a WSGI application, whose connections are detached."""
        modes: list[bool] = []

        @syncws.wsgi.websocket
        def handler(conn: Conn) -> None:
            modes.append(conn.detached)
            echo(conn)

        conn = self.dial(self.serve(handler))
        conn.send("hello")
        self.assertEqual(conn.receive(timeout=10), "hello")
        self.assertEqual(modes, [True])

    def test_in_the_view(self) -> None:
        """With detach=False the handler runs in the server's thread."""
        threads: list[tuple[bool, str]] = []

        @syncws.wsgi.websocket(detach=False)
        def handler(conn: Conn) -> None:
            threads.append((conn.detached, threading.current_thread().name))
            echo(conn)

        conn = self.dial(self.serve(handler))
        conn.send(b"hello")
        self.assertEqual(conn.receive(timeout=10), b"hello")
        self.assertEqual(threads[0][0], False)
        self.assertNotIn("syncws", threads[0][1])

    def test_upgrader(self) -> None:
        """The upgrader decides who may connect, and how; its refusal is the application's answer."""
        app = syncws.wsgi.websocket(echo, upgrader=Upgrader(subprotocols=["chat"]))
        with connect(app, subprotocols=["other", "chat"]) as conn:
            self.assertEqual(conn.subprotocol, "chat")
        with (
            self.assertLogs("syncws.server", logging.INFO),
            self.assertRaises(BadHandshakeError) as raised,
            connect(app, headers={"Origin": "https://elsewhere.example"}),
        ):
            pass
        self.assertEqual(raised.exception.status, 403)

    def test_no_handshake(self) -> None:
        """A plain request is refused with 426, which names no hop-by-hop header."""
        app = syncws.wsgi.websocket(echo)
        answers: list[Any] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "HTTP_CONNECTION": "upgrade",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        with self.assertLogs("syncws.server", logging.INFO):
            body = app(environ, lambda *answer: answers.append(answer))
        self.assertEqual(answers[0][0], "426 Upgrade Required")
        self.assertNotIn("upgrade", [name.lower() for name, _ in answers[0][1]])
        self.assertIn(b"WebSocket endpoint", b"".join(body))

    def test_mistakes(self) -> None:
        """A wrong argument is one error, when the handler is decorated."""
        for arguments, options, message in (
            (("echo",), {}, r"decorates a handler\(conn\)"),
            ((echo,), {"upgrader": "me"}, "upgrader must be an Upgrader"),
            ((echo,), {"detach": 1}, "detach"),
            ((echo,), {"max_connections": True}, "max_connections is an integer"),
        ):
            with self.subTest(message), self.assertRaisesRegex(TypeError, message):
                syncws.wsgi.websocket(*arguments, **options)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "max_connections must be at least 1"):
            syncws.wsgi.websocket(echo, max_connections=0)


class ServeTests(unittest.TestCase):
    def test_mistakes(self) -> None:
        """Upgrader.serve says of each wrong argument what it should be, before it looks at the request."""
        for arguments, options, message in (
            (({}, "echo"), {}, "handler must be a callable"),
            (({}, echo), {"detach": 0}, "detach"),
            (({}, echo), {"max_connections": "many"}, "max_connections"),
            (("environ", echo), {}, "a WSGI environ"),
            (({}, echo), {}, "REQUEST_METHOD"),
        ):
            with self.subTest(message), self.assertRaisesRegex(TypeError, message):
                Upgrader().serve(*arguments, **options)  # type: ignore[arg-type]


class ShutdownTests(HostedTestCase):
    def test_every_peer_is_told(self) -> None:
        """shutdown tells each peer its code and reason, waits for the handlers, and serves again afterwards."""
        url = self.serve(syncws.wsgi.websocket(echo))
        conns = [self.dial(url) for _ in range(3)]
        self.assertTrue(await_(lambda: syncws.wsgi.open_connections() == 3))
        ends = [Task(conn.receive) for conn in conns]
        closing = Task(syncws.wsgi.shutdown, 1012, "back soon", timeout=20)
        for conn, end in zip(conns, ends, strict=True):
            error = end.error()
            assert isinstance(error, CloseError)
            self.assertEqual((error.code, error.reason), (1012, "back soon"))
            conn.close_now()
        self.assertEqual(closing.result(), 0)
        self.assertEqual(syncws.wsgi.open_connections(), 0)
        again = self.dial(url)
        again.send("hello")
        self.assertEqual(again.receive(timeout=10), "hello")

    def test_while_it_lasts(self) -> None:
        """New connections are refused with 503 meanwhile; a handler that does not end is cut, and counted."""
        leave = threading.Event()
        self.addCleanup(leave.set)
        url = self.serve(syncws.wsgi.websocket(lambda conn: leave.wait(30) and None))
        self.dial(url)
        self.assertTrue(await_(lambda: syncws.wsgi.open_connections() == 1))
        closing = Task(syncws.wsgi.shutdown, timeout=1.0)
        with self.assertLogs("syncws.server", logging.INFO):
            self.assertTrue(await_(lambda: self.refused(url) == 503))
        self.assertEqual(closing.result(), 1)
        leave.set()
        self.assertTrue(await_(lambda: syncws.wsgi.open_connections() == 0))

    def refused(self, url: str) -> int:
        try:
            dial(url).close_now()
        except BadHandshakeError as exc:
            return exc.status
        return 101

    def test_by_a_handler(self) -> None:
        """A handler that calls shutdown neither waits for itself nor loses its own connection."""
        left: list[int] = []

        @syncws.wsgi.websocket
        def handler(conn: Conn) -> None:
            conn.receive()
            left.append(syncws.wsgi.shutdown(timeout=20))
            conn.send("still there")

        conn = self.dial(self.serve(handler))
        conn.send("now")
        self.assertEqual(conn.receive(timeout=10), "still there")
        self.assertEqual(left, [0])

    def test_mistakes(self) -> None:
        """A code, a reason or a timeout that is invalid is an error, and no connection is closed."""
        for arguments, error in (((1006,), ValueError), ((1001, "x" * 124), ValueError), ((1001, "", -1), ValueError)):
            with self.subTest(arguments), self.assertRaises(error):
                syncws.wsgi.shutdown(*arguments)
        with self.assertRaisesRegex(TypeError, "timeout is a number of seconds"):
            syncws.wsgi.shutdown(timeout=None)  # type: ignore[arg-type]
        for spread in (-1.0, 4.0):
            with self.subTest(spread), self.assertRaisesRegex(ValueError, "spread"):
                syncws.wsgi.shutdown(timeout=3.0, spread=spread)


if __name__ == "__main__":
    unittest.main()
