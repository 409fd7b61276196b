"""What is wrong with a bus, as its health and the log tell it."""

from __future__ import annotations

import time
import unittest
from unittest import mock

from syncws._bus.trouble import Trouble


class TroubleTests(unittest.TestCase):
    def test_begins_without_a_connection(self) -> None:
        """Before anything was tried it is not up, and says so."""
        up, since, error = Trouble("here", "reader").state
        self.assertFalse(up)
        self.assertEqual(error, "it is not connected yet")
        self.assertLessEqual(since, time.time())

    def test_is_up_while_every_part_works(self) -> None:
        """One part that does not work is enough; the instant is that of the first one, and of the last one's end."""
        trouble = Trouble("here", "reader")
        with mock.patch("time.time", lambda: 1234.0):
            trouble.ends("reader")
        self.assertEqual(trouble.state, (True, 1234.0, None))
        with mock.patch("time.time", lambda: 2345.0):
            trouble.ends("writer")
            self.assertEqual(trouble.state[1], 1234.0)
            trouble.begins("reader", "gone", denied=False)
        trouble.begins("writer", "refused", denied=False)
        self.assertEqual(trouble.state, (False, 2345.0, "gone; refused"))
        trouble.ends("reader")
        self.assertEqual(trouble.state, (False, 2345.0, "refused"))

    def test_what_was_found_before_is_forgotten(self) -> None:
        """Once the bus is there it is up, until some part finds anew that it does not work."""
        trouble = Trouble("here", "reader")
        trouble.begins("writer", "refused", denied=False)
        with mock.patch("time.time", lambda: 1234.0):
            trouble.over()
        trouble.over()
        self.assertEqual(trouble.state, (True, 1234.0, None))
        trouble.begins("writer", "refused", denied=False)
        self.assertEqual(trouble.state[2], "refused")

    def test_one_reason_of_both_is_told_once(self) -> None:
        """Both connections mostly fail for the same reason."""
        trouble = Trouble("here", "reader")
        for part in ("reader", "writer"):
            trouble.begins(part, "gone", denied=False)
        self.assertEqual(trouble.state[2], "gone")

    def test_what_an_administrator_must_mend_is_logged_once_a_minute(self) -> None:
        """ERROR at first and then once a minute, whichever part it concerns; nothing for a server that is away."""
        trouble = Trouble("here:6379", "reader")
        with self.assertLogs("syncws.backplane", "ERROR") as logs:
            trouble.begins("reader", "gone", denied=False)
            for _ in range(3):
                trouble.begins("reader", "no password", denied=True)
                trouble.begins("writer", "no password", denied=True)
            self.assertEqual(len(logs.output), 1)
            later = time.monotonic() + 61
            with mock.patch("time.monotonic", lambda: later):
                trouble.begins("reader", "no password", denied=True)
        self.assertEqual(len(logs.output), 2)
        self.assertIn("here:6379 refuses", logs.output[0])
        self.assertIn("no password", logs.output[0])


if __name__ == "__main__":
    unittest.main()
