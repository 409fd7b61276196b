"""roster.py: who gets in, who is counted, and what is told to other workers."""

from __future__ import annotations

import threading
import unittest

from syncws._conn.conn import Conn
from syncws._server.roster import Roster
from syncws._server.workers import Share
from tests.tasks import Task


class Nobody:
    """A connection that does nothing; it leaves its roster when it is told to go."""

    thread: int | None = None
    conn: Conn | None = None

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.told: list[tuple[int, str]] = []

    def start_close(self, code: int, reason: str) -> None:
        self.told.append((code, reason))
        self.roster.leave(self)

    def cut(self) -> None:
        raise AssertionError("it has left")


class RosterTests(unittest.TestCase):
    """Entering and leaving."""

    def test_up_to_the_limit(self) -> None:
        """One more than the limit finds it full, until one leaves. Leaving is idempotent."""
        roster = Roster(2)
        first, second, third = (Nobody(roster) for _ in range(3))
        self.assertEqual([roster.enter(each) for each in (first, second, third)], ["entered", "entered", "full"])
        self.assertEqual(len(roster), 2)
        roster.leave(first)
        roster.leave(first)
        self.assertEqual(len(roster), 1)
        self.assertEqual(roster.enter(third), "entered")

    def test_no_limit(self) -> None:
        """Without a limit everybody enters."""
        roster = Roster(None)
        self.assertEqual({roster.enter(Nobody(roster)) for _ in range(200)}, {"entered"})

    def test_closed(self) -> None:
        """Once it is closed nobody enters, full or not."""
        roster = Roster(1)
        self.assertFalse(roster.closing)
        roster.close()
        self.assertTrue(roster.closing)
        self.assertEqual(roster.enter(Nobody(roster)), "closing")
        self.assertEqual(len(roster), 0)
        full = Roster(1)
        full.enter(Nobody(full))
        full.close()
        self.assertEqual(full.enter(Nobody(full)), "closing")

    def test_leaving_is_noticed(self) -> None:
        """Who waits for `changed` is woken when a connection leaves."""
        roster = Roster(None)
        connection = Nobody(roster)
        roster.enter(connection)
        with roster.lock:
            task = Task(roster.leave, connection)
            self.assertTrue(roster.changed.wait_for(lambda: len(roster) == 0, 30))
        task.result()

    def test_farewell(self) -> None:
        """At the end everybody is told, whoever's thread asks for it."""
        roster = Roster(None)
        others = [Nobody(roster), Nobody(roster)]
        own = Nobody(roster)
        own.thread = threading.get_ident()
        for each in (*others, own):
            roster.enter(each)
        roster.close()
        self.assertEqual(roster.farewell(1001, "bye", 0.0), 0)
        self.assertEqual([each.told for each in (*others, own)], [[(1001, "bye")]] * 3)

    def test_a_lock_that_was_held_at_a_fork(self) -> None:
        """After begin_anew a lock that some thread holds for ever holds nobody up."""
        roster = Roster(None)
        held = roster.changed
        Task(held.acquire).result()
        roster.begin_anew()
        self.assertEqual(Task(roster.enter, Nobody(roster)).result(), "entered")

    def test_the_share_of_a_parent(self) -> None:
        """In the child of a fork what comes and goes is not noted as the worker's, whose child it is."""
        shares = memoryview(bytearray(16)).cast("q")
        roster = Roster(None)
        roster.begin_sharing(Share(shares, 0))
        connection = Nobody(roster)
        roster.enter(connection)
        roster.begin_anew()
        roster.leave(connection)
        self.assertEqual(shares[0], 1)


class ShareTests(unittest.TestCase):
    """One of several workers."""

    def setUp(self) -> None:
        self.shares = memoryview(bytearray(16)).cast("q")
        self.other = Share(self.shares, 1)
        self.roster = Roster(50)

    def enter(self, count: int) -> list[Nobody]:
        connections = [Nobody(self.roster) for _ in range(count)]
        for each in connections:
            self.roster.enter(each)
        return connections

    def test_what_others_see(self) -> None:
        """The number of connections is noted while the worker accepts, and not before, nor after."""
        share = Share(self.shares, 0)
        nobody = self.shares[0]
        self.enter(1)
        self.assertEqual(self.shares[0], nobody)
        self.roster.begin_sharing(share)
        (second,) = self.enter(1)
        self.assertEqual(self.shares[0], 2)
        self.roster.leave(second)
        self.assertEqual(self.shares[0], 1)
        self.roster.end_sharing()
        self.roster.end_sharing()  # idempotent
        self.enter(1)
        self.assertEqual(self.shares[0], nobody)

    def test_who_hesitates(self) -> None:
        """A worker hesitates if another has clearly fewer connections, or if it is full; a lone server never does."""
        self.other.note(0)
        self.enter(10)
        self.assertFalse(self.roster.should_hesitate)
        self.roster.begin_sharing(Share(self.shares, 0))
        self.enter(1)
        self.assertTrue(self.roster.should_hesitate)
        self.other.note(11)
        self.assertFalse(self.roster.should_hesitate)
        self.other.note(50)
        self.enter(39)
        self.assertTrue(self.roster.should_hesitate)  # as it is full


if __name__ == "__main__":
    unittest.main()
