"""registry.py: who gets in, who is counted, and what is told to other workers."""

from __future__ import annotations

import threading
import unittest

from syncws._server.registry import Registry
from syncws._server.workers import Share
from tests.tasks import Task


class Nobody:
    """A connection that does nothing; it leaves its registry when it is told to go."""

    thread: int | None = None

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.told: list[tuple[int, str]] = []

    def start_close(self, code: int, reason: str) -> None:
        self.told.append((code, reason))
        self.registry.leave(self)

    def cut(self) -> None:
        raise AssertionError("it has left")


class RegistryTests(unittest.TestCase):
    """Entering and leaving."""

    def test_up_to_the_limit(self) -> None:
        """One more than the limit finds it full, until one leaves. Leaving is idempotent."""
        registry = Registry(2)
        first, second, third = (Nobody(registry) for _ in range(3))
        self.assertEqual([registry.enter(each) for each in (first, second, third)], ["entered", "entered", "full"])
        self.assertEqual(len(registry), 2)
        registry.leave(first)
        registry.leave(first)
        self.assertEqual(len(registry), 1)
        self.assertEqual(registry.enter(third), "entered")

    def test_no_limit(self) -> None:
        """Without a limit everybody enters."""
        registry = Registry(None)
        self.assertEqual({registry.enter(Nobody(registry)) for _ in range(200)}, {"entered"})

    def test_closed(self) -> None:
        """Once it is closed nobody enters, full or not."""
        registry = Registry(1)
        self.assertFalse(registry.closing)
        registry.close()
        self.assertTrue(registry.closing)
        self.assertEqual(registry.enter(Nobody(registry)), "closing")
        self.assertEqual(len(registry), 0)

    def test_leaving_is_noticed(self) -> None:
        """Who waits for `changed` is woken when a connection leaves."""
        registry = Registry(None)
        connection = Nobody(registry)
        registry.enter(connection)
        with registry.changed:
            task = Task(registry.leave, connection)
            self.assertTrue(registry.changed.wait_for(lambda: len(registry) == 0, 30))
        task.result()

    def test_farewell(self) -> None:
        """At the end everybody is told, whoever's thread asks for it."""
        registry = Registry(None)
        others = [Nobody(registry), Nobody(registry)]
        own = Nobody(registry)
        own.thread = threading.get_ident()
        for each in (*others, own):
            registry.enter(each)
        registry.close()
        self.assertEqual(registry.farewell(1001, "bye", 0.0), 0)
        self.assertEqual([each.told for each in (*others, own)], [[(1001, "bye")]] * 3)

    def test_a_lock_that_was_held_at_a_fork(self) -> None:
        """After begin_anew a lock that some thread holds for ever holds nobody up."""
        registry = Registry(None)
        held = registry.changed
        Task(held.acquire).result()
        registry.begin_anew()
        self.assertEqual(Task(registry.enter, Nobody(registry)).result(), "entered")


class ShareTests(unittest.TestCase):
    """One of several workers."""

    def setUp(self) -> None:
        self.shares = memoryview(bytearray(16)).cast("q")
        self.other = Share(self.shares, 1)
        self.registry = Registry(50)

    def enter(self, count: int) -> list[Nobody]:
        connections = [Nobody(self.registry) for _ in range(count)]
        for each in connections:
            self.registry.enter(each)
        return connections

    def test_what_others_see(self) -> None:
        """The number of connections is noted while the worker accepts, and not before, nor after."""
        share = Share(self.shares, 0)
        nobody = self.shares[0]
        self.enter(1)
        self.assertEqual(self.shares[0], nobody)
        self.registry.begin_sharing(share)
        (second,) = self.enter(1)
        self.assertEqual(self.shares[0], 2)
        self.registry.leave(second)
        self.assertEqual(self.shares[0], 1)
        self.registry.end_sharing()
        self.enter(1)
        self.assertEqual(self.shares[0], nobody)

    def test_who_hesitates(self) -> None:
        """A worker hesitates if another has clearly fewer connections, or if it is full; a lone server never does."""
        self.other.note(0)
        self.enter(10)
        self.assertFalse(self.registry.should_hesitate)
        self.registry.begin_sharing(Share(self.shares, 0))
        self.enter(1)
        self.assertTrue(self.registry.should_hesitate)
        self.other.note(11)
        self.assertFalse(self.registry.should_hesitate)
        self.other.note(50)
        self.enter(39)
        self.assertTrue(self.registry.should_hesitate)  # as it is full


if __name__ == "__main__":
    unittest.main()
