"""One WebSocket view: from the environ to the request, the three ways to run its handler, and how each of them ends.

The servers are wsgiref's, threaded and not, and our own; `tests/hosts` has the others.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import unittest
from typing import Any
from unittest import mock
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import syncws
from syncws._http.request import Request
from syncws._http.wsgiresponse import refused
from syncws._wsgi import exchange
from syncws._wsgi.guests import guests
from syncws._wsgi.taken import Taken, Untakeable
from syncws.testing import LeakChecks, Peer, await_, running
from tests.handshakes import KEY
from tests.tasks import linger_briefly


def read(conn: syncws.Conn) -> None:
    for _ in conn:
        pass


class Quiet(WSGIRequestHandler):
    """HTTP/1.1, and no line for each request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        pass


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class ViewTestCase(LeakChecks):
    """Serves one view, which does what the test gives it to do with its environ."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)

    def serve(self, call: Any, server_class: type[WSGIServer] = Threaded) -> int:
        """The port; call(environ) gives the WSGIResponse."""

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/plain":
                start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
                return [b"plain"]
            return call(environ)(environ, start_response)

        server = make_server("127.0.0.1", 0, app, server_class, Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return int(server.server_port)

    def ask(self, port: int, path: str = "/ws", sock: socket.socket | None = None) -> tuple[bytes, Peer]:
        """(the status line of the answer to a handshake, a peer that reads what follows its head)"""
        if sock is None:
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            self.addCleanup(sock.close)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        if path == "/ws":
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            head += f"Sec-WebSocket-Key: {KEY}\r\n"
        sock.sendall(f"{head}\r\n".encode())
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            data = sock.recv(1)
            if not data:
                break
            received += data
        return received.partition(b"\r\n")[0], Peer(sock, masked=True)

    def check_end(self, peer: Peer) -> None:
        """Nothing comes any more; then this side closes TCP too, which the other waits for."""
        self.assertTrue(peer.at_end())
        peer.socket.close()

    def ended(self) -> bool:
        return await_(lambda: len(guests()) == 0)


class WayTests(ViewTestCase):
    """Detached, in the view, and on our own server."""

    def test_detached(self) -> None:
        """Detached, the view returns before the handler is done, and a server of one thread goes on serving."""
        returned = threading.Event()

        def handler(conn: syncws.Conn) -> None:
            self.assertTrue(returned.wait(10))
            conn.send(f"{conn.detached} {threading.current_thread().name}")

        def call(environ: Any) -> Any:
            response = syncws.Upgrader().serve(environ, handler)
            returned.set()
            return response

        port = self.serve(call, WSGIServer)
        status, peer = self.ask(port)
        self.assertEqual(status, b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(peer.receive_frame().payload, b"True syncws-detached")
        self.assertIn(b" 200 ", self.ask(port, "/plain")[0])
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        self.check_end(peer)

    def test_in_the_view(self) -> None:
        """In the view, serve returns when the handler is done, and the client sees nothing of the server's answer."""
        done: list[bool] = []

        def call(environ: Any) -> Any:
            response = syncws.Upgrader().serve(environ, lambda conn: done.append(conn.detached), detach=False)
            self.assertEqual(done, [False])
            return response

        _, peer = self.ask(self.serve(call))
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        self.check_end(peer)
        self.assertTrue(self.ended())

    def test_on_our_server(self) -> None:
        """On our own server the handler runs when the application has returned; with detach=False before."""
        for detach, expected in ((None, "returned"), (False, "in the view")):
            with self.subTest(detach=detach):
                where = ["in the view"]

                def app(environ: Any, start_response: Any, where: Any = where, detach: Any = detach) -> Any:
                    def handler(conn: syncws.Conn) -> None:
                        conn.send(where[0])

                    response = syncws.Upgrader().serve(environ, handler, detach=detach)
                    where[0] = "returned"
                    return response(environ, start_response)

                with running(syncws.Server(wsgi_app=app, port=0)) as server:
                    _, peer = self.ask(server.address[1])
                    self.assertEqual(peer.receive_frame().payload.decode(), expected)
                    self.assertEqual(peer.receive_close(), (1000, ""))
                    peer.close()
                    self.check_end(peer)

    def test_by_hand(self) -> None:
        """upgrade gives the connection to the view, whose response closes it if the view has not."""

        def call(environ: Any) -> Any:
            conn = syncws.Upgrader().upgrade(environ)
            conn.send("hello")
            return conn.wsgi_response

        _, peer = self.ask(self.serve(call))
        self.assertEqual(peer.receive_frame().payload, b"hello")
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        self.check_end(peer)
        self.assertTrue(self.ended())

    def test_arguments(self) -> None:
        """The handler gets the arguments that follow it in serve; headers go into the 101."""

        def handler(conn: syncws.Conn, user: str, number: int) -> None:
            conn.send(f"{user} {number}")

        port = self.serve(
            lambda environ: syncws.Upgrader().serve(environ, handler, "ann", 5, response_headers={"X-More": "yes"})
        )
        with syncws.dial(f"ws://127.0.0.1:{port}/ws") as conn:
            self.assertEqual(conn.receive(timeout=10), "ann 5")
            self.assertEqual(conn.response.headers["X-More"], "yes")


