"""The client that comes back: turns, delays, which failures are followed by another attempt, and how it is stopped."""

from __future__ import annotations

import logging
import queue
import socket
import sys
import threading
import time
import unittest
from collections.abc import Callable
from email.utils import formatdate
from types import FrameType
from unittest import mock

import syncws
from syncws._client import reconnector
from syncws._client.reconnector import Reconnector, _Backoff, reconnect
from syncws._net import connector
from syncws._net.attempt import Attempt
from syncws.testing import LeakChecks, await_, running
from tests.client.cases import BadServer, accepting
from tests.tasks import PATIENCE, Task

#: What a proxy answers that wants other credentials, and one that cannot reach the server just now.
WRONG_PASSWORD = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
OVERLOADED = b"HTTP/1.1 502 Bad Gateway\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


class BackoffTests(unittest.TestCase):
    """The delays, without waiting for them: random.uniform is replaced, so that they can be foretold."""

    def setUp(self) -> None:
        self.uniform = self.enterContext(mock.patch("random.uniform", return_value=1.0))

    def delays(self, backoff: _Backoff, failures: int) -> list[float]:
        found = []
        for _ in range(failures):
            backoff.attempt_failed(0)
            found.append(backoff.next_delay())
        return found

    def test_first_attempt(self) -> None:
        """The first attempt is made at once."""
        self.assertEqual(_Backoff(1, 60, 10).next_delay(), 0)

    def test_doubles_up_to_the_largest(self) -> None:
        """After each failure the delay is twice the last, and never more than max_delay."""
        self.assertEqual(self.delays(_Backoff(1, 10, 10), 6), [1, 2, 4, 8, 10, 10])

    def test_any_number_of_failures(self) -> None:
        """Thousands of failures overflow nothing."""
        self.assertEqual(self.delays(_Backoff(0.5, 60, 10), 3000)[-1], 60)

    def test_jitter(self) -> None:
        """Chance takes away a half at most."""
        self.uniform.return_value = 0.5
        self.assertEqual(self.delays(_Backoff(1, 10, 10), 3), [0.5, 1, 2])
        self.assertEqual(self.uniform.call_args.args, (0.5, 1))

    def test_a_delay_counts_once(self) -> None:
        """A delay that was waited for is not waited for again."""
        backoff = _Backoff(1, 60, 10)
        backoff.attempt_failed(0)
        self.assertEqual((backoff.next_delay(), backoff.next_delay()), (1, 0))

    def test_retry_after_comes_on_top(self) -> None:
        """Retry-After is added to our own delay, so that clients still come back at different times."""
        backoff = _Backoff(1, 60, 10)
        backoff.attempt_failed(120)
        self.assertEqual(backoff.next_delay(), 121)

    def test_a_connection_that_lasted(self) -> None:
        """After a connection that lasted the delays begin again at min_delay."""
        backoff = _Backoff(1, 60, 10)
        self.delays(backoff, 5)
        with mock.patch("time.monotonic", side_effect=[100.0, 110.0]):
            backoff.connection_made()
            backoff.connection_over()
        self.assertEqual(backoff.next_delay(), 1)
        self.assertEqual(self.delays(backoff, 2), [1, 2])

    def test_connections_that_do_not_last(self) -> None:
        """After connections that end at once the delays grow as after failures; a connection that lasts resets them."""
        backoff = _Backoff(1, 60, 10)
        found = []
        for lasted in (0.0, 9.9, 0.0, 10.0, 0.0):
            with mock.patch("time.monotonic", side_effect=[100.0, 100.0 + lasted]):
                backoff.connection_made()
                backoff.connection_over()
            found.append(backoff.next_delay())
        self.assertEqual(found, [1, 2, 4, 1, 1])

    def test_a_short_connection_among_failures(self) -> None:
        """A connection that does not last counts as one more failure, whatever comes before and after it."""
        backoff = _Backoff(1, 60, 10)
        self.delays(backoff, 3)
        with mock.patch("time.monotonic", return_value=100.0):
            backoff.connection_made()
            backoff.connection_over()
        self.assertEqual(backoff.next_delay(), 8)
        self.assertEqual(self.delays(backoff, 2), [16, 32])


