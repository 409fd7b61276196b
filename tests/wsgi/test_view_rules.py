"""view.py, rule by rule: views that are called by hand, without a server.

`tests/wsgi/test_view.py` has the same inside servers.
"""

from __future__ import annotations

import gc
import logging
import queue
import socket
import ssl
import threading
import unittest
import weakref
from typing import Any
from unittest import mock

import syncws
import syncws.wsgi
from syncws._http.http11 import HTTPConnection
from syncws._net.transport import Transport
from syncws._wsgi import exchange
from syncws._wsgi.borrow import BorrowedTLSTransport, BorrowedTransport
from syncws._wsgi.detach import DetachedTransport
from syncws._wsgi.detach_tls import DetachedTLSTransport
from syncws._wsgi.guests import guests
from syncws._wsgi.taken import Environ
from syncws.testing import LeakChecks, Peer, await_, socketpair
from tests.tasks import PATIENCE, Task
from tests.wsgi.by_hand import RESET, ByHandCase, Handler, nothing
from tests.wsgi.serving import HANDSHAKE, receive_response, serving


class FreedTests(ByHandCase):
    """What is done with is freed at once, without the garbage collector."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def check_freed(self, *watched: weakref.ref[Any]) -> None:
        for each in watched:
            self.assertTrue(await_(lambda each=each: each() is None), "it is left to the collector")  # type: ignore[misc]

    def test_a_refused_request(self) -> None:
        """A refused request goes with its environ."""
        environ, *_ = self.make(HTTP_CONNECTION="close")
        with self.assertLogs("syncws.server", logging.INFO):
            self.assertEqual(self.serve(environ).status, 400)
        exchange = weakref.ref(environ["syncws.request"].exchange)
        stream = weakref.ref(environ["wsgi.input"])
        del environ
        self.check_freed(exchange, stream)

    def test_a_connection(self) -> None:
        """A connection goes with its handler, however that ends."""

        def reads(conn: syncws.Conn) -> None:
            conn.receive()

        def iterates(conn: syncws.Conn) -> None:
            for _ in conn:
                pass

        def fails(conn: syncws.Conn) -> None:
            raise RuntimeError

        for handler in (nothing, reads, iterates, fails):
            for detach in (None, False):
                with self.subTest(handler.__name__, detach=detach):
                    conns: list[weakref.ref[syncws.Conn]] = []

                    def watched(conn: syncws.Conn, handler: Handler = handler, conns: Any = conns) -> None:
                        conns.append(weakref.ref(conn))
                        handler(conn)

                    environ, _, peer = self.make()
                    quiet = self.assertLogs("syncws", logging.DEBUG)
                    with quiet:
                        logging.getLogger("syncws").debug("at least this")
                        task = Task(self.serve, environ, watched, detach=detach)
                        self.opened(peer).close(4000)
                        task.result()
                        peer.receive_close()
                        peer.socket.close()
                        del environ, task
                        self.check_seats()
                    quiet.watcher.records.clear()  # they hold what was raised
                    del quiet
                    self.check_freed(*conns)

    def test_the_servers_streams(self) -> None:
        """While a detached connection lives it holds neither the server's streams nor its socket."""
        gate = threading.Event()
        environ, server, peer = self.make()
        self.serve(environ, lambda conn: gate.wait(PATIENCE) and None)
        self.addCleanup(gate.set)
        stream = weakref.ref(environ["wsgi.input"])
        references = len(gc.get_referrers(server))
        del environ
        self.check_freed(stream)
        self.assertLess(len(gc.get_referrers(server)), references)
        self.opened(peer)
        gate.set()
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.socket.close()


