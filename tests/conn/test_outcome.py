"""outcome.py: how a connection is closed and what is logged, by how its handler ended."""

from __future__ import annotations

import logging
import time
import unittest
import warnings
from collections.abc import Callable, Iterator
from unittest import mock

from syncws._conn.conn import Conn
from syncws._conn.outcome import end_handled
from syncws._http.response import Response
from syncws.errors import PING, TEXT, CloseError, CloseSentError, ReadTimeout, WriteTimeout
from syncws.testing import LeakChecks, Peer, peer

LOG = logging.getLogger("syncws.a_test")


def reading(conn: Conn) -> None:
    conn.receive(timeout=0)


def reading_by_deadline(conn: Conn) -> None:
    conn.set_read_deadline(time.monotonic())
    conn.receive()


def controlling(conn: Conn) -> None:
    conn.write_control(PING, deadline=time.monotonic())


def writing_behind_a_message(conn: Conn) -> None:
    conn._outbound._message_lock.acquire()
    try:
        conn._wire._message_open = True
        conn.send("late", timeout=0)
    finally:
        conn._wire._message_open = False
        conn._outbound._message_lock.release()


def writing_behind_a_frame(conn: Conn) -> None:
    with conn._wire.frame_lock:
        conn.send("late", timeout=0)


def writing_to_a_full_socket(conn: Conn) -> None:
    late = WriteTimeout("the write deadline passed before the peer took the message")
    fails = mock.Mock(side_effect=late)
    with mock.patch.multiple(conn._transport, send=fails, send_by=fails):  # by the second where the accelerator is
        conn.send("late", timeout=1)


#: What raises a timeout of a connection, wherever one is raised.
OWN_TIMEOUTS = (
    reading,
    reading_by_deadline,
    controlling,
    writing_behind_a_message,
    writing_behind_a_frame,
    writing_to_a_full_socket,
)


def vanished(conn: Conn) -> None:
    conn.close_now()
    conn.receive()


def closed_here(conn: Conn) -> None:
    conn.close(timeout=0)
    conn.send("later")


def asked_for_its_end(conn: Conn) -> None:
    conn.close_now()
    assert conn.end is not None
    raise conn.end


#: What raises the end of a connection.
ENDS = (vanished, closed_here, asked_for_its_end)


