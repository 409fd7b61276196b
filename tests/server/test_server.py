"""server.py: listening, shutting down, signals, and `serve`."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import threading
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from syncws._conn import farewell as farewell_module
from syncws._conn.conn import Conn
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server import server as server_module
from syncws._server.server import Server, serve
from syncws._server.upgrader import Upgrader
from syncws.errors import ConcurrencyError
from syncws.testing import running
from tests.server.cases import GET, TEXT, UPGRADE, WAIT, Client, ServerTestCase, echo, hello, upgrader
from tests.tasks import SOON, Task


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
        self.assertEqual(
            caught.exception.__notes__,
            ["another program listens there: `ss -ltnp` says which; port=0 takes a free port"],
        )

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
            self.assertEqual(Task(server.shutdown, 600).result(), 0)
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
            self.assertEqual(server.shutdown(0.1), 1)
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
            # Not half a second for each of the twenty.
            self.assertEqual(Task(server.shutdown, 0.5).result(SOON), 0)

    def test_from_a_handler(self) -> None:
        """A handler may shut its own server down: it is neither waited for, nor cut, nor counted."""
        results: list[int] = []

        def handler(request: Request) -> Response:
            results.append(server.shutdown(600))
            return Response("bye")

        with self.serving(handler) as server, self.client(server) as other, self.client(server) as client:
            self.assertEqual(client.request()[2], b"bye")
            self.assertEqual(results, [0])
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
            received = [client.peer.socket.recv(4096) for client in (one, two)]
            self.assertIn(b"\x88\x02\x03\xe9", received)
            # The other one's close was announced: its handler lets it leave, if it is still in a send; else it is cut.
            self.assertLessEqual(set(received), {b"", b"\x88\x02\x03\xe9"})

    def test_bad_timeout(self) -> None:
        """A timeout that is no number of seconds is refused, and nothing is shut down."""
        with self.serving(hello) as server, self.client(server) as client:
            with self.assertRaisesRegex(ValueError, "timeout"):
                server.shutdown(-1)
            self.assertEqual(client.request()[0], 200)


@unittest.skipIf(threading.current_thread() is not threading.main_thread(), "signals are the main thread's")
class InterruptedStartTests(ServerTestCase):
    """An interrupt before the accept loop runs."""

    def test_a_shutdown_follows(self) -> None:
        """Whatever is interrupted, a shutdown does not wait for a loop that never began."""
        for call in ("start", "serve_forever"):
            for place in ("_acceptor.prepare_descriptors", "_say_listening", "_begin_serving"):
                with self.subTest(call=call, place=place):
                    server = Server(hello, port=0)
                    of, _, name = place.rpartition(".")
                    owner: Any = getattr(server, of) if of else server
                    real = getattr(owner, name)

                    def interrupted(*arguments: Any, real: Any = real) -> None:
                        real(*arguments)
                        raise KeyboardInterrupt

                    with mock.patch.object(owner, name, interrupted), self.assertRaises(KeyboardInterrupt):
                        getattr(server, call)()
                    self.assertIsNone(server._serving)
                    self.assertEqual(Task(server.shutdown).result(), 0)

    def test_another_thread_serves(self) -> None:
        """Who is told that another one serves changes nothing for that one."""
        with Server(hello, port=0) as server:
            server.start()
            self.assertRaises(ConcurrencyError, server.start)
            self.assertRaises(ConcurrencyError, server.serve_forever)
            self.assertIsNotNone(server._serving)


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

    def test_allowed_hosts(self) -> None:
        """serve() takes allowed_hosts of the server, although an Upgrader has them too."""
        with self.assertLogs("syncws.server"):
            status = self.serve_once(
                lambda conn: None, lambda client: client.request(UPGRADE)[0], allowed_hosts=["a.example"]
            )
        self.assertEqual(status, 421)

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