class WayTests(ByHandCase):
    """How the handler is run."""

    def mode(self, environ: Environ, peer: Peer, **options: Any) -> tuple[bool, type[Transport]]:
        """(conn.detached, the class of its transport); the connection carries messages, and ends in order."""
        seen: list[tuple[bool, type[Transport]]] = []

        def echo(conn: syncws.Conn) -> None:
            seen.append((conn.detached, type(conn.transport)))
            for message in conn:
                conn.send(message)

        task = Task(self.serve, environ, echo, **options)
        self.opened(peer)
        for size in (5, 100_000):
            peer.send_frame(2, bytes(size))
            self.assertEqual(peer.receive_frame().payload, bytes(size))
        peer.close(4001)
        self.assertEqual(peer.receive_close(), (4001, ""))
        self.assertTrue(peer.at_end())
        peer.socket.close()
        self.assertEqual(task.result().status, 101)
        self.check_seats()
        return seen[0]

    def test_plain(self) -> None:
        """Plain connections are taken away from their server, detached or not."""
        for detach, detached in ((None, True), (True, True), (False, False)):
            environ, _, peer = self.make()
            self.assertEqual(self.mode(environ, peer, detach=detach), (detached, DetachedTransport))

    def test_tls(self) -> None:
        """TLS is taken away too, where it is Python's own."""
        for detach, detached in ((None, True), (True, True), (False, False)):
            environ, _, peer = self.make_tls()
            self.assertEqual(self.mode(environ, peer, detach=detach), (detached, DetachedTLSTransport))

    def test_other_tls(self) -> None:
        """TLS that looks otherwise stays in the view, over the server's own socket."""

        class Another(ssl.SSLSocket):
            pass

        environ, server, peer = self.make_tls()
        server.__class__ = Another
        self.assertEqual(self.mode(environ, peer), (False, BorrowedTLSTransport))
        with self.assertRaises(BrokenPipeError):
            server.send(b"HTTP/1.1 101 Switching Protocols")
        self.assertGreaterEqual(server.fileno(), 0)
        environ, server, _ = self.make_tls()
        server.__class__ = Another
        body = self.check_refused(environ, 501, "leave detach=True out", detach=True)
        self.assertIn("a connection of werkzeug cannot be detached: the server itself speaks TLS", body)

    def test_where_descriptors_cannot_be_exchanged(self) -> None:
        """Plain connections stay in the view on Windows."""
        with mock.patch.object(exchange, "CAN_EXCHANGE", False):
            environ, server, peer = self.make()
            self.assertEqual(self.mode(environ, peer), (False, BorrowedTransport))
            with self.assertRaises(BrokenPipeError):
                server.send(b"HTTP/1.1 101 Switching Protocols")
            self.assertGreaterEqual(server.fileno(), 0)
            environ, _, _ = self.make()
            self.assertIn("cannot exchange descriptors", self.check_refused(environ, 501, detach=True))

    def test_a_taker_that_says_no(self) -> None:
        """So do those whose taker says that a connection may not outlive its view."""
        with self.taking(detachable=False):
            environ, _, peer = self.make()
            self.assertEqual(self.mode(environ, peer), (False, BorrowedTransport))

    def test_greenlets(self) -> None:
        """A view in a greenlet of a process that is not patched would stop all others; detached it may be."""

        class GreenSocket(socket.socket):
            __slots__ = ()

        GreenSocket.__module__ = "gevent._socket3"
        for green in (False, True):
            for detach in (None, False):
                with (
                    self.subTest(green=green, detach=detach),
                    mock.patch.object(exchange, "is_green", return_value=green),
                ):
                    environ, server, peer = self.make()
                    server.__class__ = GreenSocket
                    if detach is None or green:
                        self.assertEqual(self.mode(environ, peer, detach=detach)[0], detach is None)
                        continue
                    body = self.check_refused(environ, 501, "gevent.monkey.patch_all()", detach=detach)
                    self.assertIn("werkzeug runs views in greenlets", body)
                    with self.assertLogs("syncws.server"), self.assertRaises(syncws.HandshakeError) as caught:
                        self.upgrader.upgrade(environ)
                    self.assertEqual(caught.exception.status, 501)

    def test_the_server_is_told(self) -> None:
        """A server that has to be told that its connection was taken is told, before the view returns."""
        for detach in (None, False):
            marks: list[str] = []
            environ, _, peer = self.make()
            with self.taking(on_taken=lambda marks=marks: marks.append("told")):  # type: ignore[misc]
                task = Task(self.serve, environ, detach=detach)
                task.result()
            self.assertEqual(marks, ["told"])
            self.opened(peer).receive_close()
            peer.socket.close()

    def test_early_bytes(self) -> None:
        """What the server has read after the request is the connection's first."""
        for detach in (None, False):
            environ, _, peer = self.make()
            received: list[Any] = []
            early = peer.frame(1, "early")
            with self.taking(read_early=lambda early=early: early):  # type: ignore[misc]
                task = Task(
                    self.serve, environ, lambda conn, received=received: received.append(conn.receive()), detach=detach
                )
                self.opened(peer).receive_close()
                peer.socket.close()
                task.result()
            self.assertTrue(await_(lambda received=received: received == ["early"]))  # type: ignore[misc]

    def test_the_environ_is_cleared_before_the_handler_sees_it(self) -> None:
        """The thread of a detached connection gets it once its request is without the server's streams."""
        left: list[bool] = []
        environ, _, peer = self.make()

        class Watched(queue.SimpleQueue[Any]):
            def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
                left.append("wsgi.input" in (environ["syncws.request"].environ or {}))
                super().put(item)

        with mock.patch.object(queue, "SimpleQueue", Watched):
            self.serve(environ)
        self.assertEqual(left, [False])
        self.opened(peer).receive_close()
        peer.socket.close()


