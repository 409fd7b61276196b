"""busarchive.py: what a bus for tests remembers. `ArchiveCases` run on it in test_memory_cases.py."""

from __future__ import annotations

import time
import unittest
from unittest import mock

from syncws._bus.busarchive import BusArchive
from syncws._bus.history import Entry, History


class BusArchiveTests(unittest.TestCase):
    def test_what_is_read(self):
        """What was kept after a position is read; None tells where it stands."""
        archive = BusArchive(History(size=3))
        self.assertEqual(archive.history.size, 3)
        origin = archive.read("a", None, 0)
        self.assertEqual((origin.entries, origin.recovered), ((), True))
        positions = [archive.keep("a", data) for data in (b"1", b"2", b"3")]
        past = archive.read("a", origin.position, 0)
        entries = tuple(map(Entry, positions, (b"1", b"2", b"3")))
        self.assertEqual((past.position, past.entries, past.recovered), (positions[-1], entries, True))
        self.assertEqual(archive.read("a", positions[1], 0).entries, entries[2:])
        self.assertTrue(archive.is_after(positions[1], positions[0]))
        self.assertFalse(archive.is_after(positions[1], positions[1]))

    def test_what_is_gone(self):
        """What was pushed out, is older than the ttl, or was forgotten makes a position that is not recovered."""
        archive = BusArchive(History(size=2, ttl=5))
        origin = archive.read("a", None, 0).position
        for data in (b"1", b"2", b"3"):
            last = archive.keep("a", data)
        self.assertFalse(archive.read("a", origin, 0).recovered)
        self.assertTrue(archive.read("a", last, 0).recovered)
        later = time.monotonic() + 6
        with mock.patch("time.monotonic", return_value=later):
            self.assertFalse(archive.read("a", last, 0).recovered)
        last = archive.keep("a", b"4")
        archive.forget()
        self.assertFalse(archive.read("a", last, 0).recovered)
        self.assertTrue(archive.is_after(last, archive.read("a", None, 0).position))
