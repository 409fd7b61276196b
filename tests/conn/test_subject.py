"""The fields of log records about connections, as an application's log has them."""

from __future__ import annotations

import logging
import unittest
from typing import Any

import syncws
from syncws._base.logs import FIELDS
from syncws.testing import LeakChecks, await_, running
from tests.tasks import PATIENCE

CHAT = "/chat%0A?token=secret"


class Records(logging.Handler):
    """What was logged, while the block runs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def find(self, words: str) -> list[dict[str, Any]]:
        """The fields of each record with these words in its message."""
        found = [record for record in list(self.records) if words in record.getMessage()]
        return [{name: getattr(record, name) for name in FIELDS} for record in found]


class SubjectTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.log = Records()
        for name in ("syncws", "syncws.access"):
            log = logging.getLogger(name)
            self.addCleanup(log.setLevel, log.level)
            log.setLevel(logging.DEBUG)
        ours = logging.getLogger("syncws")
        self.addCleanup(setattr, ours, "propagate", ours.propagate)
        self.addCleanup(ours.removeHandler, self.log)
        ours.addHandler(self.log)
        ours.propagate = False

    def find(self, words: str) -> dict[str, Any]:
        """The fields of the one record with these words, once it is there."""
        self.assertTrue(await_(lambda: self.log.find(words), PATIENCE), words)
        (found,) = self.log.find(words)
        return found

    def check(self, words: str, code: int | None = None) -> dict[str, Any]:
        """A record about a connection to CHAT says all of it: its id, its path without the query, escaped, its peer."""
        found = self.find(words)
        self.assertRegex(found["connection_id"], "^[0-9a-f]{32}$")
        self.assertEqual((found["path"], found["code"]), ("/chat%0A", code))
        self.assertRegex(found["remote_address"], r"^127\.0\.0\.1:\d+$")
        return found

    def serve(self, handler: Any, **options: Any) -> str:
        server = self.enterContext(running(syncws.Server(handler, port=0, **options)))
        return f"ws://127.0.0.1:{server.address[1]}"

    def test_one_connection(self) -> None:
        """What a server says of one connection has one id in all of its lines, which is that of the access log."""

        def handler(request: syncws.Request) -> None:
            with syncws.Upgrader().upgrade(request) as conn:
                conn.receive()
                raise ValueError("a mistake")

        with syncws.dial(self.serve(handler) + CHAT, proxy=None) as conn:
            conn.send("hello")
            with self.assertRaises(syncws.CloseError):
                conn.receive(PATIENCE)
        raised = self.check("the handler raised")
        visit = self.check(" WS /chat%0A 1011 ", 1011)
        self.assertEqual(raised["connection_id"], visit["connection_id"])

    def test_a_member(self) -> None:
        """What a Manager says of a member has the fields of its connection, and the code that it was closed with."""
        manager = syncws.Manager(on_message=lambda member, message: None)

        def handler(request: syncws.Request) -> None:
            manager.run(syncws.Upgrader().upgrade(request))

        with syncws.dial(self.serve(handler) + CHAT, proxy=None) as conn:
            conn.close(4001, "\x1b[31m")
        self.check(">: received 4001", 4001)

    def test_a_refusal(self) -> None:
        """A refused handshake has no connection yet: its line has the path, the peer, and the status as its code."""
        url = self.serve(lambda request: syncws.Upgrader().upgrade(request))
        with self.assertRaises(syncws.BadHandshakeError):
            syncws.dial(url + CHAT, {"Origin": "https://elsewhere.example"}, proxy=None)
        found = self.find("is refused with 403")
        self.assertEqual((found["connection_id"], found["path"], found["code"]), (None, "/chat%0A", 403))
        self.assertRegex(found["remote_address"], r"^127\.0\.0\.1:\d+$")

    def test_a_full_queue(self) -> None:
        """The line about a full send queue, which names no connection, has the fields of the one that it is about."""

        def handler(request: syncws.Request) -> None:
            with syncws.Upgrader().upgrade(request) as conn:
                conn.set_send_queue(send_queue=1, overflow="drop_oldest")
                while not self.log.find("the send queue is full"):
                    conn.send_nowait(bytes(1_000_000))
                conn.close_now()

        with syncws.dial(self.serve(handler) + CHAT, proxy=None) as conn:
            self.assertTrue(await_(lambda: self.log.find("the send queue is full"), PATIENCE))
            conn.close_now()
        found = self.log.find("the send queue is full")[0]
        self.assertRegex(found["connection_id"], "^[0-9a-f]{32}$")
        self.assertEqual(found["path"], "/chat%0A")

    def test_every_line_of_a_connection(self) -> None:
        """Each line that names a connection's peer in its text says in its fields which connection it is; the rest have
        the fields as well, so that a format that names them never fails."""

        def handler(request: syncws.Request) -> object:
            with syncws.Upgrader().upgrade(request) as conn:
                conn.receive()
            return "late"

        with syncws.dial(self.serve(handler) + CHAT, proxy=None) as conn:
            conn.send("hello")
            with self.assertRaises(syncws.CloseError):
                conn.receive(PATIENCE)
        self.check("the WebSocket handler returned 'late'")
        for record in self.log.records:
            with self.subTest(record.getMessage()):
                connection_id, _, remote_address, _ = (getattr(record, name) for name in FIELDS)
                is_known = connection_id is not None or remote_address is not None
                self.assertEqual(is_known, "listening on" not in record.getMessage())


if __name__ == "__main__":
    unittest.main()
