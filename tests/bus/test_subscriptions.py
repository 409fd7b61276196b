"""Channels that are wanted, asked for, and acknowledged, over reconnects and changes of mind."""

from __future__ import annotations

import unittest

from syncws._bus.subscriptions import Subscriptions
from tests.tasks import PATIENCE, Task


def acknowledge(subscriptions: Subscriptions, *channels: str, subscribed: bool = True) -> list[bool]:
    return [subscriptions.acknowledged(each, subscribed=subscribed) for each in channels]


class SubscriptionsTests(unittest.TestCase):
    def test_wanted_asked_acknowledged(self) -> None:
        """A channel is asked for once, and arrives from its acknowledgement on."""
        subs = Subscriptions()
        subs.begin()
        self.assertEqual(subs.want(["a", "b"]), ["a", "b"])
        self.assertEqual(subs.want(["a"]), ["a"])
        self.assertEqual(subs.changes(), (["a", "b"], []))
        self.assertEqual(subs.changes(), ([], []))
        self.assertFalse(subs.wait(["a"], 0))
        self.assertEqual(acknowledge(subs, "a"), [True])
        self.assertTrue(subs.wait(["a"], 0))
        self.assertFalse(subs.wait(["a", "b"], 0.01))
        self.assertEqual(subs.want(["a"]), [])

    def test_who_waits_is_woken(self) -> None:
        """By the last acknowledgement, not before."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a", "b"])
        subs.changes()
        waiting = Task(subs.wait, ["a", "b"], PATIENCE)
        acknowledge(subs, "a")
        self.assertFalse(waiting.done)
        acknowledge(subs, "b")
        self.assertIs(waiting.result(PATIENCE / 2), True)

    def test_over_a_reconnect(self) -> None:
        """What one connection had acknowledged, the next has to; who waits goes on waiting."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a", "b"])
        subs.changes()
        acknowledge(subs, "a")
        waiting = Task(subs.wait, ["a", "b"], PATIENCE)
        subs.end()
        self.assertFalse(subs.wait(["a"], 0))
        self.assertEqual(sorted(subs.begin()), ["a", "b"])
        self.assertFalse(subs.complete)
        acknowledge(subs, "b")
        self.assertFalse(waiting.done)
        acknowledge(subs, "a")
        self.assertTrue(subs.complete)
        self.assertIs(waiting.result(PATIENCE / 2), True)

    def test_wanted_between_two_connections(self) -> None:
        """It is among what the next one begins with, and not asked for twice."""
        subs = Subscriptions()
        subs.begin()
        subs.end()
        subs.want(["a"])
        self.assertEqual(subs.begin(), ["a"])
        self.assertEqual(subs.changes(), ([], []))

    def test_new_channels_do_not_keep_it_from_being_complete(self) -> None:
        """It is complete once what it began with is acknowledged, however many come meanwhile."""
        subs = Subscriptions()
        subs.want(["a"])
        subs.begin()
        subs.want(["b"])
        subs.changes()
        acknowledge(subs, "a")
        self.assertTrue(subs.complete)

    def test_let_go(self) -> None:
        """A channel that is let go is asked for no more, here and after a reconnect; unknown ones are nothing."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a"])
        subs.changes()
        acknowledge(subs, "a")
        self.assertTrue(subs.drop(["a", "x"]))
        self.assertFalse(subs.drop(["x"]))
        self.assertEqual(subs.changes(), ([], ["a"]))
        self.assertEqual(acknowledge(subs, "a", subscribed=False), [True])
        self.assertFalse(subs.wait(["a"], 0))
        self.assertEqual(subs.begin(), [])

    def test_a_change_of_mind_in_time_is_nothing(self) -> None:
        """What is let go and wanted again before anything was asked stays as it is."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a"])
        subs.changes()
        acknowledge(subs, "a")
        subs.drop(["a"])
        self.assertEqual(subs.want(["a"]), [])
        self.assertEqual(subs.changes(), ([], []))
        self.assertTrue(subs.wait(["a"], 0))

    def test_a_change_of_mind_too_late(self) -> None:
        """An acknowledgement of before the letting go does not count for the channel that is wanted again."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a"])
        subs.changes()
        subs.drop(["a"])
        subs.changes()
        subs.want(["a"])
        self.assertEqual(subs.changes(), (["a"], []))
        acknowledge(subs, "a")
        self.assertFalse(subs.wait(["a"], 0))
        acknowledge(subs, "a", subscribed=False)
        self.assertFalse(subs.wait(["a"], 0))
        acknowledge(subs, "a")
        self.assertTrue(subs.wait(["a"], 0))

    def test_an_end_that_nobody_asked_for(self) -> None:
        """It is told apart from one that was asked for."""
        subs = Subscriptions()
        subs.begin()
        subs.want(["a"])
        subs.changes()
        acknowledge(subs, "a")
        self.assertEqual(acknowledge(subs, "a", subscribed=False), [False])
        self.assertEqual(acknowledge(subs, "", subscribed=False), [False])

    def test_nobody_waits_after_the_end(self) -> None:
        """close() ends every wait, and later ones at once."""
        subs = Subscriptions()
        subs.want(["a"])
        waiting = Task(subs.wait, ["a"], PATIENCE)
        waiting.started.wait(PATIENCE)
        subs.close()
        self.assertIs(waiting.result(PATIENCE / 2), False)
        self.assertFalse(subs.wait(["a"], PATIENCE))

    def test_waits_that_ended_leave_nothing(self) -> None:
        """A wait that took too long is forgotten."""
        subs = Subscriptions()
        subs.want(["a"])
        self.assertFalse(subs.wait(["a"], 0.01))
        self.assertEqual(subs._waiting, {})


if __name__ == "__main__":
    unittest.main()
