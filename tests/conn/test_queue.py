"""queue.py: what may wait for a slow peer, in which order it leaves, and what each policy does when it is full."""

from __future__ import annotations

import unittest
from typing import Any

from syncws._base.options import ConnOptions
from syncws._conn.queue import _NO_FRAMES, SendQueue


def queue(**options: Any) -> SendQueue:
    return SendQueue(ConnOptions(**options))


def everything(waiting: SendQueue) -> list[bytes]:
    return [waiting.pop() for _ in range(len(waiting))]


class QueueTests(unittest.TestCase):
    def test_first_in_first_out(self) -> None:
        """Frames leave in the order they came; the sizes are counted."""
        waiting = queue()
        for frame in (b"a", b"bb", b"ccc"):
            self.assertTrue(waiting.put(frame))
        self.assertEqual((len(waiting), waiting.size), (3, 6))
        self.assertEqual(everything(waiting), [b"a", b"bb", b"ccc"])
        self.assertEqual((len(waiting), waiting.size, waiting.dropped), (0, 0, 0))

    def test_an_empty_queue_holds_nothing(self) -> None:
        """An empty queue has no deque of its own, before the first frame, after the last one and after a drop."""
        waiting = queue()
        self.assertIs(waiting._frames, _NO_FRAMES)
        waiting.put(b"a")
        waiting.pop()
        self.assertIs(waiting._frames, _NO_FRAMES)
        waiting.put(b"a")
        waiting.drop()
        self.assertIs(waiting._frames, _NO_FRAMES)

    def test_limits(self) -> None:
        """One frame always fits, however large; a further one only within both limits."""
        for options, fits in (({"send_queue": 2}, 2), ({"send_queue_bytes": 25}, 2), ({"send_queue_bytes": 5}, 1)):
            waiting = queue(**options)
            with self.subTest(options):
                self.assertEqual([waiting.put(bytes(10)) for _ in range(4)], [True] * fits + [False] * (4 - fits))
                self.assertEqual((len(waiting), waiting.dropped), (fits, 4 - fits))

    def test_drop_newest_and_close(self) -> None:
        """Both policies refuse what does not fit, and keep what waits."""
        for overflow in ("drop_newest", "close"):
            waiting = queue(send_queue=1, overflow=overflow)
            self.assertEqual([waiting.put(b"old"), waiting.put(b"new")], [True, False])
            self.assertEqual((waiting.overflow, everything(waiting), waiting.dropped), (overflow, [b"old"], 1))

    def test_drop_oldest(self) -> None:
        """As many of the oldest frames are dropped as the new one needs room; it is never refused."""
        waiting = queue(send_queue_bytes=10, overflow="drop_oldest")
        for frame in (b"1234", b"567", b"89"):
            self.assertTrue(waiting.put(frame))
        self.assertTrue(waiting.put(b"abcdef"))
        self.assertEqual((waiting.size, waiting.dropped), (8, 2))
        self.assertTrue(waiting.put(bytes(100)))
        self.assertEqual((everything(waiting), waiting.dropped), ([bytes(100)], 4))

    def test_drop(self) -> None:
        """Frames that are dropped at the end are counted together with those that the policy dropped."""
        waiting = queue(send_queue=2, overflow="drop_newest")
        for _ in range(3):
            waiting.put(b"x")
        waiting.drop()
        self.assertEqual((len(waiting), waiting.size, waiting.dropped), (0, 0, 3))

    def test_new_limits(self) -> None:
        """New limits hold for the next frame; what waits already stays."""
        waiting = queue()
        for _ in range(3):
            waiting.put(b"x")
        waiting.set_limits(ConnOptions(send_queue=1, overflow="drop_newest"))
        self.assertFalse(waiting.put(b"y"))
        self.assertEqual(len(waiting), 3)
