"""The client that comes back: turns, delays, which failures are followed by another attempt, and how it is stopped."""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import sys
import threading
import unittest
from collections.abc import Callable
from types import FrameType
from unittest import mock

import syncws
from syncws._client import reconnector
from syncws._client.backoff import Backoff
from syncws._client.reconnector import Reconnector, reconnect
from syncws._net import connector
from syncws._net.attempt import Attempt
from syncws.testing import LeakChecks, await_, running
from tests.certificates import serving, trust, trusting
from tests.client.cases import Asked, BadServer, accepting
from tests.tasks import PATIENCE, Task

#: What a proxy answers that wants other credentials, and one that cannot reach the server just now.
WRONG_PASSWORD = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
OVERLOADED = b"HTTP/1.1 502 Bad Gateway\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


class ReconnectorTestCase(LeakChecks):
    """A server that echoes, or refuses with the statuses in `refusals`, one after another."""

    def setUp(self) -> None:
        super().setUp()
        quiet = logging.NullHandler()  # what no test looks at is not printed
        logging.getLogger("syncws.reconnect").addHandler(quiet)
        self.addCleanup(logging.getLogger("syncws.reconnect").removeHandler, quiet)
        self.refusals: list[syncws.Response] = []
        self.tokens: list[str | None] = []  # the Authorization of each handshake
        self.ends: queue.Queue[syncws.ConnectionClosed] = queue.Queue()  # how connections ended for the server
        self.server = self.enterContext(running(syncws.Server(self.handle, "127.0.0.1", 0)))
        self.url = f"ws://127.0.0.1:{self.server.address[1]}/?token=secret"

    def handle(self, request: syncws.Request) -> syncws.Response | None:
        self.tokens.append(request.headers.get("Authorization"))
        if self.refusals:
            return self.refusals.pop(0)
        with syncws.Upgrader().upgrade(request) as conn:
            try:
                while True:
                    conn.send(conn.receive())
            except syncws.ConnectionClosed as end:
                self.ends.put(end)
        return None

    def reconnect(self, url: str | Callable[[], str] | None = None, **options: object) -> Reconnector:
        """A Reconnector with delays too short to notice."""
        options = {"min_delay": 0.001, "max_delay": 0.002, "timeout": PATIENCE, "proxy": None, **options}
        made = reconnect(url or self.url, **options)  # type: ignore[arg-type]
        self.addCleanup(made.stop)
        return made

    def refuse(self, *statuses: int, **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.refusals += [syncws.Response("no\n", status, fields) for status in statuses]

    def check(self, conn: syncws.Conn) -> None:
        conn.send("hello")
        self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def bad_server(self, answer: bytes | Callable[[Asked], bytes] | None = None) -> BadServer:
        """A server, or a proxy, that gives this answer; by default it accepts, and is silent after that."""
        server = BadServer(answer or accepting())
        self.addCleanup(server.close)
        return server

    def silent(self) -> tuple[socket.socket, str]:
        """A listener that answers nobody, and its URL."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, f"ws://127.0.0.1:{listener.getsockname()[1]}/"


class TurnTests(ReconnectorTestCase):
    def test_each_turn_is_a_fresh_connection(self) -> None:
        """Each turn gives another connection, and the last one is closed with 1000 by then."""
        seen: list[syncws.Conn] = []
        for conn in self.reconnect():
            if seen:
                self.assertTrue(seen[-1].closed)
                self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)
            self.check(conn)
            seen.append(conn)
            if len(seen) == 3:
                break
        self.assertEqual(len(set(map(id, seen))), 3)
        seen[-1].close()

    def test_break_leaves_it_open(self) -> None:
        """After a break the connection is open, and the caller's to close."""
        for conn in self.reconnect():  # noqa: B007
            break
        self.check(conn)
        conn.close()
        self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)

    def test_an_exception_leaves_it_open(self) -> None:
        """After an exception that leaves the loop the connection is open as well."""
        with self.assertRaises(ZeroDivisionError):
            for conn in self.reconnect():
                self.check(conn)
                _ = 1 / 0
        self.check(conn)
        conn.close()

    def test_a_loop_begun_anew(self) -> None:
        """A second loop over the same object begins with a fresh connection, and closes the one before."""
        made = self.reconnect()
        first = next(made)
        for second in made:
            self.assertTrue(first.closed)
            self.check(second)
            second.close()
            break

    def test_the_server_ends_it(self) -> None:
        """A connection that the peer has ended is followed by the next."""
        for turn, conn in enumerate(self.reconnect()):
            if turn == 2:
                conn.close()
                break
            conn.close_now()
            with self.assertRaises(syncws.CloseError):
                conn.receive()

    def test_a_server_that_comes_back(self) -> None:
        """A server that goes away and comes back on its port is found again."""
        port = self.server.address[1]
        made = self.reconnect()
        reader = Task(next(made).receive)
        self.assertEqual(self.server.shutdown(PATIENCE), 0)
        end = reader.error()
        assert isinstance(end, syncws.CloseError)
        self.assertEqual(end.code, 1001)
        with self.assertLogs("syncws.reconnect", "INFO"):
            task = Task(next, made)
            self.assertTrue(await_(lambda: made._backoff.failures > 2, PATIENCE))
            with running(syncws.Server(self.handle, "127.0.0.1", port)):
                conn = task.result()
                self.check(conn)
                conn.close()

    def test_the_delays_of_short_connections(self) -> None:
        """The first attempt is made at once; after connections that did not last the delays grow."""
        made = self.reconnect(min_delay=600, max_delay=6000)
        delays: list[float] = []

        def wait(seconds: float) -> bool:
            delays.append(seconds)
            return True

        with mock.patch.object(made, "_wait", wait):
            for _ in range(3):
                next(made).close()
        first, second, third = delays
        self.assertEqual(first, 0)
        self.assertTrue(300 <= second <= 600 <= third <= 1200, delays)

    def test_one_thread_iterates(self) -> None:
        """A second thread that asks for the next connection meanwhile gets ConcurrencyError at once."""
        listener, url = self.silent()
        made = self.reconnect(url)
        task = Task(next, made)
        sock, _ = listener.accept()  # it is under way
        with sock:
            with self.assertRaises(syncws.ConcurrencyError):
                next(made)
            made.stop()
            self.assertIsInstance(task.error(), StopIteration)


