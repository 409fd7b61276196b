"""stats.py: what `Conn.stats` tells of one connection, in either role."""

from __future__ import annotations

import socket
import sys
import tempfile
import unittest
from typing import Any

from syncws import BINARY, PING, PONG, TEXT, CloseError, PreparedMessage, Request, dial
from syncws._conn.conn import post_to_all
from syncws.testing import await_
from tests.server.cases import ServerTestCase, echo
from tests.tasks import PATIENCE, linger_briefly

from .cases import ConnCase

LINUX = sys.platform == "linux"


class ServerStats(ConnCase):
    """The numbers of a connection."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)

    def test_each_way_to_read(self) -> None:
        """A message counts once it has come whole, however it is read: at once, in pieces, skipped, or passed over."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "one")  # a read that brings just that
        conn.receive()
        peer.send_frame(TEXT, "two", fin=False)
        peer.send_frame(0, "!", fin=False)
        peer.send_frame(0, "!")
        peer.send_frame(BINARY, b"three")
        self.assertEqual((conn.receive(), conn.receive()), ("two!!", b"three"))
        self.assertEqual(conn.stats().messages_in, 3)
        peer.send_frame(TEXT, "four", fin=False)
        reader = conn.next_reader()
        self.assertEqual((reader.read(2), conn.stats().messages_in), (b"fo", 3))
        peer.send_frame(0, "")
        reader.read()
        self.assertEqual(conn.stats().messages_in, 4)
        peer.send_frame(BINARY, b"five", fin=False)
        conn.next_reader()
        peer.send_frame(0, b"five")
        peer.send_frame(TEXT, "six")
        self.assertEqual((conn.receive(), conn.stats().messages_in), ("six", 6))  # the fifth was skipped
        peer.send_frame(TEXT, "seven")
        self.assertEqual((conn.next_reader().read(), conn.stats().messages_in), (b"seven", 7))
        conn.close(timeout=0)
        peer.send_frame(TEXT, "eight")
        peer.send_frame(8, b"")
        conn.close()
        self.assertEqual(conn.stats().messages_in, 8)

    def test_what_came_before_an_end_that_nobody_read(self) -> None:
        """Messages that are read after the end was found, and the descriptor closed, count as well."""
        conn, peer = self.peer(ping_interval=0.1)
        for _ in range(3):
            peer.send_frame(TEXT, "x")
        peer.socket.close()
        self.assertTrue(conn.wait_closed(PATIENCE))
        self.assertTrue(await_(lambda: conn._transport.closed, PATIENCE))
        with self.assertRaises(CloseError):
            for _ in conn:
                pass
        self.assertEqual(conn.stats().messages_in, 3)

    def test_each_way_to_write(self) -> None:
        """A message counts once the socket has it, however it was written; control frames are none."""
        conn, peer = self.peer()
        conn.send("one")
        conn.send_nowait(b"two")
        with conn.next_writer(TEXT) as writer:
            writer.write("thr")
            writer.flush()
            self.assertEqual(conn.stats().messages_out, 2)
            writer.write("ee")
        conn.write_prepared(PreparedMessage(TEXT, "four"))
        self.assertEqual(post_to_all([conn], PreparedMessage(TEXT, "five")), [conn] if self.client else [])
        self.assertEqual(conn.stats().messages_out, 4 if self.client else 5)
        conn.write_control(PONG)
        conn.ping()
        conn.write_control(PING, b"x")
        self.assertEqual((conn.stats().messages_out, conn.stats().pings), (4 if self.client else 5, 2))
        peer.socket.close()

    def test_the_send_queue(self) -> None:
        """What waits is queued, and counts as sent when it leaves; what finds no room, or never leaves, is dropped."""
        conn, peer = self.peer(buffer=4096, send_queue=3, overflow="drop_newest")
        size = 1 << 20
        conn.send_nowait(bytes(size))  # the socket has it, in part
        for _ in range(5):
            conn.send_nowait(bytes(10))
        stats = conn.stats()
        self.assertEqual((stats.messages_out, stats.queued_messages, stats.dropped), (1, 3, 2))
        self.assertGreaterEqual(stats.queued_bytes, 30)
        while conn.stats().queued_messages:
            peer.receive_frame()
        self.assertTrue(await_(lambda: conn.stats().messages_out == 4, PATIENCE))
        self.assertEqual(conn.stats().dropped, 2)

    def test_round_trips(self) -> None:
        """A ping that is answered is a round trip; a pong that nobody asked for is a pong only."""
        conn, peer = self.peer()
        task = self.start_reading(conn)
        for number in range(3):
            conn.ping(b"%d" % number)
            peer.receive_frame()
            peer.send_frame(PONG, b"%d" % number)
            self.assertTrue(await_(lambda number=number: conn.stats().round_trips.count == number + 1, PATIENCE))
        peer.send_frame(PONG, b"unasked")
        peer.send_frame(TEXT, "x")
        task.result()
        stats = conn.stats()
        trips = stats.round_trips
        self.assertEqual((stats.pings, stats.pongs, trips.count, trips.buckets[-1]), (3, 4, 3, 3))
        assert trips.least is not None and trips.most is not None
        self.assertTrue(0 <= trips.least <= trips.most <= trips.total)
        self.assertEqual(stats.latency, conn.latency)

    def test_what_it_is(self) -> None:
        """It tells the connection's id, path and age, and whether it is over; its age ends with it."""
        server, client = self.enterContext(self._pair())
        conn = client if self.client else server
        stats = conn.stats()
        self.assertEqual((stats.id, stats.path), (conn.id, None if self.client else "/a%20b"))
        self.assertEqual((stats.is_over, stats.subprotocol, stats.address), (False, None, conn.remote_address))
        conn.close_now()
        after = conn.stats()
        self.assertTrue(after.is_over)
        self.assertGreaterEqual(after.age, stats.age)
        self.assertEqual(conn.stats(), after)

    def _pair(self) -> Any:
        from syncws.testing import pair

        return pair(request=Request("GET", "/a%20b?token=x"))


