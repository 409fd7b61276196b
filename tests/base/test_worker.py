"""worker.py: whether this process is one of several, and where they meet."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import unittest
from unittest import mock

from syncws._base import worker
from syncws._base.worker import become_worker, in_worker, meet_in_worker, meeting_place, note_workers


class WorkerTests(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        for name, value in (("_is_worker", False), ("_meeting_place", None)):
            self.enterContext(mock.patch.object(worker, name, value))

    def test_this_is_no_worker(self) -> None:
        """A process that nobody forked is no worker, and meets nobody."""
        self.assertEqual((in_worker(), meeting_place()), (False, None))

    def test_become_worker(self) -> None:
        """Once said it stays: in a process of its own, as nothing takes it back."""
        program = "from syncws._base.worker import *; become_worker(); assert in_worker()"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_several_processes_of_another_server(self) -> None:
        """Where a server says that it has several, this is a worker that meets nobody."""
        note_workers()
        note_workers()
        self.assertEqual((in_worker(), meeting_place()), (True, None))

    def test_who_meets(self) -> None:
        """Who asked for it, and still lives, is told where the workers meet; numbers are of one each."""
        there, gone = mock.Mock(), mock.Mock()
        numbers = [meet_in_worker(there), meet_in_worker(gone)]
        self.assertEqual(numbers, [numbers[0], numbers[0] + 1])
        del gone
        become_worker("/tmp/meeting")
        self.assertEqual((in_worker(), meeting_place()), (True, "/tmp/meeting"))
        there.meet_workers.assert_called_once_with("/tmp/meeting")

    def test_where_there_is_no_place(self) -> None:
        """Nobody is told where the workers meet nowhere."""
        there = mock.Mock()
        meet_in_worker(there)
        become_worker()
        there.meet_workers.assert_not_called()

    def test_numbers_of_workers(self) -> None:
        """What was made before the fork has the same number in each worker; another one has another."""
        program = """
            import os
            from unittest import mock
            from syncws._base.worker import *
            first, second = mock.Mock(), mock.Mock()
            numbers = meet_in_worker(first), meet_in_worker(second)
            if os.fork() == 0:
                later = mock.Mock()
                assert meet_in_worker(later) not in numbers
                os._exit(0)
            assert os.wait()[1] == 0
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


if __name__ == "__main__":
    unittest.main()
