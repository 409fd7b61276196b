"""conversation.py: the 101, the handler, the close."""

from __future__ import annotations

import gc
import logging
import unittest
import weakref
from collections.abc import Callable

from syncws._conn.conn import Conn
from syncws._http.request import Request
from syncws._net.transport import Transport
from syncws._wsgi.conversation import Conversation
from syncws.errors import HandshakeError
from syncws.testing import LeakChecks, Peer, peer
from tests.tasks import PATIENCE, Task


class ConversationTests(LeakChecks):
    """Each step, over a connection whose peer speaks raw frames."""

    def make(self, handler: Callable[[Conn], object], *, detached: bool = True) -> tuple[Conversation, Conn, Peer]:
        conn, far = self.enterContext(peer(close_timeout=PATIENCE))
        sent: list[tuple[Transport, bytes]] = []

        def send_101(transport: Transport, early_data: bytes) -> Conn:
            sent.append((transport, early_data))
            return conn

        conversation = Conversation(Request("GET", "/chat"), send_101, handler, detached=detached)
        conversation.open(conn.transport, b"early")
        self.assertEqual(sent, [(conn.transport, b"early")])
        return conversation, conn, far

    def check_end(self, conversation: Conversation, far: Peer, code: int) -> None:
        task = Task(conversation.end)
        self.assertEqual(far.receive_close()[0], code)
        far.close(code)
        far.socket.close()
        task.result()

    def test_a_handler_that_returns(self) -> None:
        """The handler gets the connection, which says whether it is detached; then it is closed with 1000."""
        for detached in (True, False):
            seen: list[bool] = []
            conversation, conn, far = self.make(lambda conn, seen=seen: seen.append(conn.detached), detached=detached)  # type: ignore[misc]
            self.assertEqual(seen, [])
            conversation.talk()
            self.assertEqual(seen, [detached])
            self.assertFalse(conn.closed)
            self.check_end(conversation, far, 1000)

    def test_a_handler_that_raises(self) -> None:
        """What the handler raises is in the log when the connection is closed, with 1011; then it is freed."""

        class Mistake(Exception):
            """One that can be referred to weakly."""

        raised: list[weakref.ref[Mistake]] = []

        def handler(conn: Conn) -> None:
            error = Mistake()
            raised.append(weakref.ref(error))
            raise error

        conversation, _, far = self.make(handler)
        conversation.talk()
        with self.assertLogs("syncws.wsgi", logging.ERROR) as logs:
            self.check_end(conversation, far, 1011)
        self.assertIn("/chat: the handler raised", logs.output[0])
        logs.records.clear()
        gc.collect()
        self.assertIsNone(raised[0]())

    def test_a_handler_that_is_killed(self) -> None:
        """What is no Exception cuts the connection, and is raised."""

        def handler(conn: Conn) -> None:
            raise SystemExit

        conversation, conn, far = self.make(handler)
        self.assertRaises(SystemExit, conversation.talk)
        self.assertTrue(conn.closed)
        self.assertTrue(far.at_end())

    def test_a_client_that_has_gone(self) -> None:
        """Where the 101 could not be sent the handler is not called, and there is nothing to close."""

        def fail(transport: Transport, early_data: bytes) -> Conn:
            raise HandshakeError("the 101 could not be sent", 101)

        ran: list[Conn] = []
        with peer() as (conn, _), self.assertNoLogs("syncws"):
            Conversation(Request("GET", "/chat"), fail, ran.append, detached=True).run(conn.transport, b"")
        self.assertEqual(ran, [])

    def test_all_three(self) -> None:
        """run does all of it."""
        conn, far = self.enterContext(peer(close_timeout=PATIENCE))
        seen: list[Conn] = []
        conversation = Conversation(Request("GET", "/"), lambda *_: conn, seen.append, detached=True)
        task = Task(conversation.run, conn.transport, b"")
        self.assertEqual(far.receive_close(), (1000, ""))
        far.close()
        far.socket.close()
        task.result()
        self.assertEqual(seen, [conn])


if __name__ == "__main__":
    unittest.main()