class ClientStats(ServerStats):
    client = True


class OverTCP(ServerTestCase):
    """What the kernel counts."""

    @unittest.skipUnless(LINUX, "other kernels are not asked")
    def test_bytes(self) -> None:
        """The bytes are the kernel's, those of the request left out; they are there once the socket is closed, too."""
        seen: list[Any] = []

        def handler(request: Any) -> None:
            seen.append(request)
            echo(request)

        with self.serving(handler) as server:
            with dial(f"ws://127.0.0.1:{server.port}/") as client:
                for _ in range(5):
                    client.send("x" * 100)
                    client.receive()
                conn = seen[0].conn
                self.assertTrue(await_(lambda: conn.stats().bytes_in == 5 * 106, PATIENCE), conn.stats())
                self.assertGreater(conn.stats().bytes_out, 5 * 102)
            self.assertTrue(await_(lambda: conn._transport.closed, PATIENCE))
        stats = conn.stats()
        self.assertIn(stats.bytes_in - 5 * 106 - 8, (0, 1))  # the kernel counts the end of TCP as one
        self.assertEqual((stats.messages_in, stats.messages_out), (5, 5))

    @unittest.skipUnless(hasattr(socket, "AF_UNIX"), "Unix sockets")
    def test_bytes_of_a_unix_socket(self) -> None:
        """Nobody counts the bytes of a Unix socket: they are None, and not some number."""
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/socket"
            with self.serving(unix_path=path) as server, self.client(server) as client:
                client.upgrade()
                self.assertTrue(await_(lambda: len(server.connections()) == 1, PATIENCE))
                (conn,) = server.connections()
                self.assertEqual((conn.stats().bytes_in, conn.stats().bytes_out), (None, None))
                self.assertEqual((server.stats().bytes_in, server.stats().bytes_out), (None, None))


if __name__ == "__main__":
    unittest.main()
