"""Django: no WebSocket holds a connection to the database while it waits; tests of views need committed data."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent


class DjangoTests(unittest.TestCase):
    @unittest.skipUnless(Path("/proc/self/fd").is_dir(), "it looks at the descriptors in /proc")
    def test_page(self) -> None:
        """Django tests of WebSockets need TransactionTestCase: the page's test passes in a project of its own, and a
        TestCase hides from the handler what it has made."""
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.databases.in_django", folder]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
