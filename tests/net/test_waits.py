"""waits.py: waiting for a socket, and judging a write that waits."""

from __future__ import annotations

import errno
import math
import select
import socket
import unittest
from unittest import mock

from syncws._net import waits
from syncws._net.waits import Pace, Progress, wait_for


class WaitTests(unittest.TestCase):
    """Waiting for one socket, with poll and with select."""

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def check(self) -> None:
        self.assertFalse(wait_for(self.near, 0, write=False))
        self.assertTrue(wait_for(self.near, 0, write=True))
        self.assertFalse(wait_for(self.near, -5.0, write=False))
        self.far.send(b"x")
        for wait in (None, 1e30, math.inf):
            self.assertTrue(wait_for(self.near, wait, write=False))

    def test_poll(self) -> None:
        """A socket with room can be written to, one with bytes read from; a wait may be over, endless, or absurd."""
        self.check()

    def test_select(self) -> None:
        """The same where the system has no poll."""
        with mock.patch.object(waits, "select", mock.Mock(spec=["select"], select=select.select)):
            self.check()


class Taken:
    """A peer that has taken so many bytes."""

    count = 0

    def taken_by_peer(self) -> int:
        return self.count


class ProgressTests(unittest.TestCase):
    """A write that waits."""

    def setUp(self) -> None:
        self.peer = Taken()

    def test_no_limit(self) -> None:
        """Without a stall limit nothing is too long, nobody is asked, and the deadline alone says when to look."""
        self.peer.taken_by_peer = self.fail
        progress = Progress(self.peer, None)
        progress.check(0.0)
        progress.check(1e9)
        self.assertIsNone(progress.tick(None, 5.0))
        self.assertEqual(progress.tick(7.0, 5.0), 2.0)

    def test_stall(self) -> None:
        """As long as the limit without a byte taken is ETIMEDOUT; a moment less is not."""
        progress = Progress(self.peer, 8.0)
        progress.check(100.0)
        progress.check(107.9)
        with self.assertRaises(OSError) as caught:
            progress.check(108.0)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)

    def test_progress(self) -> None:
        """Each byte that was taken since the last look begins the limit anew."""
        progress = Progress(self.peer, 8.0)
        progress.check(100.0)
        self.peer.count = 1
        progress.check(107.0)
        progress.check(114.9)
        self.assertRaises(OSError, progress.check, 115.0)

    def test_the_first_look_judges_nothing(self) -> None:
        """What the peer had taken before, which may be a negative number, is where counting begins."""
        self.peer.count = -400
        progress = Progress(self.peer, 8.0)
        progress.check(100.0)
        self.peer.count = -399
        progress.check(108.0)
        self.assertRaises(OSError, progress.check, 116.0)

    def test_ticks(self) -> None:
        """A stalled write is looked at eight times within the limit, and at the deadline."""
        progress = Progress(self.peer, 8.0)
        self.assertEqual(progress.tick(None, 5.0), 1.0)
        self.assertEqual(progress.tick(5.5, 5.0), 0.5)
        self.assertEqual(progress.tick(9.0, 5.0), 1.0)


class ReadableTests(unittest.TestCase):
    """Which of many have something to read."""

    def test_many(self) -> None:
        """Those that have, and those that are broken; a number of nothing is none."""
        pairs = [socket.socketpair() for _ in range(5)]
        for near, far in pairs:
            self.addCleanup(near.close)
            self.addCleanup(far.close)
        pairs[1][1].send(b"x")
        pairs[2][1].close()
        numbers = [near.fileno() for near, _ in pairs]
        ready = waits.readable([*numbers, -1])
        self.assertEqual([number in ready for number in (*numbers, -1)], [False, True, True, False, False, False])

    def test_where_asking_each_is_cheaper(self) -> None:
        """Without poll, and where it is gevent's or eventlet's, all are worth a try."""
        with mock.patch.object(waits, "is_green", return_value=True):
            self.assertTrue(all(number in waits.readable([3, 4]) for number in (3, 4)))
        with mock.patch.object(waits, "select", mock.Mock(spec=["select"])):
            self.assertTrue(all(number in waits.readable([3, 4]) for number in (3, 4)))


class HungUpTests(unittest.TestCase):
    """Whether the peer is known to send no more."""

    def test_a_peer_that_has_gone(self) -> None:
        """It is found although what came before is still to be received; a socket that is closed tells nothing."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        far.send(b"x")
        self.assertFalse(waits.has_hung_up(near))
        far.close()
        self.assertEqual(waits.has_hung_up(near), hasattr(select, "poll"))
        self.assertEqual(near.recv(10), b"x")
        near.close()
        self.assertFalse(waits.has_hung_up(near))

    def test_where_asking_may_wait(self) -> None:
        """Where poll is gevent's or eventlet's nobody asks."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        far.close()
        with mock.patch.object(waits, "is_green", return_value=True):
            self.assertFalse(waits.has_hung_up(near))


class PaceTests(unittest.TestCase):
    """Several writes of one answer, each of which waits."""

    def setUp(self) -> None:
        self.peer = Taken()
        self.now = 1000.0
        clock = mock.Mock(monotonic=lambda: self.now)
        self.enterContext(mock.patch.object(waits, "time", clock))

    def pass_time(self, progress: Progress, seconds: float, taken: int) -> None:
        self.now += seconds
        self.peer.count += taken
        progress.check(self.now)

    def test_a_slow_peer(self) -> None:
        """A peer that takes a byte now and then held the thread of its answer without end: it has its patience, and a
        second for each so many bytes; over all writes together."""
        pace = Pace(60.0, 10.0, 500)
        self.assertEqual(pace, 60.0)
        first = pace.progress(self.peer)
        self.pass_time(first, 9.0, 1)
        self.assertAlmostEqual(first.tick(None, self.now) or 0.0, 1.002)
        self.now += 0.5
        first.end()
        self.now += 1000.0  # between two writes: the application's time
        second = pace.progress(self.peer)
        self.pass_time(second, 0.4, 1)
        with self.assertRaises(OSError) as caught:
            self.pass_time(second, 0.2, 1)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.assertIn("too slowly", str(caught.exception))

    def test_a_peer_that_is_fast_enough(self) -> None:
        """A peer at that rate is waited for as long as it takes; what it had taken before this answer is no credit."""
        self.peer.count = 1 << 30
        pace = Pace(60.0, 10.0, 500)
        for _ in range(100):
            progress = pace.progress(self.peer)
            self.pass_time(progress, 7.0, 3500)
            progress.end()
        with self.assertRaises(OSError):
            self.pass_time(pace.progress(self.peer), 11.0, 1)

    def test_the_stall_limit(self) -> None:
        """A peer that takes nothing is given up at the stall limit, whatever it has taken before."""
        pace = Pace(60.0, 10.0, 500)
        progress = pace.progress(self.peer)
        self.pass_time(progress, 1.0, 1 << 20)
        self.assertAlmostEqual(progress.tick(self.now + 100.0, self.now) or 0.0, 60.0 / 8)
        with self.assertRaisesRegex(OSError, "took nothing for 60 s"):
            self.pass_time(progress, 60.0, 0)


if __name__ == "__main__":
    unittest.main()
