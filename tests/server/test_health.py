"""health.py: health checks that the server answers by itself; and who finds no room."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._base.counters import breaches
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server import acceptor as acceptor_module
from syncws._server import connection as connection_module
from syncws._server.capacity import MOST_BEYOND
from syncws._server.server import Server
from syncws.testing import await_
from tests.certificates import contexts
from tests.net.test_listener import has_ipv6
from tests.server.cases import TEXT, UPGRADE, WAIT, Client, ServerTestCase, echo, hello

PATHS: dict[str, Any] = {"health_path": "/healthz", "ready_path": "/readyz"}


def asking(path: str, method: str = "GET", address: str = "") -> bytes:
    forwarded = f"X-Forwarded-For: {address}\r\n" if address else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 10.0.0.1\r\n{forwarded}\r\n".encode()


def forwarded(request: Request) -> str | None:
    return request.headers.get("X-Forwarded-For")


class HealthTests(ServerTestCase):
    @contextlib.contextmanager
    def full(self, **options: Any) -> Any:
        """A server whose only connection is taken; and the peer that has it."""
        with self.serving(echo, max_connections=1, **options) as server, self.client(server) as only:
            peer = only.upgrade()
            with self.assertLogs("syncws.server", logging.WARNING):
                yield server, peer

    def test_a_full_server_is_alive(self) -> None:
        """A liveness probe that gets a 503 of a full server kills it: beyond max_connections it still gets its 200."""
        with self.full(**PATHS) as (server, _):
            for method, body in (("GET", b"alive\n"), ("GET", b"alive\n")):
                with self.client(server) as prober:
                    status, headers, found = prober.request(asking("/healthz", method))
                    self.assertEqual((status, found), (200, body))
                    self.assertEqual(headers["cache-control"], "no-store")

    def test_probes_that_follow_one_another(self) -> None:
        """A prober that left its connections open had 503 from a full server the fifth time, and an orchestrator killed
        the server. Who has its answer is in nobody's way, and its connection ends at once."""
        with (
            mock.patch.object(connection_module, "_LINGER", WAIT),
            self.full(**PATHS) as (server, _),
            contextlib.ExitStack() as stack,
        ):
            for _ in range(3 * MOST_BEYOND):
                prober = stack.enter_context(self.client(server))
                self.assertEqual(prober.request(asking("/healthz"))[0::2], (200, b"alive\n"))
            self.assertTrue(prober.at_end())
            self.assertTrue(await_(lambda: len(server._roster) == 1, WAIT / 2), "threads wait for the probers")

    def test_a_full_server_is_not_ready(self) -> None:
        """A readiness probe of a full server gets 503 and a Retry-After, and 200 once there is room."""
        with self.full(**PATHS) as (server, peer):
            with self.client(server) as prober:
                status, headers, body = prober.request(asking("/readyz"))
                self.assertEqual((status, body, headers["retry-after"]), (503, b"full\n", "5"))
            peer.close()
            peer.receive_close()
            peer.socket.close()
            self.assertTrue(await_(lambda: len(server._roster) == 0))
        with self.serving(echo, max_connections=2, **PATHS) as server, self.client(server) as prober:
            self.assertEqual(prober.request(asking("/readyz"))[0::2], (200, b"ready\n"))

    def test_everybody_else_is_sent_away(self) -> None:
        """What is no health check gets 503 and a Retry-After from a full server, a handshake too, over TLS too."""
        of_server, of_client = contexts()
        for tls in (False, True):
            options = {"ssl_context": of_server, **PATHS} if tls else PATHS
            with self.subTest(tls=tls), self.serving(echo, max_connections=1, **options) as server:
                client = {"tls": of_client} if tls else {}
                with self.client(server, **client) as only, self.assertLogs("syncws.server", logging.WARNING):
                    only.upgrade()
                    with self.client(server, **client) as other:
                        status, headers, body = other.request(UPGRADE)
                        self.assertEqual((status, headers["retry-after"]), (503, "5"))
                        self.assertIn(b"no room", body)
                        self.assertTrue(other.at_end())

    def test_who_says_nothing_beyond_the_limits(self) -> None:
        """Who connects to a full server and says nothing is heard for a moment; when too many do, 503 comes at once."""
        with (
            mock.patch.object(acceptor_module, "_HEARING", WAIT),
            self.full(**PATHS) as (server, _),
            contextlib.ExitStack() as stack,
        ):
            silent = [stack.enter_context(self.client(server)) for _ in range(4)]
            self.assertTrue(await_(lambda: len(server._roster) == 5))
            with self.client(server) as fifth:
                self.assertEqual(fifth.response()[0], 503)  # without a request
            for each in silent:
                each.socket.close()
        with mock.patch.object(acceptor_module, "_HEARING", 0.05), self.full(**PATHS) as (server, _):
            with self.client(server) as other:
                self.assertTrue(other.at_end())

    def test_the_handler_is_not_asked(self) -> None:
        """A health check reaches no handler and no WSGI application; any other method and path does."""

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "2")])
            return [b"hi"]

        for options in ({"handler": hello}, {"handler": None, "wsgi_app": app}):
            with self.serving(**options, **PATHS) as server, self.client(server) as client:
                self.assertEqual(client.request(asking("/healthz"))[2], b"alive\n")
                self.assertEqual(client.request(asking("/healthz?deep=1"))[2], b"alive\n")
                self.assertIn(client.request(asking("/healthz", "POST"))[2], (b"hello /healthz", b"hi"))
                self.assertIn(client.request(asking("/healthz/x"))[2], (b"hello /healthz/x", b"hi"))
        with self.serving(hello) as server, self.client(server) as client:
            self.assertEqual(client.request(asking("/healthz"))[2], b"hello /healthz")

    def test_paths_that_cannot_be(self) -> None:
        """A path that no request can have is refused when it is given."""
        for path, error in (("healthz", ValueError), ("", ValueError), ("/a?b", ValueError), (7, TypeError)):
            for name in PATHS:
                with self.subTest(name=name, path=path), self.assertRaisesRegex(error, f"^{name} is a path"):
                    Server(echo, port=0, **{name: path})
        with self.assertRaisesRegex(ValueError, "^health_path and ready_path are two paths"):
            Server(echo, port=0, health_path="/a", ready_path="/a")

    def test_while_it_shuts_down(self) -> None:
        """A server that shuts down is alive, and not ready."""
        with Server(echo, port=0, **PATHS) as server:
            server._roster.close()
            health = server._acceptor._health
            alive, ready = (health.answer(mock.Mock(method="GET", path=path)) for path in ("/healthz", "/readyz"))
            assert alive is not None and ready is not None
            self.assertEqual((alive.status, ready.status, ready.body), (200, 503, b"shutting down\n"))


