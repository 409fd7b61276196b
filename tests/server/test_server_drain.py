"""`Server.drain`: the end of a server that is restarted, with 1012 for one peer after another."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any
from unittest import mock

from syncws import Manager
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.server import Server
from syncws.errors import CloseCode, ConnectionClosed
from syncws.testing import Peer, await_
from tests.server.cases import GET, TEXT, UPGRADE, WAIT, Client, ServerTestCase, echo, hello, upgrader
from tests.tasks import PATIENCE, Task, linger_briefly

#: Seconds for a drain in which nobody is told by itself: the chance that one is, in a test, is one in ten thousand.
LONG = 1e6


class DrainCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)

    def connect(self, server: Server) -> Peer:
        """A WebSocket that was served by `echo`."""
        client = self.enterContext(Client(server.address))
        peer = client.upgrade()
        self.check_echo(peer)
        return peer

    def check_echo(self, peer: Peer) -> None:
        peer.send_frame(TEXT, "still here")
        self.assertEqual(peer.receive_frame().payload, b"still here")

    def check_told(self, peer: Peer, code: int) -> None:
        """It gets a close with this code, answers, and that is all."""
        self.assertEqual(peer.receive_close(), (code, ""))
        peer.close(code)
        self.assertTrue(peer.at_end())

    def check_end(self, server: Server, peer: Peer, task: Task) -> None:
        """A second drain, which has no time, has the peer told at once, and ends the first one."""
        second = Task(server.drain, 0)
        self.check_told(peer, 1012)
        self.assertEqual((task.result(), second.result()), (0, 0))

    def draining(self, server: Server, seconds: float = LONG, **options: Any) -> Task:
        """A drain that is under way."""
        task = Task(server.drain, seconds, **options)
        self.assertTrue(await_(lambda: server._roster.draining, PATIENCE))
        return task

    def wait_until_let_go(self, server: Server) -> None:
        """The accept loop has closed the listener: it may accept until then."""
        self.assertTrue(await_(lambda: server._acceptor._listener.fileno() < 0, PATIENCE))


class DrainTests(DrainCase):
    def test_one_after_another(self) -> None:
        """Every peer is told 1012, spread over the seconds; then the server is as after a shutdown."""
        with self.serving() as server:
            peers = [self.connect(server) for _ in range(10)]
            began = time.monotonic()
            told: list[float] = []

            def wait_for(peer: Peer) -> None:
                self.check_told(peer, 1012)
                told.append(time.monotonic() - began)

            tasks = [Task(wait_for, peer) for peer in peers]
            self.assertEqual(server.drain(1.0), 0)
            for task in tasks:
                task.result()
            told.sort()
            for number, seconds in enumerate(told):  # each in its tenth, or later on a machine under load
                self.assertGreaterEqual(seconds, number / 10)
            self.assertIn("closed, 0 connections", repr(server))
            with self.assertRaises(OSError):
                socket.create_connection(server.address, WAIT)
            self.assertEqual((server.drain(LONG), server.shutdown()), (0, 0))

    def test_what_is_open_goes_on(self) -> None:
        """Until it is told to go a WebSocket is served; a second drain with less time shortens the first."""
        with self.serving() as server:
            peer = self.connect(server)
            first = self.draining(server)
            self.check_echo(peer)
            self.assertIn("draining, 1 connections", repr(server))
            self.check_end(server, peer, first)

    def test_more_time_does_not_lengthen_it(self) -> None:
        """A second drain with more time ends with the first."""
        with self.serving() as server:
            peer = self.connect(server)
            first = self.draining(server, 0.2)
            second = Task(server.drain, LONG)
            self.check_told(peer, 1012)
            self.assertEqual((first.result(), second.result()), (0, 0))

    def test_orders_of_a_parent(self) -> None:
        """An order is heeded once, and stays where it is: a sooner one that comes in that moment is heeded, too."""
        server = Server(hello, port=0)
        self.addCleanup(server.shutdown)
        parent = SimpleNamespace(drain_end=100.0, deadline=None)

        def drain(end: float) -> bool:
            parent.drain_end = 50.0  # as another thread, in the worst moment
            return True

        with mock.patch.object(server, "_drain_beside", side_effect=drain) as heeded:
            for _ in range(3):
                self.assertFalse(server._must_end([], parent))  # type: ignore[arg-type]
        self.assertEqual(heeded.call_args_list, [mock.call(100.0), mock.call(50.0)])
        self.assertEqual(parent.drain_end, 50.0)

    def test_seconds_without_end(self) -> None:
        """More seconds than the system can wait, or a supervisor can be told, are a wait until all have gone."""
        with self.serving() as server:
            server._supervised = True
            peer = self.connect(server)
            task = self.draining(server, 1e308, timeout=1e308)
            peer.close()
            self.assertEqual(task.result(), 0)
        with self.serving() as server:
            server._supervised = True
            peer = self.connect(server)
            task = Task(server.shutdown, 1e308)
            self.check_told(peer, 1001)
            self.assertEqual(task.result(), 0)

    def test_without_anybody(self) -> None:
        """Where nobody is connected it is over at once, of a server that serves or has never served."""
        with self.serving() as server:
            self.assertEqual(Task(server.drain, LONG).result(), 0)
        server = Server(hello, port=0)
        self.assertEqual(Task(server.drain, LONG).result(), 0)
        self.assertIn("closed", repr(server))

    def test_over_when_nobody_is_left(self) -> None:
        """It is over when the last one has gone by itself."""
        with self.serving() as server:
            peer = self.connect(server)
            task = self.draining(server)
            peer.close(1000)
            self.assertEqual(peer.receive_close(), (1000, ""))
            self.assertEqual(task.result(), 0)

    def test_shutdown_ends_it(self) -> None:
        """A shutdown meanwhile tells 1001 to those that were not told, and both return."""
        with self.serving() as server:
            peer = self.connect(server)
            task = self.draining(server)
            shutdown = Task(server.shutdown, WAIT)
            self.check_told(peer, 1001)
            self.assertEqual((task.result(), shutdown.result()), (0, 0))

    def test_during_a_shutdown(self) -> None:
        """A drain during a shutdown is one, too: it tells nobody a second time, and returns with it."""
        release = threading.Event()

        def handler(request: Request) -> None:
            with upgrader.upgrade(request) as conn:
                with contextlib.suppress(ConnectionClosed):
                    conn.receive()
                release.wait(WAIT)

        with self.serving(handler) as server, self.client(server) as client:
            peer = client.upgrade()
            shutdown = Task(server.shutdown, PATIENCE)
            self.assertEqual(peer.receive_close(), (1001, ""))
            drain = Task(server.drain, LONG, PATIENCE)
            self.assertTrue(drain.started.wait(PATIENCE))
            release.set()
            peer.close(1001)
            self.assertTrue(peer.at_end())
            self.assertEqual((shutdown.result(), drain.result()), (0, 0))

    def test_a_peer_that_does_not_answer(self) -> None:
        """A peer that ignores its close, and a handler that ignores the end, cost the timeout and are cut."""
        release = threading.Event()
        self.addCleanup(release.set)

        def handler(request: Request) -> None:
            with upgrader.upgrade(request):
                release.wait(PATIENCE)

        with self.serving(handler) as server, self.client(server) as client:
            peer = client.upgrade()
            with mock.patch("syncws._conn.farewell.CUT_GRACE", 0.05):
                task = self.draining(server, 0.05, timeout=0.1)
                self.assertEqual(peer.receive_close(), (1012, ""))
                self.assertEqual(task.result(), 1)
            self.assertTrue(peer.at_end())
            release.set()

    def test_from_a_handler(self) -> None:
        """A handler may call it: its own peer is told, too, and it is not waited for."""
        results: list[int] = []

        def handler(request: Request) -> None:
            with upgrader.upgrade(request) as conn:
                conn.receive()
                results.append(server.drain(0.05))

        with self.serving(handler) as server, self.client(server) as client:
            peer = client.upgrade()
            peer.send_frame(TEXT, "go")
            self.assertEqual(peer.receive_close(), (1012, ""))
            peer.close(1012)
            self.assertTrue(await_(lambda: results == [0], PATIENCE))

    def test_bad_seconds(self) -> None:
        """What is no number of seconds is refused, and nothing has begun."""
        with Server(hello, port=0) as server:
            for bad in (-1, float("nan"), "1", None):
                with self.subTest(bad), self.assertRaises((TypeError, ValueError)):
                    server.drain(bad)  # type: ignore[arg-type]
            with self.assertRaises(ValueError):
                server.drain(1, timeout=-1)
            self.assertIn("bound", repr(server))

    def test_members_of_a_manager(self) -> None:
        """Members of a Manager are told as well, and their on_close has the code."""
        ends: list[Any] = []
        manager = Manager(on_close=lambda member, error: ends.append(error))

        def handler(request: Request) -> None:
            manager.run(upgrader.upgrade(request), rooms=["here"])

        with self.serving(handler) as server, self.client(server) as client:
            peer = client.upgrade()
            self.assertTrue(await_(lambda: len(manager) == 1, PATIENCE))
            task = self.draining(server, 0.01)
            self.check_told(peer, 1012)
            self.assertEqual(task.result(), 0)
        self.assertEqual([end.code for end in ends], [CloseCode.SERVICE_RESTART])

    def test_a_handshake_under_way(self) -> None:
        """A handshake that was under way when it began is not lost: it is served, and told to go like all others."""
        begun, release = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        def handler(request: Request) -> None:
            begun.set()
            release.wait(WAIT)
            echo(request)

        with self.serving(handler) as server, self.client(server) as client:
            client.socket.sendall(UPGRADE)
            self.wait(begun)
            task = self.draining(server)
            release.set()
            peer = client.upgraded()
            self.check_echo(peer)
            self.assertTrue(await_(lambda: len(server._roster._retreat or ()) == 1, PATIENCE))
            self.check_end(server, peer, task)


class NewcomersTests(DrainCase):
    """Who comes while a server drains, and its health checks."""

    def test_health_checks(self) -> None:
        """From the beginning ready_path answers 503 and health_path 200, to who connects anew; all else gets 503."""
        with self.serving(health_path="/live", ready_path="/ready") as server:
            peer = self.connect(server)
            task = self.draining(server)

            def ask(path: str) -> tuple[int, dict[str, str], bytes]:
                with self.client(server) as client:
                    return client.request(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

            self.assertTrue(await_(lambda: ask("/ready")[0] == 503, PATIENCE))
            for _ in range(3):
                self.assertEqual((ask("/ready")[0], ask("/live")[0]), (503, 200))
                status, headers, _ = ask("/")
                self.assertEqual((status, headers["retry-after"]), (503, "5"))
            self.assertEqual(server.stats().refused, {"draining": 3})
            self.check_echo(peer)
            self.assertEqual(server.shutdown(0), task.result())

    def test_the_port_is_free(self) -> None:
        """Without health checks the listener is closed at once: another server can have the port."""
        with self.serving() as server:
            peer = self.connect(server)
            task = self.draining(server)
            with self.free(server) as after, self.client(after) as client:
                self.assertEqual(client.request()[2], b"hello /")
            self.check_echo(peer)
            self.check_end(server, peer, task)

    @contextlib.contextmanager
    def free(self, server: Server) -> Any:
        found: list[Server] = []

        def bind() -> bool:
            with contextlib.suppress(OSError):
                found.append(Server(hello, *server.address[:2]))
            return bool(found)

        self.assertTrue(await_(bind, PATIENCE))
        with found[0]:
            found[0].start()
            yield found[0]

    def test_a_listener_that_was_given(self) -> None:
        """A listener that was given is let go, also with health checks: whoever else has it accepts from then on."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with self.serving(listener=listener.dup(), ready_path="/ready") as server:
                peer = self.connect(server)
                task = self.draining(server)
                self.wait_until_let_go(server)
                with self.serving(hello, listener=listener.dup()) as after:
                    for _ in range(20):
                        with self.client(after) as client:
                            self.assertEqual(client.request()[2], b"hello /")
                self.check_echo(peer)
                self.check_end(server, peer, task)

    def test_who_waits_is_served(self) -> None:
        """Those that were connected, and not yet accepted, when it began are served, and then told to go."""
        with Server(echo, port=0) as server:
            clients = [self.enterContext(Client(server.address)) for _ in range(5)]
            server._roster.drain(time.monotonic() + LONG)
            server.start()
            peers = [client.upgrade() for client in clients]
            self.assertTrue(await_(lambda: len(server._roster._retreat or ()) == 5, PATIENCE))
            self.wait_until_let_go(server)
            with self.assertRaises(OSError):
                socket.create_connection(server.address, WAIT)
            task = Task(server.drain, 0.01)
            for peer in peers:
                self.check_told(peer, 1012)
            self.assertEqual(task.result(), 0)


