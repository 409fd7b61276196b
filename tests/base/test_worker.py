"""worker.py: whether this process is one of several."""

from __future__ import annotations

import subprocess
import sys
import unittest

from syncws._base.worker import in_worker


class WorkerTests(unittest.TestCase):
    def test_this_is_no_worker(self) -> None:
        """A process that nobody forked is no worker."""
        self.assertFalse(in_worker())

    def test_become_worker(self) -> None:
        """Once said it stays: in a process of its own, as nothing takes it back."""
        program = "from syncws._base.worker import *; become_worker(); assert in_worker()"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
