"""serving.py: servers for the length of a block, and their clients."""

from __future__ import annotations

import os
import queue
import socket
import threading
import unittest
import urllib.request
from unittest import mock

import syncws
from syncws._http.response import Response
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws._testing.serving import raw_client
from syncws.errors import MessageType
from syncws.testing import Frame, LeakChecks, Peer, running, serving
from syncws.wsgi import websocket
from tests.certificates import contexts
from tests.tasks import PATIENCE, Task


class RunningTests(LeakChecks):
    """running: a server for the length of a block."""

    def test_serves_inside_the_block(self):
        """Inside the block the server answers; after it nothing listens any more."""
        server = Server(lambda request: Response("hello"), "127.0.0.1", 0)
        with running(server) as same:
            self.assertIs(same, server)
            with socket.create_connection(server.address) as client:
                client.settimeout(10)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))
        with self.assertRaises(OSError):
            socket.create_connection(server.address).close()

    def test_handler_that_does_not_end(self):
        """A handler that is still running after the block fails it, unless the block has raised an exception."""
        for error in (None, ZeroDivisionError):
            inside, go_on = threading.Event(), threading.Event()
            self.addCleanup(go_on.set)

            def handler(request, inside=inside, go_on=go_on):
                inside.set()
                go_on.wait(10)
                return Response("late")

            with self.assertRaises(error or AssertionError):
                with running(Server(handler, "127.0.0.1", 0), timeout=0.05) as server:
                    client = socket.create_connection(server.address)
                    self.addCleanup(client.close)
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertTrue(inside.wait(10))
                    if error:
                        raise error


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class ServingTests(LeakChecks):
    """serving: a server on a free port, and clients for it."""

    def test_a_function(self) -> None:
        """A function of a connection is served, as by syncws.serve, and its clients are closed at the end."""
        with serving(echo) as live:
            self.assertRegex(live.url, r"^ws://127\.0\.0\.1:\d+$")
            self.assertEqual(live.http_url, live.url.replace("ws", "http", 1))
            self.assertEqual(repr(live), f"<LiveServer {live.url}>")
            conn = live.dial("/any?q=1", {"X-Of": "mine"}, subprotocols=["a"])
            conn.send("hello")
            self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
        self.assertTrue(conn.closed)
        self.assertIn("1000", str(conn.end))

    def test_a_server_of_ones_own(self) -> None:
        """A Server is taken as it is, with its handler of requests and its options; on IPv6 too."""
        for host in ("127.0.0.1", "::1"):
            try:
                server = Server(lambda request: Response(request.path), host, 0)
            except OSError:
                continue  # a machine without IPv6
            with self.subTest(host), serving(server) as live, urllib.request.urlopen(f"{live.http_url}/page") as page:
                self.assertEqual(page.read(), b"/page")
                self.assertIs(live.server, server)

    def test_an_application(self) -> None:
        """A WSGI application is served, for WebSockets and for pages."""
        with serving(wsgi_app=websocket(echo)) as live:
            conn = live.dial("/echo")
            conn.send(b"1")
            self.assertEqual(conn.receive(timeout=PATIENCE), b"1")

    def test_tls(self) -> None:
        """With an ssl_context the URLs are wss and https, and a raw client says that it speaks none."""
        server_side, client_side = contexts()
        with serving(echo, ssl_context=server_side) as live:
            self.assertEqual((live.url[:6], live.http_url[:8]), ("wss://", "https://"))
            conn = live.dial(ssl_context=client_side)
            conn.send("x")
            self.assertEqual(conn.receive(timeout=PATIENCE), "x")
            with self.assertRaisesRegex(ValueError, "speaks no TLS"):
                live.raw()

    def test_upgrader(self) -> None:
        """An Upgrader decides who may connect."""
        with serving(echo, upgrader=Upgrader(subprotocols=["b"])) as live:
            self.assertEqual(live.dial(subprotocols=["a", "b"]).subprotocol, "b")

    def test_no_proxy_is_asked(self) -> None:
        """A proxy that the environment names is not asked for the server of a test."""
        with mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}), serving(echo) as live:
            self.assertTrue(live.dial())

    def test_a_raw_client(self) -> None:
        """A raw client has done its handshake, and then misbehaves: bad frames, a code, and an end without a word."""
        ends: queue.Queue[BaseException] = queue.Queue()

        def handler(conn: syncws.Conn) -> None:
            try:
                conn.send("greeting")  # what comes with the 101 is not lost
                conn.receive(timeout=PATIENCE)
            except syncws.ConnectionClosed as end:
                ends.put(end)
                raise

        def unmasked(raw: Peer) -> None:
            raw.send_frame(MessageType.TEXT, "x", masked=False)
            self.assertEqual(raw.receive_close()[0], 1002)

        def leave(raw: Peer) -> None:
            raw.close(4001, "mine")

        with serving(handler) as live:
            for misbehave, told in ((unmasked, "1002"), (leave, "4001"), (Peer.vanish, "1006")):
                raw = live.raw("/", {"X-Of": "mine"})
                self.assertEqual(raw.receive_frame(), Frame(MessageType.TEXT, b"greeting"))
                misbehave(raw)
                self.assertIn(told, str(ends.get(timeout=PATIENCE)))
            raw.vanish()  # once more

    def test_a_raw_client_is_refused(self) -> None:
        """A server that does not agree, and one that hangs up, fail the test with what was said."""
        with serving(Server(lambda request: Response(status=403), "127.0.0.1", 0)) as live:
            with self.assertRaisesRegex(AssertionError, "did not agree to a WebSocket: b'HTTP/1.1 403"):
                live.raw()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            task = Task(self.hang_up, listener)
            with self.assertRaisesRegex(AssertionError, "the server ended the handshake after b'HTTP/1.1 1'"):
                raw_client(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
            task.result()

    @staticmethod
    def hang_up(listener: socket.socket) -> None:
        """Read a request, and end in the middle of the answer."""
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            while b"\r\n\r\n" not in sock.recv(1 << 16):
                pass
            sock.sendall(b"HTTP/1.1 1")

    def test_wrong_arguments(self) -> None:
        """What is to be served is said once, with the options that it takes; a path begins with a slash."""
        server = Server(lambda request: None, "127.0.0.1", 0)
        self.addCleanup(server.shutdown)
        for arguments, options in (
            ([], {}),
            ([echo], {"wsgi_app": websocket(echo)}),
            ([server], {"max_headers": 5}),
            ([server], {"upgrader": Upgrader()}),
            ([], {"wsgi_app": websocket(echo), "upgrader": Upgrader()}),
            ([echo], {"nonsense": 1}),
            ([3], {}),
        ):
            with self.subTest(options=options), self.assertRaises(TypeError), serving(*arguments, **options):
                self.fail("served")
        with serving(echo) as live:
            for call in (live.dial, live.raw):
                with self.assertRaisesRegex(ValueError, "begins with a slash"):
                    call("echo")
                for wrong in (5, None, b"/"):
                    with self.assertRaisesRegex(TypeError, "a path is a str"):
                        call(wrong)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "running takes a Server"), running(echo):  # type: ignore[arg-type]
            self.fail("served")


if __name__ == "__main__":
    unittest.main()
