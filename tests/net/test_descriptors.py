"""descriptors.py: how many files a process may open, and what is kept in reserve."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from syncws._net import descriptors
from syncws._net.descriptors import MOST_RESERVED, in_use, raise_limit, reserve

_INFINITE = -1


class FakeLimits:
    """The system's limits, and what it takes as a new one."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = _INFINITE

    def __init__(self, soft: int, hard: int, most: int = 1 << 20) -> None:
        self.now = soft, hard
        self.most = most

    def getrlimit(self, kind: int) -> tuple[int, int]:
        assert kind == self.RLIMIT_NOFILE
        return self.now

    def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
        if limits[0] == _INFINITE or limits[0] > self.most:
            raise ValueError("not allowed")
        self.now = limits


class DescriptorTests(unittest.TestCase):
    def test_the_limit_is_raised(self) -> None:
        """The soft limit is raised as far as it is needed and the hard one allows, and is never lowered."""
        for soft, hard, wanted, raised in (
            (1024, 4096, 10_000, 4096),
            (1024, 100_000, 10_000, 10_000),
            (1024, _INFINITE, 10_000, 10_000),
            (20_000, 100_000, 10_000, 20_000),
            (256, 256, 10_000, 256),
            (1024, 4096, None, 4096),
        ):
            with self.subTest(soft=soft, hard=hard, wanted=wanted):
                limits = FakeLimits(soft, hard)
                with mock.patch.object(descriptors, "resource", limits):
                    self.assertEqual(raise_limit(wanted), raised)
                self.assertEqual(limits.now, (raised, hard))

    def test_a_system_that_allows_less(self) -> None:
        """Where the system refuses what its hard limit would allow, as macOS does, it is asked for what it says."""
        limits = FakeLimits(256, _INFINITE, most=10240)
        with mock.patch.object(descriptors, "resource", limits):
            self.assertEqual(raise_limit(20_000), 10240)
        stubborn = FakeLimits(256, _INFINITE, most=0)
        with mock.patch.object(descriptors, "resource", stubborn):
            self.assertEqual(raise_limit(None), 256)

    def test_no_limit(self) -> None:
        """Without a limit there is nothing to raise; nor on Windows."""
        with mock.patch.object(descriptors, "resource", FakeLimits(_INFINITE, _INFINITE)):
            self.assertIsNone(raise_limit(10_000))
        with mock.patch.object(descriptors, "resource", None):
            self.assertIsNone(raise_limit(10_000))

    def test_the_reserve(self) -> None:
        """What is kept for the application: 32 at least, a sixteenth, 256 at most, and of very few a quarter."""
        self.assertEqual([reserve(limit) for limit in (64, 256, 1024, 1 << 20)], [16, 32, 64, MOST_RESERVED])

    def test_how_many_are_open(self) -> None:
        """Each file that is opened is one more, as the system gives the lowest number that is free."""
        before = in_use()
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        try:
            self.assertGreaterEqual(in_use(), before + 3)
        finally:
            for each in opened:
                os.close(each)
        self.assertEqual(in_use(), before)
        with mock.patch("os.open", side_effect=OSError("too many")):
            self.assertEqual(in_use(), 0)


if __name__ == "__main__":
    unittest.main()
