"""waiting.py: for what has no event to wait on."""

from __future__ import annotations

import time
import unittest

from syncws.testing import await_


class AwaitTests(unittest.TestCase):
    """await_: for what has no event to wait on."""

    def test_waits_for_the_condition(self):
        """await_ returns True as soon as the condition holds."""
        answers = iter([False, False, True])
        self.assertTrue(await_(lambda: next(answers)))

    def test_gives_up(self):
        """await_ returns False after so many seconds, and has asked at least once."""
        asked = []
        before = time.monotonic()
        self.assertFalse(await_(lambda: asked.append(1), 0.02))
        self.assertGreaterEqual(time.monotonic() - before, 0.02)
        self.assertTrue(asked)
        self.assertTrue(await_(lambda: True, 0))


if __name__ == "__main__":
    unittest.main()
