"""The channels that a process listens to."""

from __future__ import annotations

import contextlib
import unittest
from unittest import mock

from syncws._bus.recorder import Recorder
from syncws._relay import interests
from syncws._relay.interests import Interests
from syncws.testing import LeakChecks, MemoryBackplane


class InterestTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBackplane()
        self.bus.start(Recorder(), "0" * 16)
        self.addCleanup(self.bus.close, 5.0)
        self.mine = Interests(self.bus)

    def sweep(self, *needed: str) -> list[str]:
        with mock.patch.object(interests, "LINGER", -1.0):
            return self.mine.sweep(lambda: set(needed), len)

    def test_pins(self) -> None:
        """A channel that two are about to join is let go only after both, if nobody is in it then."""
        with self.mine.pinned(["a"], 1.0):
            with self.mine.pinned(["a", "b"], 1.0):
                self.assertEqual(self.sweep(), [])
            self.assertEqual(self.sweep(), ["b"])
        self.assertEqual(self.sweep("a"), [])
        self.assertTrue(self.mine.has("a"))
        self.assertEqual(self.sweep(), ["a"])
        self.assertEqual((self.mine.has("a"), len(self.mine), self.bus._channels), (False, 0, set()))

    def test_somebody_joins_meanwhile(self) -> None:
        """Who is in the rooms is asked without the lock; a channel that somebody joins meanwhile stays."""
        for stays_in in (False, True):
            with self.subTest(stays_in=stays_in), contextlib.ExitStack() as stack:
                with self.mine.pinned(["a", "b"], 1.0):
                    pass

                def needed(stack: contextlib.ExitStack = stack, stays_in: bool = stays_in) -> set[str]:
                    joining = self.mine.pinned(["a"], 1.0)  # which takes the lock
                    if stays_in:
                        stack.enter_context(joining)
                    else:
                        with joining:
                            pass
                    return set()

                with mock.patch.object(interests, "LINGER", 0.0):
                    self.assertEqual(self.mine.sweep(needed, len), ["b"])
                self.assertTrue(self.mine.has("a"))

    def test_its_numbers_are_forgotten_first(self) -> None:
        """Before the channel is let go: what comes once it is taken again is not forgotten with what came before."""
        with self.mine.pinned(["a"], 1.0):
            pass
        seen: list[object] = []
        with mock.patch.object(interests, "LINGER", -1.0):
            self.mine.sweep(set, lambda gone: seen.append((gone, self.mine._lock.locked(), set(self.bus._channels))))
        self.assertEqual(seen, [(["a"], True, {"a"})])

    def test_it_lingers(self) -> None:
        """A channel is kept for a while after its last member: rooms of few come and go."""
        with self.mine.pinned(["a"], 1.0):
            pass
        self.assertEqual(self.mine.sweep(set, len), [])
        self.assertTrue(self.mine.has("a"))

    def test_what_is_late(self) -> None:
        """A channel that is not acknowledged in time is told later, once; or covered by the bus's return."""
        self.bus.defer()
        with self.mine.pinned(["a"], 0.0):
            self.assertEqual(self.mine.effective(), {})
        self.bus.acknowledge()
        self.assertEqual(list(self.mine.effective()), ["a"])
        self.assertEqual(self.mine.effective(), {})
        self.bus.defer()
        with self.mine.pinned(["b"], 0.0):
            pass
        self.assertEqual((self.mine.forgive(), self.mine.forgive()), (True, False))

    def test_for_good(self) -> None:
        """The process's own channels are never let go."""
        self.mine.keep(["*"])
        self.assertEqual(self.sweep(), [])
        self.assertGreaterEqual(self.mine.age("*"), 0.0)
        self.assertEqual(self.mine.age("unknown"), 0.0)


if __name__ == "__main__":
    unittest.main()
