"""A way out for programs that only publish, over a local bus."""

from __future__ import annotations

import os
import socket
import time
import unittest
from unittest import mock

from syncws import BackplaneError, BackplaneTimeout
from syncws._bus import localoutlet
from syncws._bus.localdirectory import LocalDirectory
from syncws._bus.localframes import frame, greeting
from syncws._bus.localoutlet import LocalOutlet
from tests.bus.locals import LocalCase
from tests.tasks import PATIENCE, Task

NAME = "99999-ffffffffffffffff"


class OutletTests(LocalCase):
    def outlet(self) -> LocalOutlet:
        made = LocalOutlet(LocalDirectory(self.directory), 1 << 20)
        self.addCleanup(made.close)
        return made

    def test_to_everybody(self) -> None:
        """All that listen get all of it, in order; again over the same connections; it is nobody who could vanish."""
        pairs = self.joined(3)
        outlet = self.outlet()
        outlet.send([("x", b"1"), ("y", b"2")], 5)
        connections = dict(outlet._connections)
        outlet.send([("x", b"3")], 5)
        self.assertEqual(outlet._connections, connections)
        outlet.close()
        for _backplane, told in pairs:
            self.assertEqual(told.wait_for_messages(3), [("x", b"1"), ("y", b"2"), ("x", b"3")])
            self.assertEqual(told.names, ["up"])
        outlet.send([("x", b"4")], 5)
        pairs[0][1].wait_for_messages(4)

    def test_who_comes_and_goes(self) -> None:
        """Each send reaches those that are there then."""
        (_first, told), (second, _) = self.joined(2)
        outlet = self.outlet()
        outlet.send([("x", b"1")], 5)
        second.close(1)
        _third, heard = self.started()
        outlet.send([("x", b"2")], 5)
        self.assertEqual(heard.wait_for_messages(1), [("x", b"2")])
        self.assertEqual(told.wait_for_messages(2), [("x", b"1"), ("x", b"2")])
        self.assertEqual(len(outlet._connections), 2)

    def test_nobody(self) -> None:
        """Where nobody listens it is done; where nobody ever did it is an error that names the directory."""
        with self.assertRaisesRegex(BackplaneError, "there is no local bus.*" + self.directory):
            self.outlet().send([("x", b"1")], 5)
        os.mkdir(self.directory, 0o700)
        self.listen(NAME).close()
        self.outlet().send([("x", b"1")], 5)
        os.chmod(self.directory, 0o755)
        with self.assertRaisesRegex(BackplaneError, "make it 0700"):
            self.outlet().send([("x", b"1")], 5)

    def test_who_does_not_read(self) -> None:
        """One that is stopped takes what its socket takes; then the time ends it, and the others have got it. What was
        begun is cut off, so the next send begins anew."""
        _backplane, told = self.started()
        outlet = self.outlet()
        listener = self.listen(NAME)
        outlet.send([("x", b"small")], 5)
        told.wait_for_messages(1)
        with self.assertRaisesRegex(BackplaneTimeout, "1 of 2 processes did not take it in 0.1 s"):
            outlet.send([("x", b"large" * 100_000)], 0.1)
        self.assertEqual(len(told.wait_for_messages(2)[1][1]), 500_000)
        self.assertEqual(len(outlet._connections), 1)
        accepted, _ = listener.accept()
        with accepted:
            self.assertEqual(accepted.recv(1000)[: len(greeting(""))], greeting(""))

    def test_who_reads_slowly(self) -> None:
        """It waits for one that reads."""
        os.mkdir(self.directory, 0o700)
        listener = self.listen(NAME)
        outlet = self.outlet()
        task = Task(outlet.send, [("x", b"large" * 100_000)], PATIENCE)
        accepted, _ = listener.accept()
        expected = greeting("") + frame("x", b"large" * 100_000)
        with accepted, accepted.makefile("rb") as stream:
            self.assertEqual(stream.read(len(expected)), expected)
        task.result()

    def test_close_waits_for_who_reads(self) -> None:
        """A close ends once each has read what it took, so that what is sent later comes later; or after a moment."""
        os.mkdir(self.directory, 0o700)
        listener = self.listen(NAME)
        outlet = self.outlet()
        with mock.patch.object(localoutlet, "_LAST", PATIENCE):
            outlet.send([("x", b"1")], 5)
            accepted, _ = listener.accept()
            closing = Task(outlet.close)
            with accepted, accepted.makefile("rb") as stream:
                self.assertEqual(stream.read(), greeting("") + frame("x", b"1"))  # to the end of the stream
                self.assertTrue(closing.is_alive())
            closing.result()
        with mock.patch.object(localoutlet, "_LAST", 0.01):
            outlet.send([("x", b"2")], 5)
            outlet.close()  # although nobody reads
        self.assertEqual(outlet._connections, {})

    def test_a_connection_that_broke(self) -> None:
        """All is sent once more over a new one, if somebody listens there."""
        os.mkdir(self.directory, 0o700)
        listener = self.listen(NAME)
        outlet = self.outlet()
        outlet.send([("x", b"1")], 5)
        listener.accept()[0].close()
        outlet.send([("x", b"2")], 5)
        accepted, _ = listener.accept()
        with accepted:
            self.assertEqual(accepted.recv(1000), greeting("") + frame("x", b"2"))
        listener.close()
        outlet.send([("x", b"3")], 5)
        self.assertEqual(outlet._connections, {})

    def test_no_place_for_a_connection(self) -> None:
        """Where none can be had now, it is tried again until the time is over."""
        _backplane, told = self.started()
        outlet = self.outlet()
        connect, failures = LocalDirectory.connect, iter([BlockingIOError(), OSError(24, "Too many open files")])

        def failing(directory: LocalDirectory, name: str) -> socket.socket:
            for failure in failures:
                raise failure
            return connect(directory, name)

        with mock.patch.object(LocalDirectory, "connect", failing):
            outlet.send([("x", b"1")], PATIENCE)
        told.wait_for_messages(1)
        with (
            mock.patch.object(LocalDirectory, "connect", side_effect=BlockingIOError),
            self.assertRaises(BackplaneTimeout),
        ):
            outlet.close()
            outlet.send([("x", b"2")], 0.05)

    def test_in_the_child_of_a_fork(self) -> None:
        """It makes connections of its own, and so does not write into those of its parent."""
        _backplane, told = self.started()
        outlet = self.outlet()
        outlet.send([("x", b"1")], 5)
        before = dict(outlet._connections)
        with mock.patch("syncws._bus.localoutlet.this_process", return_value=-1):
            outlet.send([("x", b"2")], 5)
        self.assertNotEqual(outlet._connections, before)
        self.assertEqual(sorted(data for _, data in told.wait_for_messages(2)), [b"1", b"2"])

    def test_too_long(self) -> None:
        """Where one message is too long none is sent."""
        _backplane, told = self.started()
        with self.assertRaisesRegex(ValueError, "at most 1,048,576 bytes, not 1,048,577"):
            self.outlet().send([("x", b"1"), ("x", bytes((1 << 20) + 1))], 5)
        self.outlet().send([("x", b"2")], 5)
        self.assertEqual(told.wait_for_messages(1), [("x", b"2")])

    def test_time(self) -> None:
        """A timeout is from the beginning of the call."""
        os.mkdir(self.directory, 0o700)
        self.listen(NAME)
        began = time.monotonic()
        with self.assertRaises(BackplaneTimeout):
            self.outlet().send([("x", b"x" * 1_000_000)], 0.2)
        self.assertGreaterEqual(time.monotonic() - began, 0.2)


if __name__ == "__main__":
    unittest.main()