class EndTests(ByHandCase):
    """How it ends."""

    def test_a_slow_peer_does_not_hold_the_view(self) -> None:
        """Once the handler is done the view returns: the peer answers the close when it likes."""
        for make in (self.make, self.make_tls):
            environ, _, peer = make()
            self.assertEqual(self.serve(environ, detach=False).status, 101)
            self.opened(peer)
            self.assertEqual(len(guests()), 1)
            self.assertEqual(guests()._views, {})  # it counts no more for the server's pool
            self.assertEqual(peer.receive_close(), (1000, ""))
            peer.close()
            self.assertTrue(peer.at_end())
            peer.socket.close()
            self.check_seats()

    def test_a_slow_peer_on_the_servers_own_socket(self) -> None:
        """Over the server's own socket the view waits, since the server goes on with that."""
        for borrowed in (True, False):
            # Or where no thread can be had that would wait.
            environ, _, peer = self.make()
            start = threading.Thread.start

            def refuse(thread: threading.Thread, start: Any = start, borrowed: bool = borrowed) -> None:
                if thread.name == "syncws-ending" and not borrowed:
                    raise RuntimeError("can't start new thread")
                start(thread)

            with self.taking(detachable=not borrowed), mock.patch.object(threading.Thread, "start", refuse):
                task = Task(self.serve, environ, detach=False)
                self.opened(peer)
                self.assertEqual(peer.receive_close(), (1000, ""))
                task.join(0.05)
                self.assertFalse(task.done)
                peer.close()
                peer.socket.close()
                task.result()
            self.check_seats()

    def test_a_view_that_is_killed(self) -> None:
        """SystemExit (gunicorn's) and the like pass through the view; the connection is cut, the seat given back."""
        for error in (SystemExit, KeyboardInterrupt):
            environ, server, peer = self.make()

            def handler(conn: syncws.Conn, error: type[BaseException] = error) -> None:
                raise error

            with self.assertRaises(error):
                self.serve(environ, handler, detach=False)
            self.opened(peer)
            self.assertTrue(peer.at_end())
            with self.assertRaises(BrokenPipeError):
                server.send(b"HTTP/1.1 500 Internal Server Error")

    def test_a_handler_that_exits(self) -> None:
        """SystemExit of a detached handler ends its connection; the log says so at DEBUG only."""

        def handler(conn: syncws.Conn) -> None:
            raise SystemExit

        environ, _, peer = self.make()
        with self.assertLogs("syncws.wsgi", logging.DEBUG) as logs:
            self.serve(environ, handler)
            self.opened(peer)
            self.assertTrue(peer.at_end())
            self.check_seats()
        self.assertEqual(logs.output, ["DEBUG:syncws.wsgi:/chat: the handler exited"])

    def test_a_client_that_has_gone(self) -> None:
        """Where the 101 cannot be sent no handler runs; it is one line of INFO, and the view returns as usual."""
        for detach in (None, False):
            ran: list[syncws.Conn] = []
            environ, _, peer = self.make()
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.socket.close()
            with self.assertLogs("syncws", logging.INFO) as logs:
                self.assertEqual(self.serve(environ, ran.append, detach=detach).status, 101)
                self.check_seats()
            self.assertEqual(ran, [])
            (record,) = logs.records
            self.assertEqual(record.levelno, logging.INFO)
            self.assertIn("192.0.2.1:4711: the 101 could not be sent", record.getMessage())


class FullTests(ByHandCase):
    """No seat, or no thread."""

    def test_no_thread(self) -> None:
        """Whatever the system says of threads, the request is refused, and the socket stays the server's."""
        start = threading.Thread.start
        for error in (RuntimeError("can't start new thread"), MemoryError("no stack")):

            def refuse(thread: threading.Thread, error: Exception = error) -> None:
                if thread.name == "syncws-detached":
                    raise error
                start(thread)

            environ, server, peer = self.make()
            with mock.patch.object(threading.Thread, "start", refuse):
                self.check_refused(environ, 503, "no thread can be started", str(error))
            server.sendall(b"HTTP/1.1 503")
            self.assertEqual(peer.socket.recv(100), b"HTTP/1.1 503")

    def test_no_descriptor_in_the_view(self) -> None:
        """Without a descriptor a view gives its seat back."""
        environ, server, peer = self.make()
        with mock.patch("_socket.socketpair", side_effect=OSError(24, "Too many open files")):
            self.check_refused(environ, 503, "Too many open files", detach=False)
        server.sendall(b"HTTP/1.1 503")
        self.assertEqual(peer.socket.recv(100), b"HTTP/1.1 503")

    def test_the_decorators_limit(self) -> None:
        """max_connections of the decorator is its limit."""
        gate = threading.Event()

        @syncws.wsgi.websocket(max_connections=1)
        def app(conn: syncws.Conn) -> None:
            gate.wait(PATIENCE)

        environ, _, peer = self.make()
        started: list[str] = []
        app(environ, lambda status, headers: started.append(status))
        self.addCleanup(gate.set)
        other, *_ = self.make()
        with self.assertLogs("syncws.server") as logs:
            app(other, lambda status, headers: started.append(status))
        self.assertEqual(started, ["101 Switching Protocols", "503 Service Unavailable"])
        self.assertIn("all 1 WebSocket connections are taken", logs.output[0])
        self.opened(peer)
        gate.set()
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.socket.close()


