"""interrupts.py: an exception is marked as one that cost no bytes, and the mark is taken away once it was looked at."""

from __future__ import annotations

import unittest

from syncws._base.interrupts import is_spared, spare, take_mark


class MarkTests(unittest.TestCase):
    def test_marked(self) -> None:
        """The mark is seen until it is taken: the same object may be raised again where bytes are lost."""
        error = KeyboardInterrupt()
        self.assertFalse(is_spared(error))
        self.assertFalse(take_mark(error))
        spare(error)
        self.assertTrue(is_spared(error))
        self.assertTrue(take_mark(error))
        self.assertFalse(is_spared(error))

    def test_no_attributes(self) -> None:
        """An exception that takes no mark counts as one that has cost bytes, and raises nothing else."""

        class Closed(Exception):
            def __setattr__(self, name: str, value: object) -> None:
                raise TypeError("no attributes")

        error = Closed()
        spare(error)
        self.assertFalse(is_spared(error))


if __name__ == "__main__":
    unittest.main()