class RetryAfterTests(unittest.TestCase):
    def seconds(self, value: str) -> float:
        response = syncws.ReceivedResponse(503, "", syncws.Headers({"Retry-After": value}))
        return reconnector._retry_after(syncws.BadHandshakeError("no", response))

    def test_seconds(self) -> None:
        """A number is seconds, up to an hour."""
        self.assertEqual([self.seconds(value) for value in ("0", "17", "0" * 20 + "9")], [0, 17, 9])
        self.assertEqual([self.seconds(value) for value in ("3600", "3601", "9" * 5000)], [3600] * 3)

    def test_date(self) -> None:
        """A date is an instant, in whatever time zone this machine is; one that has passed means no wait."""
        self.addCleanup(time.tzset)  # once the environment is as it was
        self.enterContext(mock.patch.dict("os.environ", TZ="JST-9"))
        time.tzset()
        with mock.patch("time.time", return_value=1_000_000_000.0):
            self.assertEqual(self.seconds(formatdate(1_000_000_060, usegmt=True)), 60)
            self.assertEqual(self.seconds("Sun, 09 Sep 2001 01:47:40 -0000"), 60)
            self.assertEqual(self.seconds(formatdate(999_999_000, usegmt=True)), 0)
            self.assertEqual(self.seconds(formatdate(2_000_000_000, usegmt=True)), 3600)

    def test_garbage(self) -> None:
        """Anything else asks for nothing."""
        years = [f"Mon, 01 Jan {year} 00:00:00 GMT" for year in (99999999, 10**30)]
        for value in (
            "",
            "soon",
            "-5",
            "1.5",
            "٣",
            "Sun, 99 Foo 2001",
            "Mon, 01 Jan 2030 00:00:00 +" + "9" * 14,
            *years,
        ):
            with self.subTest(value=value):
                self.assertEqual(self.seconds(value), 0)

    def test_of_a_proxy(self) -> None:
        """A proxy's Retry-After counts as well; other failures have none."""
        error = syncws.ProxyError("no", 503, syncws.Headers({"retry-after": "7"}))
        self.assertEqual(reconnector._retry_after(error), 7)
        for other in (OSError("no"), syncws.BadHandshakeError("no"), syncws.ProxyError("no", 0)):
            self.assertEqual(reconnector._retry_after(other), 0)


