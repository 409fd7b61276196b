"""What was freed is given back to the system."""

from __future__ import annotations

import os
import threading
import unittest
from pathlib import Path
from unittest import mock

from syncws._net import heap as heap_module
from syncws._net.heap import Heap, trimmer
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE


class HeapTests(LeakChecks):
    """When it is done."""

    def setUp(self) -> None:
        super().setUp()
        self.heap = Heap()
        self.trimmed: list[int] = []
        self.enterContext(mock.patch.object(heap_module, "trimmer", lambda: self.trimmed.append))

    def test_many_at_once(self) -> None:
        """It is done once for all that is freed in the same moments, and again for what is freed later."""
        with mock.patch.object(heap_module, "PAUSE", 0.05):
            for times in (1, 2):
                for _ in range(5):
                    self.heap.give_back_soon()
                self.assertTrue(await_(lambda times=times: len(self.trimmed) == times))  # type: ignore[misc]
        self.assertEqual(self.trimmed, [0, 0])

    def test_freed_meanwhile(self) -> None:
        """What is freed while it is being done is given back the next time."""
        free = [self.heap.give_back_soon]

        def trim(pad: int) -> None:
            self.trimmed.append(pad)
            if free:
                free.pop()()

        with mock.patch.object(heap_module, "PAUSE", 0.05), mock.patch.object(heap_module, "trimmer", lambda: trim):
            self.heap.give_back_soon()
            self.assertTrue(await_(lambda: len(self.trimmed) == 2))

    def test_a_c_library_that_has_no_such_function(self) -> None:
        """Then nothing is done, and nothing is raised."""
        done = threading.Event()

        def none() -> None:
            done.set()

        with mock.patch.object(heap_module, "PAUSE", 0.0), mock.patch.object(heap_module, "trimmer", none):
            self.heap.give_back_soon()
            self.assertTrue(done.wait(PATIENCE))

    def test_forks(self) -> None:
        """The child of a fork has no timer, and so nothing planned."""
        self.heap._is_planned = True
        self.heap.begin_anew()
        self.assertFalse(self.heap._is_planned)


class TrimmerTests(unittest.TestCase):
    """What does it."""

    @unittest.skipUnless(Path("/proc/self/statm").exists() and trimmer() is not None, "this C library needs no help")
    def test_it_gives_back(self) -> None:
        """Memory that lies between what is held leaves the process."""
        trim = trimmer()
        assert trim is not None
        pieces = [bytes(60_000) for _ in range(1000)]
        held = pieces[::50]
        before = _resident()
        del pieces
        trim(0)
        self.assertGreater(before - _resident(), 30_000_000)
        self.assertEqual(len(held), 20)

    def test_none(self) -> None:
        """Where the library has no such function, or there is no library to ask, there is none."""
        for failure in (AttributeError, OSError, TypeError):
            with self.subTest(failure), mock.patch("ctypes.CDLL", side_effect=failure):
                self.assertIsNone(trimmer.__wrapped__())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    unittest.main()