class BothFamiliesTests(ServerTestCase):
    def test_one_server_on_both(self) -> None:
        """One server serves IPv4 and IPv6, a request tells the client's own address, and shares are of that."""
        seen: list[Any] = []

        def handler(request: Request) -> Response:
            seen.append((request.remote_address, request.local_address))
            return Response()

        with self.serving(handler, host=None, max_connections_per_address=1) as server:
            for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
                with Client((host, server.port)) as client:
                    self.assertEqual(client.request()[0], 200)
                    here = client.socket.getsockname()[:2], client.socket.getpeername()[:2]
                    self.assertEqual(tuple(address[:2] for address in seen.pop()), here)
                    with self.assertLogs("syncws.server", logging.WARNING), Client((host, server.port)) as other:
                        self.assertEqual(other.request()[0], 503)


class FairShareTests(ServerTestCase):
    """One address, and those that send nothing, take no more than their share."""

    def test_max_connections_per_address(self) -> None:
        """One address may take every connection, was reported: over its share it gets 503, counted and told once."""
        before = breaches.snapshot().get("max_connections_per_address", 0)
        with self.serving(echo, max_connections_per_address=2) as server, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(self.client(server)).upgrade() for _ in range(2)]
            with self.assertLogs("syncws.server", logging.WARNING) as logs:
                for _ in range(3):
                    with self.client(server) as other:
                        status, headers, _ = other.request(UPGRADE)
                        self.assertEqual((status, headers["retry-after"]), (503, "5"))
            self.assertEqual(len(logs.records), 1)
            self.assertIn("127.0.0.1 has all 2 connections", logs.output[0])
            self.assertIn("max_connections_per_address", logs.output[0])
            self.assertEqual(breaches.snapshot()["max_connections_per_address"], before + 3)
            if sys.platform == "linux":  # where every address of 127.0.0.0/8 is there
                with socket.create_connection(server.address[:2], WAIT, source_address=("127.0.0.2", 0)) as stranger:
                    stranger.sendall(UPGRADE)
                    self.assertTrue(stranger.recv(12).endswith(b"101"))
            peers[0].close()
            peers[0].receive_close()
            peers[0].socket.close()
            self.assertTrue(await_(lambda: server._roster._capacity.obstacle("127.0.0.1") is None))
            stack.enter_context(self.client(server)).upgrade()

    def test_the_address_behind_a_proxy(self) -> None:
        """Behind a proxy a connection counts for the client that its request names, not for the proxy."""
        options: dict[str, Any] = {"max_connections_per_address": 1, "client_address": forwarded}

        def handler(request: Request) -> Response | None:
            if request.path == "/chat":
                echo(request)
                return None
            return hello(request)

        def upgrade(address: str) -> bytes:
            return UPGRADE.replace(b"\r\n\r\n", f"\r\nX-Forwarded-For: {address}\r\n\r\n".encode())

        with self.serving(handler, **options) as server, contextlib.ExitStack() as stack:
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
                client = stack.enter_context(self.client(server))
                client.socket.sendall(upgrade(address))
                client.upgraded()
            with self.assertLogs("syncws.server", logging.WARNING) as logs:
                for address in ("192.0.2.1", "2001:db8::2"):
                    with self.client(server) as other:
                        self.assertEqual(other.request(upgrade(address))[0], 503)
            self.assertIn("192.0.2.1 has all 1 connections", logs.output[0])
            with self.client(server) as proxy:  # which uses one connection for requests of several clients
                self.assertEqual(proxy.request(asking("/", address="192.0.2.9"))[0], 200)
                self.assertEqual(proxy.request(asking("/", address="192.0.2.1"))[0], 503)
                self.assertEqual(proxy.request(asking("/", address="192.0.2.9"))[0], 200)
                self.assertEqual(proxy.request(asking("/"))[0], 200)

    def test_an_address_that_cannot_be_told(self) -> None:
        """A client_address that raises, or returns no text, lets nobody in: 500, and the log says why."""
        for wrong in (lambda request: 1 / 0, lambda request: ("192.0.2.1", 1)):
            with self.serving(hello, max_connections_per_address=1, client_address=wrong) as server:
                with self.client(server) as client, self.assertLogs("syncws.server", logging.ERROR) as logs:
                    self.assertEqual(client.request()[0], 500)
                self.assertIn("client_address raised", logs.output[0])

    def test_what_the_callable_cannot_be(self) -> None:
        """A client_address that is no plain function, or has nothing to count for, is refused when it is given."""

        async def later(request: Request) -> str:
            return ""

        for options, error, text in (
            ({"client_address": later, "max_connections_per_address": 1}, TypeError, "not async"),
            ({"client_address": "X-Forwarded-For", "max_connections_per_address": 1}, TypeError, "callable"),
            ({"client_address": forwarded}, ValueError, "max_connections_per_address"),
        ):
            with self.subTest(text), self.assertRaisesRegex(error, text):
                Server(echo, port=0, **options)

    def test_connections_that_send_nothing(self) -> None:
        """Connections that send no request fill a part of the server only: one more is 503, those that talk go on."""
        with (
            self.serving(echo, max_handshakes=2) as server,
            self.client(server) as talking,
            contextlib.ExitStack() as stack,
        ):
            peer = talking.upgrade()
            silent = [stack.enter_context(self.client(server)) for _ in range(2)]
            self.assertTrue(await_(lambda: len(server._roster) == 3))
            with self.assertLogs("syncws.server", logging.WARNING) as logs, self.client(server) as other:
                self.assertEqual(other.request(UPGRADE)[0], 503)
            self.assertIn("2 connections have sent no request yet (max_handshakes)", logs.output[0])
            peer.send_frame(TEXT, "still there?")
            self.assertEqual(peer.receive_frame().payload, b"still there?")
            silent[0].upgrade()
            stack.enter_context(self.client(server)).upgrade()

    def test_a_half_open_connection_gives_its_share_back(self) -> None:
        """A connection of an address that never sends its request is over at handshake_timeout, and its share free."""
        options: dict[str, Any] = {"max_connections_per_address": 1, "handshake_timeout": 0.1}
        with self.serving(hello, **options) as server, self.client(server) as silent:
            self.assertTrue(silent.at_end())
            self.assertTrue(await_(lambda: len(server._roster) == 0))
            with self.client(server) as other:
                self.assertEqual(other.request()[0], 200)

    def test_descriptors_in_reserve(self) -> None:
        """A connection that would take a descriptor of the reserve gets 503, counted and told with what to change."""
        with self.serving(hello, **PATHS) as server, self.client(server) as client:
            self.assertEqual(client.request()[0], 200)
            server._acceptor._first_reserved = 0
            with self.assertLogs("syncws.server", logging.WARNING) as logs:
                with self.client(server) as other:
                    self.assertEqual(other.request()[0], 503)
                with self.client(server) as prober:
                    self.assertEqual(prober.request(asking("/healthz"))[0], 200)
            self.assertIn("ulimit -n", logs.output[0])
            self.assertIn("descriptors", breaches.snapshot())

    def test_limits_that_do_not_fit(self) -> None:
        """At start max_connections is held against the limit of descriptors: what fits is used, and it is said once."""
        for start in (Server.start, Server.serve_forever):
            with (
                mock.patch.object(acceptor_module, "raise_limit", return_value=256),
                mock.patch.object(acceptor_module, "in_use", return_value=24),
                Server(hello, port=0) as server,
            ):
                server_done = threading.Event()

                def run(server: Server = server, start: Any = start, done: threading.Event = server_done) -> None:
                    start(server)
                    done.set()

                with self.assertLogs("syncws.server", logging.WARNING) as logs:
                    joined = self.in_thread(run)
                    self.assertTrue(await_(lambda server=server: server._roster.most == 200))
                    with Client(server.address) as client:
                        self.assertEqual(client.request()[0], 200)
                    server.shutdown()
                    joined()
                self.assertEqual(len(logs.records), 1)
                self.assertIn("max_connections is 10000", logs.output[0])
                self.assertIn("room for 200 connections", logs.output[0])

    def test_no_limit_of_descriptors(self) -> None:
        """Where the system has no limit, or enough, nothing is said and nothing changes."""
        for limit, most in ((None, 10_000), (1 << 20, 10_000)):
            with (
                self.assertNoLogs("syncws", logging.WARNING),
                mock.patch.object(acceptor_module, "raise_limit", return_value=limit),
                self.serving(hello) as server,
            ):
                self.assertEqual(server._roster.most, most)

    def test_serve_takes_them(self) -> None:
        """syncws.serve hands these options on."""
        with mock.patch("syncws._server.server.Server") as made:
            syncws.serve(print, port=0, max_connections_per_address=3, client_address=forwarded, **PATHS)
        self.assertEqual(made.call_args.kwargs["max_connections_per_address"], 3)
        self.assertEqual(made.call_args.kwargs["ready_path"], "/readyz")


if __name__ == "__main__":
    unittest.main()
