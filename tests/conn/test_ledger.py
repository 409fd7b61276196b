"""ledger.py: each connection is counted once, whoever ends it, and in which order."""

from __future__ import annotations

import gc
import os
import sys
import threading
import unittest
from typing import Any

from syncws import TEXT, Conn
from syncws._conn.ledger import Ledger
from syncws._conn.stats import CODES, counted_as
from syncws._net.transport import Transport
from syncws.testing import socketpair
from tests.tasks import Task, linger_briefly

from .cases import ConnCase


class LedgerTests(ConnCase):
    """One ledger."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)
        self.ledger = Ledger()

    def told(self, *names: str) -> tuple[Any, ...]:
        traffic = self.ledger.traffic()
        return tuple(traffic[name] for name in names)

    def test_from_open_to_closed(self) -> None:
        """A connection is open, then ending, then closed; its messages stay counted."""
        conn, peer = self.peer()
        tally = self.ledger.opened(conn)
        peer.send_frame(TEXT, "x")
        conn.receive()
        names = ("open", "ending", "opened", "closed", "closed_by", "messages_in")
        self.assertEqual(self.told(*names), (1, 0, 1, {}, {}, 1))
        self.assertEqual(self.ledger.conns(), [conn])
        conn.close_now()
        self.assertEqual(self.told(*names), (0, 1, 1, {}, {}, 1))  # its server may still read what had come before
        self.assertEqual(self.ledger.conns(), [])
        for _ in range(2):
            self.ledger.left(tally)
            self.assertFalse(self.ledger._here)  # it is forgotten at once, also where nobody asks for numbers
            self.assertEqual(self.told(*names), (0, 0, 1, {"1006": 1}, {"nobody": 1}, 1))

    def test_left_before_it_is_released(self) -> None:
        """A thread that is still inside is waited for: what it counts is in the sums."""
        conn, peer = self.peer()
        tally = self.ledger.opened(conn)
        conn._inbound.take_turn(None)
        peer.send_frame(8, (4001).to_bytes(2))
        conn._inbound.leave_turn()
        conn.close()
        conn._inbound.turn.acquire()  # as a reader that has not noticed
        conn.close_now()
        self.ledger.left(tally)
        self.assertEqual(self.told("ending", "closed"), (0, {"4000-4999": 1}))

    def test_a_reader_is_inside(self) -> None:
        """A connection whose descriptor a thread keeps from being closed is ending; then it is closed."""
        conn, _peer = self.peer()
        tally = self.ledger.opened(conn)
        with self.busy_wire(conn):
            conn.close_now()
            self.ledger.left(tally)
            self.assertEqual(self.told("open", "ending", "closed"), (0, 1, {}))
        self.assertEqual(self.told("open", "ending", "closed"), (0, 0, {"1006": 1}))

    def test_released_before_it_is_counted(self) -> None:
        """A connection that ends before its server has it counted is opened and closed."""
        conn, _peer = self.peer()
        conn.close_now()
        self.ledger.left(self.ledger.opened(conn))
        self.assertEqual(self.told("opened", "open", "ending", "closed"), (1, 0, 0, {"1006": 1}))

    def test_who_closed_first(self) -> None:
        """Here, the peer, or nobody: by the first close frame."""
        for close_here, by, code in ((True, "here", "1000"), (False, "peer", "1001"), (None, "nobody", "1006")):
            with self.subTest(by):
                self.ledger = Ledger()
                conn, peer = self.peer()
                tally = self.ledger.opened(conn)
                if close_here:
                    conn.close(timeout=0)
                    peer.send_frame(8, (1000).to_bytes(2))
                    conn.close()
                elif close_here is False:
                    peer.send_frame(8, (1001).to_bytes(2))
                    with self.assertRaises(Exception):  # noqa: B017
                        conn.receive()
                conn.close_now()
                self.ledger.left(tally)
                self.assertEqual(self.told("closed", "closed_by"), ({code: 1}, {by: 1}))

    def test_nobody_released_it(self) -> None:
        """A connection that its view has dropped, and that was collected, is closed when its seat is given back."""
        ours, theirs = socketpair()
        self.addCleanup(theirs.close)
        conn = Conn(Transport(ours), client=False)
        tally = self.ledger.opened(conn)
        conn._attendant.stop()
        conn.send("hello")
        before = self.told("bytes_in", "bytes_out")
        ours.close()
        del conn
        gc.collect()
        self.assertEqual(self.told("open", "ending", "bytes_in", "bytes_out"), (0, 1, *before))  # no number falls
        self.ledger.left(tally)
        self.assertEqual(self.told("opened", "open", "ending", "closed"), (1, 0, 0, {"1006": 1}))
        self.assertEqual(self.told("bytes_in", "bytes_out"), before)

    def test_left_in_the_middle_of_something(self) -> None:
        """The collector may give a seat back in a thread that is inside the ledger: it waits for nothing."""
        conn, _peer = self.peer()
        tally = self.ledger.opened(conn)
        conn.close_now()

        def collect() -> None:
            with self.ledger._lock:
                self.ledger.left(tally)

        Task(collect).result()
        self.assertEqual(self.told("opened", "open", "ending", "closed"), (1, 0, 0, {"1006": 1}))

    def test_released_in_the_middle_of_something(self) -> None:
        """A signal's handler that calls `Server.shutdown` may end a connection while its thread is inside."""
        conn, _peer = self.peer()
        tally = self.ledger.opened(conn)

        def shut_down() -> None:
            with self.ledger._lock:
                conn.close_now()

        Task(shut_down).result()
        self.ledger.left(tally)
        self.assertEqual(self.told("opened", "open", "ending", "closed"), (1, 0, 0, {"1006": 1}))

    def test_without_a_connection(self) -> None:
        """A seat that had none leaves nothing."""
        self.ledger.left(None)
        self.assertEqual(self.told("opened", "closed"), (0, {}))

    def test_refusals_and_answers(self) -> None:
        """They are counted by reason, and by the class of the status."""
        for reason in ("origin", "full", "origin"):
            self.ledger.refused(reason)
        for status in (200, 204, 404):
            self.ledger.answered(status)
        self.assertEqual(self.told("refused"), ({"origin": 2, "full": 1},))
        self.assertEqual(self.ledger.requests(), {"2xx": 2, "4xx": 1})

    def test_codes_are_few(self) -> None:
        """However many codes peers choose, they have few names."""
        self.assertEqual({counted_as(code) for code in range(5100)}, set(CODES))
        told = [counted_as(code) for code in (1000, 1016, 77, 5000, 3000, 3999, 4000, 4999)]
        self.assertEqual(told, ["1000", "other", "other", "other", *["3000-3999"] * 2, *["4000-4999"] * 2])

    def test_snapshots_while_connections_end(self) -> None:
        """In each snapshot every connection is once, and no number ever falls, whatever ends meanwhile."""
        stop = threading.Event()
        faults: list[Any] = []

        def look() -> None:
            before = 0
            while not stop.is_set():
                traffic = self.ledger.traffic()
                if traffic["opened"] != traffic["open"] + traffic["ending"] + sum(traffic["closed"].values()):
                    faults.append(traffic)
                if traffic["messages_in"] < before:
                    faults.append((before, traffic["messages_in"]))
                before = traffic["messages_in"]

        looks = Task(look)
        try:
            for _ in range(100):
                conn, peer = self.peer()
                tally = self.ledger.opened(conn)
                peer.send_frame(TEXT, "x")
                conn.receive()
                leaves = Task(self.ledger.left, tally)
                conn.close_now()
                leaves.result()
        finally:
            stop.set()
            looks.result()
        self.assertEqual(faults, [])
        self.assertEqual(self.told("opened", "closed", "messages_in"), (100, {"1006": 100}, 100))

    @unittest.skipUnless(hasattr(os, "fork") and sys.platform != "darwin", "forks")
    def test_the_child_of_a_fork(self) -> None:
        """It begins at nothing, whatever the parent has counted, and whoever held the lock."""
        conn, _peer = self.peer()
        self.ledger.opened(conn)
        with self.ledger._lock:
            child = os.fork()
            if not child:
                os._exit(0 if self.told("opened", "open", "ending") == (0, 0, 0) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(self.told("opened", "open"), (1, 1))


if __name__ == "__main__":
    unittest.main()