class EndTests(ViewTestCase):
    """How a handler ends, in each way."""

    def close_code(self, handler: Any, detach: bool | None) -> int | None:
        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, handler, detach=detach))
        _, peer = self.ask(port)
        code, _ = peer.receive_close()
        peer.close(code)
        self.check_end(peer)
        self.assertTrue(self.ended())
        return code

    def test_raises(self) -> None:
        """A handler that raises closes with 1011; the log has its traceback, and the client nothing of it."""

        def handler(conn: syncws.Conn) -> None:
            raise LookupError("a secret")

        for detach in (None, False):
            with self.subTest(detach=detach), self.assertLogs("syncws.wsgi", logging.ERROR) as logs:
                self.assertEqual(self.close_code(handler, detach), 1011)
            self.assertEqual(len(logs.output), 1)
            self.assertIn("LookupError: a secret", logs.output[0])

    def test_returns_something(self) -> None:
        """What a handler returns is lost: 1008, and one line in the log says what it may have wanted."""
        for detach in (None, False):
            with self.subTest(detach=detach), self.assertLogs("syncws.wsgi", logging.ERROR) as logs:
                self.assertEqual(self.close_code(lambda conn: "log in first", detach), 1008)
            self.assertIn("has to run before the handler", logs.output[0])

    def test_closes_twice(self) -> None:
        """A handler that closes by itself, twice, ends as it said."""

        def handler(conn: syncws.Conn) -> None:
            conn.close(4000, "enough", timeout=5)
            conn.close(1001)

        for detach in (None, False):
            with self.subTest(detach=detach):
                self.assertEqual(self.close_code(handler, detach), 4000)

    def test_exits(self) -> None:
        """SystemExit of a detached handler ends its thread and its connection, and nothing else."""

        def handler(conn: syncws.Conn) -> None:
            raise SystemExit

        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, handler))
        _, peer = self.ask(port)
        self.check_end(peer)
        self.assertTrue(self.ended())
        self.assertIn(b" 200 ", self.ask(port, "/plain")[0])


