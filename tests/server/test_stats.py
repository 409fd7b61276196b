"""stats.py: what `Server.stats` counts, as clients see it."""

from __future__ import annotations

import dataclasses
import sys
import threading
import unittest
from typing import Any
from unittest import mock

import syncws.wsgi
from syncws import CloseError, Request, Response, Upgrader, dial
from syncws.testing import await_
from tests.handshakes import asking
from tests.tasks import PATIENCE

from .cases import GET, UPGRADE, ServerTestCase, echo


class StatsTests(ServerTestCase):
    """Counts of a server."""

    def test_a_conversation(self) -> None:
        """Connections, messages, bytes and codes are those that a client saw."""
        with self.serving() as server:
            client = self.enterContext(dial(f"ws://127.0.0.1:{server.port}/"))
            for _ in range(3):
                client.send("hello")
                client.receive()
            # A message counts once the system's call has returned, when the peer may have it already.
            self.assertTrue(await_(lambda: server.stats().messages_out == 3, PATIENCE))
            stats = server.stats()
            self.assertEqual((stats.open, stats.opened, stats.connections, stats.handlers), (1, 1, 1, 1))
            self.assertEqual((stats.messages_in, stats.messages_out), (3, 3))
            (conn,) = server.connections()
            self.assertEqual((conn.stats().path, conn.stats().messages_in), ("/", 3))
            client.close(4001)
            self.assertTrue(await_(lambda: server.stats().connections == 0, PATIENCE))
            stats = server.stats()
            self.assertEqual((stats.open, stats.ending, stats.handlers, server.connections()), (0, 0, 0, []))
            self.assertEqual((stats.closed, stats.closed_by), ({"4000-4999": 1}, {"peer": 1}))
            self.assertEqual((stats.messages_in, stats.messages_out, stats.requests), (3, 3, {}))
            if sys.platform == "linux":
                assert stats.bytes_in is not None
                self.assertIn(stats.bytes_in - (3 * 11 + 8), (0, 1))  # the kernel counts the end of TCP as one

    def test_a_line_that_cannot_be_logged(self) -> None:
        """A filter that fails on a line of the access log leaves no connection that is ending for good."""
        seen: list[Any] = []
        with (
            self.assertLogs("syncws.server"),
            mock.patch.object(threading, "excepthook", seen.append),
            self.serving() as server,
        ):
            with mock.patch("syncws._conn.conn.Conn._tell_end", side_effect=ValueError):
                client = self.enterContext(dial(f"ws://127.0.0.1:{server.port}/"))
                client.close_now()
                self.assertTrue(await_(lambda: server.stats().closed == {"1006": 1}, PATIENCE), server.stats())
                self.assertTrue(await_(lambda: bool(seen), PATIENCE))
            self.assertEqual(server.stats().ending, 0)

    def test_it_is_immutable(self) -> None:
        """A snapshot does not change, and cannot be changed."""
        with self.serving() as server:
            before = server.stats()
            with self.client(server) as client:
                client.request(GET.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close"))
            self.assertTrue(await_(lambda: server.stats().requests == {"4xx": 1}, PATIENCE))
            self.assertEqual(before.requests, {})
            with self.assertRaises(dataclasses.FrozenInstanceError):
                before.open = 1  # type: ignore[misc]

    def test_refused_handshakes(self) -> None:
        """Each handshake that is refused counts once, by its reason; plain requests do not."""

        def handler(request: Request) -> Response | None:
            if request.path == "/own":
                return Response("log in first", 401)
            if request.path == "/raises":
                raise ValueError("x")
            if request.path == "/app":
                Upgrader(subprotocols=lambda request: "other").upgrade(request)
            echo(request)
            return None

        cases = (
            (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://elsewhere.example\r\n\r\n"), 403, "origin"),
            (UPGRADE.replace(b"localhost", b"elsewhere"), 421, "host"),
            (UPGRADE.replace(b"Version: 13", b"Version: 8"), 400, "version"),
            (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close"), 400, "no upgrade"),
            (UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: other"), 426, "no upgrade"),
            (UPGRADE.replace(b"GET ", b"POST "), 405, "method"),
            (UPGRADE.replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Lock"), 400, "bad request"),
            (asking("/own"), 401, "handler"),
            (asking("/raises"), 500, "handler"),
            (asking("/app").replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a\r\n\r\n"), 500, "application"),
            (GET.replace(b"GET /", b"GET /own"), 401, None),
        )
        with self.serving(handler, allowed_hosts=["localhost"]) as server, self.quiet():
            for data, status, reason in cases:
                with self.subTest(reason=reason, status=status):
                    before = server.stats()
                    with self.client(server) as client:
                        self.assertEqual(client.request(data)[0], status)
                    self.assertTrue(await_(lambda: server.stats().connections == 0, PATIENCE))
                    after = server.stats()
                    counted = {
                        name: count - before.refused.get(name, 0)
                        for name, count in after.refused.items()
                        if count != before.refused.get(name, 0)
                    }
                    self.assertEqual(counted, {} if reason is None else {reason: 1})
                    kind = f"{status // 100}xx"
                    self.assertEqual(after.requests[kind], before.requests.get(kind, 0) + 1)
            self.assertEqual((server.stats().opened, server.stats().open), (0, 0))

    def quiet(self) -> Any:
        return mock.patch("logging.Logger.handle")

    def test_no_room(self) -> None:
        """A connection for which there is no room is refused as full, or for its address."""
        with self.quiet():
            with self.serving(max_connections=1) as server, self.client(server) as first:
                first.upgrade()
                with self.client(server) as second:
                    self.assertEqual(second.response()[0], 503)
                self.assertEqual(server.stats().refused, {"full": 1})
            with self.serving(max_connections_per_address=1) as server, self.client(server) as first:
                first.upgrade()
                with self.client(server) as second:
                    self.assertEqual(second.response()[0], 503)
                self.assertEqual(server.stats().refused, {"address": 1})

    def test_no_room_with_a_health_check(self) -> None:
        """Who is heard beyond the limits is refused once."""
        with self.quiet(), self.serving(max_connections=1, health_path="/up") as server, self.client(server) as first:
            first.upgrade()
            with self.client(server) as second:
                self.assertEqual(second.request(UPGRADE)[0], 503)
            self.assertTrue(await_(lambda: server.stats().requests == {"5xx": 1}, PATIENCE))
            self.assertEqual(server.stats().refused, {"full": 1})

    def test_client_address(self) -> None:
        """Whose proxy tells its address is refused for that; and a function that fails is the application's."""
        address: Any = lambda request: request.headers.get("Client") or 1 / 0  # noqa: E731
        with self.quiet():
            with self.serving(max_connections_per_address=1, client_address=address) as server:
                asked = UPGRADE.replace(b"\r\n\r\n", b"\r\nClient: 192.0.2.1\r\n\r\n")
                with self.client(server) as first, self.client(server) as second, self.client(server) as third:
                    self.assertEqual(first.request(asked)[0], 101)
                    self.assertEqual(second.request(asked)[0], 503)
                    self.assertEqual(third.request(UPGRADE)[0], 500)
                    self.assertTrue(await_(lambda: server.stats().requests == {"5xx": 2}, PATIENCE))
                self.assertEqual(server.stats().refused, {"address": 1, "application": 1})

    def test_a_request_that_is_none(self) -> None:
        """What could not be understood was answered, and is a request."""
        with self.quiet(), self.serving() as server, self.client(server) as client:
            self.assertEqual(client.request(b"GET / HTTP/1.1\r\n\r\n")[0], 400)
            self.assertTrue(await_(lambda: server.stats().requests == {"4xx": 1}, PATIENCE))

    def test_ending(self) -> None:
        """A connection that is over while its handler is busy elsewhere is neither open nor closed, and is counted."""
        go_on = threading.Event()
        read: list[Any] = []

        def handler(request: Request) -> None:
            conn = Upgrader(ping_interval=0.1).upgrade(request)
            go_on.wait(PATIENCE)
            read.extend(conn)

        with self.serving(handler) as server:
            client = dial(f"ws://127.0.0.1:{server.port}/")
            client.send("x")
            client.send("y")
            client.close()
            self.assertTrue(await_(lambda: server.stats().ending == 1, PATIENCE))
            self.assertEqual((server.stats().open, server.stats().closed), (0, {}))
            go_on.set()
            self.assertTrue(await_(lambda: server.stats().closed == {"1000": 1}, PATIENCE))
            self.assertEqual((read, server.stats().messages_in, server.stats().ending), (["x", "y"], 2, 0))

    def test_after_a_shutdown(self) -> None:
        """What was counted is there after the shutdown, which has closed everybody."""
        with self.serving() as server:
            clients = [self.enterContext(dial(f"ws://127.0.0.1:{server.port}/")) for _ in range(3)]
            waiting = [self.in_thread(lambda client=client: self.ended(client)) for client in clients]
            server.shutdown()
            self.assertEqual([end() for end in waiting], [1001] * 3)
        stats = server.stats()
        self.assertEqual((stats.opened, stats.open, stats.ending, stats.connections), (3, 0, 0, 0))
        self.assertEqual((stats.closed, stats.closed_by), ({"1001": 3}, {"here": 3}))

    def ended(self, client: Any) -> int:
        with self.assertRaises(CloseError) as caught:
            client.receive(timeout=PATIENCE)
        return caught.exception.code


class HostedTests(ServerTestCase):
    """Counts of a server that hosts a WSGI application."""

    def test_a_hosted_application(self) -> None:
        """WebSockets, refusals and answers of an application count for its server, and not for the process."""
        upgrader = Upgrader()

        def talk(conn: syncws.Conn) -> None:
            for message in conn:
                conn.send(message)

        def app(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/chat":
                return upgrader.serve(environ, talk)(environ, start_response)
            start_response("402 Pay", [("Content-Length", "0")])
            return []

        before = syncws.wsgi.stats()
        with mock.patch("logging.Logger.handle"), self.serving(None, wsgi_app=app) as server:
            with dial(f"ws://127.0.0.1:{server.port}/chat") as client:
                client.send("x")
                client.receive()
            with self.client(server) as raw:
                self.assertEqual(raw.request(asking("/chat").replace(b"Version: 13", b"Version: 8"))[0], 400)
            with self.client(server) as raw:
                self.assertEqual(raw.request(asking("/pay"))[0], 402)
            self.assertTrue(await_(lambda: server.stats().connections == 0, PATIENCE))
            stats = server.stats()
        self.assertEqual((stats.opened, stats.closed, stats.messages_in), (1, {"1000": 1}, 1))
        self.assertEqual((stats.refused, stats.requests), ({"version": 1, "handler": 1}, {"4xx": 2}))
        self.assertEqual(syncws.wsgi.stats(), before)


if __name__ == "__main__":
    unittest.main()
