"""The file of what was typed."""

from __future__ import annotations

import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws._cli.connect import history
from syncws._cli.connect.history import history_path, prepare_history


class HistoryTests(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_where(self) -> None:
        """By the rules of XDG; a relative path is to be ignored."""
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": "/state", "HOME": "/home/ann"}):
            self.assertEqual(history_path(), Path("/state/syncws/history"))
            os.environ["XDG_STATE_HOME"] = "state"
            self.assertEqual(history_path(), Path("/home/ann/.local/state/syncws/history"))
            del os.environ["XDG_STATE_HOME"]
            self.assertEqual(history_path(), Path("/home/ann/.local/state/syncws/history"))

    def test_nobody_else_reads_it(self) -> None:
        """The file has mode 0600, also if it was there with another, and its folder 0700; what it has stays."""
        path = self.folder / "a" / "history"
        prepare_history(path)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        path.write_text("\n# 1\n+x\n")
        path.chmod(0o644)
        prepare_history(path)
        self.assertEqual((stat.S_IMODE(path.stat().st_mode), path.read_text()), (0o600, "\n# 1\n+x\n"))

    def test_it_does_not_grow(self) -> None:
        """Of a file that is too long the newest entries are kept, whole."""
        path = self.folder / "history"
        with mock.patch.object(history, "_MOST", 100):
            path.write_text("".join(f"\n# {number}\n+entry {number}\n" for number in range(20)))
            prepare_history(path)
        kept = path.read_text()
        self.assertTrue(kept.startswith("\n# "))
        self.assertTrue(kept.endswith("+entry 19\n"))
        self.assertLessEqual(len(kept), 50)


if __name__ == "__main__":
    unittest.main()