class ObstacleTests(ViewTestCase):
    """What is in the way of a connection, and what is left then."""

    def test_no_thread(self) -> None:
        """Without a thread the request is answered 503, on a connection that goes on."""
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "syncws-detached":
                raise RuntimeError("can't start new thread")
            start(thread)

        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, print))
        with mock.patch.object(threading.Thread, "start", refuse), self.assertLogs("syncws.server") as logs:
            status, peer = self.ask(port)
        self.assertIn(b" 503 ", status)
        self.assertIn("can't start new thread", logs.output[0])
        self.assertEqual(len(guests()), 0)
        peer.socket.close()

    def test_no_descriptor(self) -> None:
        """Without a descriptor the request is answered 503 as well; thread and seat are given back."""
        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, print))
        with (
            mock.patch("_socket.socketpair", side_effect=OSError(24, "Too many open files")),
            self.assertLogs("syncws.server"),
        ):
            status, _ = self.ask(port)
        self.assertIn(b" 503 ", status)
        self.assertTrue(self.ended())

    def test_full(self) -> None:
        """One connection more than max_connections is answered 503, until one has gone."""
        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, read, max_connections=1))
        status, peer = self.ask(port)
        self.assertIn(b" 101 ", status)
        with self.assertLogs("syncws.server"):
            self.assertIn(b" 503 ", self.ask(port)[0])
        peer.close()
        peer.receive_close()
        peer.socket.close()
        self.assertTrue(self.ended())
        self.assertIn(b" 101 ", self.ask(port)[0])

    def test_twice(self) -> None:
        """A request is upgraded once: the second time is a ValueError, however it is tried."""
        errors: list[str] = []

        def call(environ: Any) -> Any:
            response = syncws.Upgrader().serve(environ, lambda conn: None)
            for again in (syncws.Upgrader().upgrade, lambda environ: syncws.Upgrader().serve(environ, print)):
                try:
                    again(environ)
                except ValueError as exc:
                    errors.append(str(exc))
            return response

        _, peer = self.ask(self.serve(call))
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.socket.close()
        self.assertEqual(len(errors), 2)
        self.assertIn("upgraded before", errors[0])

    def test_a_server_that_keeps_its_socket(self) -> None:
        """An environ without a socket is refused with 501, and the log says what to serve with."""
        environ = {
            "REQUEST_METHOD": "GET",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "HTTP_UPGRADE": "websocket",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_SEC_WEBSOCKET_KEY": KEY,
            "SERVER_SOFTWARE": "nobody/1.0",
        }
        with self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.assertEqual(syncws.Upgrader().serve(environ, print).status, 501)
        self.assertIn("nobody/1.0", logs.output[0])
        self.assertIn("serve with gunicorn", logs.output[0])

    def test_must_be_detached(self) -> None:
        """detach=True is refused with the reason where it cannot be."""

        found = exchange.find

        def find(environ: Any) -> Any:
            taken = found(environ)
            return Taken(server="stubborn", sock=taken.sock, fd=taken.fd, detachable=False)

        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, print, detach=True))
        with mock.patch.object(exchange, "find", find), self.assertLogs("syncws.server") as logs:
            self.assertIn(b" 501 ", self.ask(port)[0])
        self.assertIn("stubborn cannot be detached", logs.output[0])

    def test_what_a_detached_request_keeps(self) -> None:
        """A detached connection keeps what the environ says, and nothing that holds the server's streams."""
        seen: list[Request] = []

        def handler(conn: syncws.Conn) -> None:
            seen.append(conn.request)

        port = self.serve(lambda environ: syncws.Upgrader().serve(environ, handler))
        _, peer = self.ask(port)
        peer.receive_close()
        peer.socket.close()
        environ = seen[0].environ
        assert environ is not None
        self.assertEqual(environ["PATH_INFO"], "/ws")
        self.assertFalse({"wsgi.input", "wsgi.errors", "syncws.request"} & environ.keys())

    def test_untakeable_by_hand(self) -> None:
        """upgrade raises HandshakeError where the socket cannot be had; the response is in it."""

        def call(environ: Any) -> Any:
            with mock.patch.object(exchange, "find", side_effect=Untakeable("it is stuck", "pull")):
                try:
                    syncws.Upgrader().upgrade(environ)
                except syncws.HandshakeError as exc:
                    assert isinstance(exc.response, syncws.Response)
                    return refused(exc.response)
            raise AssertionError("it was not refused")

        with self.assertLogs("syncws.server") as logs:
            self.assertIn(b" 501 ", self.ask(self.serve(call))[0])
        self.assertIn("it is stuck; pull", logs.output[0])


if __name__ == "__main__":
    unittest.main()