class ReconnectorTestCase(LeakChecks):
    """A server that echoes, or refuses with the statuses in `refusals`, one after another."""

    def setUp(self) -> None:
        super().setUp()
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

    def reconnect(self, url: str | None = None, **options: object) -> Reconnector:
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

    def bad_server(self, answer: bytes | None = None) -> BadServer:
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
        with self.assertLogs("syncws.reconnector", "INFO"):
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
        """An answer of 4xx is raised, as dial raises it, after one attempt."""
        for status in (400, 401, 403, 404, 410, 426, 499):
            with self.subTest(status=status):
                self.refuse(status)
                self.tokens.clear()
                with self.assertNoLogs("syncws.reconnector"), self.assertRaises(syncws.BadHandshakeError) as caught:
                    next(self.reconnect())
                self.assertEqual((caught.exception.status, len(self.tokens)), (status, 1))

    def test_what_may_heal(self) -> None:
        """After 408, 425, 429, redirects, 200 and all 5xx one line is logged, and another attempt is made."""
        statuses = (408, 425, 429, 302, 200, 500, 502, 503)
        self.refuse(*statuses)
        with self.assertLogs("syncws.reconnector", "INFO") as logs:
            next(self.reconnect()).close()
        self.assertEqual(len(self.tokens), len(statuses) + 1)
        for status, record in zip(statuses, logs.records, strict=True):
            self.assertIn(f" {status} ", record.getMessage())
            self.assertEqual(record.levelno, logging.INFO)

    def test_secrets_stay_out_of_the_log(self) -> None:
        """Neither the query, where tokens are, nor a proxy's password is logged or shown."""
        self.refuse(503)
        with self.assertLogs("syncws.reconnector", "INFO") as logs:
            made = self.reconnect()
            next(made).close()
        self.assertNotIn("secret", logs.output[0] + repr(made))
        self.refuse(302, Location="https://user:secret@example.com/?token=secret")
        with self.assertLogs("syncws.reconnector", "INFO") as logs:
            next(made).close()
        self.assertIn("redirects are not followed", logs.output[0])
        self.assertNotIn("secret", logs.output[0])
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            proxy = f"http://user:secret@127.0.0.1:{nobody.getsockname()[1]}"
        with self.assertLogs("syncws.reconnector", "INFO") as logs, self.assertRaises(OSError) as caught:
            next(self.reconnect("ws://example.com/?token=secret", proxy=proxy, attempts=2))
        self.assertNotIn("secret", logs.output[0] + str(caught.exception) + repr(caught.exception.__notes__))

    def test_a_proxy_that_refuses(self) -> None:
        """A proxy's 4xx is raised too; after its 502 another attempt is made, once its Retry-After is over."""
        proxy = f"http://user:secret@127.0.0.1:{self.bad_server(WRONG_PASSWORD).port}"
        with self.assertNoLogs("syncws.reconnector"), self.assertRaises(syncws.ProxyError) as caught:
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
        with self.assertLogs("syncws.reconnector", "INFO") as logs:
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
        with self.assertLogs("syncws.reconnector", "INFO") as logs:
            next(made)
        self.refuse(501, 502, 503, 504)
        with (
            self.assertLogs("syncws.reconnector", "INFO") as logs,
            self.assertRaises(syncws.BadHandshakeError) as caught,
        ):
            next(made)
        self.assertEqual((caught.exception.status, len(logs.records)), (503, 2))
        with self.assertNoLogs("syncws.reconnector"), self.assertRaises(syncws.BadHandshakeError) as caught:
            next(made)
        self.assertEqual(caught.exception.status, 504)
        next(made).close()

    def test_nobody_there(self) -> None:
        """An OSError is a failed attempt like any other."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"ws://127.0.0.1:{nobody.getsockname()[1]}/"
        with self.assertLogs("syncws.reconnector", "INFO"), self.assertRaises(ConnectionRefusedError):
            next(self.reconnect(url, attempts=2))

    def test_the_attempt_has_a_timeout(self) -> None:
        """An attempt at a silent server ends after timeout seconds, or handshake_timeout, and another one follows."""
        _, url = self.silent()
        for options in ({"timeout": 0.01, "handshake_timeout": 600}, {"timeout": None, "handshake_timeout": 0.01}):
            with self.subTest(options), self.assertLogs("syncws.reconnector", "INFO"):
                task = Task(next, self.reconnect(url, attempts=2, **options))
                self.assertIsInstance(task.error(), TimeoutError)

    def test_headers_for_each_attempt(self) -> None:
        """A callable that gives headers is called before each attempt: a token may have expired."""
        self.refuse(503)
        numbers = iter(range(9))
        made = self.reconnect(headers=lambda: {"Authorization": f"token {next(numbers)}"})
        with self.assertLogs("syncws.reconnector", "INFO"):
            next(made)
        next(made).close()
        self.assertEqual(self.tokens, ["token 0", "token 1", "token 2"])

    def test_headers_that_can_be_read_once(self) -> None:
        """Headers from an iterator are sent with each attempt, not with the first alone."""
        self.refuse(503)
        made = self.reconnect(headers=iter([("Authorization", "token")]))
        with self.assertLogs("syncws.reconnector", "INFO"):
            next(made).close()
        self.assertEqual(self.tokens, ["token", "token"])

    def test_headers_that_fail(self) -> None:
        """What the callable raises leaves the loop; an OSError counts as a failed attempt."""
        with self.assertRaises(KeyError):
            next(self.reconnect(headers=lambda: {}["no such token"]))  # type: ignore[misc]
        failing = mock.Mock(side_effect=[OSError("the token's server is away"), None])
        with self.assertLogs("syncws.reconnector", "INFO"):
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
        with self.assertLogs("syncws.reconnector", "INFO"):
            self.stopped(made, lambda: await_(lambda: bool(made._backoff.failures), PATIENCE))

    def test_while_connecting(self) -> None:
        """stop() ends an attempt whose server does not answer, and nothing is logged as if it had failed."""
        listener, url = self.silent()
        accepted: list[socket.socket] = []
        with self.assertNoLogs("syncws.reconnector"):
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
        with mock.patch.object(_Backoff, "connection_made", lambda backoff: made.stop()):
            with mock.patch.object(_Backoff, "connection_over"):
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
