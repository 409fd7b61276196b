"""Managers in the workers of a `Server`, and of other servers with several processes."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any
from unittest import mock

from syncws import LocalBackplane, Manager
from syncws._base import worker
from syncws._base.worker import note_workers
from syncws._rooms.arguments import place_of

from .support import ManagerCase


class WorkerCase(ManagerCase):
    """A process that may become a worker, and is none again after the test."""

    def setUp(self) -> None:
        super().setUp()
        for name, value in (("_is_worker", False), ("_meeting_place", None)):
            self.enterContext(mock.patch.object(worker, name, value))
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="m", dir="/tmp"))

    def manager(self, **options: Any) -> Manager:
        made = Manager(**options)
        self.addCleanup(made.end)
        return made

    def become_worker(self, *managers: Manager) -> None:
        """As a worker does right after its fork: what else there is in this process is not told."""
        with mock.patch.object(worker, "_members", set(managers)):
            worker.become_worker(self.directory)


class MeetingTests(WorkerCase):
    """Each of these is two workers in one process: what they have in common is the directory."""

    def test_the_same_name(self) -> None:
        """Managers of one name are joined, whether they were made before the fork or by the worker itself; another name
        is another Manager."""
        before, other = self.manager(name="chat"), self.manager(name="news")
        self.become_worker(before, other)
        later = self.manager(name="chat")
        _, ann = self.join(before, "ann", ["lobby"])
        _, bob = self.join(later, "bob", ["lobby"])
        _, eve = self.join(other, "eve", ["lobby"])
        later.broadcast("chat", room="lobby")
        self.assertEqual([ann.receive(30), bob.receive(30)], ["chat", "chat"])
        other.broadcast("news", room="lobby")
        before.broadcast("end", room="lobby")
        self.assertEqual([ann.receive(30), bob.receive(30), eve.receive(30)], ["end", "end", "news"])

    def test_without_a_name(self) -> None:
        """Those that were made before the fork are each joined with their own like, by their number, and not with each
        other."""
        first, second = self.manager(), self.manager()
        self.become_worker(first, second)
        with mock.patch.object(worker, "_numbers", iter([first._number])):  # in the other worker, the same one
            like = self.manager()
        like.meet_workers(self.directory)
        _, ann = self.join(first, "ann")
        _, bob = self.join(second, "bob")
        _, eve = self.join(like, "eve")
        second.broadcast("second")
        like.broadcast("first")
        self.assertEqual([ann.receive(30), bob.receive(30), eve.receive(30)], ["first", "second", "first"])

    def test_with_a_backplane(self) -> None:
        """A Manager that was given a backplane keeps it."""
        backplane = LocalBackplane(os.path.join(self.directory, "own"))
        manager = self.manager(backplane=backplane)
        self.become_worker(manager)
        assert manager._relay is not None
        self.assertIs(manager._relay.backplane, backplane)

    def test_nothing_before_it_is_used(self) -> None:
        """Meeting makes no file and no thread: the first member does."""
        manager = self.manager()
        self.become_worker(manager)
        self.assertEqual(os.listdir(self.directory), [])
        self.join(manager, "ann")
        self.assertEqual(os.listdir(self.directory), [str(manager._number)])

    def test_a_manager_that_a_worker_makes(self) -> None:
        """One without a name is for itself, and says once what to do."""
        self.become_worker()
        manager = self.manager()
        with self.assertLogs("syncws.manager", "WARNING") as logged:
            self.join(manager, "ann")
            self.join(manager, "bob")
        self.assertEqual(len(logged.records), 1)
        self.assertIn("make it before the workers are forked, or give it a name", logged.output[0])
        self.assertIsNone(manager._relay)

    def test_another_server_with_several_processes(self) -> None:
        """There the fix is a backplane; a Manager that has one says nothing."""
        note_workers()
        manager = self.manager(name="chat")
        with self.assertLogs("syncws.manager", "WARNING") as logged:
            self.join(manager, "ann")
        self.assertIn("Manager(backplane=syncws.LocalBackplane(path))", logged.output[0])
        joined = self.manager(backplane=LocalBackplane(os.path.join(self.directory, "own")))
        with self.assertNoLogs("syncws.manager", "WARNING"):
            self.join(joined, "ann")

    def test_what_is_no_name(self) -> None:
        """A name is text that is not empty."""
        with self.assertRaisesRegex(TypeError, "^name is a str, or None"):
            Manager(name=7)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "^name is a str that is not empty"):
            Manager(name="")

    def test_places(self) -> None:
        """Each name and each number has a place of its own, which is short whatever the name is."""
        names = ("chat", "1", "../../etc", "\udcff", "x" * 10_000, "Chat")
        places = [place_of(name, 1) for name in names] + [place_of(None, 1), place_of(None, 12)]
        self.assertEqual(len(set(places)), len(places))
        for place in places:
            self.assertRegex(place, r"^(n[0-9a-f]{12}|[0-9]+)$")


if __name__ == "__main__":
    unittest.main()
