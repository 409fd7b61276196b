"""The other processes on the bus."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from syncws._relay import nodes
from syncws._relay.nodes import Nodes, beat_of

ANN, BOB = b"a" * 8, b"b" * 8


class NodeTests(unittest.TestCase):
    def setUp(self) -> None:
        self.nodes = Nodes()

    def test_what_is_no_beat(self) -> None:
        """What a beat says is checked: numbers are counts, and a host's name is fit for a page."""
        good = beat_of(1, 2)
        for name, value in (("pid", -1), ("pid", True), ("connections", "1"), ("rooms", 2**60), ("host", None)):
            with self.subTest(name), self.assertRaises(ValueError):
                self.nodes.beat(ANN, good | {name: value})
        self.nodes.beat(ANN, good | {"host": "evil\n" + "x" * 1000})
        host = self.nodes.alive()[ANN].host
        self.assertTrue(host.isprintable() and len(host) < 200)

    def test_too_many(self) -> None:
        """Who writes to the bus cannot fill the memory with processes."""
        with mock.patch.object(nodes, "MOST", 2):
            self.nodes.beat(ANN, beat_of(0, 0))
            self.nodes.beat(BOB, beat_of(0, 0))
            with self.assertRaisesRegex(ValueError, "too many"):
                self.nodes.beat(b"c" * 8, beat_of(0, 0))
            self.assertFalse(self.nodes.beat(BOB, beat_of(1, 0)))

    def test_who_is_late(self) -> None:
        """A process is late after three beats, not while the time stood still here, and not after a goodbye."""
        clock: Any = 100.0
        with mock.patch("time.monotonic", lambda: clock):
            for boot in (ANN, BOB):
                self.assertTrue(self.nodes.beat(boot, beat_of(0, 0)))
            clock = 108.0
            self.nodes.beat(BOB, beat_of(0, 0))
            clock = 110.0
            self.assertEqual(self.nodes.late(), [ANN])
            self.nodes.postpone(5.0)
            self.assertEqual(self.nodes.late(), [])
            clock = 200.0
            self.nodes.listen_again()
            self.assertEqual(self.nodes.late(), [])
            clock = 209.5
            self.assertEqual(sorted(self.nodes.late()), [ANN, BOB])
            was = self.nodes.leave(ANN)
            self.assertEqual(was and was.name, ANN.hex())
            self.assertIsNone(self.nodes.leave(ANN))
            self.assertEqual(self.nodes.late(), [BOB])

    def test_an_end_without_a_goodbye(self) -> None:
        """When a process was last seen is told once, also after it has said that it leaves; not of one never heard."""
        self.assertIsNone(self.nodes.vanish(ANN))
        for leaves in (False, True):
            self.nodes.beat(ANN, beat_of(0, 0))
            seen = self.nodes.alive()[ANN].seen
            if leaves:
                self.nodes.leave(ANN)
            self.assertEqual([self.nodes.vanish(ANN), self.nodes.vanish(ANN)], [seen, None])

    def test_senders_without_beats(self) -> None:
        """A Publisher is forgotten so long after its last message, and not after its first."""
        clock: Any = 100.0
        with mock.patch("time.monotonic", lambda: clock):
            for _ in range(3):
                self.assertEqual(self.nodes.forgettable({ANN}, {ANN}), [])
                clock += nodes.FORGOTTEN - 1
            self.assertEqual(self.nodes.forgettable({ANN}, set()), [])
            clock += 2
            self.assertEqual(self.nodes.forgettable({ANN}, set()), [ANN])

    def test_goodbyes_of_nobody(self) -> None:
        """Of a process that was never heard of nothing is remembered: who writes to the bus could invent any number."""
        for number in range(10):
            self.assertIsNone(self.nodes.leave(bytes([number])))
        self.assertEqual(self.nodes._gone, {})

    def test_whose_numbers_are_forgotten(self) -> None:
        """Those of a process that has been gone for ten minutes, or was never heard of in that time."""
        clock: Any = 100.0
        with mock.patch("time.monotonic", lambda: clock):
            self.nodes.beat(ANN, beat_of(0, 0))
            self.assertEqual(self.nodes.forgettable({ANN, BOB}, set()), [])
            self.nodes.leave(ANN)
            clock = 701.0
            self.assertEqual(sorted(self.nodes.forgettable({ANN, BOB}, set())), [ANN, BOB])
            self.assertEqual(self.nodes.forgettable(set(), set()), [])


if __name__ == "__main__":
    unittest.main()
