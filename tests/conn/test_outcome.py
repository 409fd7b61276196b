"""outcome.py: how a connection is closed and what is logged, by how its handler ended."""

from __future__ import annotations

import logging
import unittest
from unittest import mock

from syncws._conn.conn import Conn
from syncws._conn.outcome import end_handled
from syncws.errors import CloseError, CloseSentError, ReadLimitError, ReadTimeout, WriteTimeout
from syncws.testing import LeakChecks, Peer, peer

LOG = logging.getLogger("syncws.a_test")


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

    def test_a_timeout_escapes(self) -> None:
        """A timeout that escapes is the peer's doing: 1011, and one line without a traceback."""
        for error in (ReadTimeout("too slow"), WriteTimeout("too slow")):
            with self.subTest(error):
                code, _, records = self.end(error, logging.INFO)
                self.assertEqual(code, 1011)
                (record,) = records
                self.assertEqual(record.levelno, logging.INFO)
                self.assertIsNone(record.exc_info)
                self.assertIn("a timeout escape: too slow", record.getMessage())

    def test_another_connections_end_escapes(self) -> None:
        """The end of a connection, of another one even, is no failure of the handler: 1000."""
        code, _, records = self.end(CloseError(1001, "elsewhere"), logging.DEBUG)
        self.assertEqual(code, 1000)
        self.assertLess(max(record.levelno for record in records), logging.ERROR)

    def test_a_peers_fault_is_one_line(self) -> None:
        """A peer that broke the protocol is one line of the log, which names it."""
        code, _, records = self.end(ReadLimitError("too large"), logging.INFO)
        self.assertEqual(code, 1000)
        (record,) = records
        self.assertIsNone(record.exc_info)
        self.assertTrue(record.getMessage().startswith("the peer: "))

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
