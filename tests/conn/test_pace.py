"""pace.py: a message that has begun to come must go on."""

from __future__ import annotations

import random

from syncws import BINARY, TEXT, ProtocolError, ReadTimeout, breaches
from syncws.testing import Peer, await_
from tests.conn.cases import ConnCase, deflate, moved_clock


class ServerRates(ConnCase):
    """A message that has begun to come and is kept for its reader has to go on."""

    def beginnings(self, peer: Peer) -> dict[str, tuple[bytes, bytes]]:
        """(what has come of a message of 5,000 bytes, the rest of it), by where it stops."""
        data = random.Random(1).randbytes(5000)
        frame = peer.frame(BINARY, data)
        first, last = peer.frame(BINARY, data[:2500], fin=False), peer.frame(0, data[2500:])
        packed = peer.frame(BINARY, deflate(data), rsv1=True)
        return {
            "one byte": (frame[:1], frame[1:]),
            "a header": (frame[: len(frame) - 5000], frame[len(frame) - 5000 :]),
            "half of a frame": (frame[:2000], frame[2000:]),
            "half of a compressed one": (packed[:2000], packed[2000:]),
            "a fragment": (first, last),
            "half of a fragment": (first + last[:1000], last[1000:]),
        }

    def test_a_message_that_trickles(self) -> None:
        """A message that was begun is not kept for ever: a byte now and then, though it is life, is 1008 in the end."""
        _, peer = self.peer()
        for place in self.beginnings(peer):
            with self.subTest(place):
                conn, peer = self.peer(compression=True, least_rate=100_000, least_rate_grace=0.05, ping_interval=None)
                before = breaches().get("least_rate", 0)
                begun, rest = self.beginnings(peer)[place]
                peer.send(begun)
                reading = self.start(conn.receive)
                for byte in rest[:2000]:
                    if await_(lambda reading=reading: reading.done, 0.005):
                        break
                    peer.send(bytes([byte]))
                error = reading.error()
                assert isinstance(error, ProtocolError)
                self.assertEqual(error.code, 1008)
                self.assertEqual(error.reason, "a message that comes with less than 100000 bytes a second")
                self.assertEqual(peer.receive_frame().payload[:2], (1008).to_bytes(2))
                self.assertEqual(breaches()["least_rate"], before + 1)

    def test_a_message_that_stops(self) -> None:
        """A message of which nothing more comes is 1008 after the grace, long before keepalive asks or gives up."""
        for interval in (None, 3600.0):
            _, peer = self.peer()
            for place in self.beginnings(peer):
                with self.subTest(place):
                    conn, peer = self.peer(
                        compression=True, least_rate=100_000, least_rate_grace=0.05, ping_interval=interval
                    )
                    peer.send(self.beginnings(peer)[place][0])
                    self.assertEqual(self.start(conn.receive).error().code, 1008)

    def test_what_comes_fast_enough(self) -> None:
        """A message that is slow and not too slow arrives: what has come already counts."""
        conn, peer = self.peer(least_rate=1000, least_rate_grace=0.05)
        data = bytes(200_000)  # allows for 200 seconds
        frame = peer.frame(BINARY, data)
        reading = self.start(conn.receive)
        peer.send(frame[:100_000])
        self.assertFalse(await_(lambda: reading.done, 0.3))
        peer.send(frame[100_000:])
        self.assertEqual(reading.result(), data)

    def test_time_counts_while_a_read_waits(self) -> None:
        """Time in which the handler works, and nobody reads, is not the peer's: the rest lies in the socket."""
        conn, peer = self.peer(ping_interval=None)
        frame = peer.frame(TEXT, "x" * 5000)
        with moved_clock() as clock:
            peer.send(frame[:100])
            for _ in range(3):
                self.assertRaises(ReadTimeout, conn.receive, 0.01)
                clock.advance(1000)
            peer.send(frame[100:])
            self.assertEqual(conn.receive(), "x" * 5000)

    def test_each_message_counts_anew(self) -> None:
        """The time that one message took is not the next one's."""
        conn, peer = self.peer(least_rate=1, least_rate_grace=0.3)
        for _ in range(4):
            frame = peer.frame(TEXT, "slow")
            reading = self.start(conn.receive)
            peer.send(frame[:3])
            self.assertFalse(await_(lambda reading=reading: reading.done, 0.15))
            peer.send(frame[3:])
            self.assertEqual(reading.result(), "slow")

    def test_a_stream_may_take_its_time(self) -> None:
        """A message that next_reader hands out piece by piece may be as slow as it likes."""
        conn, peer = self.peer(least_rate=100_000, least_rate_grace=0.01)
        peer.send(peer.frame(BINARY, b"a", fin=False))
        reader = conn.next_reader()
        reading = self.start(reader.read)
        self.assertFalse(await_(lambda: reading.done, 0.2))
        peer.send(peer.frame(0, b"b"))
        self.assertEqual(reading.result(), b"ab")

    def test_no_least_rate(self) -> None:
        """None is no limit."""
        conn, peer = self.peer(least_rate=None, least_rate_grace=0.01)
        frame = peer.frame(TEXT, "slow")
        reading = self.start(conn.receive)
        peer.send(frame[:3])
        self.assertFalse(await_(lambda: reading.done, 0.1))
        peer.send(frame[3:])
        self.assertEqual(reading.result(), "slow")


class ClientRates(ServerRates):
    """The same for a client."""

    client = True