class FailureTests(ReconnectorTestCase):
    def test_permanent_refusals(self) -> None:
        """What will not heal is raised, as dial raises it, after one attempt, and is not tried for ever, unseen.

        A redirect, a page, a path that is not there, wrong credentials, a method or a version that is not known.
        """
        for status in (200, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 410, 426, 499, 501, 505):
            with self.subTest(status=status):
                self.refuse(status)
                self.tokens.clear()
                with self.assertNoLogs("syncws.reconnect"), self.assertRaises(syncws.BadHandshakeError) as caught:
                    next(self.reconnect())
                self.assertEqual((caught.exception.status, len(self.tokens)), (status, 1))

    def test_what_may_heal(self) -> None:
        """After 408, 425, 429 and 5xx another attempt is made, as after a connection that ends without an answer."""
        statuses = (408, 425, 429, 500, 502, 503, 504, 507, 599)
        self.refuse(*statuses)
        next(self.reconnect()).close()
        self.assertEqual(len(self.tokens), len(statuses) + 1)
        cut = BadServer(b"", hang_up=True)
        self.addCleanup(cut.close)
        with self.assertRaises(syncws.BadHandshakeError):
            next(self.reconnect(cut.url, attempts=3))
        self.assertEqual(len(cut.asked), 3)

    def test_an_answer_that_is_no_websockets(self) -> None:
        """A 101 that is wrong, and bytes that are not HTTP, are raised at once."""
        for answer in (accepting(accept=None), b"220 mail.example ESMTP\r\n\r\n"):
            server = BadServer(answer, hang_up=True)
            self.addCleanup(server.close)
            with self.assertRaises(syncws.BadHandshakeError):
                next(self.reconnect(server.url))
            self.assertEqual(len(server.asked), 1)

    def test_a_certificate_that_is_not_trusted(self) -> None:
        """An untrusted certificate, one for another name, and a server without TLS are raised after one attempt."""
        with running(syncws.Server(self.handle, "127.0.0.1", 0, ssl_context=serving("elsewhere.test"))) as server:
            url = f"wss://127.0.0.1:{server.port}/"
            for context in (ssl.create_default_context(), trusting()):
                with self.assertNoLogs("syncws.reconnect"), self.assertRaises(ssl.SSLCertVerificationError):
                    next(self.reconnect(url, ssl_context=context))
        with self.assertNoLogs("syncws.reconnect"), self.assertRaises(ssl.SSLError):
            next(self.reconnect(self.url.replace("ws:", "wss:")))
        self.assertEqual(self.tokens, [])

    def test_a_certificate_of_the_clients_that_is_missing(self) -> None:
        """A server that wants a certificate of the client's, and gets none, is raised, in each version of TLS."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = serving()
            context.verify_mode = ssl.CERT_REQUIRED
            context.minimum_version = context.maximum_version = version
            trust(context)
            server = BadServer(accepting(), tls=context, hang_up=True)
            self.addCleanup(server.close)
            with self.subTest(version.name), self.assertRaises(ssl.SSLError):
                next(self.reconnect(server.url, ssl_context=trusting()))

    def test_the_first_failure_is_a_warning(self) -> None:
        """An outage is seen: its first failure is a WARNING with the reason, its end is INFO, and between is DEBUG."""
        for _ in range(2):
            self.refuse(503, 503, 503)
            with self.assertLogs("syncws.reconnect", "DEBUG") as logs:
                next(self.reconnect()).close()
            self.assertEqual([record.levelname for record in logs.records], ["WARNING", "DEBUG", "DEBUG", "INFO"])
            self.assertIn("the answer is 503 Service Unavailable: no; the next attempt is in", logs.output[0])
            self.assertRegex(logs.output[-1], r"connected; the attempts before it had failed: 3 in \d+ s")

    def test_a_token_that_expired(self) -> None:
        """After a 401 the callable is asked at once for other headers, without a delay, and it is no outage."""
        self.refuse(401)
        tokens = iter(["expired", "fresh"])
        made = self.reconnect(headers=lambda: {"Authorization": next(tokens)}, min_delay=600, max_delay=600)
        with self.assertLogs("syncws.reconnect", "DEBUG") as logs:
            Task(next, made).result().close()
        self.assertEqual(self.tokens, ["expired", "fresh"])
        self.assertEqual([record.levelname for record in logs.records], ["INFO"])
        self.assertNotIn("expired", logs.output[0])

    def test_a_token_in_the_url(self) -> None:
        """url may be a callable too: it is asked for each attempt, and once more at once after a 401."""
        self.refuse(503, 401)
        numbers = iter(range(9))
        made = self.reconnect(lambda: f"{self.url}&n={next(numbers)}")
        self.assertEqual(repr(made), "<Reconnector the URL of a callable>")
        for _ in range(2):
            next(made).close()
        self.assertEqual(next(numbers), 4)
        self.assertNotIn("secret", repr(made))
        self.assertRegex(repr(made), r"^<Reconnector ws://127")

    def test_two_refusals_in_a_row(self) -> None:
        """A second 401 in a row is raised; after another outcome a 401 counts as the first again."""
        self.refuse(401, 401)
        made = self.reconnect(headers=lambda: {"Authorization": "expired"})
        with self.assertRaises(syncws.BadHandshakeError) as caught:
            next(made)
        self.assertEqual((caught.exception.status, len(self.tokens)), (401, 2))
        self.refuse(401, 503, 401)
        next(made).close()
        self.refuse(401)
        next(made).close()
        self.refuse(401)
        with self.assertRaises(syncws.BadHandshakeError):
            next(self.reconnect(headers=lambda: {"Authorization": "expired"}, attempts=1))

    def test_give_up(self) -> None:
        """give_up decides in both directions: True raises what would heal, False goes on whatever it was."""
        self.refuse(503)
        seen: list[Exception] = []

        def give_up(error: Exception) -> bool:
            seen.append(error)
            return True

        with self.assertNoLogs("syncws.reconnect"), self.assertRaises(syncws.BadHandshakeError) as caught:
            next(self.reconnect(give_up=give_up))
        self.assertEqual(seen, [caught.exception])
        self.refuse(404, 301, 401)
        with self.assertLogs("syncws.reconnect", "WARNING"):
            next(self.reconnect(give_up=lambda error: False)).close()
        self.refuse(404)
        with self.assertRaises(syncws.BadHandshakeError):
            next(self.reconnect(give_up=lambda error: False, attempts=1))

    def test_give_up_that_leaves_it_open(self) -> None:
        """None leaves the decision to the list, and what give_up raises leaves the loop."""
        self.refuse(503, 404)
        with self.assertRaises(syncws.BadHandshakeError) as caught:
            next(self.reconnect(give_up=lambda error: None))
        self.assertEqual(caught.exception.status, 404)
        self.refuse(503)
        with self.assertRaises(ZeroDivisionError):
            next(self.reconnect(give_up=lambda error: bool(1 / 0)))

    def test_a_machine_without_dns(self) -> None:
        """A name that is not known may be known later, on a machine that has just begun; the WARNING says which."""
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        made = self.reconnect(f"ws://localhost:{self.server.port}/", proxy=None)
        real = socket.getaddrinfo
        answers = iter([unknown, unknown])

        def getaddrinfo(*args: object, flags: int = 0, **keywords: object) -> object:
            if not flags & socket.AI_NUMERICHOST and (error := next(answers, None)):
                raise error
            return real(*args, flags=flags, **keywords)  # type: ignore[arg-type]

        with mock.patch("socket.getaddrinfo", getaddrinfo), self.assertLogs("syncws.reconnect", "WARNING") as logs:
            next(made).close()
        self.assertIn("Name or service not known (looking up localhost)", logs.output[0])

    def test_secrets_stay_out_of_the_log(self) -> None:
        """Neither the query, where tokens are, nor a password of the URL or of a proxy is logged or shown."""
        self.refuse(503)
        with self.assertLogs("syncws.reconnect", "INFO") as logs:
            made = self.reconnect(self.url.replace("//", "//user:secret@"))
            next(made).close()
        self.assertNotIn("secret", logs.output[0] + repr(made))
        self.refuse(302, Location="https://user:secret@example.com/?token=secret")
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            next(made)
        self.assertIn("redirects are not followed", str(refused.exception))
        self.assertNotIn("secret", str(refused.exception))
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            proxy = f"http://user:secret@127.0.0.1:{nobody.getsockname()[1]}"
        with self.assertLogs("syncws.reconnect", "INFO") as logs, self.assertRaises(OSError) as caught:
            next(self.reconnect("ws://example.com/?token=secret", proxy=proxy, attempts=2))
        self.assertNotIn("secret", logs.output[0] + str(caught.exception) + repr(caught.exception.__notes__))

    def test_a_proxy_that_refuses(self) -> None:
        """A proxy's 4xx is raised too; after its 502 another attempt is made, once its Retry-After is over."""
        proxy = f"http://user:secret@127.0.0.1:{self.bad_server(WRONG_PASSWORD).port}"
        with self.assertNoLogs("syncws.reconnect"), self.assertRaises(syncws.ProxyError) as caught:
            next(self.reconnect(proxy=proxy))
        self.assertEqual(caught.exception.status, 407)
        proxy = f"http://user:secret@127.0.0.1:{self.bad_server(OVERLOADED).port}"
        line = self.failed_once(self.reconnect(proxy=proxy))
        self.assertIn(" 502 ", line)
        self.assertIn("the next attempt is in 7.0 s", line)
        self.assertNotIn("secret", line)

    def test_retry_after(self) -> None:
        """The loop waits as long as Retry-After says, and the log says how long."""
        self.refuse(503, Retry_After="7")
        self.assertIn("the next attempt is in 7.0 s", self.failed_once(self.reconnect()))

    def failed_once(self, made: Reconnector) -> str:
        """What is logged of a first attempt that fails and has no other after it."""
        with self.assertLogs("syncws.reconnect", "INFO") as logs:
            task = Task(next, made)
            self.assertTrue(await_(lambda: bool(logs.output), PATIENCE))
            made.stop()
            self.assertIsInstance(task.error(), StopIteration)
        [line] = logs.output
        return line

    def test_attempts(self) -> None:
        """After so many failures in a row the last is raised, and so is each further one; a connection ends that."""
        self.refuse(500, 500)
        made = self.reconnect(attempts=3)
        with self.assertLogs("syncws.reconnect", "DEBUG") as logs:
            next(made)
        self.refuse(500, 502, 503, 504)
        with (
            self.assertLogs("syncws.reconnect", "DEBUG") as logs,
            self.assertRaises(syncws.BadHandshakeError) as caught,
        ):
            next(made)
        self.assertEqual((caught.exception.status, len(logs.records)), (503, 2))
        with self.assertNoLogs("syncws.reconnect"), self.assertRaises(syncws.BadHandshakeError) as caught:
            next(made)
        self.assertEqual(caught.exception.status, 504)
        next(made).close()

    def test_nobody_there(self) -> None:
        """An OSError is a failed attempt like any other."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"ws://127.0.0.1:{nobody.getsockname()[1]}/"
        with self.assertLogs("syncws.reconnect", "INFO"), self.assertRaises(ConnectionRefusedError):
            next(self.reconnect(url, attempts=2))

    def test_the_attempt_has_a_timeout(self) -> None:
        """An attempt at a silent server ends after timeout seconds, or handshake_timeout, and another one follows."""
        _, url = self.silent()
        for options in ({"timeout": 0.01, "handshake_timeout": 600}, {"timeout": None, "handshake_timeout": 0.01}):
            with self.subTest(options), self.assertLogs("syncws.reconnect", "INFO"):
                task = Task(next, self.reconnect(url, attempts=2, **options))
                self.assertIsInstance(task.error(), TimeoutError)

    def test_headers_for_each_attempt(self) -> None:
        """A callable that gives headers is called before each attempt: a token may have expired."""
        self.refuse(503)
        numbers = iter(range(9))
        made = self.reconnect(headers=lambda: {"Authorization": f"token {next(numbers)}"})
        with self.assertLogs("syncws.reconnect", "INFO"):
            next(made)
        next(made).close()
        self.assertEqual(self.tokens, ["token 0", "token 1", "token 2"])

    def test_headers_that_can_be_read_once(self) -> None:
        """Headers from an iterator are sent with each attempt, not with the first alone."""
        self.refuse(503)
        made = self.reconnect(headers=iter([("Authorization", "token")]))
        with self.assertLogs("syncws.reconnect", "INFO"):
            next(made).close()
        self.assertEqual(self.tokens, ["token", "token"])

    def test_headers_that_fail(self) -> None:
        """What the callable raises leaves the loop; an OSError counts as a failed attempt."""
        with self.assertRaises(KeyError):
            next(self.reconnect(headers=lambda: {}["no such token"]))  # type: ignore[misc]
        failing = mock.Mock(side_effect=[OSError("the token's server is away"), None])
        with self.assertLogs("syncws.reconnect", "INFO"):
            next(self.reconnect(headers=failing)).close()

    def test_a_dialer_of_ones_own(self) -> None:
        """reconnect takes a Dialer in place of its options."""
        dialer = syncws.Dialer(proxy=None, read_limit=3)
        made = reconnect(self.url, dialer=dialer, min_delay=0.001, max_delay=0.002)
        conn = next(made)
        conn.send("four")
        with self.assertRaises(syncws.ReadLimitError):
            conn.receive(timeout=PATIENCE)
        conn.close()


class StopTests(ReconnectorTestCase):
    def stopped(self, made: Reconnector, under_way: Callable[[], object]) -> None:
        """Call stop() while another thread is inside next(): it finds the end of the loop."""
        task = Task(lambda: list(made))
        under_way()
        self.assertFalse(task.done)
        made.stop()
        self.assertEqual(task.result(), [])
        self.assertTrue(made.stopped)

    def test_while_waiting(self) -> None:
        """stop() ends the wait for the next attempt."""
        self.refuse(503)
        made = self.reconnect(min_delay=600, max_delay=600)
        with self.assertLogs("syncws.reconnect", "INFO"):
            self.stopped(made, lambda: await_(lambda: bool(made._backoff.failures), PATIENCE))

    def test_while_connecting(self) -> None:
        """stop() ends an attempt whose server does not answer, and nothing is logged as if it had failed."""
        listener, url = self.silent()
        accepted: list[socket.socket] = []
        with self.assertNoLogs("syncws.reconnect"):
            self.stopped(self.reconnect(url), lambda: accepted.append(listener.accept()[0]))
        with accepted[0] as sock:
            while sock.recv(4096):  # the request, and then the end: nothing is left open
                pass

    def test_before_the_first_turn(self) -> None:
        """After stop() there is no turn at all, and no attempt."""
        made = self.reconnect()
        made.stop()
        made.stop()
        self.assertEqual(list(made), [])
        self.assertEqual(self.tokens, [])
        self.assertRegex(repr(made), r"^<Reconnector ws://127\.0\.0\.1:\d+/ stopped>$")

    def test_by_the_callable_of_headers(self) -> None:
        """The thread that iterates may call stop() too: nothing is connected then."""
        made = self.reconnect(headers=lambda: made.stop())
        self.assertEqual(list(made), [])
        self.assertEqual(self.tokens, [])

    def test_while_reading(self) -> None:
        """A loop that reads its connection finds a normal end, and then has no further turn; the server sees 1000."""
        made = self.reconnect()
        reading = threading.Event()

        def follow() -> list[str | bytes]:
            received: list[str | bytes] = []
            for conn in made:
                conn.send("hello")
                for message in conn:
                    received.append(message)
                    reading.set()
            return received

        task = Task(follow)
        self.assertTrue(reading.wait(PATIENCE))
        made.stop()
        self.assertEqual(task.result(), ["hello"])
        self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)

    def test_while_reading_from_a_peer_that_does_not_answer(self) -> None:
        """The reader finds the end after close_timeout at the latest."""
        made = self.reconnect(self.bad_server().url, close_timeout=0.05)
        task = Task(next(made).receive)
        made.stop()
        end = task.error()
        assert isinstance(end, syncws.CloseError)
        self.assertEqual(end.code, 1006)
        self.assertEqual(list(made), [])

    def test_before_a_turn_ends(self) -> None:
        """A stopped loop does not wait close_timeout for the answer to its last close."""
        server = self.bad_server()
        made = self.reconnect(server.url, close_timeout=600)
        next(made)
        made.stop()
        with mock.patch.object(reconnector, "_CLOSE_TIMEOUT_WHEN_STOPPED", 0.01):
            self.assertEqual(Task(list, made).result(), [])
        self.assertTrue(server.ended.wait(PATIENCE))

    def test_while_a_turn_ends(self) -> None:
        """stop() ends the wait for the answer to a close."""
        server = self.bad_server()
        made = self.reconnect(server.url, close_timeout=600)
        conn = next(made)
        self.stopped(made, lambda: await_(lambda: server.received[:1] == b"\x88", PATIENCE))
        self.assertTrue(conn.closed)

    def test_after_a_break(self) -> None:
        """The connection that was given out last is closed, also after a break; stop() does not wait for that."""
        made = self.reconnect()
        for conn in made:  # noqa: B007
            break
        made.stop()
        self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)
        conn.close()

    def test_by_a_signal_handler(self) -> None:
        """stop() waits for no lock of the connection: the thread that a signal interrupted may hold it."""
        made = self.reconnect()
        conn = next(made)
        with conn._life.lock, conn._wire.frame_lock:
            Task(made.stop).result()
        self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)
        conn.close()

    def test_at_any_line(self) -> None:
        """Whichever line of the loop or of connecting is next when stop() is called, the loop ends; nothing is left."""
        line = 0
        while self.stopped_at(line):
            line += 1
        self.assertGreater(line, 100)

    def stopped_at(self, line: int) -> bool:
        """Stop a loop (a refusal and two turns) before its line of this number; False if it runs fewer lines."""
        made = self.reconnect()
        self.refusals[:] = [syncws.Response("no\n", 503)]
        lines = 0
        conns: list[syncws.Conn] = []

        def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
            nonlocal lines
            if frame.f_code.co_filename not in (reconnector.__file__, connector.__file__):
                return None
            if event == "line":
                if lines == line:
                    made.stop()
                    for thread in threading.enumerate():
                        if thread.name == "syncws-stop":
                            thread.join(0.05)  # or it waits for the lock that this line has
                lines += 1
            return trace

        def follow() -> None:
            sys.settrace(trace)  # of this thread, which ends
            for conn in made:
                conns.append(conn)
                self.check_or_end(conn)
                if len(conns) == 2:
                    return

        Task(follow).result()
        for conn in conns:
            conn.close()
            with self.assertRaises(syncws.CloseError) as caught:
                conn.receive()
            self.assertEqual(caught.exception.code, 1000)
        return made.stopped

    def check_or_end(self, conn: syncws.Conn) -> None:
        try:
            conn.send("hello")
            conn.receive(timeout=PATIENCE)
        except syncws.ConnectionClosed:
            pass

    def test_between_two_steps(self) -> None:
        """A stop() that comes right after an attempt or a connection was made is not lost."""
        made = self.reconnect()
        remember = Attempt.__init__

        def make_and_stop(attempt: Attempt, timeout: float | None) -> None:
            remember(attempt, timeout)
            made.stop()

        with mock.patch.object(Attempt, "__init__", make_and_stop):
            self.assertEqual(list(made), [])
        self.assertEqual(self.tokens, [])

        made = self.reconnect()
        with mock.patch.object(Backoff, "connection_made", lambda backoff: made.stop()):
            with mock.patch.object(Backoff, "connection_over"):
                self.assertEqual(list(made), [])
        self.assertEqual(self.ends.get(timeout=PATIENCE).code, 1000)


class ArgumentTests(unittest.TestCase):
    BAD = [
        ("min_delay", 0, ValueError),
        ("min_delay", -1, ValueError),
        ("min_delay", None, TypeError),
        ("min_delay", "1", TypeError),
        ("min_delay", 61, ValueError),
        ("max_delay", float("inf"), ValueError),
        ("max_delay", None, TypeError),
        ("reset_after", float("nan"), ValueError),
        ("attempts", 0, ValueError),
        ("attempts", 1.5, TypeError),
        ("attempts", True, TypeError),
        ("timeout", 0, ValueError),
        ("timeout", "5", TypeError),
        ("dialer", "no", TypeError),
        ("give_up", 3, TypeError),
        ("give_up", True, TypeError),
        ("headers", 5, TypeError),
        ("headers", {"Upgrade": "x"}, ValueError),
        ("handshake_timeout", 0, ValueError),
        ("no_such_option", 1, TypeError),
    ]

    def test_a_bad_argument_is_refused_by_name(self) -> None:
        """Each invalid argument is refused when the object is made, by an error that names it."""
        for name, value, kind in self.BAD:
            with self.subTest(name=name, value=value), self.assertRaises(kind) as caught:
                reconnect("ws://127.0.0.1/", **{name: value})  # type: ignore[arg-type]
            self.assertIn(name, str(caught.exception))

    def test_a_bad_url(self) -> None:
        """A URL that is neither ws nor wss is refused when the object is made."""
        with self.assertRaises(ValueError):
            reconnect("http://127.0.0.1/")

    def test_dialer_and_options_exclude_each_other(self) -> None:
        """Options beside a Dialer are a TypeError that names them, as they would be ignored."""
        with self.assertRaisesRegex(TypeError, "read_limit"):
            reconnect("ws://127.0.0.1/", dialer=syncws.Dialer(), read_limit=5)
