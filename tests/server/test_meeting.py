"""The directory in which workers meet."""

from __future__ import annotations

import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws import LocalBackplane
from syncws._server.meeting import MeetingPlace


class MeetingTests(unittest.TestCase):
    def made(self) -> MeetingPlace:
        place = MeetingPlace()
        self.addCleanup(place.remove)
        place.make()
        return place

    def test_it_is_of_this_user_alone(self) -> None:
        """It is made, 0700, and removed with what workers that were killed have left."""
        place = self.made()
        assert place.path is not None
        path = Path(place.path)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
        (path / "1").mkdir()
        (path / "1" / "left.sock").touch()
        place.remove()
        self.assertFalse(path.exists())
        place.remove()

    def test_the_last_one_leaves(self) -> None:
        """Where the parent cannot remove it any more, the last worker does: not while another one is in it."""
        place = self.made()
        assert place.path is not None
        path = Path(place.path)
        (path / "1").mkdir()
        other = path / "1" / "1-00c0ffee00c0ffee.sock"
        other.touch()
        place.leave()
        self.assertTrue(other.exists())
        other.unlink()
        place.leave()
        self.assertFalse(path.exists())
        place.leave()
        MeetingPlace().leave()

    def test_temporary_files_with_a_long_path(self) -> None:
        """Where the paths of sockets would be too long it is made elsewhere: the longest has room for a Manager."""
        with tempfile.TemporaryDirectory(prefix="x" * 40) as long, mock.patch("tempfile.gettempdir", return_value=long):
            place = self.made()
            assert place.path is not None
            self.assertFalse(place.path.startswith(long))
        longest = "/tmp/" + "x" * 34
        with mock.patch("tempfile.gettempdir", return_value=longest), mock.patch("tempfile.mkdtemp") as made:
            made.side_effect = lambda prefix, dir: os.path.join(dir, prefix + "12345678")
            place = MeetingPlace()
            place.make()
        assert place.path is not None and place.path.startswith(longest)
        LocalBackplane(os.path.join(place.path, "n" + "0" * 12))

    def test_no_place(self) -> None:
        """Where none can be made the log says what that means, and there is none."""
        with (
            mock.patch("tempfile.mkdtemp", side_effect=PermissionError("read-only")),
            self.assertLogs("syncws.server", "WARNING") as logs,
        ):
            place = self.made()
        self.assertIsNone(place.path)
        self.assertIn("no directory in which workers could meet (read-only)", logs.output[0])


if __name__ == "__main__":
    unittest.main()
