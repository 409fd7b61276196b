"""keepalive.py: when a silent peer is pinged and when it is given up, on a clock of the test's own."""

from __future__ import annotations

import unittest

from syncws._frames.keepalive import Keepalive
from syncws.errors import CloseError
from syncws.testing import LeakChecks, peer

PING_FRAME = 6  # bytes of a masked ping; under TLS some 30 more


class Peer:
    """A Keepalive of 20 and 10 seconds, and a clock that only a wait moves."""

    def __init__(self, interval=20, timeout=10, start=1000.0):
        self.keepalive = Keepalive(interval, timeout)
        self.now = start
        self.taken = 0

    def wait(self, seconds=None):
        """Wait so long, by default as long as the keepalive says, in vain; its verdict."""
        seconds = self.left if seconds is None else seconds
        self.now += seconds
        return self.keepalive.nothing_came(self.now, seconds, self.taken)

    def work(self, seconds):
        """The handler is busy and does not read."""
        self.now += seconds

    @property
    def left(self):
        return self.keepalive.seconds_left(self.now)


class TestKeepalive(unittest.TestCase):
    """Silence is a wait without a byte; what follows depends on how long it lasts."""

    def test_a_ping_that_counts(self):
        """Of a peer that cannot be heard a ping that its kernel takes is life; one that is not taken is none."""
        for taken, last in ((6, None), (0, "dead")):
            keepalive = Keepalive(20, 10)
            verdicts = [
                keepalive.nothing_came(1000.0, 0.0, 0, ping_size=0),
                keepalive.nothing_came(1020.0, 0.0, 0, ping_size=0),
                keepalive.nothing_came(1031.0, 0.0, taken, ping_size=0),
            ]
            self.assertEqual(verdicts, [None, "ping", last])

    def test_ping_then_dead(self):
        """A silent peer is pinged after the interval, and dead the timeout later."""
        for start in (0.0, 1000.0):
            peer = Peer(start=start)
            self.assertEqual(peer.left, 20)
            self.assertEqual(peer.wait(), "ping")
            self.assertEqual(peer.left, 10)
            self.assertEqual(peer.wait(), "dead")
            self.assertEqual(peer.now, start + 30)

    def test_short_waits_add_up(self):
        """Reads with short timeouts see the same: the silence is counted from the first wait on."""
        peer = Peer()
        self.assertEqual({peer.wait(1) for _ in range(19)}, {None})
        self.assertEqual(peer.left, 1)
        self.assertEqual(peer.wait(1), "ping")
        self.assertEqual({peer.wait(1) for _ in range(9)}, {None})
        self.assertEqual(peer.wait(1), "dead")

    def test_whether_a_silence_counts(self):
        """A silence that nobody counts is told, unless it would never be judged."""
        peer = Peer()
        self.assertFalse(peer.keepalive.is_counting)
        peer.wait(1)
        self.assertTrue(peer.keepalive.is_counting)
        peer.keepalive.heard()
        self.assertFalse(peer.keepalive.is_counting)
        self.assertTrue(Peer(interval=None).keepalive.is_counting)

    def test_one_ping_for_each_silence(self):
        """No second ping while the answer is waited for."""
        peer = Peer()
        self.assertEqual([peer.wait(5) for _ in range(6)], [None, None, None, "ping", None, "dead"])

    def test_any_byte_is_life(self):
        """Whatever arrives ends the silence, before the ping and after it."""
        peer = Peer()
        for _ in range(3):
            peer.wait(15)
            peer.keepalive.heard()
            self.assertIsNone(peer.keepalive.silent_since)
            self.assertEqual(peer.left, 20)
        self.assertEqual(peer.wait(20), "ping")
        peer.keepalive.heard()
        self.assertEqual(peer.left, 20)
        self.assertEqual(peer.wait(), "ping")

    def test_a_busy_handler_kills_nobody(self):
        """Time in which nobody read is not silence: the peer's bytes may lie in the socket."""
        peer = Peer()
        peer.work(3600)
        self.assertIsNone(peer.wait(1))
        peer.keepalive.heard()
        self.assertEqual(peer.wait(20), "ping")
        peer.work(3600)
        self.assertEqual(peer.left, 0)
        peer.keepalive.heard()  # the pong that had come meanwhile
        self.assertIsNone(peer.wait(5))

    def test_judged_after_a_wait_only(self):
        """After a long pause the verdict falls with the next wait that finds nothing, not before."""
        peer = Peer()
        self.assertEqual(peer.wait(20), "ping")
        peer.work(3600)
        self.assertEqual(peer.wait(0), "dead")

    def test_a_slow_reader_lives(self):
        """A peer that takes our bytes lives, however silent, and is dead an interval and a timeout after the last."""
        peer = Peer()
        for _ in range(20):
            peer.taken += 300_000
            self.assertIn(peer.wait(), (None, "ping"))
        self.assertGreater(peer.now, 1000 + 100)
        last = peer.now
        while (verdict := peer.wait()) != "dead":
            self.assertIn(verdict, (None, "ping"))
        self.assertLessEqual(peer.now - last, 30)

    def test_our_own_ping_is_no_life(self):
        """The kernel of a peer whose program hangs takes our ping: that must not count as an answer."""
        for ping in (PING_FRAME, PING_FRAME + 30):
            peer = Peer()
            self.assertEqual(peer.wait(), "ping")
            peer.taken += ping
            self.assertEqual(peer.wait(), "dead")

    def test_slow_progress_adds_up(self):
        """Few bytes at each look are progress, too, once they are more than a ping."""
        peer = Peer()
        verdicts = []
        for _ in range(100):
            peer.taken += 10
            verdicts.append(peer.wait(1))
        self.assertNotIn("dead", verdicts)

    def test_what_was_sent_before_is_no_progress(self):
        """Bytes taken before a silence neither put off its ping nor answer it."""
        peer = Peer()
        for _ in range(3):
            peer.taken += 1 << 20
            self.assertEqual([peer.wait(5) for _ in range(4)], [None, None, None, "ping"])
            peer.keepalive.heard()
        peer.taken += 1 << 20
        self.assertEqual([peer.wait(), peer.wait()], ["ping", "dead"])

    def test_off(self):
        """Without an interval nothing is ever decided, and waits have no end."""
        peer = Peer(interval=None)
        self.assertIsNone(peer.left)
        self.assertIsNone(peer.wait(1e6))
        self.assertIsNone(peer.left)
        self.assertIsNone(peer.keepalive.silent_since)  # so that no read has to look at the clock

    def test_without_a_timeout(self):
        """Without a timeout nobody is ever dead; pings go on, one in each interval, to keep middle boxes awake."""
        peer = Peer(timeout=None)
        self.assertEqual([peer.wait() for _ in range(5)], ["ping"] * 5)
        self.assertEqual(peer.now, 1100)
        self.assertIsNone(peer.wait(10))
        self.assertEqual(peer.left, 10)


class TestOnAConnection(LeakChecks):
    """The same on a real socket, where the kernel answers for a program that does not."""

    def test_a_peer_that_hangs_is_given_up(self):
        """A peer whose kernel takes our ping, and whose program never reads it, is dead after interval and timeout."""
        for compression in (False, True):
            with peer(compression=compression, ping_interval=0.05, ping_timeout=0.05) as (conn, _):
                with self.assertRaises(CloseError) as caught:
                    conn.receive(timeout=10)
                self.assertEqual(caught.exception.code, 1006)
                self.assertIn("no answer to a ping", caught.exception.reason)


if __name__ == "__main__":
    unittest.main()
