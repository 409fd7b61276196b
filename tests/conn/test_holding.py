"""holding.py: what a connection holds of a message that is not whole, and who goes when it is too much."""

from __future__ import annotations

from typing import Any
from unittest import mock

from syncws import BINARY, CLOSE, TEXT, Conn, ReadLimitError, ReadTimeout, breaches
from syncws._base.unfinished import unfinished
from syncws.testing import Peer, await_
from tests.conn.cases import ConnCase, held_by
from tests.tasks import PATIENCE, Task


class ServerUnfinished(ConnCase):
    """The unfinished messages of all connections of the process have a limit together."""

    def setUp(self) -> None:
        super().setUp()
        unfinished._forget_the_gone()  # who was dropped with something unread counts until room is needed
        self.assertEqual(unfinished.total, 0, "something is still held")
        self.enterContext(mock.patch.object(unfinished, "limit", 200_000))

    def begin(self, size: int, **options: Any) -> tuple[Conn, Peer, Task]:
        """A connection, its peer, and a read of a message of which that many bytes have come."""
        conn, peer = self.peer(**options)
        peer.send(peer.frame(BINARY, bytes(size), fin=False))
        reading = self.start(conn.receive)
        self.assertTrue(await_(lambda: reading.done or held_by(conn) >= size))
        return conn, peer, reading

    def test_the_largest_is_closed(self) -> None:
        """Over the limit the largest of the unfinished messages ends its connection with 1009, the others go on."""
        before = breaches().get("unfinished_limit", 0)
        large = self.begin(90_000)
        small = [self.begin(40_000) for _ in range(2)]
        self.assertFalse(large[2].done)
        third = self.begin(50_000)
        error = large[2].error()
        self.assertIsInstance(error, ReadLimitError)
        self.assertIn("unfinished messages of this process", error.reason)
        self.assertEqual(large[1].receive_frame()[:2], (CLOSE, (1009).to_bytes(2)))
        self.assertEqual(breaches()["unfinished_limit"], before + 1)
        for conn, peer, reading in (*small, third):
            peer.send_frame(0, b"end")
            self.assertEqual(reading.result()[-3:], b"end")
            conn.send("still here")
            self.assertEqual(peer.receive_frame().payload, b"still here")
        self.assertEqual(unfinished.total, 0)

    def test_giving_out_a_piece_costs_nobody(self) -> None:
        """Where others hold too much by now, nobody has to go for a message that shrinks as it is read."""
        conn, peer = self.peer()
        peer.send(peer.frame(BINARY, bytes(2000), fin=False))
        reader = conn.next_reader()
        conn._inbound._hold(5000)  # what was held before the piece was given out
        with mock.patch.object(unfinished, "limit", 1):
            conn._inbound._note_message(False)
        self.assertEqual(held_by(conn), conn._inbound.protocol.held)
        peer.send(peer.frame(0, b"end"))
        self.assertEqual(reader.read(), bytes(2000) + b"end")

    def test_the_largest_may_be_the_one_that_grows(self) -> None:
        """A peer that has nearly all for itself ends its own connection."""
        small = self.begin(40_000)
        large = self.begin(180_000)
        self.assertEqual(large[2].error().code, 1009)
        small[1].send_frame(0)
        self.assertEqual(len(small[2].result()), 40_000)
        self.assertEqual(unfinished.total, 0)

    def test_the_largest_may_not_be_read(self) -> None:
        """A connection whose read has timed out, and whose handler works, is closed all the same."""
        conn, peer = self.peer()
        peer.send(peer.frame(BINARY, bytes(120_000), fin=False))
        self.assertTrue(await_(lambda: self._times_out(conn) and unfinished.total > 110_000))
        small = self.begin(100_000)
        self.assertEqual(peer.receive_frame()[:2], (CLOSE, (1009).to_bytes(2)))
        self.assertTrue(conn.wait_closed(PATIENCE))
        self.assert_ends(conn.receive, 1009, ReadLimitError)
        small[1].send_frame(0)
        self.assertEqual(len(small[2].result()), 100_000)

    def _times_out(self, conn: Conn) -> bool:
        with self.assertRaises(ReadTimeout):
            conn.receive(timeout=0.02)
        return True

    def test_whole_messages_do_not_count(self) -> None:
        """What comes whole is bounded by the read limit alone, however large it is."""
        conn, peer = self.peer(read_buffer_size=1 << 20)
        for _ in range(3):
            peer.send_frame(BINARY, bytes(150_000))
            self.assertEqual(len(conn.receive()), 150_000)
        self.assertEqual(unfinished.total, 0)

    def test_pieces_do_not_count(self) -> None:
        """What next_reader has handed out is the application's."""
        conn, peer = self.peer()
        sending = self.start(
            lambda: peer.send(peer.frame(BINARY, fin=False) + peer.frame(0, bytes(10_000), fin=False) * 50)
        )
        reader = conn.next_reader()
        read = 0
        while read < 500_000:
            read += len(reader.read(1 << 14))
        sending.result()
        self.assertLess(unfinished.total, 100_000)

    def test_nothing_is_left(self) -> None:
        """However a connection ends, nothing of its unfinished message counts any more."""

        def vanish(conn: Conn, peer: Peer) -> None:
            peer.socket.close()

        def breach(conn: Conn, peer: Peer) -> None:
            peer.send_frame(TEXT)

        def close(conn: Conn, peer: Peer) -> None:
            peer.send_frame(CLOSE)

        def cut(conn: Conn, peer: Peer) -> None:
            conn.close_now()

        for end in (vanish, breach, close, cut):
            with self.subTest(end.__name__):
                conn, peer, reading = self.begin(50_000)
                end(conn, peer)
                self.assertIsNotNone(reading.error())
                conn.close_now()
                self.assertTrue(await_(lambda: unfinished.total == 0))


class ClientUnfinished(ServerUnfinished):
    """The same for a client."""

    client = True