class OwnServerTests(LeakChecks):
    """On our own server, whose connection's thread runs the handler."""

    def make(self) -> tuple[Environ, syncws.Request, Peer]:
        """(environ, request, the client)"""
        server, client = socketpair()
        transport = Transport(server)
        self.addCleanup(transport.close)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.sendall(HANDSHAKE)
        request = HTTPConnection(transport).read_request(None)
        assert request is not None
        return {"REQUEST_METHOD": "GET", "syncws.request": request}, request, Peer(client, masked=True)

    def test_after_the_application(self) -> None:
        """The handler is left to the thread, which calls it when the application has returned."""
        environ, request, peer = self.make()
        seen: list[bool] = []
        response = syncws.Upgrader().serve(environ, lambda conn: seen.append(conn.detached))
        self.assertEqual((response.status, seen), (101, []))
        assert request.then is not None
        task = Task(request.then)
        self.assertEqual(receive_response(peer.socket)[0], 101)
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        peer.socket.close()
        task.result()
        self.assertEqual(seen, [True])

    def test_in_the_view(self) -> None:
        """With detach=False it runs at once."""
        environ, request, peer = self.make()
        seen: list[bool] = []
        task = Task(syncws.Upgrader().serve, environ, lambda conn: seen.append(conn.detached), detach=False)
        self.assertEqual(receive_response(peer.socket)[0], 101)
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        peer.socket.close()
        self.assertEqual(task.result().status, 101)
        self.assertEqual(seen, [False])
        self.assertIsNone(request.then)

    def test_twice(self) -> None:
        """A request is served once, even if its handler has yet to run."""
        environ, request, peer = self.make()
        syncws.Upgrader().serve(environ, nothing)
        with self.assertRaisesRegex(ValueError, "upgraded before"):
            syncws.Upgrader().serve(environ, nothing)
        assert request.then is not None
        peer.socket.close()
        request.then()

    def test_a_refusal(self) -> None:
        """A refused handshake leaves the thread nothing to do."""
        environ, request, _ = self.make()
        with self.assertLogs("syncws.server", logging.INFO):
            response = syncws.Upgrader(check_origin=lambda request: False).serve(environ, nothing)
        self.assertEqual(response.status, 403)
        self.assertIsNone(request.then)


class KeptAliveTests(LeakChecks):
    """A server goes on with a connection that was not taken."""

    def ask_again(self, server: str, first: bytes, **options: Any) -> tuple[int, int]:
        """(status of a handshake, status of a plain request after it on the same connection)"""

        def app(environ: Environ, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/plain":
                start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
                return [b"plain"]
            return syncws.Upgrader().serve(environ, nothing, **options)(environ, start_response)

        with serving(server, app) as served, served.connect() as client:
            client.sendall(first)
            status = receive_response(client)[0]
            client.sendall(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
            again = receive_response(client)[0]
        self.assertEqual(served.errors.getvalue(), "")
        return status, again

    def test_a_refusal(self) -> None:
        """After a refusal the next request on the connection is served."""
        for server in ("runserver", "cheroot", "waitress"):
            with self.subTest(server), self.assertLogs("syncws.server", logging.INFO):
                bad = HANDSHAKE.replace(b"Version: 13", b"Version: 12")
                self.assertEqual(self.ask_again(server, bad), (400, 200))

    def test_no_thread(self) -> None:
        """The next request is served as well when there was no thread for a detached connection."""
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "syncws-detached":
                raise RuntimeError("can't start new thread")
            start(thread)

        for server in ("runserver", "cheroot", "waitress"):
            with self.subTest(server), self.assertLogs("syncws.server", logging.WARNING):
                with mock.patch.object(threading.Thread, "start", refuse):
                    self.assertEqual(self.ask_again(server, HANDSHAKE), (503, 200))

    def test_no_descriptor(self) -> None:
        """Or no descriptor."""
        none = mock.patch("_socket.socketpair", side_effect=OSError(24, "Too many open files"))
        for server in ("runserver", "cheroot", "waitress"):
            for detach in (None, False):
                with self.subTest(server, detach=detach), self.assertLogs("syncws.server", logging.WARNING), none:
                    self.assertEqual(self.ask_again(server, HANDSHAKE, detach=detach), (503, 200))


if __name__ == "__main__":
    unittest.main()