def error_of(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def with_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class OutcomeTests(LeakChecks):
    """A handler returns or raises."""

    def make(self, **options: object) -> tuple[Conn, Peer]:
        return self.enterContext(peer(**{"close_timeout": 0.05, **options}))  # type: ignore[arg-type]

    def end(self, raised: Exception | None, level: int | None) -> tuple[int | None, str, list[logging.LogRecord]]:
        """(code, reason) that the peer gets, and what is logged at this level and above: None for nothing."""
        conn, far = self.make()
        if level is None:
            with self.assertNoLogs(LOG, logging.INFO):
                end_handled(conn, raised, "the peer", LOG)
            records: list[logging.LogRecord] = []
        else:
            with self.assertLogs(LOG, level) as logs:
                end_handled(conn, raised, "the peer", LOG)
            records = logs.records
        self.assertTrue(conn.closed)
        return (*far.receive_close(), records)

    def test_it_returns(self) -> None:
        """A handler that returns closes with 1000, and nothing is logged."""
        self.assertEqual(self.end(None, None), (1000, "", []))

    def test_a_close_that_fails(self) -> None:
        """What closing raises of the connection is in the log, at DEBUG, and goes no further."""
        conn = mock.Mock(spec=Conn)
        conn.close.side_effect = CloseSentError("another one was faster")
        with self.assertLogs(LOG, logging.DEBUG) as logs:
            end_handled(conn, None, "the peer", LOG)
        self.assertEqual([record.getMessage() for record in logs.records], ["closing failed: another one was faster"])

    def test_it_raises(self) -> None:
        """A handler that raises closes with 1011; the error is logged once, with the peer and its traceback."""
        try:
            raise RuntimeError("a bug")
        except RuntimeError as exc:
            error = exc
        code, reason, records = self.end(error, logging.ERROR)
        self.assertEqual((code, reason), (1011, ""))
        (record,) = records
        self.assertEqual(record.getMessage(), "the peer: the handler raised")
        self.assertIs(record.exc_info[1], error)  # type: ignore[index]
        self.assertIsNotNone(record.exc_info[2])  # type: ignore[index]

    def test_its_timeout_escapes(self) -> None:
        """A timeout of its connection that escapes is the peer's doing: 1011, and one line without a traceback."""
        for attempt in OWN_TIMEOUTS:
            with self.subTest(attempt.__name__):
                conn, far = self.make()
                with self.assertLogs(LOG, logging.INFO) as logs:
                    end_handled(conn, error_of(lambda: attempt(conn)), "the peer", LOG)  # noqa: B023
                self.assertEqual(far.receive_close(), (1011, ""))
                (record,) = logs.records
                self.assertEqual((record.levelno, record.exc_info), (logging.INFO, None))
                self.assertIn("a timeout escape: ", record.getMessage())

    def test_another_connections_end_or_timeout_escapes(self) -> None:
        """Ann leaves, Bob speaks: the end of another connection is Bob's handler's failure, ERROR and 1011. So is a
        timeout of another connection, whatever the class of either."""
        for attempt in (*OWN_TIMEOUTS, *ENDS):
            with self.subTest(attempt.__name__):
                other, _ = self.make()
                error = error_of(lambda: attempt(other))  # noqa: B023
                code, _, records = self.end(error, logging.DEBUG)
                self.assertEqual(code, 1011)
                (record,) = records
                self.assertEqual((record.levelno, record.getMessage()), (logging.ERROR, "the peer: the handler raised"))
                self.assertIs(record.exc_info[1], error)  # type: ignore[index]

    def test_what_is_made_of_its_end(self) -> None:
        """An error that was raised from the end, has it in a group, or was made by hand, is the application's own."""
        for make in (
            lambda end: with_cause(KeyError("ann"), end),
            lambda end: ExceptionGroup("both", [end]),
            lambda end: CloseError(end.code, end.reason),
            lambda end: ReadTimeout("made by hand"),
        ):
            conn, far = self.make()
            far.close(1000)
            error = make(error_of(conn.receive))  # type: ignore[no-untyped-call]
            with self.subTest(repr(error)), self.assertLogs(LOG, logging.ERROR) as logs:
                end_handled(conn, error, "the peer", LOG)
            self.assertIs(logs.records[0].exc_info[1], error)  # type: ignore[index]

    def test_a_peers_fault_is_one_line(self) -> None:
        """A peer that broke the protocol is one line of the log, which names it."""
        conn, far = self.make(read_limit=5)
        far.send_frame(TEXT, "too large")
        with self.assertLogs(LOG, logging.INFO) as logs:
            end_handled(conn, error_of(conn.receive), "the peer", LOG)
        self.assertEqual(far.receive_close()[0], 1009)
        (record,) = logs.records
        self.assertEqual((record.levelno, record.exc_info), (logging.INFO, None))
        self.assertTrue(record.getMessage().startswith("the peer: "))

    def test_it_returns_an_answer(self) -> None:
        """What is returned after the handshake reaches nobody: 1008, so that a refusal that comes late refuses."""
        for result in ("no", ("no", 401), {"error": "no"}, Response("no", 401), True, 0, ""):
            with self.subTest(result):
                conn, far = self.make()
                with self.assertLogs(LOG, logging.ERROR) as logs:
                    end_handled(conn, None, "the peer", LOG, result)
                self.assertEqual(far.receive_close(), (1008, ""))
                self.assertIn(f"the peer: the WebSocket handler returned {result!r:.20}", logs.output[0])
                self.assertIn("has to run before the handler", logs.output[0])

    def test_it_returns_work(self) -> None:
        """A coroutine that is returned is a failure of the handler: 1011; it is closed, so that Python is silent."""

        async def handler() -> None: ...

        def generator() -> Iterator[int]:
            yield 1

        for make, kind in ((handler, "a coroutine"), (generator, "a generator")):
            with self.subTest(kind), warnings.catch_warnings():
                warnings.simplefilter("error")
                conn, far = self.make()
                with self.assertLogs(LOG, logging.ERROR) as logs:
                    end_handled(conn, None, "the peer", LOG, make())
                self.assertEqual(far.receive_close(), (1011, ""))
                self.assertIn(f"returned {kind}, which nothing runs", logs.output[0])

    def test_a_result_on_one_line(self) -> None:
        """A result whose repr has several lines is one line of the log."""

        class Forging:
            def __repr__(self) -> str:
                return "x\nCRITICAL root: forged"

        conn, _ = self.make()
        with self.assertLogs(LOG, logging.ERROR) as logs:
            end_handled(conn, None, "the peer", LOG, Forging())
        self.assertNotIn("\n", logs.records[0].getMessage())

    def test_its_own_end(self) -> None:
        """A connection that is over keeps its end."""
        conn, far = self.make()
        far.close(4001, "bye")
        with self.assertRaises(CloseError) as caught:
            conn.receive()
        with self.assertNoLogs(LOG, logging.INFO):
            end_handled(conn, caught.exception, "the peer", LOG)
        self.assertEqual(far.receive_close(), (4001, ""))
        self.assertEqual(conn.end.code, 4001)  # type: ignore[union-attr]

    def test_it_has_closed(self) -> None:
        """A handler that closed with a code of its own keeps that code, even if it raises afterwards."""
        conn, far = self.make()
        conn.close(4002, "mine", timeout=0)
        with self.assertLogs(LOG, logging.ERROR):
            end_handled(conn, ValueError("later"), "the peer", LOG)
        self.assertEqual(far.receive_close(), (4002, "mine"))
        self.assertTrue(far.at_end())

    def test_a_lost_connection(self) -> None:
        """Nothing is raised where the connection is lost."""
        conn, _ = self.make()
        conn.close_now()
        end_handled(conn, None, "the peer", LOG)


if __name__ == "__main__":
    unittest.main()