class RequestsTests(DrainCase):
    """Plain HTTP while a server drains."""

    def test_a_request_under_way(self) -> None:
        """A request under way is answered, and waited for."""
        begun, release = threading.Event(), threading.Event()

        def handler(request: Request) -> Response:
            begun.set()
            release.wait(WAIT)
            return Response("done\n")

        with self.serving(handler) as server, self.client(server) as client:
            client.socket.sendall(GET)
            self.wait(begun)
            task = self.draining(server, 0.01, timeout=PATIENCE)
            release.set()
            self.assertEqual(client.response()[2], b"done\n")
            self.assertEqual(task.result(), 0)

    def test_a_hosted_request_under_way(self) -> None:
        """So is one of a WSGI application."""
        begun, release = threading.Event(), threading.Event()

        def application(environ: Any, start_response: Any) -> list[bytes]:
            begun.set()
            release.wait(WAIT)
            start_response("200 OK", [("Content-Length", "5")])
            return [b"done\n"]

        with self.serving(None, wsgi_app=application) as server, self.client(server) as client:
            client.socket.sendall(GET)
            self.wait(begun)
            task = self.draining(server, 0.01, timeout=PATIENCE)
            release.set()
            self.assertEqual(client.response()[2], b"done\n")
            self.assertEqual(task.result(), 0)

    def test_the_last_request(self) -> None:
        """A kept connection may send one more request, whose answer says that the connection ends."""
        with self.serving(hello, keep_alive_timeout=None) as server, self.client(server) as client:
            self.assertNotIn("connection", client.request()[1])
            task = self.draining(server)
            _, headers, body = client.request()
            self.assertEqual((headers.get("connection"), body), ("close", b"hello /"))
            self.assertTrue(client.at_end())
            self.assertEqual(task.result(), 0)
