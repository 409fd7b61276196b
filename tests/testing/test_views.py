"""views.py: a client of a WSGI application, without a port."""

from __future__ import annotations

import threading
import unittest
from unittest import mock
from wsgiref.validate import validator

import syncws
from syncws._server.upgrader import Upgrader
from syncws._testing import views
from syncws.errors import BadHandshakeError, CloseError
from syncws.testing import LeakChecks, await_, connect
from syncws.wsgi import websocket


def echo(environ, start_response):
    """An application whose every path is a WebSocket that echoes."""
    return websocket(lambda conn: [conn.send(message) for message in conn] and None)(environ, start_response)


class ConnectTests(LeakChecks):
    """connect: a connection to a WebSocket view of a WSGI application."""

    def test_messages(self):
        """Messages go both ways, however the view serves its WebSocket; wsgiref's validator finds no fault."""
        upgrader = Upgrader()

        def inside(environ, start_response):
            conn = upgrader.upgrade(environ)
            for message in conn:
                conn.send(message)
            return conn.wsgi_response(environ, start_response)

        in_view = websocket(lambda conn: conn.send(conn.receive()), detach=False)
        for app in (echo, inside, in_view):
            with connect(validator(app), "/echo") as conn:
                conn.send("hello")
                self.assertEqual(conn.receive(timeout=10), "hello")

    def test_what_is_asked(self):
        """Path, query, headers and subprotocols arrive; the client has an address, as over TCP."""
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            view = websocket(lambda conn: None, upgrader=Upgrader(subprotocols=["b"], enable_compression=True))
            return view(environ, start_response)

        headers = {"Cookie": "a=1", "Origin": "http://localhost"}
        with connect(app, "/%C3%A9/x?q=1", headers=headers, subprotocols=["a", "b"], enable_compression=True) as conn:
            self.assertEqual((conn.subprotocol, conn.compression), ("b", True))
        (environ,) = seen
        self.assertEqual((environ["PATH_INFO"], environ["QUERY_STRING"]), ("/\xc3\xa9/x", "q=1"))
        self.assertEqual((environ["HTTP_COOKIE"], environ["HTTP_HOST"]), ("a=1", "localhost"))
        self.assertEqual((environ["REMOTE_ADDR"], environ["SERVER_PORT"]), ("127.0.0.1", "80"))

    def test_a_refusal(self):
        """A request that is refused, by the application or the Upgrader, raises as a dial does."""

        def forbidden(environ, start_response):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"log in"]

        with self.assertRaisesRegex(BadHandshakeError, "403 Forbidden: log in"), connect(forbidden, "/"):
            self.fail("connected")
        with self.assertLogs("syncws.server"), self.assertRaises(BadHandshakeError) as caught:
            with connect(echo, "/", headers={"Origin": "https://evil.example"}):
                self.fail("connected")
        self.assertEqual(caught.exception.response.status, 403)

    def test_a_refusal_without_an_end(self):
        """A client that has read enough of a refusal leaves, which is nothing to log."""

        def app(environ, start_response):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return iter(lambda: b"no" * 5000, b"")

        with self.assertNoLogs("syncws"), self.assertRaises(BadHandshakeError), connect(app):
            self.fail("connected")

    def test_an_application_that_raises(self):
        """An application that raises is a refusal with 500, and its traceback is in the log."""

        def app(environ, start_response):
            raise ZeroDivisionError

        with self.assertLogs("syncws.server") as logs, self.assertRaises(BadHandshakeError) as caught:
            with connect(app, "/x"):
                self.fail("connected")
        self.assertEqual(caught.exception.status, 500)
        self.assertIn("connect /x: GET /x: the application raised", logs.output[0])

    def test_the_end(self):
        """Leaving the block closes with 1000, with 1011 after an exception; after it the handler has ended."""
        ends = []

        def handler(conn):
            try:
                conn.receive()
            except CloseError as exc:
                ends.append(exc.code)

        with connect(websocket(handler), "/"):
            pass
        self.assertEqual(ends, [1000])
        with self.assertRaises(ZeroDivisionError), connect(websocket(handler), "/"):
            raise ZeroDivisionError
        self.assertEqual(ends, [1000, 1011])

    def test_a_handler_that_closes(self):
        """The end that a handler gives is the end that the client sees."""
        with connect(websocket(lambda conn: conn.close(4000, "done")), "/") as conn:
            with self.assertRaises(CloseError) as caught:
                conn.receive(timeout=10)
        self.assertEqual((caught.exception.code, caught.exception.reason), (4000, "done"))

    def test_a_handler_that_does_not_end(self):
        """A handler that outlives its connection fails the test, once its block is over."""
        go_on = threading.Event()

        class Thread(threading.Thread):
            def join(self, timeout=None):
                super().join(0.05 if self.name == "syncws-testing" else timeout)

        with mock.patch.object(views.threading, "Thread", Thread):
            with self.assertRaisesRegex(AssertionError, "the handler of /stuck is still running"):
                with connect(websocket(lambda conn: go_on.wait(10) and None), "/stuck", close_timeout=0.05):
                    pass
            with self.assertRaises(ZeroDivisionError), connect(
                websocket(lambda conn: go_on.wait(10) and None), "/stuck", close_timeout=0.05
            ):  # fmt: skip
                raise ZeroDivisionError
        go_on.set()

    def test_wrong_arguments(self):
        """An invalid argument is an error at once, and nothing is left."""
        for path, options, kind in [
            ("echo", {}, ValueError),
            (5, {}, TypeError),
            ("/echo", {"nonsense": 1}, TypeError),
            ("/echo", {"net_dial": print}, TypeError),
            ("/echo", {"subprotocols": ["a b"]}, ValueError),
            ("/echo", {"headers": {"Upgrade": "x"}}, ValueError),
            ("/echo\r\nX: y", {}, ValueError),
        ]:
            with self.subTest(path=path, options=options), self.assertRaises(kind), connect(echo, path, **options):
                self.fail("connected")
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            with connect(echo, "/"):
                self.fail("connected")

    def test_many_at_once(self):
        """Several connections to one application are independent, like those of several clients."""
        manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))
        app = websocket(manager.run)
        with connect(app) as first, connect(app) as second:
            self.assertTrue(await_(lambda: len(manager) == 2))
            first.send("to all")
            self.assertEqual([conn.receive(timeout=10) for conn in (first, second)], ["to all"] * 2)


if __name__ == "__main__":
    unittest.main()
